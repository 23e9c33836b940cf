//! The part of the model that lends sockets: polls, and connections over sockets that the caller owns.
//!
//! A lent socket may be polled, adopted, or both. The caller closes it as soon as the reactor has released it, so that
//! its number is reused while the old operations are still in flight.

use super::*;

const MOST_LENT: usize = 6;

/// A socket that the caller owns.
pub(super) struct Lent {
    /// `None` once the caller has closed it.
    stream: Option<SimStream>,
    link: usize,
    poll: Option<usize>,
    conn: Option<usize>,
    /// It was adopted before.
    again: bool,
    /// A connection has ended with sends that were not reported: the kernel may have taken their bytes.
    may_be_cut: bool,
    /// The kernel had not taken them.
    cut: bool,
}

pub(super) struct Poll {
    id: PollId,
    lent: usize,
    open: bool,
    interest: Readiness,
    once: bool,
    /// The interest when the last wait ended; changes by handlers count from the next one on.
    wanted: Readiness,
    changed: bool,
    /// What it has been ready for since its last report: up to the end of the last wait, and since then.
    seen: Readiness,
    fresh: Readiness,
    /// What it is ready for when the wait begins, and when it ends.
    now: Readiness,
    reported: u64,
}

/// The requests of an adopted connection's caller.
#[derive(Default)]
pub(super) struct Asked {
    /// A receive: before the last wait, and after it.
    receive: bool,
    again: bool,
    /// For each send that is not reported: where it ends in the stream, and its length.
    pub(super) writes: VecDeque<(u64, usize)>,
}

fn interest_of(bits: u8) -> Readiness {
    let readable = if bits & 1 != 0 { Readiness::READABLE } else { Readiness::NONE };
    let writable = if bits & 2 != 0 { Readiness::WRITABLE } else { Readiness::NONE };
    readable | writable
}

fn without(ready: Readiness, unwanted: Readiness) -> Readiness {
    let keep = |bit| if unwanted.contains(bit) { Readiness::NONE } else { ready & bit };
    keep(Readiness::READABLE) | keep(Readiness::WRITABLE)
}

