//! The thread that writes to standard error, so that one that nobody reads does not stop the game.
//!
//! What waits is bounded. Beyond that whole texts are left out, and their number is told once somebody reads again.

use std::io::{self, Write as _};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How much may wait for somebody who reads.
const MOST_BYTES: usize = 1 << 20;

/// How long the end waits for somebody who reads.
const PATIENCE: Duration = Duration::from_secs(1);

static STATE: Mutex<State> = Mutex::new(State::new());
static CHANGED: Condvar = Condvar::new();

struct State {
    /// A thread takes what waits. Where there is none, whoever has something writes it.
    threaded: bool,
    waiting: Vec<u8>,
    lost: u64,
    ending: bool,
    ended: bool,
}

impl State {
    const fn new() -> State {
        State { threaded: false, waiting: Vec::new(), lost: 0, ending: false, ended: false }
    }

    /// What is to be written next; empty when there is nothing.
    fn take(&mut self, piece: &mut Vec<u8>) {
        piece.clear();
        std::mem::swap(piece, &mut self.waiting);
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            piece.extend_from_slice(format!("({lost} log lines were lost: nobody read them)\n").as_bytes());
        }
    }
}

/// The thread, which ends when this is dropped: what waits is written first, as far as somebody reads it within a second.
#[derive(Debug)]
pub(super) struct Writer(Option<JoinHandle<()>>);

impl Writer {
    /// Starts the thread, unless there is one.
    pub(super) fn start() -> Option<Writer> {
        let mut state = state();
        if state.threaded {
            return None;
        }
        // Without a thread everything still works, but for its not waiting.
        let thread = dolmen::spawn_thread("log", run).ok()?;
        *state = State { threaded: true, ..State::new() };
        Some(Writer(Some(thread)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = state();
        state.ending = true;
        CHANGED.notify_all();
        let waited = CHANGED.wait_timeout_while(state, PATIENCE, |state| !state.ended);
        let ended = waited.unwrap_or_else(PoisonError::into_inner).0.ended;
        if ended {
            // What it has said last is not yet its end.
            let _ = self.0.take().map(JoinHandle::join);
        }
    }
}

/// Shows a text, soon.
pub(super) fn write(text: &[u8]) {
    let mut state = state();
    if !state.threaded {
        drop(state);
        // A closed standard error is no reason to fail.
        return drop(io::stderr().write_all(text));
    }
    if state.waiting.len() + text.len() > MOST_BYTES {
        state.lost += 1;
        return;
    }
    state.waiting.extend_from_slice(text);
    CHANGED.notify_all();
}

fn run() {
    let mut piece = Vec::new();
    loop {
        let idle = |state: &mut State| state.waiting.is_empty() && state.lost == 0 && !state.ending;
        let mut state = CHANGED.wait_while(state(), idle).unwrap_or_else(PoisonError::into_inner);
        state.take(&mut piece);
        if piece.is_empty() {
            state.threaded = false;
            state.ended = true;
            CHANGED.notify_all();
            return;
        }
        drop(state);
        let _ = io::stderr().write_all(&piece);
    }
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_told_after_what_was_kept() {
        let mut state = State { waiting: b"first\n".to_vec(), lost: 2, ..State::new() };
        let mut piece = b"written before".to_vec();
        state.take(&mut piece);
        assert_eq!(piece, b"first\n(2 log lines were lost: nobody read them)\n");
        state.take(&mut piece);
        assert_eq!(piece, b"");
    }
}
