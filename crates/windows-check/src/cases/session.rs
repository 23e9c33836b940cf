//! The end of a session, for a program that runs as services do.

use std::time::{Duration, Instant};

use dolmen::{ConsoleInput, Event, Events, Reactor, ShutdownReason, Token};

use crate::case::{Check, Outcome};
use crate::process::progress;
use crate::sys;

type Result<T = Outcome> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long it waits for a user to log off, or for the machine to shut down. The case's limit is longer.
const PATIENCE: Duration = Duration::from_secs(3500);

/// How long a program that has ignored a log-off has to live to be sure that the system has not ended it.
const SURVIVAL: Duration = Duration::from_secs(30);

pub fn end(_: &Check) -> Result {
    let session = sys::session()?;
    if session != 0 {
        return Ok(Outcome::Skip(format!("this is session {session}, and services are in session 0")));
    }
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(16);
    reactor.add_signals(Token(0))?;
    let start = Instant::now();
    let mut logged_off = None;
    progress("log a user off, or shut the machine down");
    while start.elapsed() < PATIENCE {
        reactor.wait(&mut events, Some(Duration::from_secs(1)))?;
        for event in &mut events {
            let Event::Console { input: ConsoleInput::Shutdown { reason, time_left }, .. } = event else {
                continue;
            };
            if reason != ShutdownReason::LogOff {
                return Ok(Outcome::Pass(format!("{reason} was reported, with {time_left:?} left")));
            }
            progress(format_args!("a log-off was reported, with {time_left:?} left"));
            logged_off = Some(Instant::now());
        }
        if logged_off.is_some_and(|at| at.elapsed() >= SURVIVAL) {
            return Ok(Outcome::Pass("a log-off was reported, and did not end the program".to_owned()));
        }
    }
    Ok(Outcome::Fail("neither a log-off nor a shutdown was reported".to_owned()))
}
