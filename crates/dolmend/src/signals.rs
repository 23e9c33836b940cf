//! Ctrl-C, SIGTERM and their relatives: the first asks for an orderly end, the second takes no
//! for an answer.

use std::io::Write as _;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use dolmen::{Poster, Token};

/// Has every request to end the process made a post with `token`.
///
/// A second request ends the process at once, with exit status 1: from the thread of the
/// handler, so that it works even if the loop is stuck.
///
/// # Errors
///
/// When the handler cannot be set, or was set before: it belongs to the whole process.
pub fn install(poster: Poster, token: Token) -> Result<(), ctrlc::Error> {
    let asked = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        let first = !asked.swap(true, Ordering::AcqRel);
        if first && poster.post(token, 0).is_ok() {
            // Not `eprintln!`: standard error may be closed, and this thread must live on.
            let _ = writeln!(std::io::stderr(), "stopping; once more stops at once");
        } else {
            process::exit(1);
        }
    })
}
