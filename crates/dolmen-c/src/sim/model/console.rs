//! Standard input.

use super::*;

pub(super) struct Console {
    pub(super) kind: Kind,
    /// How often it was registered; the context carries the number.
    pub(super) number: usize,
    pub(super) registered: Option<Registered>,
    /// How many events were delivered for it.
    pub(super) reported: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Registered {
    pub(super) buffered: bool,
    /// Its end was reported.
    pub(super) ended: bool,
    /// How far it was delivered, if it is buffered.
    pub(super) delivered: u64,
}

impl Console {
    pub(super) fn new(kind: Kind) -> Console {
        Console { kind, number: 0, registered: None, reported: 0 }
    }

    /// Whether each wait reports it, because nothing reports whether there is input.
    pub(super) fn is_always_due(&self, completion: bool) -> bool {
        completion && self.kind == Kind::Other && self.registered.is_some_and(|console| !console.buffered)
    }
}

impl<P: System> Run<'_, P> {
    pub(super) fn add_console(&mut self, buffered: bool) -> Check {
        let kind = self.console.kind;
        let buffered_now = buffered && kind != Kind::Terminal;
        let read = self.input.borrow().read(&self.machine);
        let number = self.console.number + 1;
        let added = self.inner.add_console(Context::Console(number).pointer(), buffered).is_ok();
        let expected = match self.console.registered {
            None => kind != Kind::None,
            Some(registered) => kind == Kind::Terminal || registered.buffered == buffered,
        };
        self.check(Oracle::Order, added == expected, || format!("add_console of {kind:?}: {added}"))?;
        if added {
            self.console.number = number;
            let registered = &mut self.console.registered;
            registered.get_or_insert(Registered { buffered: buffered_now, ended: false, delivered: read });
        } else if kind != Kind::None {
            mark(Mark::ConsoleFlagsRefused);
        }
        let expected = match self.console.registered {
            Some(_) => kind.console_type(),
            None => console_type_t::CONSOLE_TYPE_NONE,
        };
        let found = self.inner.stdin_facts.registered();
        self.check(Oracle::Order, found == expected, || format!("{kind:?} is of type {found:?}"))?;
        self.describe_console()
    }

    /// The other header's question, which changes nothing.
    fn describe_console(&mut self) -> Check {
        if !self.is_runtime {
            return Ok(());
        }
        let (kind, context) = (self.console.kind, Context::Console(self.console.number).pointer());
        let registered = self.inner.stdin_facts.registered();
        self.inner.describe_stdin(context);
        let facts = &self.inner.stdin_facts;
        let right = (facts.registered(), facts.described(), facts.context())
            == (registered, kind.described_type(P::COMPLETION), context);
        let found = (facts.registered(), facts.described());
        self.check(Oracle::Order, right, || format!("{kind:?} is described as {found:?}"))
    }

    pub(super) fn remove_console(&mut self) -> Check {
        self.console.registered = None;
        self.note_removed();
        let removed = self.inner.remove_console().is_ok();
        let none = self.inner.stdin_facts.registered() == console_type_t::CONSOLE_TYPE_NONE;
        self.check(Oracle::Order, removed && none, || "remove_console was refused".into())
    }

    /// The caller reads, unless the library does.
    pub(super) fn read_console(&mut self, most: usize) -> Check {
        if self.console.registered.is_some_and(|console| console.buffered) {
            return Ok(());
        }
        let mut input = self.input.borrow_mut();
        let from = input.read(&self.machine);
        let bytes = input.take(&self.machine, most);
        drop(input);
        self.check(Oracle::Stream, bytes == stream_bytes(STDIN_STREAM, false, from, bytes.len()), || {
            format!("the caller read something else from standard input at {from}")
        })
    }

