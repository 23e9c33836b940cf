//! The end of a session, for a program that runs as services do.

use std::time::{Duration, Instant};

use dolmen::{ConsoleInput, Event, Events, Reactor, ShutdownReason, Token};

use crate::case::{Check, Outcome, Result};
use crate::process::progress;
use crate::sys;

/// How long it waits for a user to log off, or for the machine to shut down. The case's limit is longer.
const PATIENCE: Duration = Duration::from_secs(3500);

/// How long a program has to live after a log-off to be sure that the system has not ended it.
const SURVIVAL: Duration = Duration::from_secs(30);

pub fn end(_: &Check) -> Result {
    let session = sys::session()?;
    if session != 0 {
        return Ok(Outcome::Skip(format!("this is session {session}, and services are in session 0")));
    }
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(16);
    reactor.add_signals(Token(0))?;
    // After the reactor's handler, and so called before it: the reactor's handles a log-off without reporting it.
    sys::record_log_offs()?;
    let start = Instant::now();
    let mut logged_off = None;
    progress("log a user off, or shut the machine down");
    while start.elapsed() < PATIENCE {
        reactor.wait(&mut events, Some(Duration::from_secs(1)))?;
        if let Some(event) = (&mut events).into_iter().next() {
            let Event::Console { input: ConsoleInput::Shutdown { reason, time_left }, .. } = event else {
                return Ok(Outcome::Fail(format!("{event:?} was reported")));
            };
            return Ok(match reason {
                ShutdownReason::SystemShutdown => {
                    Outcome::Pass(format!("{reason} was reported, with {time_left:?} left"))
                }
                // A log-off as well: no user of session 0 has logged off.
                _ => Outcome::Fail(format!("{reason} was reported, with {time_left:?} left")),
            });
        }
        if logged_off.is_none() && sys::has_logged_off() {
            progress("a user has logged off");
            logged_off = Some(Instant::now());
        }
        if logged_off.is_some_and(|at| at.elapsed() >= SURVIVAL) {
            return Ok(Outcome::Pass("a log-off was not reported, and did not end the program".to_owned()));
        }
    }
    Ok(Outcome::Fail("neither a log-off nor a shutdown has reached this program".to_owned()))
}
