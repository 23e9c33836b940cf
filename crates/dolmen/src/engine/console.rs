//! The console and the process's signals, as sources like any others.
//!
//! The engine reads neither. A [`Driver`] and a [`SignalSource`] fill inboxes, from their own threads or when a handle
//! that the engine watches for them is readable. A turn takes one batch out of each. A full inbox leaves its watch
//! unarmed.

use std::sync::Arc;

use crate::console::{Claim, ConsoleKind, ConsoleMode, Driver, Inbox, Input, Notice, SignalSource};
use crate::error::{Error, ErrorKind};
use crate::events::Record;
use crate::kernel::Kernel;
use crate::kernel::fork::Process;
use crate::marks::{Mark, Mutant, mark, mutant};
use crate::token::{Key, Token, WatchId};

use super::Engine;
use super::failures::Failures;

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
    claim: Option<Claim>,
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

    /// Whether something is ready to be collected.
    pub(super) fn has_work(&self) -> bool {
        self.typed.as_ref().is_some_and(|typed| !typed.inbox.is_empty() && !typed.driver.is_behind())
            || self.signals.as_ref().is_some_and(|signals| !signals.inbox.is_empty())
    }
}

impl<K: Kernel> Engine<K> {
    /// Registers the console. `open` starts the driver. The reader of standard input holds the claim to it.
    pub(crate) fn console(
        &mut self,
        token: Token,
        claim: Option<Claim>,
        open: impl FnOnce(&Arc<Inbox>) -> Result<Box<dyn Driver<K::Handle>>, Error>,
        open_signals: impl FnOnce(&Arc<Inbox>) -> Result<Box<dyn SignalSource<K::Handle>>, Error>,
    ) -> Result<ConsoleKind, Error> {
        self.console_after_fork();
        if self.console.typed.is_some() {
            return Err(Error::plain(ErrorKind::AlreadyRegistered, "read the console"));
        }
        if self.console.signals.is_none() {
            self.add_signals(None, open_signals)?;
        }
        let inbox = Inbox::new(self.mailbox());
        if let Some(claim) = &claim {
            claim.take_leftover(&inbox);
        }
        let driver = match open(&inbox) {
            Ok(driver) => driver,
            Err(error) => {
                if let Some(claim) = claim {
                    claim.leave_leftover(std::iter::from_fn(|| inbox.pop()), ConsoleKind::Terminal);
                }
                self.drop_console_signals();
                return Err(error);
            }
        };
        let kind = driver.kind();
        self.console.registrations += 1;
        let registration = self.console.registrations;
        self.console.typed =
            Some(Typed { token, registration, inbox, driver, watch: None, held: false, claim });
        if let Err(error) = self.watch_console() {
            self.remove_console();
            return Err(error);
        }
        Ok(kind)
    }

    /// Reports signals under a separate token.
    pub(crate) fn signals(
        &mut self,
        token: Token,
        open: impl FnOnce(&Arc<Inbox>) -> Result<Box<dyn SignalSource<K::Handle>>, Error>,
    ) -> Result<(), Error> {
        self.console_after_fork();
        match &mut self.console.signals {
            Some(Signals { token: Some(_), .. }) => {
                Err(Error::plain(ErrorKind::AlreadyRegistered, "catch signals"))
            }
            Some(signals) => {
                signals.token = Some(token);
                Ok(())
            }
            None => self.add_signals(Some(token), open),
        }
    }

    fn add_signals(
        &mut self,
        token: Option<Token>,
        open: impl FnOnce(&Arc<Inbox>) -> Result<Box<dyn SignalSource<K::Handle>>, Error>,
    ) -> Result<(), Error> {
        let inbox = Inbox::new(self.mailbox());
        let source = open(&inbox)?;
        self.console.signals = Some(Signals { token, inbox, source, watch: None });
        self.watch_signals().inspect_err(|_| self.console.signals = None)
    }

    fn watch_signals(&mut self) -> Result<(), Error> {
        let Some(signals) = &mut self.console.signals else { return Ok(()) };
        let handle = signals.source.handle();
        let handle = handle.map_err(|error| Error::from_io(ErrorKind::Os, "catch signals", error))?;
        let Some(handle) = handle else { return Ok(()) };
        // Stored before it is armed: it may fire immediately.
        signals.watch = Some(WatchId(self.watches.next_key()));
        let watched = self.watch(handle, Token(0)).map(drop);
        if let (Err(_), Some(signals)) = (&watched, &mut self.console.signals) {
            signals.watch = None;
        }
        watched
    }

    /// Signals that were registered together with the console are removed with it.
    fn drop_console_signals(&mut self) {
        if let Some(Signals { token: None, watch, .. }) = &self.console.signals {
            let watch = *watch;
            self.console.signals = None;
            watch.map(|watch| self.unwatch(watch));
        }
    }

