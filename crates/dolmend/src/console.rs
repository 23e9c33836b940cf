//! Standard input as one more source of commands: the operator's.
//!
//! A thread of its own reads lines, because reading standard input blocks, whatever it is.
//! Lines go through a bounded channel, and a post tells the loop that something is in it. The
//! bound makes a long piped script wait for the server instead of filling its memory.
//!
//! The thread cannot be interrupted while it blocks, so nobody ever waits for it: it ends with
//! the process.

use std::io::{self, BufRead, Read as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use dolmen::{ErrorKind, Poster, Token};

/// Lines that may wait between the thread and the loop.
const MOST_WAITING_LINES: usize = 64;

/// The longest line, in bytes. The rest of a longer one is read as the next.
const LONGEST_LINE_BYTES: u64 = 65_536;

/// What comes from the console.
#[derive(Debug, PartialEq, Eq)]
pub enum ConsoleInput {
    /// A line, without its end.
    Line(String),
    /// There will be no more.
    End,
}

/// The receiving end of a console.
#[derive(Debug)]
pub struct Console {
    /// What was read and not yet processed.
    pub input: Receiver<ConsoleInput>,
    /// Whether the server shuts down when the input ends. So it is for a script; at a
    /// terminal, Ctrl-D only means that the operator has nothing more to say.
    pub end_is_shutdown: bool,
}

/// Starts to read standard input. For each piece of it, a post with `token` is made.
///
/// # Errors
///
/// When the system gives no thread.
pub fn start(poster: Poster, token: Token, end_is_shutdown: bool) -> io::Result<Console> {
    let (sender, input) = sync_channel(MOST_WAITING_LINES);
    thread::Builder::new().name("console".into()).spawn(move || {
        read_lines(io::stdin().lock(), |piece| deliver(&sender, &poster, token, piece));
    })?;
    Ok(Console { input, end_is_shutdown })
}

/// Hands a piece of input to the loop. False when nobody is there to take it.
fn deliver(sender: &SyncSender<ConsoleInput>, poster: &Poster, token: Token, piece: ConsoleInput) -> bool {
    if sender.send(piece).is_err() {
        return false;
    }
    match poster.post(token, 0) {
        Ok(()) => true,
        // The loop has posts to collect, so it is awake and will look into the channel.
        Err(error) => error.kind() == ErrorKind::PostsFull,
    }
}

/// Reads lines until the end or an error, or until `deliver` wants no more.
fn read_lines(mut input: impl BufRead, mut deliver: impl FnMut(ConsoleInput) -> bool) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.by_ref().take(LONGEST_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::warn!(%error, "the console cannot be read any more");
                break;
            }
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']).to_string();
        if !deliver(ConsoleInput::Line(text)) {
            return;
        }
    }
    deliver(ConsoleInput::End);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Vec<ConsoleInput> {
        let mut pieces = Vec::new();
        read_lines(input, |piece| {
            pieces.push(piece);
            true
        });
        pieces
    }

    fn line(text: &str) -> ConsoleInput {
        ConsoleInput::Line(text.into())
    }

    #[test]
    fn lines_come_without_their_ends_and_then_the_end_comes_once() {
        assert_eq!(read(b""), [ConsoleInput::End]);
        assert_eq!(read(b"who\r\n\nshutdown"), [line("who"), line(""), line("shutdown"), ConsoleInput::End]);
        assert_eq!(read(b"caf\xe9\n"), [line("caf\u{fffd}"), ConsoleInput::End]);
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let pieces = read(&vec![b'x'; LONGEST_LINE_BYTES as usize + 1]);
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[1], line("x"));
    }

    #[test]
    fn reading_stops_when_nobody_takes_it() {
        let mut count = 0;
        read_lines(&b"a\nb\nc\n"[..], |_| {
            count += 1;
            false
        });
        assert_eq!(count, 1);
    }
}
