//! From a command line to a running server, and from its end to an exit status.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use dolmen::internal::blocking_write;

use crate::cli::Cli;
use crate::config::{BUILT_IN_NAME, Config, ConfigError, PortSpec};
#[cfg(target_os = "linux")]
use crate::config::{PortKind, PortOptions};
use crate::lobby::Lobby;
use crate::ports::{OpenPort, PortError};
use crate::server::{Server, open_metrics};
use crate::store::Store;
use crate::world::World as _;
use crate::{logging, ports};

/// Something failed while running.
const RUNTIME_FAILURE: u8 = 1;
/// The command line or the configuration is wrong.
const BAD_CONFIG: u8 = 2;

/// Runs the command line. Returns at the end of the server's life.
pub fn run(cli: &Cli) -> ExitCode {
    let ports = match activated() {
        Ok(ports) => ports,
        Err(message) => return fail(RUNTIME_FAILURE, "dolmend: ", &message),
    };
    let passed = Passed::from(&ports[..]);
    let config = match configure(cli, &passed) {
        Ok(config) => config,
        Err(message) => return fail(BAD_CONFIG, "", &message),
    };
    if cli.check_config {
        return check(cli, &config);
    }
    if cli.print_config {
        return show(&config.to_text());
    }
    let open = ports.into_iter().map(|(port, _)| port).collect();
    match serve(cli, &config, open, passed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(RUNTIME_FAILURE, "dolmend: ", &message),
    }
}

/// Says that the configuration is good, unless a start with the `state folder` as it is would fail.
fn check(cli: &Cli, config: &Config) -> ExitCode {
    let found = match config.state_folder.as_deref().map(Store::check).transpose() {
        Ok(found) => found.unwrap_or_default(),
        Err(message) => return fail(RUNTIME_FAILURE, "dolmend: ", &message),
    };
    let name = file_name(cli);
    for warning in &config.warnings {
        write_to_stderr(&format!("{name}: warning: {warning}\n"));
    }
    found.iter().for_each(|warning| write_to_stderr(&format!("warning: {warning}\n")));
    show(&format!("{name}: ok\n"))
}

/// The configuration in messages.
fn file_name(cli: &Cli) -> String {
    cli.file.as_ref().map_or(BUILT_IN_NAME.to_string(), |file| file.display().to_string())
}

/// The ports that a service manager has opened (socket activation). The name of a socket is the kind of the port; any
/// other name is returned beside the port.
#[cfg(target_os = "linux")]
fn activated() -> Result<Vec<(OpenPort, Option<String>)>, String> {
    let passed = dolmen::internal::inherited_listeners().map_err(|error| format!("LISTEN_FDS: {error}"))?;
    let open = passed.into_iter().map(|(listener, name)| {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        // Without a name of ours it is the unit's name.
        let spec: Result<PortSpec, _> = format!("{address}:{name}").parse();
        let (kind, options, other_name) = match spec {
            Ok(spec) => (spec.kind, spec.options, None),
            Err(_) => (PortKind::Telnet, PortOptions::default(), Some(name)),
        };
        Ok((OpenPort { listener, address, kind, options }, other_name))
    });
    open.collect()
}

/// Other systems have no such thing.
#[cfg(not(target_os = "linux"))]
fn activated() -> Result<Vec<(OpenPort, Option<String>)>, String> {
    Ok(Vec::new())
}

/// What was passed by a service manager, for each configuration that is read.
struct Passed {
    ports: Vec<PortSpec>,
    warnings: Vec<String>,
}

impl From<&[(OpenPort, Option<String>)]> for Passed {
    fn from(opened: &[(OpenPort, Option<String>)]) -> Passed {
        let spec =
            |port: &OpenPort| PortSpec { address: port.address, kind: port.kind, options: port.options };
        let unknown = |(port, name): &(OpenPort, Option<String>)| {
            let name = name.as_ref()?.escape_debug();
            Some(format!(
                "the socket {} was passed with the name '{name}', which is not a kind of port, and is taken for telnet; \
                 write FileDescriptorName=telnet, or ascii, into its unit",
                port.address
            ))
        };
        Passed {
            ports: opened.iter().map(|(port, _)| spec(port)).collect(),
            warnings: opened.iter().filter_map(unknown).collect(),
        }
    }
}

impl Passed {
    /// These ports replace those of the file and of the command line, and the log says which of those have no effect.
    fn replace_ports(&self, config: &mut Config, cli: &Cli) -> Result<(), String> {
        const WHY: &str = "has no effect, because the ports were passed by the service manager (LISTEN_FDS); \
                           change ListenStream in the socket unit, and restart both units";
        if self.ports.is_empty() {
            return Ok(());
        }
        let is_open = |wanted: &PortSpec| self.ports.iter().any(|port| port.address == wanted.address);
        if !cli.ports.is_empty() {
            config.warnings.push(format!("--port {WHY}"));
        } else if !config.ports_are_built_in && !config.ports.iter().all(is_open) {
            config.warnings.push(format!("'port' {WHY}"));
        }
        config.warnings.extend_from_slice(&self.warnings);
        config.replace_ports(&self.ports).map_err(|error| format!("dolmend: LISTEN_FDS: {error}"))
    }
}

