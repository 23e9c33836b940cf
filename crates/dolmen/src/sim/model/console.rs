//! The part of the model that plays the operator at the console.

use super::*;
use crate::console::{ConsoleInput, ConsoleMode, Input, LONGEST_LINE_BYTES, ShutdownReason};
use crate::sim::fake_console::{FakeConsole, FakeSignals, Scripted, SharedConsole};

/// More than fits into the inbox.
const OVERFILL: usize = 300;
const MAX_UNDELIVERED: usize = 2 * OVERFILL;

/// The token of signals that are reported separately.
const SIGNALS: Token = Token(4999);

pub(super) struct Operator {
    console: SharedConsole,
    registered: bool,
    registrations: usize,
    /// Signals have a token of their own.
    own: bool,
    /// Signals that are to be reported.
    raised: VecDeque<u64>,
    /// Interrupts that were read and not delivered when the console was removed: they may still come, with the token of the
    /// signals.
    late: usize,
    /// The totals of inputs typed, signals raised, and both delivered.
    typed: u64,
    delivered: u64,
}

impl Operator {
    pub(super) fn new(world: &SharedWorld) -> Operator {
        let (raised, registered, own) = (VecDeque::new(), false, false);
        let (registrations, late, typed, delivered) = (0, 0, 0, 0);
        Operator {
            console: FakeConsole::new(world),
            registered,
            registrations,
            own,
            raised,
            late,
            typed,
            delivered,
        }
    }

    /// A reading thread has its turn, and a writing one if everything is to become calm.
    pub(super) fn run_threads(&self, calm: bool) {
        self.console.borrow_mut().thread();
        if calm && self.console.borrow().behind {
            self.console.borrow_mut().set_behind(false);
        }
    }

    /// Types something distinguishable from what comes next to it. Now and then so much that its size counts.
    pub(super) fn type_in(&mut self, kind: u32) {
        let mut console = self.console.borrow_mut();
        if console.typed.len() + console.read.len() >= MAX_UNDELIVERED {
            return;
        }
        self.typed += 1;
        let text = self.typed.to_string();
        console.type_in(match kind % 12 {
            0..5 => Input::Line(text),
            5..8 => Input::Bytes(text),
            8 => Input::Interrupt,
            9 => Input::End,
            10 if cfg!(miri) || kind % 5 != 0 => Input::LineCut(text),
            10 => Input::LineCut(text.repeat(LONGEST_LINE_BYTES / text.len())),
            _ => Input::Resized { columns: self.typed as u16, rows: 25 },
        });
    }

    pub(super) fn overfill(&mut self) {
        for kind in 0..OVERFILL as u32 {
            self.type_in(kind % 5);
        }
    }

    pub(super) fn set_behind(&self, behind: bool) {
        self.console.borrow_mut().set_behind(behind);
    }

    pub(super) fn raise(&mut self) {
        let (reason, number) = (ShutdownReason::Terminate, self.typed + 1);
        let input = Input::Shutdown { reason, time_left: Some(Duration::from_nanos(number)) };
        if self.raised.len() < MAX_UNDELIVERED && self.console.borrow().raise(input) {
            self.typed = number;
            self.raised.push_back(number);
        }
    }

    /// What is ready for the engine to report, and how much it has reported.
    pub(super) fn waiting(&self) -> (bool, u64) {
        (self.registered && !self.console.borrow().read.is_empty(), self.delivered)
    }

    pub(super) fn needless_reads(&self) -> u32 {
        self.console.borrow().needless
    }
}

impl Run<'_> {
    pub(super) fn open_console(&mut self, watching: bool) -> Check {
        let token = Token(5000 + self.operator.registrations + 1);
        let console = &self.operator.console;
        let opened = self.engine.add_console(
            None,
            |inbox| Ok(Box::new(Scripted::open(console, inbox, watching))),
            |inbox| Ok(Box::new(FakeSignals::open(console, inbox))),
            token,
        );
        let operator = &mut self.operator;
        if std::mem::replace(&mut operator.registered, true) {
            let refused = opened.is_err_and(|error| error.kind() == ErrorKind::AlreadyRegistered);
            return self.check(Oracle::Bounds, refused, || "two consoles".into());
        }
        operator.registrations += 1;
        self.check(Oracle::Bounds, opened.is_ok(), || "a console was refused".into())
    }

    pub(super) fn remove_console(&mut self) -> Check {
        let known = self.engine.remove_console();
        let operator = &mut self.operator;
        let registered = std::mem::replace(&mut operator.registered, false);
        let lost: Vec<Input> = operator.console.borrow_mut().read.drain(..).collect();
        if operator.own {
            operator.late += lost.iter().filter(|input| input.is_signal()).count();
        } else {
            operator.raised.clear();
        }
        self.check(Oracle::Stale, known == registered, || "a console was removed twice".into())
    }

    /// Before there is a console: then the owner of each signal is clear.
    pub(super) fn catch_signals(&mut self) {
        if self.operator.registrations == 0 && !std::mem::replace(&mut self.operator.own, true) {
            let console = &self.operator.console;
            let caught =
                self.engine.add_signals(|inbox| Ok(Box::new(FakeSignals::open(console, inbox))), SIGNALS);
            caught.expect("it must succeed");
        }
    }

    pub(super) fn console_mode(&mut self, watching: bool) -> Check {
        let mode = if watching { ConsoleMode::Raw } else { ConsoleMode::Line };
        let set = self.engine.set_console_mode(mode).is_ok();
        self.check(Oracle::Stale, set == self.operator.registered, || "a console has another's mode".into())
    }

    pub(super) fn spoken(&mut self, token: Token, input: ConsoleInput<'_>) -> Check {
        let operator = &mut self.operator;
        operator.delivered += 1;
        let signal = matches!(input, ConsoleInput::Interrupt | ConsoleInput::Shutdown { .. });
        let own = signal && operator.own;
        let right = if own { SIGNALS } else { Token(5000 + operator.registrations) };
        let there = own || operator.registered;
        let mut console = operator.console.borrow_mut();
        let next = console.read.front().cloned();
        let expected = match input {
            ConsoleInput::Shutdown { time_left, .. } => {
                operator.raised.pop_front().map(Duration::from_nanos) == time_left
            }
            ConsoleInput::Bytes(mut text) => {
                // Keys that were not collected are joined to one piece.
                while let Some(Input::Bytes(key)) = console.read.front() {
                    let Some(rest) = text.strip_prefix(key.as_str()) else { break };
                    text = rest;
                    console.read.pop_front();
                    if text.is_empty() {
                        break;
                    }
                }
                text.is_empty()
            }
            input if next.as_ref().and_then(Input::as_event) == Some(input) => {
                console.read.pop_front();
                true
            }
            ConsoleInput::Interrupt => {
                operator.late.checked_sub(1).map(|late| operator.late = late).is_some()
            }
            _ => false,
        };
        drop(console);
        self.check(Oracle::Stale, there && token == right, || "a console that is gone sent input".into())?;
        self.check(Oracle::Stream, expected, || format!("{input:?} came, {next:?} is next"))
    }

    pub(super) fn check_input_delivered(&self) -> Check {
        let console = self.operator.console.borrow();
        let unread = self.operator.registered && !console.typed.is_empty();
        self.check(Oracle::Liveness, !unread, || format!("{} typed and not read", console.typed.len()))?;
        self.check(Oracle::Liveness, console.read.is_empty() && self.operator.raised.is_empty(), || {
            format!("{:?} and {:?} were not reported", console.read.front(), self.operator.raised)
        })
    }
}
