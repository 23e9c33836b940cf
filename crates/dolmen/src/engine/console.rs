//! The console and the process's signals, as sources like any others.
//!
//! The engine reads neither. A [`Driver`] and a [`SignalSource`] fill inboxes, from their own threads or when a handle
//! that the engine watches for them is readable. A turn takes one batch out of each. A full inbox leaves its watch
//! unarmed.
//!
//! This file has the state; `verbs` has the methods of the engine, which also adds and removes the watches.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::console::{ConsoleKind, Driver, Inbox, Input, Notice, ShutdownReason, SignalSource};
use crate::kernel::fork::Process;
use crate::marks::{Mark, mark};
use crate::record::Record;
use crate::token::{Key, Token, WatchId};

use super::failures::Failures;

mod verbs;

/// How long to wait before checking again a terminal that belonged to another process, when there is input.
const AWAY_NS: u64 = 100_000_000;

/// The reactor's state of the console.
pub(super) struct Console<H> {
    typed: Option<Typed<H>>,
    signals: Option<Signals<H>>,
    /// Counts registrations, to distinguish the events of one that was removed.
    registrations: u32,
    /// The process that registered them.
    process: Process,
    /// Failures to watch signals in a forked process.
    unsettled: Failures,
}

struct Typed<H> {
    token: Token,
    registration: u32,
    inbox: Arc<Inbox>,
    driver: Box<dyn Driver<H>>,
    watch: Option<WatchId>,
    /// The watch waits for room in the inbox.
    held: bool,
}

struct Signals<H> {
    /// `None`: they were registered together with the console, and use its token.
    token: Option<Token>,
    inbox: Arc<Inbox>,
    source: Box<dyn SignalSource<H>>,
    watch: Option<WatchId>,
}

impl<H> Console<H> {
    pub(super) fn new() -> Console<H> {
        Console {
            typed: None,
            signals: None,
            registrations: 0,
            process: Process::current(),
            unsettled: Failures::default(),
        }
    }

    /// Whether a watch is the console's and must wait for room in the inbox.
    pub(super) fn holds(&self, key: Key) -> bool {
        self.typed.as_ref().is_some_and(|typed| typed.held && typed.watch == Some(WatchId(key)))
    }

    /// For how long a wait may block while the signals still belong to another process.
    pub(super) fn signal_retry_ns(&self) -> Option<u64> {
        self.process.is_copy().then_some(AWAY_NS)
    }

    /// Whether there is a console, or signals are events.
    fn is_registered(&self) -> bool {
        self.typed.is_some() || self.signals.is_some()
    }

    /// Whether something is ready to be collected.
    pub(super) fn has_work(&self) -> bool {
        self.typed.as_ref().is_some_and(|typed| !typed.inbox.is_empty() && !typed.driver.is_behind())
            || self.signals.as_ref().is_some_and(|signals| !signals.inbox.is_empty())
    }

    pub(super) fn kind(&self) -> Option<ConsoleKind> {
        self.typed.as_ref().map(|typed| typed.driver.kind())
    }

    pub(super) fn size(&self) -> Option<(u16, u16)> {
        self.typed.as_ref().and_then(|typed| typed.driver.size())
    }

    /// Takes a batch of console input into the outbox.
    fn collect_input<S>(&mut self, outbox: &mut VecDeque<Record<S>>, batch: usize) -> Collected {
        let mut collected = Collected::default();
        let Some(typed) = &mut self.typed else { return collected };
        for _ in 0..batch {
            if typed.driver.is_behind() {
                mark(Mark::ConsoleBehind);
                return collected;
            }
            let input = match typed.inbox.pop() {
                None => break,
                Some(Input::Notice(notice)) => {
                    typed.driver.notice(notice);
                    collected.noticed = true;
                    continue;
                }
                Some(input) => input,
            };
            // A request to end belongs to the signals, even if it was a key.
            let own = self.signals.as_ref().and_then(|signals| signals.token);
            let (token, registration) = match own.filter(|_| input.is_signal()) {
                Some(token) => (token, 0),
                None => (typed.token, typed.registration),
            };
            outbox.push_back(Record::Console { token, registration, input });
        }
        typed.driver.room();
        if typed.held && typed.inbox.has_room() {
            typed.held = false;
            collected.rearm = typed.watch;
        }
        collected
    }

    /// A Ctrl-C that was pressed before input in the inbox may not have been reported as readable yet [hc29].
    fn take_signals_before_input(&mut self) {
        if let (Some(typed), Some(signals)) = (&self.typed, &mut self.signals) {
            if !typed.inbox.is_empty() {
                signals.source.collect_now();
            }
        }
    }

    /// Takes a batch of signals into the outbox.
    fn collect_signals<S>(&mut self, outbox: &mut VecDeque<Record<S>>, batch: usize) -> Collected {
        let mut collected = Collected::default();
        for _ in 0..batch {
            let Some(signals) = &mut self.signals else { break };
            let Some(input) = signals.inbox.pop() else { break };
            let own = signals.token;
            if input.is_signal() {
                signals.source.collected();
            }
            let notice = match input {
                // Ctrl-Break also discards the line being typed.
                Input::Interrupt | Input::Shutdown { reason: ShutdownReason::Break, .. } => {
                    Some(Notice::Interrupted)
                }
                Input::Continued => Some(Notice::Continued),
                _ => None,
            };
            if let (Some(notice), Some(typed)) = (notice, &mut self.typed) {
                typed.driver.notice(notice);
                collected.noticed = true;
            }
            if let (Input::WindowChanged, Some(typed)) = (&input, &mut self.typed) {
                typed.driver.resized();
            }
            let console = self.typed.as_ref().map(|typed| (typed.token, typed.registration));
            let input = match (input, self.size()) {
                (Input::WindowChanged, Some((columns, rows))) => Input::Resized { columns, rows },
                (Input::WindowChanged, None) => continue,
                (input, _) => input,
            };
            // The window belongs to the console, a request to the registration that names signals, if there is one.
            let whose = if input.is_signal() { own.map(|token| (token, 0)).or(console) } else { console };
            if let Some((token, registration)) = whose {
                outbox.push_back(Record::Console { token, registration, input });
            }
        }
        collected
    }
}

/// What the engine has to do after collecting.
#[derive(Default)]
#[must_use]
struct Collected {
    /// The driver got a notice: it may wait for another handle now, or for none.
    noticed: bool,
    /// The inbox has room again for what this watch brings.
    rearm: Option<WatchId>,
}
