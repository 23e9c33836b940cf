//! Sockets: the calls, and what each has to return.

use super::*;

/// A registration, in the library or no longer.
pub(super) struct Registration {
    pub(super) fd: u32,
    pub(super) object: Object,
    pub(super) live: bool,
    /// A listener whose connections the library accepts.
    pub(super) accepts: bool,
    /// POSIX: what was asked for.
    pub(super) interest: c_int,
    pub(super) modified: bool,
    /// POSIX: it was closed, and its interest could not be changed.
    pub(super) failed: bool,
    /// Windows: its posted writes cannot be sent.
    pub(super) failing: Failing,
    /// Windows: a receive was asked for and has not completed yet.
    pub(super) asked: bool,
    /// Room to write was asked for.
    pub(super) room_asked: bool,
    /// The end was reported.
    pub(super) ended: bool,
    /// How far the input stream was delivered, and how far the output stream was accepted for sending.
    pub(super) received: u64,
    pub(super) accepted: u64,
    /// For each post_write that was not reported: where it ends in the stream, and its length.
    pub(super) writes: VecDeque<(u64, usize)>,
    /// The buffers that the caller has posted and not got back; the last one is the next to be filled.
    pub(super) posted: Vec<Posted>,
    /// When it was last reported, counted in waits.
    pub(super) reported: u64,
}

/// How long a send takes to fail.
const FAILS_WITHIN_NS: u64 = 10_000_000;

/// A send that will fail: the model does not see when, but knows a time by which it has.
#[derive(Default)]
pub(super) struct Failing {
    has_by_ns: Option<u64>,
    /// The most that may be delivered when it has failed.
    pub(super) most: Option<u64>,
}

impl Failing {
    pub(super) fn observe(&mut self, fails: bool, now_ns: u64, most: u64) {
        if !fails {
            self.has_by_ns = None;
        } else if now_ns >= *self.has_by_ns.get_or_insert(now_ns + FAILS_WITHIN_NS) {
            self.most.get_or_insert(most);
        }
    }
}

impl Registration {
    fn new(fd: u32, object: Object, events: c_int) -> Registration {
        Registration {
            fd,
            object,
            live: true,
            accepts: false,
            interest: events & (EVENT_READ | EVENT_WRITE),
            modified: false,
            failed: false,
            failing: Failing::default(),
            asked: events & EVENT_READ != 0,
            room_asked: false,
            ended: false,
            received: 0,
            accepted: 0,
            writes: VecDeque::new(),
            posted: Vec::new(),
            reported: 0,
        }
    }

    pub(super) fn link(&self) -> Option<usize> {
        match self.object {
            Object::Link(link) => Some(link),
            Object::Listener(_) => None,
        }
    }
}

