//! Standard input for C drivers.
//!
//! A driver that was written for the reference reads its input itself after an event. So by default the library
//! consumes nothing: each wait checks standard input and reports bytes until the caller has read them, and reports the
//! end once, because a repeated end would make the caller spin. A caller may ask for bytes in the events instead
//! (*buffered*). The library never reads a terminal.
//!
//! The way to check standard input, and to be woken when there is input, differs between the systems, and is behind
//! [`Stdin`]. This module makes events from it.

#[cfg(unix)]
mod posix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use posix::Stdin as NativeStdin;
#[cfg(windows)]
pub(crate) use windows::Stdin as NativeStdin;

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

use dolmen::raw::Readiness;

use crate::boundary::Failure;
use crate::marks::{Mark, mark};
use crate::platform::Platform;
use crate::reactor::Inner;
use crate::room::Origin;
use crate::sink::Sink;
use crate::types::{EVENT_CLOSE, EVENT_READ, console_type_t};

/// What a read by the caller would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing: the read would wait.
    Nothing,
    /// Bytes or keys; or the system does not report whether there are any, and a read may wait.
    Input,
    /// The end of the input.
    End,
    /// A terminal that was hung up, with the events that say so.
    HungUp(c_int),
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Nothing,
    Bytes,
    End,
}

/// Standard input on one system, registered with the reactor under the token [`CONSOLE`](crate::reactor::CONSOLE).
pub(crate) trait Stdin<P: Platform> {
    fn kind(&self) -> console_type_t;

    /// Whether the next wait has to check, because the reactor will not report it.
    fn is_due(&self) -> bool;

    /// `reported`: the readiness that the reactor has reported, if that is the reason for the check.
    fn check(&mut self, reported: Option<Readiness>) -> State;

    /// Appends the available bytes to an empty buffer: at most [`CHUNK_BYTES`](crate::sink::CHUNK_BYTES). Only if
    /// standard input was opened with `buffered`.
    fn read(&mut self, buffer: &mut Vec<u8>) -> Read;

    /// Nothing was found. From now on the reactor is woken when there is input.
    fn arm(&mut self, reactor: &mut P::Reactor) -> Result<(), Failure>;

    /// The end was found: there is nothing more to report.
    fn stop(&mut self, reactor: &mut P::Reactor);

    fn close(self, reactor: &mut P::Reactor);
}

/// What a program may ask about standard input, from any thread: the one that reads it is rarely the one that waits. It
/// changes only inside the reactor, and is read without entering it.
#[derive(Default)]
pub(crate) struct StdinFacts {
    /// What `io_reactor.h` has registered.
    registered: Kind,
    /// What `async_runtime.h` has found out.
    described: Kind,
    context: AtomicPtr<c_void>,
}

/// A `console_type_t`, by its number.
#[derive(Default)]
struct Kind(AtomicU8);

impl Kind {
    fn set(&self, kind: console_type_t) {
        self.0.store(kind as u8, Ordering::Release);
    }

    fn get(&self) -> console_type_t {
        const KINDS: [console_type_t; 4] = [
            console_type_t::CONSOLE_TYPE_NONE,
            console_type_t::CONSOLE_TYPE_REAL,
            console_type_t::CONSOLE_TYPE_PIPE,
            console_type_t::CONSOLE_TYPE_FILE,
        ];
        // Only `set` changes it.
        KINDS[usize::from(self.0.load(Ordering::Acquire))]
    }
}

impl StdinFacts {
    /// The kind of standard input that is registered with the reactor.
    pub(crate) fn registered(&self) -> console_type_t {
        self.registered.get()
    }

    /// The kind of standard input of a caller that reads it by itself.
    pub(crate) fn described(&self) -> console_type_t {
        self.described.get()
    }

    /// The context that such a caller has given.
    pub(crate) fn context(&self) -> *mut c_void {
        self.context.load(Ordering::Acquire)
    }

    fn describe(&self, kind: console_type_t, context: *mut c_void) {
        // In front of the kind: a thread that sees the kind also sees its context.
        self.context.store(context, Ordering::Release);
        self.described.set(kind);
    }
}

