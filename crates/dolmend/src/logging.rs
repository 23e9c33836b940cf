//! Where log lines go, and which of them.

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The target of the reactor's own log lines.
const REACTOR_TARGET: &str = "io_reactor";

/// Sends log lines to standard error. `trace_reactor` is the value of `trace io_reactor`.
///
/// A logger that was set before stays.
pub fn start(trace_reactor: u8) {
    let filter = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target(REACTOR_TARGET, reactor_level(trace_reactor));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // It fails only if a logger was set before, by a program that this is a part of.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
}

fn reactor_level(trace: u8) -> Level {
    match trace {
        0 => Level::WARN,
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    }
}
