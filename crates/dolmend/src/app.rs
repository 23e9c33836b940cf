//! From a command line to a running server, and from its end to an exit status.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use dolmen::internal::blocking_write;

use crate::cli::Cli;
use crate::config::{BUILT_IN_NAME, Config, ConfigError};
use crate::lobby::Lobby;
use crate::server::Server;
use crate::{descriptors, logging, ports};

/// Something failed while running.
const RUNTIME_FAILURE: u8 = 1;
/// The command line or the configuration is wrong.
const BAD_CONFIG: u8 = 2;

/// Runs the command line. Returns at the end of the server's life.
pub fn run(cli: &Cli) -> ExitCode {
    let config = match configure(cli) {
        Ok(config) => config,
        Err(message) => return fail(BAD_CONFIG, "", &message),
    };
    if cli.check_config {
        let name = cli.file.as_ref().map_or(BUILT_IN_NAME.to_string(), |file| file.display().to_string());
        return show(&format!("{name}: ok\n"));
    }
    if cli.print_config {
        return show(&config.to_text());
    }
    match serve(cli, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(RUNTIME_FAILURE, "dolmend: ", &message),
    }
}

/// The configuration in force: the file, overridden by the command line.
fn configure(cli: &Cli) -> Result<Config, String> {
    let config = match &cli.file {
        Some(file) => Config::from_file(file),
        None => Config::built_in(),
    };
    let mut config = config.map_err(|error: ConfigError| error.to_string())?;
    config.replace_ports(&cli.ports).map_err(|error| format!("dolmend: --port: {error}"))?;
    if let Some(level) = cli.trace {
        config.log.trace_reactor = level;
    }
    if let Some(seconds) = cli.stats {
        config.stats = Some(Duration::from_secs(seconds.get().into()));
    }
    Ok(config)
}

/// Opens the ports and the console, serves, and returns after an orderly end.
fn serve(cli: &Cli, config: &Config) -> Result<(), String> {
    let flush = logging::start(config.log.trace_reactor);
    // First the ports: if they fail, nothing else has been touched.
    let (opened, left_out) = ports::open(&config.ports, config.ports_are_built_in).map_err(|failed| {
        let messages: Vec<String> = failed.iter().map(ToString::to_string).collect();
        messages.join("\n")
    })?;
    for port in left_out {
        tracing::warn!("{port}; going on without it");
    }
    descriptors::make_room_for(Server::<Lobby>::most_connections(config));

    let mut server =
        Server::new(config, opened, Lobby::new(config)).map_err(|error| format!("cannot start: {error}"))?;
    server.stop_on_signals().map_err(|error| format!("cannot catch requests to stop: {error}"))?;
    if let Some(period) = config.stats {
        server.log_stats_every(period);
    }

    // Written before the console has the terminal, and so not by the logger's thread.
    for (address, kind) in server.listening() {
        write_to_stderr(&format!("listening {address} {kind}\n"));
    }
    let at_terminal = std::io::stdin().is_terminal();
    if at_terminal || cli.console {
        write_to_stderr("console   type 'help'; Ctrl-C stops the server\n");
        server.open_console().map_err(|error| format!("cannot start: {error}"))?;
    }
    server.run().map_err(|error| format!("cannot go on: {error}"))?;
    if server.was_forced() {
        // Without destructors, which would wait for a reader that does not read.
        logging::write("dolmend: stopped immediately after a second request\n");
        flush.flush_briefly();
        std::process::exit(RUNTIME_FAILURE.into());
    }
    if server.left_output_unread() {
        // As above.
        tracing::warn!("the console's last output was not read");
        drop(flush);
        std::process::exit(0);
    }
    Ok(())
}

/// The command line of this process. Requests for help, and command lines that are wrong, end here.
pub fn command_line() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        let text = error.render().to_string();
        if error.use_stderr() {
            write_to_stderr(&text);
            return ExitCode::from(BAD_CONFIG);
        }
        show(&text)
    })
}

/// Shows the requested text. A reader that closes early is not a failure of this program.
fn show(text: &str) -> ExitCode {
    match blocking_write::write_all(&mut std::io::stdout(), text.as_bytes(), None, |_| {}) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(RUNTIME_FAILURE, "dolmend: ", &format!("cannot write to the standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

/// The message of a problem in a configuration file begins with the file's name and line, which editors understand. It
/// gets no other `prefix`.
fn fail(status: u8, prefix: &str, message: &str) -> ExitCode {
    for line in message.lines() {
        write_to_stderr(&format!("{prefix}{line}\n"));
    }
    ExitCode::from(status)
}

/// Writes to standard error immediately, not by the logger's thread. A closed standard error is not a reason to fail.
fn write_to_stderr(text: &str) {
    let _ = blocking_write::write_all(&mut std::io::stderr(), text.as_bytes(), None, |_| {});
}