/// The caller's calls.
impl<P: Platform> Inner<P> {
    pub(crate) fn add_console(&mut self, context: *mut c_void, buffered: bool) -> Result<(), Failure> {
        match &mut self.console {
            Some(console) => console.change(context, buffered),
            none => {
                let stdin = self.platform.open_stdin(&mut self.reactor, buffered)?;
                self.stdin_facts.registered.set(stdin.kind());
                *none = Some(Console::new(context, stdin, buffered));
                Ok(())
            }
        }
    }

    pub(crate) fn remove_console(&mut self) -> Result<(), Failure> {
        if let Some(console) = self.console.take() {
            self.stdin_facts.registered.set(console_type_t::CONSOLE_TYPE_NONE);
            console.close(&mut self.reactor);
        }
        Ok(())
    }

    /// Finds out the kind of standard input for a caller that reads it by itself. Nothing is registered.
    pub(crate) fn describe_stdin(&mut self, context: *mut c_void) {
        self.stdin_facts.describe(self.platform.stdin_kind(), context);
    }
}

pub(crate) struct Console<P: Platform> {
    context: *mut c_void,
    stdin: P::Stdin,
    buffered: bool,
    /// The end was reported.
    ended: bool,
    /// This wait has delivered its event.
    delivered: bool,
}

impl<P: Platform> Console<P> {
    pub(crate) fn new(context: *mut c_void, stdin: P::Stdin, buffered: bool) -> Console<P> {
        let buffered = buffered && stdin.kind() != console_type_t::CONSOLE_TYPE_REAL;
        Console { context, stdin, buffered, ended: false, delivered: false }
    }

    pub(crate) fn kind(&self) -> console_type_t {
        self.stdin.kind()
    }

    /// The caller has registered it again.
    pub(crate) fn change(&mut self, context: *mut c_void, buffered: bool) -> Result<(), Failure> {
        if buffered != self.buffered && self.kind() != console_type_t::CONSOLE_TYPE_REAL {
            return Err(Failure::new(
                "standard input is registered with other flags: call io_reactor_remove_console() first",
            ));
        }
        self.context = context;
        Ok(())
    }

    pub(crate) fn begin_wait(&mut self) {
        self.delivered = false;
    }

    /// Whether a wait has to check it before it blocks.
    pub(crate) fn is_due(&self) -> bool {
        !self.ended && !self.delivered && self.stdin.is_due()
    }

    /// The reactor has reported it.
    pub(crate) fn reported(
        &mut self,
        reactor: &mut P::Reactor,
        ready: Option<Readiness>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        if self.ended || self.delivered {
            return Ok(());
        }
        self.find(reactor, ready, sink)
    }

    /// Checks it, and delivers at most one event.
    pub(crate) fn deliver(&mut self, reactor: &mut P::Reactor, sink: &mut Sink<'_>) -> Result<(), Failure> {
        self.find(reactor, None, sink)
    }

    fn find(
        &mut self,
        reactor: &mut P::Reactor,
        reported: Option<Readiness>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        let origin = Origin::without_socket(self.context);
        let end = if self.buffered {
            let mut buffer = sink.take_buffer();
            match self.stdin.read(&mut buffer) {
                Read::Bytes => {
                    self.delivered = true;
                    sink.lend(origin, buffer);
                    return Ok(());
                }
                Read::Nothing => {
                    sink.give_back(buffer);
                    return self.arm(reactor);
                }
                Read::End => {
                    sink.give_back(buffer);
                    EVENT_CLOSE
                }
            }
        } else {
            // This consumes nothing: the caller reads standard input itself [hc50].
            match self.stdin.check(reported) {
                State::Input => {
                    self.delivered = true;
                    sink.event(origin, EVENT_READ);
                    return Ok(());
                }
                State::Nothing => return self.arm(reactor),
                // The caller reads and finds the end.
                State::End => EVENT_READ,
                State::HungUp(events) => events,
            }
        };
        sink.event(origin, end);
        self.delivered = true;
        self.ended = true;
        self.stdin.stop(reactor);
        Ok(())
    }

    fn arm(&mut self, reactor: &mut P::Reactor) -> Result<(), Failure> {
        mark(Mark::ConsoleEmpty);
        self.stdin.arm(reactor)
    }

    pub(crate) fn close(self, reactor: &mut P::Reactor) {
        self.stdin.close(reactor);
    }
}
