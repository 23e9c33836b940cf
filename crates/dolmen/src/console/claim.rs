//! A process has one standard input, and so one reader of it at a time; the next reader gets what this one left.
//!
//! The claim belongs to the inbox, and the inbox to everything that may still read: the reactor, and a thread that is
//! blocked in a read when its reactor gives the console up. So a second reader cannot start beside such a thread, and
//! lose its first line to it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::decoder::Decoder;
use super::{ConsoleKind, ConsoleMode, Inbox, Input};
use crate::error::{Error, ErrorKind};
use crate::kernel::fork::Lock;
use crate::sync::MutexGuard;

static CLAIMED: AtomicBool = AtomicBool::new(false);

/// Standard input that was read ahead and not delivered when its reader gave it up: the next reader gets it first. That of
/// this process: a forked one begins with none, or both would deliver it [hc47].
static LEFTOVER_INPUT: LazyLock<Lock<LeftoverInput>> = LazyLock::new(Lock::new);

#[derive(Default)]
struct LeftoverInput {
    inputs: Vec<Input>,
    /// With an unfinished line.
    decoder: Option<Decoder>,
    /// What the operator had typed of a line.
    line: String,
}

/// The right to read standard input.
pub(crate) struct Claim {
    /// The end of a script will be found again by the next reader, but not the key for it.
    end_is_a_key: AtomicBool,
}

impl Claim {
    pub(crate) fn new() -> Result<Claim, Error> {
        if CLAIMED.swap(true, Ordering::AcqRel) {
            return Err(Error::plain(ErrorKind::AlreadyRegistered, "read the console"));
        }
        Ok(Claim { end_is_a_key: AtomicBool::new(true) })
    }

    /// Records the kind of the input.
    pub(super) fn set_kind(&self, kind: ConsoleKind) {
        self.end_is_a_key.store(kind == ConsoleKind::Terminal, Ordering::Relaxed);
    }

    /// Keeps input that was not delivered.
    pub(super) fn leave(&self, inputs: impl Iterator<Item = Input>) {
        let is_kept = |input: &Input| match input {
            Input::Line(_) | Input::LineCut(_) | Input::Bytes(_) | Input::Interrupt => true,
            Input::End => self.end_is_a_key.load(Ordering::Relaxed),
            _ => false,
        };
        leftover().inputs.extend(inputs.filter(is_kept));
    }

    /// Takes the kept input.
    pub(super) fn take(&self) -> Vec<Input> {
        std::mem::take(&mut leftover().inputs)
    }

    /// Keeps the line that the operator was typing.
    pub(super) fn leave_line(&self, line: String) {
        leftover().line = line;
    }

    /// Takes the line that the operator was typing.
    pub(super) fn take_line(&self) -> String {
        std::mem::take(&mut leftover().line)
    }

    /// In a forked process: the reader is the other process's.
    pub(super) fn release(&self) {
        CLAIMED.store(false, Ordering::Release);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

/// A decoder for a pipe or a file: one that has the beginning of a line, if there is one.
pub(super) fn decoder(mode: ConsoleMode, inbox: &Inbox) -> Decoder {
    // Taken out first: what it puts into the inbox may be dropped with the inbox, which locks the leftover.
    let left = leftover().decoder.take();
    match left {
        Some(mut decoder) => {
            decoder.set_mode(mode, |input| inbox.push(input));
            decoder
        }
        None => Decoder::new(mode, false),
    }
}

/// Keeps a decoder for the next reader of the same pipe or file.
pub(super) fn leave_decoder(decoder: Decoder) {
    leftover().decoder = Some(decoder);
}

fn leftover() -> MutexGuard<'static, LeftoverInput> {
    LEFTOVER_INPUT.ours().lock()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::mailbox::Mailbox;
    use std::sync::Arc;

    /// A thread that is left behind in a read would take the first line of the next reader.
    #[test]
    fn hc56_nobody_else_reads_before_the_last_reader_has_let_go_and_its_line_is_kept() {
        let open = || {
            let claim = Claim::new().expect("nobody reads");
            Inbox::with_claim(Mailbox::new(Box::new(crate::kernel::mailbox::NullSignal), 1), Some(claim))
        };
        let reactor = open();
        let thread = Arc::clone(&reactor);
        reactor.push(Input::Line("collected".into()));
        reactor.close();
        reactor.leave(std::iter::empty());
        drop(reactor);
        assert!(Claim::new().is_err(), "the thread still reads");
        thread.push(Input::Line("read by the thread".into()));
        drop(thread);
        let next = open();
        let lines = ["collected", "read by the thread"].map(|text| Some(Input::Line(text.into())));
        assert_eq!([next.pop(), next.pop()], lines);
        assert_eq!(next.pop(), None);
    }
}
