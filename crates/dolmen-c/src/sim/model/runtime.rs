//! The forms of events, and where the calls of the headers differ: of programs that were written for `async_runtime.h`, and
//! of those that use io_reactor_wait_ex(). The rest of the model sees the events of io_reactor_wait().

use std::mem::MaybeUninit;

use super::*;
use crate::room::Room;

/// How much room a program has for events at most.
const MOST_ROOM: usize = 24;

impl<P: System> Run<'_, P> {
    /// Waits, and returns how many events there were and those of them that `io_reactor.h` has as well.
    pub(super) fn wait_by_header(
        &mut self,
        room: usize,
        timeout: Option<Duration>,
    ) -> Result<Result<(usize, Vec<io_event_t>), crate::boundary::Failure>, Failure> {
        if self.is_extended {
            return self.wait_extended(room, timeout);
        }
        if !self.is_runtime {
            let mut array = [const { MaybeUninit::<io_event_t>::zeroed() }; MOST_ROOM];
            let waited = self.inner.wait(Room::Plain(&mut array[..room]), timeout);
            // SAFETY: all bytes are zero or were written, and an event may be all zeroes.
            let read = |event: &MaybeUninit<io_event_t>| unsafe { event.assume_init_read() };
            return Ok(waited.map(|count| (count, array.iter().take(count).map(read).collect())));
        }
        let mut array = [const { MaybeUninit::<async_event_t>::zeroed() }; MOST_ROOM];
        let count = match self.inner.wait(Room::Async(&mut array[..room]), timeout) {
            Ok(count) => count,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut events = Vec::new();
        for event in array.iter().take(count) {
            // SAFETY: as above.
            let event = unsafe { event.assume_init_read() };
            events.extend(self.plain_event(&event)?);
        }
        Ok(Ok((count, events)))
    }

    fn wait_extended(
        &mut self,
        room: usize,
        timeout: Option<Duration>,
    ) -> Result<Result<(usize, Vec<io_event_t>), crate::boundary::Failure>, Failure> {
        let mut array = [const { MaybeUninit::<io_event_ex_t>::zeroed() }; MOST_ROOM];
        let count = match self.inner.wait(Room::Extended(&mut array[..room]), timeout) {
            Ok(count) => count,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut events = Vec::new();
        for event in array.iter().take(count) {
            // SAFETY: all bytes are zero or were written, and an event may be all zeroes.
            let event = unsafe { event.assume_init_read() };
            events.extend(self.event_of_extended(&event)?);
        }
        Ok(Ok((count, events)))
    }

    fn event_of_extended(&mut self, event: &io_event_ex_t) -> Result<Option<io_event_t>, Failure> {
        let plain = event.event;
        if plain.event_type == EVENT_COMPLETION {
            // The simulated machine sends the same number as key and as count.
            let number = event.completion_key;
            self.foreign += 1;
            let right = P::COMPLETION
                && plain.context.is_null()
                && plain.bytes_transferred as usize == number
                && event.fd == NO_SOCKET
                && self.foreign <= self.inner.reactor.stats().foreign_completions;
            return self
                .check(Oracle::Stale, right, || format!("{event:?} is nothing that was sent"))
                .map(|()| None);
        }
        let registration = match Context::of(plain.context) {
            Some(Context::Socket(number)) => self.registrations.get(number).map(|of| (number, of.fd)),
            _ => None,
        };
        if let (EVENT_ACCEPT, Some((number, listener))) = (plain.event_type, registration) {
            let brings = plain.buffer.is_null() && plain.bytes_transferred == 0;
            return self.accepted(number, listener, event.fd as u32, brings).map(|()| None);
        }
        let fd = registration.map_or(NO_SOCKET, |(_, fd)| fd as socket_fd_t);
        self.check(Oracle::Order, event.fd == fd && event.completion_key == 0, || {
            format!("{event:?} is of {fd}")
        })?;
        Ok(Some(plain))
    }

    fn plain_event(&mut self, event: &async_event_t) -> Result<Option<io_event_t>, Failure> {
        let of_key = Context::of(std::ptr::without_provenance_mut(event.completion_key));
        match (Context::of(event.context), of_key) {
            (_, Some(Context::Post(_))) => self.completion_of_a_post(event).map(Some),
            (None, _) => self.packet_of_others(event).map(|()| None),
            (Some(context), _) => {
                let key = if P::COMPLETION { event.context.addr() } else { 0 };
                self.check(Oracle::Order, event.completion_key == key, || {
                    format!("{event:?} has another key than {key:#x}")
                })?;
                self.event_of_a_source(context, event)
            }
        }
    }

    fn completion_of_a_post(&mut self, event: &async_event_t) -> Result<io_event_t, Failure> {
        let (key, data) = (event.completion_key, event.bytes_transferred);
        let (fd, context) = if P::COMPLETION { (data as socket_fd_t, key) } else { (NO_SOCKET, 0) };
        let right = event.event_type == EVENT_READ as u32
            && event.buffer.is_null()
            && (event.fd, event.context.addr()) == (fd, context);
        self.check(Oracle::Posts, right, || format!("{event:?} is not a completion"))?;
        let pointer = std::ptr::without_provenance_mut;
        Ok(io_event_t {
            context: pointer(key),
            event_type: EVENT_POST,
            bytes_transferred: 0,
            buffer: pointer(data),
        })
    }

    /// The simulated machine sends them with the same number as key and as count.
    fn packet_of_others(&mut self, event: &async_event_t) -> Check {
        let number = event.completion_key;
        self.foreign += 1;
        let right = P::COMPLETION
            && event.event_type == EVENT_READ as u32
            && event.bytes_transferred == number
            && event.context.addr() == number
            && event.fd == number as socket_fd_t
            && self.foreign <= self.inner.reactor.stats().foreign_completions;
        self.check(Oracle::Stale, right, || format!("{event:?} is nothing that was sent"))
    }

    fn event_of_a_source(
        &mut self,
        context: Context,
        event: &async_event_t,
    ) -> Result<Option<io_event_t>, Failure> {
        let registration = match context {
            Context::Socket(number) => self.registrations.get(number).map(|of| (number, of.fd, of.object)),
            _ => None,
        };
        if let Some((number, fd, Object::Listener(_))) = registration {
            if P::COMPLETION && event.event_type == EVENT_READ as u32 {
                return self.accepted(number, fd, event.fd as u32, event.buffer.is_null()).map(|()| None);
            }
        }
        let fd = registration.map_or(NO_SOCKET, |(_, fd, _)| fd as socket_fd_t);
        self.check(Oracle::Order, event.fd == fd, || format!("{event:?} is of {fd}"))?;
        Ok(Some(io_event_t {
            context: event.context,
            event_type: event.event_type as c_int,
            bytes_transferred: event.bytes_transferred as c_int,
            buffer: event.buffer,
        }))
    }

    /// A listener's event brings a connection, which is the caller's from now on.
    fn accepted(&mut self, number: usize, listener: u32, fd: u32, plain: bool) -> Check {
        let registration = &mut self.registrations[number];
        registration.reported += 1;
        let (live, accepts) = (registration.live, registration.accepts);
        // On Windows the interest in a listener does not change.
        let asked = P::COMPLETION || registration.interest & EVENT_READ != 0;
        self.check(Oracle::Stale, live, || format!("{fd} of a removed listener"))?;
        self.check(Oracle::Order, accepts && asked, || {
            format!("{fd} was accepted by listener {listener}, accepts: {accepts}, asked: {asked}")
        })?;
        let fresh = !self.open.contains(&fd) && matches!(self.machine.object(fd), Some(Object::Link(_)));
        self.check(Oracle::Order, fd != listener && fresh && plain, || {
            format!("{fd} of listener {listener} is no connection")
        })?;
        if self.open.len() < MOST_OPEN {
            self.open.push(fd)
        } else {
            self.machine.close(fd)
        }
        Ok(())
    }

    /// Whether the library accepts the connections of a socket that is registered under this number.
    pub(super) fn lets_accept(&self, object: Option<Object>, number: usize) -> bool {
        let by_header = if self.is_runtime { P::COMPLETION } else { self.is_extended && number % 4 != 0 };
        by_header && matches!(object, Some(Object::Listener(_)))
    }

    pub(super) fn add_by_header(&mut self, fd: u32, context: Context, events: c_int, accepts: bool) -> bool {
        let (fd, context) = (fd as socket_fd_t, context.pointer());
        let added = match (self.is_runtime, accepts) {
            (true, _) => self.inner.add_accepting(fd, context, events),
            (false, true) => self.inner.add_listener(fd, context),
            (false, false) => self.inner.add(fd, context, events),
        };
        added.is_ok()
    }

    /// Whether the header's function does nothing for a socket that is not registered, and still succeeds.
    pub(super) fn modifies_unknown(&self) -> bool {
        P::COMPLETION && !self.is_runtime
    }

    pub(super) fn modify_by_header(&mut self, fd: u32, context: Option<Context>, events: c_int) -> bool {
        let fd = fd as socket_fd_t;
        let context = context.map_or(std::ptr::null_mut(), Context::pointer);
        let modified = match self.is_runtime || (self.is_extended && self.by_fd.contains_key(&(fd as u32))) {
            true => self.inner.modify_with_context(fd, events, context),
            false => self.inner.modify(fd, events),
        };
        modified.is_ok()
    }

    /// Whether it has returned what the header says.
    pub(super) fn remove_by_header(&mut self, fd: u32) -> bool {
        let known = self.by_fd.contains_key(&fd);
        match self.is_runtime {
            true => self.inner.remove_registered(fd as _).is_ok() == known,
            false => self.inner.remove(fd as _).is_ok(),
        }
    }
}
