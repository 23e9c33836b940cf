//! The queue between the reader of the console and the engine.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Claim, ConsoleInput, ConsoleKind, LONGEST_LINE_BYTES, Notice, ShutdownReason};
use crate::kernel::mailbox::Mailbox;
use crate::sync::{Condvar, Mutex, MutexGuard};

#[cfg(all(test, loom))]
mod loom_tests;

/// How many pieces of input may wait before reading stops.
const MOST_PIECES: usize = if cfg!(loom) { 2 } else { 256 };
/// How many bytes of text may wait before reading stops: a few of the longest lines.
const MOST_BYTES: usize = 4 * LONGEST_LINE_BYTES;

/// A piece of console input that owns its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    Line(String),
    LineCut(String),
    Bytes(String),
    Interrupt,
    End,
    /// The window has this known size.
    Resized {
        columns: u16,
        rows: u16,
    },
    /// The window has a new size: ask the driver.
    #[cfg_attr(not(unix), allow(dead_code))]
    WindowChanged,
    Shutdown {
        reason: ShutdownReason,
        time_left: Option<Duration>,
    },
    #[cfg_attr(not(unix), allow(dead_code))]
    Continued,
    Drained,
    /// For the driver only.
    #[cfg_attr(not(windows), allow(dead_code))]
    Notice(Notice),
}

impl Input {
    fn text_bytes(&self) -> usize {
        match self {
            Input::Line(text) | Input::LineCut(text) | Input::Bytes(text) => text.len(),
            _ => 0,
        }
    }

    /// The caller's view of it; `None` for a message between driver and engine.
    pub(crate) fn as_event(&self) -> Option<ConsoleInput<'_>> {
        Some(match self {
            Input::Line(text) => ConsoleInput::Line(text),
            Input::LineCut(text) => ConsoleInput::LineCut(text),
            Input::Bytes(text) => ConsoleInput::Bytes(text),
            Input::Interrupt => ConsoleInput::Interrupt,
            Input::End => ConsoleInput::EndOfInput,
            Input::Resized { columns, rows } => ConsoleInput::Resized { columns: *columns, rows: *rows },
            Input::Shutdown { reason, time_left } => {
                ConsoleInput::Shutdown { reason: *reason, time_left: *time_left }
            }
            Input::Continued => ConsoleInput::Continued,
            Input::Drained => ConsoleInput::Drained,
            Input::WindowChanged | Input::Notice(_) => return None,
        })
    }

    /// Whether it is addressed to the process instead of typed.
    pub(crate) fn is_signal(&self) -> bool {
        matches!(self, Input::Interrupt | Input::Shutdown { .. } | Input::Continued)
    }
}

/// A bounded queue. The bound is for readers that check it ([`Inbox::has_room`]): input that has been read is always
/// taken.
pub(crate) struct Inbox {
    state: Mutex<State>,
    room: Condvar,
    mailbox: Arc<Mailbox>,
    /// The right to read standard input. It ends when the last reader has let go of the inbox [hc56].
    claim: Option<Claim>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Input>,
    bytes: usize,
    closed: bool,
}

impl State {
    fn has_room(&self) -> bool {
        self.queue.len() < MOST_PIECES && self.bytes < MOST_BYTES
    }
}

impl Inbox {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Arc<Inbox> {
        Inbox::with_claim(mailbox, None)
    }

    /// An inbox for standard input, with the input that the previous reader left.
    pub(crate) fn with_claim(mailbox: Arc<Mailbox>, claim: Option<Claim>) -> Arc<Inbox> {
        let left = claim.as_ref().map(Claim::take).unwrap_or_default();
        let inbox = Inbox { state: Mutex::default(), room: Condvar::new(), mailbox, claim };
        left.into_iter().for_each(|input| inbox.push(input));
        Arc::new(inbox)
    }

    /// Records the kind of the input.
    pub(crate) fn set_kind(&self, kind: ConsoleKind) {
        self.claim.iter().for_each(|claim| claim.set_kind(kind));
    }

    /// The reactor gives the input up: what it had already collected, and what is queued, is left for the next reader.
    pub(crate) fn leave(&self, collected: impl Iterator<Item = Input>) {
        if let Some(claim) = &self.claim {
            claim.leave(collected.chain(std::iter::from_fn(|| self.pop())));
        }
    }

    /// Leaves the line that the operator was typing to the next reader.
    pub(crate) fn leave_line(&self, line: String) {
        self.claim.iter().for_each(|claim| claim.leave_line(line.clone()));
    }

    /// Takes the line that the operator was typing.
    pub(crate) fn take_line(&self) -> String {
        self.claim.as_ref().map(Claim::take_line).unwrap_or_default()
    }

    /// In a forked process, which does not use this inbox again: the other process has its own claim.
    pub(crate) fn release_claim(&self) {
        self.claim.iter().for_each(Claim::release);
    }

    /// Adds a piece and wakes the reactor.
    pub(crate) fn push(&self, input: Input) {
        let mut state = self.state();
        // Raw input comes a key at a time; keys that were not collected yet are joined to one piece.
        if let (Some(Input::Bytes(last)), Input::Bytes(more)) = (state.queue.back_mut(), &input) {
            last.push_str(more);
        } else {
            state.queue.push_back(input.clone());
        }
        state.bytes += input.text_bytes();
        drop(state);
        self.mailbox.notify();
    }

    /// Wakes the reactor, which has a reason to check again.
    pub(crate) fn wake(&self) {
        self.mailbox.notify();
    }

    /// Takes out the first piece.
    pub(crate) fn pop(&self) -> Option<Input> {
        let mut state = self.state();
        let input = state.queue.pop_front()?;
        state.bytes -= input.text_bytes();
        if state.has_room() {
            self.room.notify_all();
        }
        Some(input)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state().queue.is_empty()
    }

    /// Whether a reader may read more.
    pub(crate) fn has_room(&self) -> bool {
        self.state().has_room()
    }

    /// Waits, in a reader's thread, until there is room. Returns false when the inbox is closed.
    pub(crate) fn wait_for_room(&self) -> bool {
        let mut state = self.state();
        while !state.has_room() && !state.closed {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.closed
    }

    /// The engine no longer reads it: readers stop. Input that they have read is still taken.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.room.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code between lock and unlock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.leave(std::iter::empty());
    }
}