/// Actions.
impl Run<'_> {
    /// One of the open sockets that `fits`, or a new one.
    fn lend(&mut self, who: u32, fits: impl Fn(&Lent) -> bool) -> Option<usize> {
        let open = |lent: &Lent| lent.stream.is_some();
        let found: Vec<usize> =
            (0..self.lent.len()).filter(|&at| open(&self.lent[at]) && fits(&self.lent[at])).collect();
        let choice = who as usize % (found.len() + 1);
        if choice < found.len() {
            return Some(found[choice]);
        }
        let full = self.lent.iter().filter(|lent| open(lent)).count() >= MOST_LENT;
        if full || self.peers.len() >= MOST_LINKS {
            return None;
        }
        let link = self.connect();
        let stream = Some(SimStream::open(&self.world, link));
        self.lent.push(Lent {
            stream,
            link,
            poll: None,
            conn: None,
            again: false,
            may_be_cut: false,
            cut: false,
        });
        Some(self.lent.len() - 1)
    }

    fn borrow(&self, at: usize) -> BorrowedSocket {
        self.lent[at].stream.as_ref().expect("it is open").lend()
    }

    pub(super) fn add_poll(&mut self, who: u32, bits: u8) -> Check {
        let Some(at) = self.lend(who, |lent| lent.poll.is_none()) else { return Ok(()) };
        let (socket, number) = (self.borrow(at), self.polls.len());
        let (interest, once) = (interest_of(bits), bits & 4 != 0);
        match self.engine.add_poll(socket, interest, once, Token(6000 + number)) {
            Ok(id) => {
                let none = Readiness::NONE;
                let (wanted, seen, fresh, now) = (none, none, none, none);
                let (changed, reported, lent, open) = (false, 0, at, true);
                self.polls.push(Poll {
                    id,
                    lent,
                    open,
                    interest,
                    once,
                    wanted,
                    changed,
                    seen,
                    fresh,
                    now,
                    reported,
                });
                self.lent[at].poll = Some(number);
                // Not twice at the same time.
                let twice = self.engine.add_poll(socket, interest, once, Token(0));
                let refused = twice.is_err_and(|error| error.kind() == ErrorKind::AlreadyRegistered);
                self.check(Oracle::Bounds, refused, || "a socket is polled twice".into())
            }
            Err(error) => self.fail(Oracle::Bounds, || format!("a poll was refused: {error}")),
        }
    }

    fn open_poll(&self, who: u32) -> Option<usize> {
        let open: Vec<usize> = (0..self.polls.len()).filter(|&at| self.polls[at].open).collect();
        (!open.is_empty()).then(|| open[who as usize % open.len()])
    }

    pub(super) fn set_interest(&mut self, who: u32, bits: u8) -> Check {
        match self.open_poll(who) {
            Some(at) => self.change_interest(at, interest_of(bits)),
            None => Ok(()),
        }
    }

    fn change_interest(&mut self, at: usize, interest: Readiness) -> Check {
        let poll = &mut self.polls[at];
        (poll.interest, poll.changed) = (interest, true);
        let changed = self.engine.set_interest(poll.id, interest);
        self.check(Oracle::Stale, changed.is_ok(), || "an open poll is unknown".into())
    }

    pub(super) fn remove_poll(&mut self, who: u32, close: bool) -> Check {
        let Some(at) = self.open_poll(who) else { return Ok(()) };
        let lent = self.polls[at].lent;
        self.end_poll(at)?;
        if close { self.close_lent(lent) } else { Ok(()) }
    }

    fn end_poll(&mut self, at: usize) -> Check {
        let poll = &mut self.polls[at];
        poll.open = false;
        self.lent[poll.lent].poll = None;
        let (id, known) = (poll.id, self.engine.remove_poll(poll.id));
        let stale =
            known && !self.engine.remove_poll(id) && self.engine.set_interest(id, Readiness::NONE).is_err();
        self.check(Oracle::Stale, stale, || "a poll was unknown, or is known after its removal".into())
    }

    pub(super) fn adopt(&mut self, who: u32, receive: bool) -> Check {
        if self.conns.len() >= 2 * MOST_LINKS {
            return Ok(());
        }
        let Some(at) = self.lend(who, |lent| lent.conn.is_none()) else { return Ok(()) };
        let (link, again) = (self.lent[at].link, self.lent[at].again);
        let (received, accepted) = {
            let wire = &mut self.world.borrow_mut().links[link];
            // That was another registration.
            (wire.send_failed, wire.send_reset) = (None, None);
            (wire.read(), wire.outbound.total)
        };
        let socket = self.borrow(at);
        let (may_be_cut, cut) = (self.lent[at].may_be_cut, self.lent[at].cut);
        match self.engine.adopt(socket, again, receive, Token(link)) {
            Ok(id) => {
                self.check(Oracle::Stream, !cut, || "a stream with a hole was adopted".into())?;
                let asked = Asked { again: receive, ..Asked::default() };
                let lent = &mut self.lent[at];
                (lent.conn, lent.again) = (Some(self.conns.len()), true);
                self.by_id.insert(id, self.conns.len());
                let (lent, asked) = (Some(at), asked);
                self.conns.push(Conn { received, accepted, lent, asked, ..Conn::new(id, link) });
                Ok(())
            }
            Err(_) => {
                let reset = self.world.borrow().links[link].reset.is_some();
                self.check(Oracle::Order, reset || may_be_cut, || "a socket was not adopted".into())
            }
        }
    }

    fn adopted(&self, who: u32) -> Option<usize> {
        let open = |conn: &Conn| conn.state == State::Open && conn.lent.is_some();
        let open: Vec<usize> = (0..self.conns.len()).filter(|&at| open(&self.conns[at])).collect();
        (!open.is_empty()).then(|| open[who as usize % open.len()])
    }

    pub(super) fn post_receive_on_one(&mut self, who: u32) -> Check {
        self.adopted(who).map_or(Ok(()), |at| self.post_receive(at))
    }

    pub(super) fn post_send_on_one(&mut self, who: u32, much: usize) -> Check {
        self.adopted(who).map_or(Ok(()), |at| self.send(at, much))
    }

    pub(super) fn release_one(&mut self, who: u32, close: bool) -> Check {
        self.adopted(who).map_or(Ok(()), |at| self.release(at, close))
    }

    fn post_receive(&mut self, at: usize) -> Check {
        let conn = &mut self.conns[at];
        match self.engine.post_receive(conn.id) {
            Ok(()) => {
                conn.asked.again = true;
                Ok(())
            }
            // Its end, or `Closed`, may be pending.
            Err(error) => {
                let over = matches!(error.kind(), ErrorKind::ReadClosed | ErrorKind::NotFound);
                self.check(Oracle::Order, over, || format!("a receive was refused: {error}"))
            }
        }
    }

    /// Every connection that may do so requests bytes.
    pub(super) fn post_receives(&mut self) -> Check {
        for at in 0..self.conns.len() {
            if self.conns[at].lent.is_some() && self.conns[at].state == State::Open {
                self.post_receive(at)?;
            }
        }
        Ok(())
    }

    pub(super) fn release(&mut self, at: usize, close: bool) -> Check {
        let conn = &mut self.conns[at];
        let over = matches!(conn.state, State::Gone | State::Removed);
        let unreported = !conn.asked.writes.is_empty();
        let (unsent, sound) = {
            let wire = &self.world.borrow().links[conn.link];
            (wire.outbound.total < conn.accepted, wire.reset.is_none() && !wire.gone && !wire.shut_by_caller)
        };
        let known = self.engine.remove_adopted(conn.id);
        conn.state = State::Removed;
        if !over {
            let lent = conn.lent.expect("it was adopted");
            self.lent[lent].conn = None;
            self.lent[lent].may_be_cut |= unreported;
            self.lent[lent].cut |= unreported && unsent && sound;
            if close {
                self.close_lent(lent)?;
            }
        }
        self.check(Oracle::Stale, !(known && over), || "a connection was released twice".into())
    }

    /// The reactor releases a socket, and the caller closes it immediately.
    fn close_lent(&mut self, at: usize) -> Check {
        if let Some(poll) = self.lent[at].poll {
            self.end_poll(poll)?;
        }
        match self.lent[at].conn {
            Some(conn) => self.release(conn, true),
            None => {
                self.lent[at].stream = None;
                Ok(())
            }
        }
    }

    /// The caller reads or writes itself.
    pub(super) fn caller(&mut self, who: u32, read: usize, write: usize) -> Check {
        let own: Vec<usize> = (0..self.lent.len())
            .filter(|&at| self.lent[at].stream.is_some() && self.lent[at].conn.is_none())
            .collect();
        if own.is_empty() {
            return Ok(());
        }
        let link = self.lent[own[who as usize % own.len()]].link;
        let (from, data) = {
            let wire = &mut self.world.borrow_mut().links[link];
            let from = wire.outbound.total;
            // Refused, or cut short: that concerns only the caller.
            let _ = wire.send(&bytes(link, true, from, write));
            let from = wire.read();
            let count = if wire.reset == Some(false) { 0 } else { read.min(wire.inbound.bytes.len()) };
            (from, wire.inbound.bytes.drain(..count).collect::<Vec<u8>>())
        };
        self.check(Oracle::Stream, data == bytes(link, false, from, data.len()), || {
            format!("the caller read something else from link {link} at {from}")
        })
    }
}

