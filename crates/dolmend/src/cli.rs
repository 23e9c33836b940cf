//! The command line.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Parser;

use crate::config::PortSpec;

/// Examples and conventions, below the options.
const AFTER_HELP: &str = "\
A port is [ADDRESS:]PORT[:KIND]. Without an address it is open on every IPv4
address of the machine; port 0 lets the system choose. KIND is telnet (the
default), ascii (lines without telnet) or binary (bytes, for games that use
them; the lobby does not). Options may follow in the same argument:
'4000 encoding=latin1 keepalive=off proxy=off'.

Examples:
  dolmend                              play on this machine, port 4000
  dolmend -p 4000 -p [::]:4000         let others in, on IPv4 and IPv6
  dolmend -p 127.0.0.1:0:ascii         any free port, plain lines
  dolmend --print-config > my.conf     a configuration to start from
  dolmend -f my.conf --check-config    check it
  printf 'users\\nshutdown\\n' | dolmend -c

Each open port is reported on standard error as 'listening ADDRESS:PORT KIND'.

Exit status: 0 after an orderly end, 1 when the server could not start, failed
or was stopped by a second request, 2 when the command line or the
configuration is wrong.";

/// A MUD server: players connect with telnet and meet in a lobby.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "dolmend", version, after_help = AFTER_HELP, max_term_width = 80)]
pub struct Cli {
    /// Read the configuration from FILE; keys not in it keep their defaults
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Take operator commands from standard input, also from a pipe or file
    ///
    /// On a terminal the console is on without this.
    ///
    /// At the end of a pipe or file the server shuts down in order.
    #[arg(short, long)]
    pub console: bool,

    /// Listen on this port instead of the configured ones; may be repeated
    #[arg(short, long = "port", value_name = "[ADDR:]PORT[:KIND]")]
    pub ports: Vec<PortSpec>,

    /// Check the configuration and what it names, report problems, and exit
    #[arg(long)]
    pub check_config: bool,

    /// Print the configuration in force in the format of the file, and exit
    #[arg(long, conflicts_with = "check_config")]
    pub print_config: bool,

    /// How much the reactor logs: 0 only warnings, to 3 everything
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=3))]
    pub trace: Option<u8>,

    /// Write a line of statistics to the log every so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub stats: Option<NonZeroU32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["dolmend"], arguments].concat())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_can_be_left_out() {
        let cli = parse(&[]).expect("no arguments are fine");
        assert!(cli.file.is_none() && cli.ports.is_empty() && !cli.console);
    }

    #[test]
    fn every_option_is_understood() {
        let cli = parse(&[
            "-f",
            "x.conf",
            "-c",
            "-p",
            "4000",
            "--port",
            "[::1]:0:ascii",
            "--trace",
            "3",
            "--stats",
            "10",
        ])
        .expect("good arguments");
        assert_eq!(cli.file, Some(PathBuf::from("x.conf")));
        assert!(cli.console);
        let ports: Vec<String> = cli.ports.iter().map(ToString::to_string).collect();
        assert_eq!(ports, ["0.0.0.0:4000:telnet", "[::1]:0:ascii"]);
        assert_eq!(cli.trace, Some(3));
        assert_eq!(cli.stats.map(NonZeroU32::get), Some(10));
    }

    #[test]
    fn usage_errors_say_what_is_right_and_exit_with_2() {
        for (arguments, expected) in [
            (&["-p", "4000:bin"][..], "the kinds are telnet, ascii and binary"),
            (&["-p", "70000"], "1 to 65535"),
            (&["--trace", "4"], "0..=3"),
            (&["--stats", "0"], "--stats"),
            (&["--check-config", "--print-config"], "cannot be used with"),
            (&["--prot", "1"], "--port"),
            (&["stray"], "stray"),
        ] {
            let error = parse(arguments).expect_err("bad arguments");
            assert_eq!(error.exit_code(), 2, "{arguments:?}");
            assert!(error.to_string().contains(expected), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for (arguments, kind) in [(["-h"], ErrorKind::DisplayHelp), (["-V"], ErrorKind::DisplayVersion)] {
            let shown = parse(&arguments).expect_err("something to show");
            assert_eq!(shown.kind(), kind);
            assert_eq!(shown.exit_code(), 0);
        }
    }

    #[test]
    fn the_help_fits_a_terminal() {
        for help in [Cli::command().render_help(), Cli::command().render_long_help()] {
            for line in help.to_string().lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