    /// In a forked process the console belongs to the other one, with the threads that read it and write to it and the
    /// locks that they may hold. So it is left alone and not even dropped. Signals come to each process.
    pub(super) fn console_after_fork(&mut self) {
        if !self.console.process.is_copy() {
            return;
        }
        self.abandon_console();
        let Some(signals) = &mut self.console.signals else { return self.console.process.settle() };
        let (renewed, watch) = (signals.source.renew(), signals.watch.take());
        watch.map(|watch| self.unwatch(watch));
        let watched = renewed
            .map_err(|error| Error::from_io(ErrorKind::Os, "catch signals", error))
            .and_then(|()| self.watch_signals());
        match watched {
            Ok(()) => self.console.process.settle(),
            // The next turn tries again.
            Err(error) => {
                if let Some(failures) = self.console.unsettled.note(self.submitter.now_ns()) {
                    tracing::error!(
                        target: "io_reactor",
                        failures,
                        %error,
                        "signals cannot be watched in a forked process"
                    );
                }
            }
        }
    }

    fn abandon_console(&mut self) {
        let Some(typed) = self.console.typed.take() else { return };
        self.origin.removed.mark_console(typed.registration);
        if let Some(watch) = typed.watch {
            self.unwatch(watch);
        }
        let Typed { inbox, driver, .. } = typed;
        std::mem::forget((inbox, driver));
        self.drop_console_signals();
    }

    pub(crate) fn remove_console(&mut self) -> bool {
        self.console_after_fork();
        let Some(typed) = self.console.typed.take() else { return false };
        self.origin.removed.mark_console(typed.registration);
        if !typed.inbox.is_empty() {
            mark(Mark::ConsoleRemovedWithLeftover);
        }
        typed.inbox.close();
        if let Some(watch) = typed.watch {
            self.unwatch(watch);
        }
        let Typed { registration, inbox, driver, claim, .. } = typed;
        let kind = driver.kind();
        // The drop restores the terminal, and ends the readers.
        drop(driver);
        if let Some(claim) = claim {
            let collected = self.outbox.iter().filter_map(|record| match record {
                Record::Console { registration: of, input, .. } if *of == registration => Some(input.clone()),
                _ => None,
            });
            claim.leave_leftover(collected.chain(std::iter::from_fn(|| inbox.pop())), kind);
        }
        self.drop_console_signals();
        true
    }

    /// Removes both the console and the signals, at the end of the reactor.
    pub(super) fn remove_console_and_signals(&mut self) {
        if self.console.process.is_copy() {
            self.abandon_console();
        }
        self.remove_console();
        self.console.signals = None;
    }

    pub(crate) fn console_kind(&self) -> Option<ConsoleKind> {
        self.console.typed.as_ref().map(|typed| typed.driver.kind())
    }

    pub(crate) fn console_size(&self) -> Option<(u16, u16)> {
        self.console.typed.as_ref().and_then(|typed| typed.driver.size())
    }

    pub(crate) fn set_console_mode(&mut self, mode: ConsoleMode) -> Result<(), Error> {
        self.with_driver("set the console's mode", |driver| driver.set_mode(mode))
    }

    pub(crate) fn console_echo(&mut self, echo: bool) -> Result<(), Error> {
        self.with_driver("set the console's echo", |driver| driver.set_echo(echo))
    }

    pub(crate) fn console_prompt(&mut self, prompt: &str) -> Result<(), Error> {
        self.with_driver("set the console's prompt", |driver| driver.set_prompt(prompt))
    }

    pub(crate) fn console_print(&mut self, text: &str) -> Result<(), Error> {
        self.with_driver("print on the console", |driver| driver.print(text))
    }

    pub(crate) fn console_flush(&mut self) -> Result<(), Error> {
        self.with_driver("flush the console", |driver| driver.flush())
    }

    fn with_driver(
        &mut self,
        action: &'static str,
        act: impl FnOnce(&mut dyn Driver<K::Handle>) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        self.console_after_fork();
        self.serve_signals();
        let Some(typed) = &mut self.console.typed else {
            return Err(Error::plain(ErrorKind::NotFound, action));
        };
        let done = act(&mut *typed.driver).map_err(|error| {
            let full = error.kind() == std::io::ErrorKind::WouldBlock;
            Error::from_io(if full { ErrorKind::QueueFull } else { ErrorKind::Os }, action, error)
        });
        self.watch_console().and(done)
    }