/// The configuration in force: the file, overridden by the command line, and by the ports that were passed.
fn configure(cli: &Cli, passed: &Passed) -> Result<Config, String> {
    let config = match &cli.file {
        Some(file) => Config::from_file(file),
        None => Config::built_in(),
    };
    let mut config = config.map_err(|error: ConfigError| error.to_string())?;
    config.replace_ports(&cli.ports).map_err(|error| format!("dolmend: --port: {error}"))?;
    passed.replace_ports(&mut config, cli)?;
    config.check_kinds(Lobby::serves).map_err(|error| format!("{}: {error}", file_name(cli)))?;
    if let Some(level) = cli.trace {
        config.log.trace_reactor = level;
    }
    if let Some(seconds) = cli.stats {
        config.stats = Some(Duration::from_secs(seconds.get().into()));
    }
    Ok(config)
}

/// Opens the ports and the console, serves, and returns after an orderly end.
fn serve(cli: &Cli, config: &Config, activated: Vec<OpenPort>, passed: Passed) -> Result<(), String> {
    ignore_other_signals();
    // First the ports: if they fail, nothing else has been touched.
    let (opened, left_out) = if activated.is_empty() { open_ports(config)? } else { (activated, Vec::new()) };
    let metrics = config.metrics.map(open_metrics).transpose()?;

    let flush = logging::start(&config.log).map_err(|error| cannot_open_log(config, &error))?;
    for port in left_out {
        tracing::warn!("{port}; going on without it");
    }
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let store = Store::configured(config.state_folder.as_deref(), config.banned_networks.clone())?;
    let mut server = Server::new(config, opened, Lobby::with_store(config, store))
        .map_err(|error| format!("cannot start: {error}"))?;
    server.stop_on_signals().map_err(|error| format!("cannot catch requests to stop: {error}"))?;
    let again = cli.clone();
    server.reload_by(move || configure(&again, &passed));
    let metrics = metrics.map(|port| server.serve_metrics(port)).transpose()?;

    // Written before the console has the terminal, and so not by the logger's thread.
    for (address, kind) in server.listening() {
        write_to_stderr(&format!("listening {address} {kind}\n"));
    }
    if config.state_folder.is_none() {
        write_to_stderr("state     in memory only; 'state folder' keeps names, notes and bans\n");
    }
    if let Some(address) = metrics {
        write_to_stderr(&format!("metrics   http://{address}/metrics\n"));
    }
    let at_terminal = std::io::stdin().is_terminal();
    if at_terminal || cli.console {
        write_to_stderr("console   type 'help'; Ctrl-C stops the server\n");
        server.open_console().map_err(|error| format!("cannot start: {error}"))?;
    }
    server.tell_ready();
    server.run().map_err(|error| format!("cannot go on: {error}"))?;
    if server.was_forced() {
        // Without destructors, which would wait for a reader that does not read.
        logging::write("dolmend: stopped immediately after a second request\n");
        flush.flush_briefly();
        std::process::exit(RUNTIME_FAILURE.into());
    }
    let saved = server.finish_world();
    if server.left_output_unread() {
        // As above.
        tracing::warn!("the console's last output was not read");
        tracing::info!("ended");
        drop(flush);
        if let Err(problem) = &saved {
            fail(RUNTIME_FAILURE, "dolmend: ", problem);
        }
        std::process::exit(if saved.is_ok() { 0 } else { RUNTIME_FAILURE.into() });
    }
    tracing::info!("ended");
    saved
}

/// Opens the configured ports. Returns those that this machine cannot have, too.
fn open_ports(config: &Config) -> Result<(Vec<OpenPort>, Vec<PortError>), String> {
    ports::open(&config.ports, config.ports_are_built_in).map_err(|failed| {
        let messages: Vec<String> = failed.iter().map(ToString::to_string).collect();
        messages.join("\n")
    })
}

/// Signals with no meaning for a server must not end it: a script that sends `SIGUSR1` to a program, and Ctrl-\\.
#[cfg(unix)]
fn ignore_other_signals() {
    use signal_hook::consts::{SIGQUIT, SIGUSR1, SIGUSR2};
    dolmen::internal::ignore_signals(&[SIGQUIT, SIGUSR1, SIGUSR2]);
}

/// Windows has no such signals.
#[cfg(not(unix))]
fn ignore_other_signals() {}

/// The message for a log file that cannot be opened.
fn cannot_open_log(config: &Config, error: &std::io::Error) -> String {
    let file = config.log.file.as_deref().unwrap_or(Path::new("standard error"));
    format!("cannot open the log file {}: {error}", file.display())
}

/// The command line of this process. Requests for help, and command lines that are wrong, end here.
pub fn command_line() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        // It repeats what was given, and a terminal obeys control characters.
        let text = error.render().to_string().replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
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