/// Checks.
impl Run<'_> {
    /// What the open polls are ready for just now. Called after every change to a socket.
    pub(super) fn observe(&mut self) {
        let world = self.world.borrow();
        for poll in self.polls.iter_mut().filter(|poll| poll.open) {
            poll.fresh |= world.links[self.lent[poll.lent].link].readiness();
        }
    }

    pub(super) fn before_wait(&mut self) {
        self.observe();
        for conn in &mut self.conns {
            conn.asked.receive |= std::mem::take(&mut conn.asked.again);
        }
        for poll in &mut self.polls {
            poll.seen |= std::mem::take(&mut poll.fresh);
            poll.now = self.world.borrow().links[self.lent[poll.lent].link].readiness();
            poll.changed = false;
        }
    }

    pub(super) fn after_wait(&mut self) {
        self.observe();
        for poll in &mut self.polls {
            poll.seen |= poll.fresh;
            poll.now |= self.world.borrow().links[self.lent[poll.lent].link].readiness();
            poll.wanted = poll.interest;
        }
    }

    pub(super) fn polled(&mut self, id: PollId, token: Token, ready: Readiness) -> Check {
        let Some(at) = self.polls.iter().position(|poll| poll.id == id && poll.open) else {
            return self.fail(Oracle::Stale, || "a poll that is gone was reported".into());
        };
        let poll = &mut self.polls[at];
        let (wanted, seen, now) = (poll.wanted, std::mem::take(&mut poll.seen), poll.now);
        poll.reported += 1;
        if poll.once && !poll.changed {
            poll.interest = Readiness::NONE;
        }
        self.check(Oracle::Stream, token == Token(6000 + at), || "a poll with another's token".into())?;
        let asked = !wanted.is_empty() && (wanted | Readiness::ENDS).contains(ready);
        self.check(Oracle::Stale, asked, || format!("reported {ready:?}, asked for {wanted:?}"))?;
        self.check(Oracle::Order, seen.contains(ready), || {
            format!("reported {ready:?}, and it has only been {seen:?}")
        })?;
        self.check(Oracle::Order, now.contains(ready), || {
            format!("reported {ready:?}, and in this wait it was {now:?}")
        })?;
        if self.flooding {
            return Ok(());
        }
        self.handle_poll(at, ready)
    }

    /// Handles what a poll has reported, or leaves it for later: then it is reported again.
    fn handle_poll(&mut self, at: usize, ready: Readiness) -> Check {
        let (lent, interest) = (self.polls[at].lent, self.polls[at].interest);
        let link = self.lent[lent].link;
        let own = self.lent[lent].conn.is_none();
        if !self.calm && self.rng.percent(40) {
            return Ok(());
        }
        let mut unwanted = ready;
        if ready.contains(Readiness::READABLE) && own {
            let mut world = self.world.borrow_mut();
            let wire = &mut world.links[link];
            if !wire.inbound.bytes.is_empty() {
                wire.inbound.bytes.clear();
                unwanted = without(ready, Readiness::READABLE);
            }
        }
        let rest = if ready & Readiness::ENDS != Readiness::NONE {
            Readiness::NONE
        } else {
            without(interest, unwanted)
        };
        if rest == interest { Ok(()) } else { self.change_interest(at, rest) }
    }

    /// Whether bytes, or an end, of an adopted connection were requested before this wait.
    pub(super) fn gated(&mut self, at: usize, bytes: bool) -> Check {
        let conn = &mut self.conns[at];
        if conn.lent.is_none() {
            return Ok(());
        }
        let asked = conn.asked.receive;
        conn.asked.receive &= !bytes;
        self.check(Oracle::Order, asked, || "received without a request".into())
    }

    pub(super) fn written(&mut self, conn: ConnId, token: Token, bytes: usize) -> Check {
        let Some(at) = self.conn_of(conn, token, "a send")? else { return Ok(()) };
        let posted = self.conns[at].asked.writes.pop_front();
        self.check(Oracle::Order, posted.is_some_and(|(_, posted)| posted == bytes), || {
            format!("a send of {bytes} bytes was reported, {posted:?} is next")
        })?;
        let sent = self.world.borrow().links[self.conns[at].link].outbound.total;
        self.check(Oracle::Order, posted.is_none_or(|(end, _)| end <= sent), || {
            format!("a send was reported after {sent} bytes, {posted:?}")
        })
    }

    /// A connection has ended by itself: the socket returns to the caller.
    pub(super) fn give_back(&mut self, at: usize) {
        if let Some(lent) = self.conns[at].lent {
            let unreported = !self.conns[at].asked.writes.is_empty();
            let lent = &mut self.lent[lent];
            lent.conn = None;
            lent.may_be_cut |= unreported;
        }
    }

    /// The polls that are ready and stay so, and how often each was reported.
    pub(super) fn standing_polls(&self) -> Vec<(usize, u64)> {
        let world = self.world.borrow();
        let standing = |poll: &Poll| {
            let wire = &world.links[self.lent[poll.lent].link];
            poll.open && !poll.once && !wire.polled(poll.interest).is_empty()
        };
        let polls = self.polls.iter().enumerate();
        polls.filter(|(_, poll)| standing(poll)).map(|(at, poll)| (at, poll.reported)).collect()
    }

    pub(super) fn check_reported_again(&self, before: &[(usize, u64)]) -> Check {
        let standing = self.standing_polls();
        for &(at, reported) in before.iter().filter(|(at, _)| standing.iter().any(|(still, _)| still == at)) {
            let times = self.polls[at].reported - reported;
            self.check(Oracle::Fairness, times >= 2, || {
                format!("{:?} was ready all the time and reported {times} times", self.polls[at].id)
            })?;
        }
        Ok(())
    }

    pub(super) fn check_polls_reported(&self) -> Check {
        let world = self.world.borrow();
        for poll in self.polls.iter().filter(|poll| poll.open) {
            let unreported = world.links[self.lent[poll.lent].link].polled(poll.interest);
            self.check(Oracle::Liveness, unreported.is_empty(), || {
                format!("{:?} is {unreported:?} and was not reported", poll.id)
            })?;
        }
        Ok(())
    }

    pub(super) fn return_everything(&mut self) -> Check {
        for at in 0..self.lent.len() {
            let close = self.rng.percent(50);
            if close {
                self.close_lent(at)?;
            } else {
                self.lent[at].poll.map_or(Ok(()), |poll| self.end_poll(poll))?;
                self.lent[at].conn.map_or(Ok(()), |conn| self.release(conn, false))?;
            }
        }
        Ok(())
    }
}

/// How many sockets the caller still holds.
pub(super) fn held(lent: &[Lent]) -> usize {
    lent.iter().filter(|lent| lent.stream.is_some()).count()
}
