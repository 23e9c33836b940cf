//! The engine's methods for the console and the signals. They tie both to the watches over their handles.

use std::path::Path;
use std::sync::Arc;

use super::{AWAY_NS, Collected, Signals, Typed};
use crate::console::{
    Claim, Completer, ConsoleKind, ConsoleMode, Driver, Inbox, MOST_OUTPUT_BYTES, SignalSource,
};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::kernel::Kernel;
use crate::marks::{Mark, mark};
use crate::record::Record;
use crate::token::{Key, Token, WatchId};

const NO_CONSOLE_ADVICE: &str = "register it with `Reactor::add_console`";
const FULL_ADVICE: &str = "print it again when the output was read, or leave it out";

impl<K: Kernel> Engine<K> {
    /// Registers the console. `open` starts the driver. The reader of standard input holds the claim to it.
    pub(crate) fn add_console(
        &mut self,
        claim: Option<Claim>,
        open: impl FnOnce(&Arc<Inbox>) -> Result<Box<dyn Driver<K::Handle>>, Error>,
        open_signals: impl FnOnce(&Arc<Inbox>) -> Result<Box<dyn SignalSource<K::Handle>>, Error>,
        token: Token,
    ) -> Result<ConsoleKind, Error> {
        self.console_after_fork();
        if self.console.typed.is_some() {
            return Err(Error::plain(ErrorKind::AlreadyRegistered, "read the console"));
        }
        if self.console.signals.is_none() {
            self.insert_signals(open_signals, None)?;
        }
        let inbox = Inbox::with_claim(self.mailbox(), claim);
        let driver = match open(&inbox) {
            Ok(driver) => driver,
            Err(error) => {
                self.drop_console_signals();
                return Err(error);
            }
        };
        let kind = driver.kind();
        inbox.set_kind(kind);
        self.console.registrations += 1;
        let registration = self.console.registrations;
        self.console.typed = Some(Typed { token, registration, inbox, driver, watch: None, held: false });
        if let Err(error) = self.watch_console() {
            self.remove_console();
            return Err(error);
        }
        Ok(kind)
    }

