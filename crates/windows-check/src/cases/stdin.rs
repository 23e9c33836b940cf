//! Standard input that is a pipe and that the caller reads itself, as drivers written for the C library do.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::windows::fs::OpenOptionsExt as _;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OVERLAPPED;

use crate::c_library::CReactor;
use crate::case::{Check, Outcome, Result};
use crate::sys;

const CONTEXT: usize = 7;
const DEADLINE: Duration = Duration::from_secs(5);
const LINES: usize = 50;
const LINE: &[u8] = b"look at the sword\n";

pub fn pipe(_: &Check) -> Result {
    let (input, output) = sys::pipe()?;
    read_by_the_caller(input, output, |mut file, buffer| file.read(buffer))
}

pub fn overlapped(_: &Check) -> Result {
    let name = format!(r"\\.\pipe\windows-check-{}", std::process::id());
    let output = sys::named_pipe(&name)?;
    let input = File::options().read(true).custom_flags(FILE_FLAG_OVERLAPPED).open(&name)?;
    read_by_the_caller(input, output, sys::read_overlapped)
}

/// Each line is written while the reactor waits. Then the pipe is closed.
fn read_by_the_caller(
    input: File,
    mut output: File,
    read: impl Fn(&File, &mut [u8]) -> io::Result<usize>,
) -> Result {
    sys::set_stdin(&input)?;
    let reactor = CReactor::new()?;
    reactor.add_console(CONTEXT)?;
    // The thread writes a line for each request, and ends when there are no more of them.
    let (requests, requested) = mpsc::channel::<()>();
    let (sender, written) = mpsc::channel();
    let writer = thread::spawn(move || {
        while requested.recv().is_ok() {
            let before = Instant::now();
            let result = output.write_all(LINE);
            let _ = sender.send(result.map(|()| before));
        }
    });
    let mut took = Vec::new();
    let mut buffer = [0; 256];
    for n in 0..LINES {
        // Nothing is there, so the library waits in a read of its own, and must not take the line that comes.
        if !reactor.wait(Duration::from_millis(1))?.is_empty() {
            return Ok(Outcome::Fail(format!("line {n}: an event without input")));
        }
        requests.send(())?;
        let Some(reported) = reported(&reactor)? else {
            return Ok(Outcome::Fail(format!("line {n} was not reported within {} s", DEADLINE.as_secs())));
        };
        took.push(reported.saturating_duration_since(written.recv()??));
        let count = read(&input, &mut buffer)?;
        if &buffer[..count] != LINE {
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            return Ok(Outcome::Fail(format!("line {n}: the caller read {text:?}")));
        }
    }
    drop(requests);
    writer.join().map_err(|_| "the writer panicked")?;
    if reported(&reactor)?.is_none() {
        return Ok(Outcome::Fail("the end was not reported".to_owned()));
    }
    match read(&input, &mut buffer) {
        Ok(0) => {}
        other => return Ok(Outcome::Fail(format!("at the end the caller's read returned {other:?}"))),
    }
    if !reactor.wait(Duration::from_millis(50))?.is_empty() {
        return Ok(Outcome::Fail("the end was reported twice".to_owned()));
    }
    took.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    Ok(Outcome::Pass(format!(
        "{LINES} lines, reported {:.2} ms (median) and at most {:.2} ms after they were written; the end once",
        ms(took[LINES / 2]),
        ms(took[LINES - 1])
    )))
}

/// Waits for the event of standard input. `None`: it does not come.
fn reported(reactor: &CReactor) -> io::Result<Option<Instant>> {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        if reactor.wait(DEADLINE)?.iter().any(|event| event.context == CONTEXT) {
            return Ok(Some(Instant::now()));
        }
    }
    Ok(None)
}