    pub(super) fn console_event(&mut self, number: usize, event: &io_event_t) -> Check {
        self.console.reported += 1;
        let Some(registered) = self.console.registered.filter(|_| number == self.console.number) else {
            return self.fail(Oracle::Stale, || "an event of standard input that was removed".into());
        };
        self.check(Oracle::Order, !registered.ended, || "an event behind the end of standard input".into())?;
        let mut now = registered;
        let checked = match (event.event_type, event.buffer.is_null()) {
            (EVENT_READ, false) => self.console_bytes(&mut now, event),
            (EVENT_READ, true) => self.console_readable(&mut now, event),
            (kind, _) => self.console_ended(&mut now, kind, event),
        };
        if now.ended {
            self.note_removed();
            mark(Mark::ConsoleEnded);
        }
        self.console.registered = Some(now);
        checked
    }

    /// Bytes of standard input that is delivered in events.
    fn console_bytes(&self, now: &mut Registered, event: &io_event_t) -> Check {
        let bytes = super::super::buffers::bytes_of(event);
        let from = now.delivered;
        now.delivered += bytes.len() as u64;
        mark(Mark::ConsoleChunk);
        self.check(Oracle::Order, now.buffered && !bytes.is_empty(), || {
            "bytes of standard input that were not asked for".into()
        })?;
        self.check(Oracle::Stream, bytes == stream_bytes(STDIN_STREAM, false, from, bytes.len()), || {
            format!("standard input is something else at {from}")
        })
    }

    /// Standard input that the caller reads has bytes, or is at its end; or nothing reports which.
    fn console_readable(&self, now: &mut Registered, event: &io_event_t) -> Check {
        let (waiting, over) = {
            let input = self.input.borrow();
            (input.waiting(&self.machine), input.has_ended())
        };
        now.ended = waiting == 0 && !self.console.is_always_due(P::COMPLETION);
        self.check(Oracle::Order, !now.buffered && event.bytes_transferred == 0, || {
            "a buffered event without bytes".into()
        })?;
        self.check(Oracle::Stale, !now.ended || over, || {
            "standard input was reported with nothing to read".into()
        })?;
        self.check(Oracle::Order, !now.ended || self.console.kind != Kind::Terminal, || {
            "the end of a terminal was reported as input".into()
        })
    }

    /// The end of standard input, by an event of this kind.
    fn console_ended(&self, now: &mut Registered, kind: c_int, event: &io_event_t) -> Check {
        let (written, waiting, over) = {
            let input = self.input.borrow();
            (input.written(&self.machine), input.waiting(&self.machine), input.has_ended())
        };
        now.ended = true;
        let close = now.buffered && kind == EVENT_CLOSE;
        let hung_up =
            self.console.kind == Kind::Terminal && kind & (EVENT_CLOSE | EVENT_ERROR) != 0 && waiting == 0;
        if hung_up {
            mark(Mark::ConsoleHungUp);
        }
        let nothing = event.buffer.is_null() && event.bytes_transferred == 0;
        self.check(Oracle::Order, over && (close || hung_up) && nothing, || {
            format!("standard input ended by {kind:#x}")
        })?;
        self.check(Oracle::Stream, !now.buffered || now.delivered == written, || {
            format!("standard input ended after {} of {written} bytes", now.delivered)
        })
    }

    /// Whether there is something to report.
    pub(super) fn console_stands(&self) -> bool {
        let open = self.console.registered.is_some_and(|console| !console.ended);
        open && self.input.borrow().waiting(&self.machine) > 0
    }

    /// What is still undelivered when nothing more will happen.
    pub(super) fn check_console_due(&self) -> Check {
        let Some(registered) = self.console.registered else { return Ok(()) };
        let input = self.input.borrow();
        let (waiting, written) = (input.waiting(&self.machine), input.written(&self.machine));
        let kind = self.console.kind;
        let all = if registered.buffered { registered.delivered == written } else { waiting == 0 };
        self.check(Oracle::Liveness, all || registered.ended, || {
            format!(
                "{kind:?} as standard input was not reported: {registered:?}, {waiting} of {written} bytes"
            )
        })?;
        self.check(Oracle::Liveness, !input.has_ended() || registered.ended, || {
            format!("the end of {kind:?} as standard input was not reported")
        })
    }
}