    /// Reports signals under a separate token.
    pub(crate) fn add_signals(
        &mut self,
        open: impl FnOnce(&Arc<Inbox>) -> Result<Box<dyn SignalSource<K::Handle>>, Error>,
        token: Token,
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
            None => self.insert_signals(open, Some(token)),
        }
    }

    fn insert_signals(
        &mut self,
        open: impl FnOnce(&Arc<Inbox>) -> Result<Box<dyn SignalSource<K::Handle>>, Error>,
        token: Option<Token>,
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
            watch.map(|watch| self.remove_watch(watch));
        }
    }

    /// In a forked process the console belongs to the other one, with the threads that read it and write to it and the
    /// locks that they may hold. So it is left alone and not even dropped. Signals come to each process.
    #[inline]
    pub(in crate::engine) fn console_after_fork(&mut self) {
        if self.console.process.is_copy() {
            self.begin_console_anew();
        }
    }

    #[cold]
    fn begin_console_anew(&mut self) {
        self.abandon_console();
        let Some(signals) = &mut self.console.signals else { return self.console.process.settle() };
        let (renewed, watch) = (signals.source.renew(), signals.watch.take());
        watch.map(|watch| self.remove_watch(watch));
        let watched = renewed
            .map_err(|error| Error::from_io(ErrorKind::Os, "catch signals", error))
            .and_then(|()| self.watch_signals());
        match watched {
            Ok(()) => self.console.process.settle(),
            // The next turn tries again.
            Err(error) => {
                if let Some(failures) = self.console.unsettled.note(self.cx.submitter.now_ns()) {
                    tracing::error!(
                        target: "dolmen",
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
        self.cx.removed.mark_console(typed.registration);
        if let Some(watch) = typed.watch {
            self.remove_watch(watch);
        }
        let Typed { inbox, driver, .. } = typed;
        inbox.release_claim();
        std::mem::forget((inbox, driver));
        self.drop_console_signals();
    }

    pub(crate) fn remove_console(&mut self) -> bool {
        self.console_after_fork();
        let Some(typed) = self.console.typed.take() else { return false };
        self.cx.removed.mark_console(typed.registration);
        if !typed.inbox.is_empty() {
            mark(Mark::ConsoleRemovedWithLeftover);
        }
        typed.inbox.close();
        if let Some(watch) = typed.watch {
            self.remove_watch(watch);
        }
        let Typed { registration, inbox, driver, .. } = typed;
        // The drop restores the terminal, and ends the readers.
        drop(driver);
        inbox.leave(self.cx.outbox.iter().filter_map(|record| match record {
            Record::Console { registration: of, input, .. } if *of == registration => Some(input.clone()),
            _ => None,
        }));
        self.drop_console_signals();
        true
    }

    /// Removes both the console and the signals, at the end of the reactor.
    pub(in crate::engine) fn remove_console_and_signals(&mut self) {
        if self.console.process.is_copy() {
            self.abandon_console();
        }
        self.remove_console();
        self.console.signals = None;
    }

    pub(crate) fn console_kind(&mut self) -> Result<ConsoleKind, Error> {
        self.console_after_fork();
        self.console
            .kind()
            .ok_or_else(|| Error::plain(ErrorKind::NotFound, "use the console").advised(NO_CONSOLE_ADVICE))
    }

    pub(crate) fn console_size(&self) -> Option<(u16, u16)> {
        self.console.size()
    }

    pub(crate) fn set_console_mode(&mut self, mode: ConsoleMode) -> Result<(), Error> {
        self.with_driver("set the console's mode", |driver| driver.set_mode(mode))
    }

    pub(crate) fn set_console_echo(&mut self, echo: bool) -> Result<(), Error> {
        self.with_driver("set the console's echo", |driver| driver.set_echo(echo))
    }

    pub(crate) fn set_console_prompt(&mut self, prompt: &str) -> Result<(), Error> {
        self.with_driver("set the console's prompt", |driver| driver.set_prompt(prompt))
    }

    pub(crate) fn print_on_console(&mut self, text: &str) -> Result<(), Error> {
        self.with_driver("print on the console", |driver| driver.print(text))
    }

    pub(crate) fn answer_on_console(&mut self, text: &str) -> Result<(), Error> {
        self.with_driver("print on the console", |driver| driver.answer(text))
    }

    pub(crate) fn flush_console(&mut self) -> Result<(), Error> {
        self.with_driver("flush the console", |driver| driver.flush())
    }

    pub(crate) fn set_console_history_file(&mut self, path: &Path) -> Result<(), Error> {
        self.with_driver("keep the console's history", |driver| driver.set_history_file(path))
    }

    pub(crate) fn set_console_completer(&mut self, completer: Completer) -> Result<(), Error> {
        self.with_driver("complete the console's words", |driver| {
            driver.set_completer(completer);
            Ok(())
        })
    }

    fn with_driver(
        &mut self,
        action: &'static str,
        act: impl FnOnce(&mut dyn Driver<K::Handle>) -> std::io::Result<()>,
    ) -> Result<(), Error> {
        self.console_after_fork();
        self.serve_signals();
        let Some(typed) = &mut self.console.typed else {
            return Err(Error::plain(ErrorKind::NotFound, action).advised(NO_CONSOLE_ADVICE));
        };
        let done = act(&mut *typed.driver).map_err(|error| {
            let full = error.kind() == std::io::ErrorKind::WouldBlock;
            match full {
                true => Error::from_io(ErrorKind::QueueFull, action, error)
                    .limited(MOST_OUTPUT_BYTES)
                    .advised(FULL_ADVICE),
                false => Error::from_io(ErrorKind::Os, action, error),
            }
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
                self.remove_watch(watch);
            }
            _ => {}
        }
        Ok(())
    }

    /// A watch has fired. Returns true if it is the console's or the signals', and has been handled.
    pub(in crate::engine) fn console_watch_fired(&mut self, key: Key) -> bool {
        let watch = Some(WatchId(key));
        if let Some(signals) = self.console.signals.as_mut().filter(|signals| signals.watch == watch) {
            signals.source.ready();
            self.list_watch(key);
            return true;
        }
        if self.console.typed.as_ref().is_none_or(|typed| typed.watch != watch) {
            return false;
        }
        // A Ctrl-C before this has discarded the line being typed.
        self.serve_signals();
        let typed = self.console.typed.as_mut().expect("it was just there");
        typed.driver.ready();
        typed.held = !typed.inbox.has_room();
        if typed.held {
            mark(Mark::ConsoleHeld);
        }
        let is_away = typed.driver.is_away();
        if let (true, Some(watch)) = (is_away, self.watches.get_mut(key)) {
            watch.pause(&mut self.cx, key, AWAY_NS);
        }
        self.list_watch(key);
        self.watch_console_or_log();
        true
    }

    fn watch_console_or_log(&mut self) {
        if let Err(error) = self.watch_console() {
            tracing::error!(target: "dolmen", %error, "the console cannot be watched");
        }
    }

    /// Takes a batch of console input, and one of signals, into the outbox.
    pub(in crate::engine) fn collect_console(&mut self, batch: usize) {
        if !self.console.is_registered() {
            return;
        }
        self.console.take_signals_before_input();
        let signals = self.console.collect_signals(&mut self.cx.outbox, batch);
        self.collected(signals);
        let input = self.console.collect_input(&mut self.cx.outbox, batch);
        self.collected(input);
    }

    /// Takes signals before input that they precede.
    fn serve_signals(&mut self) {
        if let Some(signals) = &mut self.console.signals {
            signals.source.collect_now();
        }
        let signals = self.console.collect_signals(&mut self.cx.outbox, self.cx.config.max_events);
        self.collected(signals);
    }

    fn collected(&mut self, collected: Collected) {
        if collected.noticed {
            self.watch_console_or_log();
        }
        if let Some(WatchId(key)) = collected.rearm {
            self.list_watch(key);
        }
    }
}