    /// Watches the handles that the driver names.
    fn watch_console(&mut self) -> Result<(), Error> {
        let Some(typed) = &mut self.console.typed else { return Ok(()) };
        match (typed.driver.watching(), typed.watch) {
            (true, None) => {
                let handle = typed.driver.handle();
                let handle =
                    handle.map_err(|error| Error::from_io(ErrorKind::Os, "watch the console", error))?;
                typed.held = false;
                // Stored before it is armed: it may fire immediately [hc02].
                typed.watch = Some(WatchId(self.watches.next_key()));
                let watched = self.watch(handle, Token(0));
                if let (Err(error), Some(typed)) = (watched, &mut self.console.typed) {
                    typed.watch = None;
                    return Err(error);
                }
            }
            (false, Some(watch)) => {
                typed.watch = None;
                self.unwatch(watch);
            }
            _ => {}
        }
        Ok(())
    }

    /// A watch has fired. Returns true if it is the console's or the signals', and has been handled.
    pub(super) fn console_watch_fired(&mut self, key: Key) -> bool {
        let watch = Some(WatchId(key));
        if let Some(signals) = self.console.signals.as_mut().filter(|signals| signals.watch == watch) {
            signals.source.ready();
            self.list_watch(key.slot);
            return true;
        }
        if self.console.typed.as_ref().is_none_or(|typed| typed.watch != watch) {
            return false;
        }
        // A Ctrl-C before this has discarded the line being typed.
        self.serve_signals();
        let typed = self.console.typed.as_mut().expect("it was just there");
        typed.driver.ready();
        typed.held = !typed.inbox.has_room() && !mutant(Mutant::ReadWhenFull);
        if typed.held {
            mark(Mark::ConsoleHeld);
        }
        if typed.driver.is_away() {
            self.pause_watch(key, AWAY_NS);
        }
        self.list_watch(key.slot);
        self.watch_console_or_log();
        true
    }

    fn watch_console_or_log(&mut self) {
        if let Err(error) = self.watch_console() {
            tracing::error!(target: "io_reactor", %error, "the console cannot be watched");
        }
    }

    /// Takes a batch of console input, and one of signals, into the outbox.
    pub(super) fn collect_console(&mut self, batch: usize) {
        self.collect_signals(batch);
        let batch = if mutant(Mutant::HogConsole) { usize::MAX } else { batch };
        for _ in 0..batch {
            let Some(typed) = &mut self.console.typed else { return };
            if typed.driver.is_behind() {
                mark(Mark::ConsoleBehind);
                return;
            }
            let Some(input) = typed.inbox.pop() else { break };
            let input = match input {
                Input::Notice(notice) => {
                    self.console_notice(notice);
                    continue;
                }
                input => input,
            };
            // A request to end belongs to the signals, even if it was a key.
            let own = self.console.signals.as_ref().and_then(|signals| signals.token);
            let (token, registration) = match own.filter(|_| input.is_signal()) {
                Some(token) => (token, 0),
                None => (typed.token, typed.registration),
            };
            self.outbox.push_back(Record::Console { token, registration, input });
        }
        let Some(typed) = &mut self.console.typed else { return };
        typed.driver.room();
        if typed.held && typed.inbox.has_room() && !mutant(Mutant::ForgetRoom) {
            typed.held = false;
            if let Some(WatchId(key)) = typed.watch {
                self.list_watch(key.slot);
            }
        }
    }

    /// Takes signals before input that they precede.
    fn serve_signals(&mut self) {
        if let Some(signals) = &mut self.console.signals {
            signals.source.collect_now();
        }
        self.collect_signals(self.config.max_events);
    }

    fn collect_signals(&mut self, batch: usize) {
        for _ in 0..batch {
            let Some(signals) = &mut self.console.signals else { return };
            let Some(input) = signals.inbox.pop() else { return };
            let own = signals.token;
            if input.is_signal() {
                signals.source.collected();
            }
            match input {
                Input::Interrupt => self.console_notice(Notice::Interrupted),
                Input::Continued => self.console_notice(Notice::Continued),
                _ => {}
            }
            let typed = self.console.typed.as_ref();
            let console = typed.map(|typed| (typed.token, typed.registration));
            let input = match (input, typed.and_then(|typed| typed.driver.size())) {
                (Input::WindowChanged, Some((columns, rows))) => Input::Resized { columns, rows },
                (Input::WindowChanged, None) => continue,
                (input, _) => input,
            };
            // The window belongs to the console, a request to the registration that names signals, if there is one.
            let whose = if input.is_signal() { own.map(|token| (token, 0)).or(console) } else { console };
            if let Some((token, registration)) = whose {
                self.outbox.push_back(Record::Console { token, registration, input });
            }
        }
    }

    fn console_notice(&mut self, notice: Notice) {
        if let Some(typed) = &mut self.console.typed {
            typed.driver.notice(notice);
        }
        self.watch_console_or_log();
    }
}