impl<P: System> Run<'_, P> {
    pub(super) fn add(&mut self, fd: u32, events: c_int) -> Check {
        let object = self.machine.object(fd);
        let known = self.by_fd.get(&fd).copied();
        let same = known.is_some_and(|known| Some(self.registrations[known].object) == object);
        let expected = match object {
            None => Some(false),
            Some(_) if same => Some(false),
            // If the first receive fails immediately, so may this call.
            Some(Object::Link(link)) if P::COMPLETION && self.machine.link(link).reset.is_some() => None,
            Some(Object::Link(link)) if self.cut.contains_key(&link) => self.cut[&link].then_some(false),
            Some(_) => Some(true),
        };
        let (received, accepted) = match object {
            Some(Object::Link(link)) => (self.machine.link(link).read, self.machine.link(link).sent),
            _ => (0, 0),
        };
        let number = self.registrations.len();
        let accepts = self.lets_accept(object, number);
        // The library asks for the connections.
        let events = if accepts { EVENT_READ } else { events };
        let added = self.add_by_header(fd, Context::Socket(number), events, accepts);
        self.check(Oracle::Order, expected.is_none_or(|expected| expected == added), || {
            format!("add of {object:?} by {fd}, known: {known:?}, {same}: {added}")
        })?;
        if same && !added {
            mark(Mark::RegisteredTwice);
        }
        let Some(object) = object.filter(|_| added) else {
            // Of two connections only the attempt shows on Windows that they are not the same.
            let of_links = |known: usize| {
                self.registrations[known].link().is_some() && matches!(object, Some(Object::Link(_)))
            };
            let dropped =
                known.filter(|&known| object.is_some() && !same && !(P::COMPLETION && of_links(known)));
            if let Some(known) = dropped {
                self.by_fd.remove(&fd);
                self.forget(known);
            }
            return Ok(());
        };
        if let Some(known) = known {
            mark(Mark::ReplacedClosed);
            self.forget(known);
        }
        let registration = Registration::new(fd, object, events);
        self.registrations.push(Registration { received, accepted, accepts, ..registration });
        self.by_fd.insert(fd, number);
        Ok(())
    }

    pub(super) fn add_wrongly(&mut self, who: u32) -> Check {
        let registered: Vec<u32> =
            self.open.iter().copied().filter(|fd| self.by_fd.contains_key(fd)).collect();
        if !registered.is_empty() && who % 3 != 0 {
            return self.add(registered[who as usize % registered.len()], c_int::from(EVENT_READ));
        }
        // No socket has so high a number.
        let fd = if who % 2 == 0 { !0 } else { 1_000_000 };
        self.check_refused("add", fd, |inner| {
            inner.add(fd as _, Context::Socket(0).pointer(), EVENT_READ).is_err()
        })?;
        if !P::COMPLETION {
            return self.check_refused("modify", fd, |inner| inner.modify(fd as _, EVENT_READ).is_err());
        }
        self.check_refused("post_read", fd, |inner| {
            inner.post_read(fd as _, std::ptr::null_mut(), 0).is_err()
        })?;
        self.check_refused("post_write", fd, |inner| inner.post_write(fd as _, b"?").is_err())
    }

    fn check_refused(&mut self, call: &str, fd: u32, refused: impl FnOnce(&mut Inner<P>) -> bool) -> Check {
        let refused = refused(&mut self.inner);
        self.check(Oracle::Order, refused, || format!("{call} of {fd:#x} was not refused"))
    }

    /// The registration of a number, if the number still stands for the registered socket.
    fn registered(&self, fd: u32) -> Option<usize> {
        let known = *self.by_fd.get(&fd)?;
        (self.machine.object(fd) == Some(self.registrations[known].object)).then_some(known)
    }

    pub(super) fn modify(&mut self, who: u32, events: c_int) -> Check {
        let Some(fd) = self.socket(who) else { return Ok(()) };
        match (self.registered(fd), self.by_fd.contains_key(&fd)) {
            // The registration belongs to another socket of the same number.
            (None, true) => Ok(()),
            (None, false) => {
                let modified = self.modify_by_header(fd, None, events);
                self.check(Oracle::Order, modified == self.modifies_unknown(), || {
                    format!("modify of {fd}, which is not registered: {modified}")
                })
            }
            (Some(known), _) => self.modify_registered(known, events),
        }
    }

    pub(super) fn modify_registered(&mut self, known: usize, events: c_int) -> Check {
        let registration = &mut self.registrations[known];
        let room_asked = events & EVENT_WRITE != 0;
        if P::COMPLETION && registration.link().is_some() {
            if registration.room_asked && !room_asked {
                mark(Mark::RoomWithdrawn);
            }
            registration.room_asked = room_asked;
        }
        registration.interest = events & (EVENT_READ | EVENT_WRITE);
        (registration.modified, registration.failed) = (true, false);
        let fd = registration.fd;
        let modified = self.modify_by_header(fd, Some(Context::Socket(known)), events);
        self.check(Oracle::Order, modified, || format!("modify of {fd} was refused"))
    }

    pub(super) fn remove_some(&mut self, who: u32) -> Check {
        match self.socket(who) {
            Some(fd) => self.remove(fd),
            None => Ok(()),
        }
    }

    /// Removes it, registered or not.
    pub(super) fn remove(&mut self, fd: u32) -> Check {
        let removed = self.remove_by_header(fd);
        if let Some(known) = self.by_fd.remove(&fd) {
            self.forget(known);
        }
        self.check(Oracle::Order, removed, || format!("remove of {fd} has returned something else"))
    }

    fn forget(&mut self, known: usize) {
        self.note_removed();
        let registration = &mut self.registrations[known];
        registration.live = false;
        if let (Some(link), false) = (registration.link(), registration.writes.is_empty()) {
            let wire = self.machine.link(link);
            let healthy = wire.reset.is_none() && !wire.gone && !wire.shut;
            let cut = healthy && wire.sent < registration.accepted;
            *self.cut.entry(link).or_default() |= cut;
        }
        // The library no longer uses them.
        registration.posted.clear();
    }

    /// Removes a socket and closes it.
    pub(super) fn close(&mut self, fd: u32) -> Check {
        if self.by_fd.contains_key(&fd) {
            self.remove(fd)?;
        }
        self.close_number(fd);
        Ok(())
    }

    pub(super) fn close_number(&mut self, fd: u32) {
        self.open.retain(|&open| open != fd);
        self.machine.close(fd);
    }

    pub(super) fn post_read(&mut self, fd: u32, len: usize) -> Check {
        if !P::COMPLETION {
            let posted = self.inner.post_read(fd as _, std::ptr::null_mut(), 0).is_ok();
            return self.check(Oracle::Order, posted, || "post_read was refused".into());
        }
        let Some(known) = self.registered(fd) else {
            if self.by_fd.contains_key(&fd) {
                return Ok(());
            }
            return self.check_refused("post_read", fd, |inner| {
                inner.post_read(fd as _, std::ptr::null_mut(), 0).is_err()
            });
        };
        let buffer = (len > 0).then(|| Posted::new(len));
        let target = buffer.as_ref().map_or(std::ptr::null_mut(), Posted::pointer);
        let posted = self.inner.post_read(fd as _, target, len).is_ok();
        let shared = buffer.as_ref().is_some_and(|buffer| self.held.shares(buffer));
        self.check(Oracle::Buffers, !shared, || "an event points into freed memory".into())?;
        let registration = &mut self.registrations[known];
        let expected = match registration.link() {
            None => Some(false),
            Some(_) if registration.ended => Some(false),
            // The end may be known and not reported yet.
            Some(link) => {
                let link = self.machine.link(link);
                if link.fin || link.reset.is_some() || link.shut { None } else { Some(true) }
            }
        };
        if posted {
            registration.asked = true;
            registration.posted.extend(buffer);
        }
        self.check(Oracle::Order, expected.is_none_or(|expected| expected == posted), || {
            format!("post_read of {fd}: {posted}")
        })
    }

    pub(super) fn post_write(&mut self, fd: u32, len: usize) -> Check {
        if !P::COMPLETION {
            let sent = self.machine.sent_in_all();
            let posted = self.inner.post_write(fd as _, b"?").is_ok();
            let nothing = self.machine.sent_in_all() == sent;
            return self.check(Oracle::Order, posted && nothing, || "post_write has done something".into());
        }
        let Some(known) = self.registered(fd) else {
            if self.by_fd.contains_key(&fd) {
                return Ok(());
            }
            return self.check_refused("post_write", fd, |inner| inner.post_write(fd as _, b"?").is_err());
        };
        let registration = &self.registrations[known];
        let Some(link) = registration.link() else {
            return self.check_refused("post_write", fd, |inner| inner.post_write(fd as _, b"?").is_err());
        };
        if registration.writes.is_empty() && self.machine.link(link).sent != registration.accepted {
            // The caller has sent by its own calls.
            self.registrations[known].accepted = self.machine.link(link).sent;
        }
        let from = self.registrations[known].accepted;
        let bytes = stream_bytes(link, true, from, len);
        let posted = self.inner.post_write(fd as _, &bytes).is_ok();
        let healthy = {
            let link = self.machine.link(link);
            link.reset.is_none() && !link.gone && !link.shut
        };
        if posted {
            let registration = &mut self.registrations[known];
            registration.accepted += len as u64;
            registration.writes.push_back((registration.accepted, len));
        }
        self.check_refused("post_write of nothing", fd, |inner| inner.post_write(fd as _, &[]).is_err())?;
        self.check(Oracle::Order, posted || !healthy, || format!("post_write of {fd} was refused"))
    }

    /// Windows: every registration that may ask for bytes does.
    pub(super) fn post_reads(&mut self) -> Check {
        if !P::COMPLETION {
            return Ok(());
        }
        for at in 0..self.registrations.len() {
            let registration = &self.registrations[at];
            let current = self.by_fd.get(&registration.fd) == Some(&at);
            if current && registration.link().is_some() && !registration.ended && !registration.asked {
                let len = if self.rng.percent(50) { 1 + self.rng.below(20) as usize } else { 0 };
                self.post_read(registration.fd, len)?;
            }
        }
        Ok(())
    }
}

/// The caller's own calls.
impl<P: System> Run<'_, P> {
    pub(super) fn receive(&mut self, link: usize, most: usize) -> Check {
        if self.input.borrow().is_link(link) {
            return Ok(());
        }
        let from = self.machine.link(link).read;
        let mut bytes = Vec::new();
        self.machine.receive(link, most, &mut bytes);
        self.check(Oracle::Stream, bytes == stream_bytes(link, false, from, bytes.len()), || {
            format!("the caller read something else from link {link} at {from}")
        })
    }

    pub(super) fn send(&mut self, link: usize, much: usize) {
        // It must not get between two parts of a posted write.
        let posted = |registration: &Registration| {
            registration.object == Object::Link(link) && !registration.writes.is_empty()
        };
        if !self.registrations.iter().any(posted) {
            let from = self.machine.link(link).sent;
            let _refused = self.machine.send(link, &stream_bytes(link, true, from, much));
        }
    }

    pub(super) fn accept(&mut self, listener: usize) {
        if let Some(fd) = self.machine.accept(listener) {
            if self.open.len() < MOST_OPEN { self.open.push(fd) } else { self.machine.close(fd) }
        }
    }
}
