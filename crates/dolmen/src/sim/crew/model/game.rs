//! What the game does.

use super::*;
use crate::error::ErrorKind;

impl Run<'_> {
    pub(super) fn start_member(&mut self) {
        let number = self.dispatcher.next_member();
        let game = (self.engine.mailbox(), CREW);
        let (member, remote) =
            SimMember::start(&self.world, self.config, self.batch_size, self.limits, game, number);
        self.dispatcher.add_member(remote);
        self.refuses_newcomers = false;
        self.by_number.resize(self.by_number.len().max(number + 1), None);
        self.by_number[number] = Some(self.members.len());
        self.members.push(member);
    }

    pub(super) fn set_threads(&mut self, count: usize) -> Check {
        self.join_ended()?;
        self.is_uneven |= count < self.dispatcher.active();
        let missing = self.dispatcher.set_active(count);
        self.refuses_newcomers &= count > 0;
        let mut started = 0;
        // The system may refuse a thread, or what its reactor needs. Then no more are started.
        while started < missing && (self.is_calm || self.rng.percent(65)) {
            self.start_member();
            started += 1;
        }
        let failed = missing - started;
        if failed > 0 {
            mark(Mark::StartFailed);
        }
        self.note_retiring();
        let active = self.dispatcher.active();
        self.check(Oracle::Order, active + failed == count, || {
            format!("{active} members are active of {count}, and {failed} were not started")
        })
    }

    /// The game has done something. Between two rounds it may begin the next one by itself, or wait: then what it has done with
    /// a connection on its own thread has to wake it.
    fn owe_round(&mut self, is_local: bool) {
        if environment::round().is_some() {
            return;
        }
        self.owes_round |= self.rng.percent(50);
        if is_local && !self.owes_round {
            mark(Mark::ActedBetweenRounds);
        }
    }

    fn note_retiring(&mut self) {
        let retiring: Vec<_> = self.dispatcher.members().filter(|stats| stats.retiring).collect();
        for member in &mut self.members {
            member.is_retiring = false;
        }
        for number in retiring.into_iter().filter_map(|stats| stats.member) {
            if let Some(at) = self.by_number[number] {
                self.members[at].is_retiring = true;
            }
        }
    }

    /// A game may replace members that have failed. And players come, also when none is left.
    pub(super) fn replace_failed(&mut self) -> Check {
        if self.refuses_newcomers && !self.is_calm && self.rng.percent(30) {
            self.set_threads(1)?;
        }
        let has_failed = self.members.iter().any(|member| member.has_failed);
        if has_failed && self.dispatcher.active() == 0 && !self.is_calm && self.rng.percent(50) {
            self.add()?;
        }
        Ok(())
    }

    /// Joins the threads of members that have ended. The game blocks until they have.
    pub(super) fn join_ended(&mut self) -> Check {
        while let Some(number) = self.dispatcher.take_ended() {
            let member = self.by_number[number].take();
            let Some(at) = member else {
                return self.fail(Oracle::Order, || format!("{number} ended twice"));
            };
            self.join(at)?;
            if !self.members[at].has_failed && self.dispatcher.active() > 0 {
                mark(Mark::MemberRetired);
            }
        }
        Ok(())
    }

    pub(super) fn join(&mut self, at: usize) -> Check {
        for _ in 0..200 {
            if self.members[at].has_ended() || !self.members[at].is_awake() {
                break;
            }
            self.step_member(at)?;
        }
        let ended = self.members[at].has_ended();
        self.check(Oracle::Empty, ended, || format!("member {at} does not end"))
    }

    pub(super) fn add(&mut self) -> Check {
        if self.conns.len() >= MOST_LINKS {
            return Ok(());
        }
        let capacity = 32 + self.rng.below(300) as usize;
        let wire = world::connect(&self.world, capacity);
        let manner = Manner::random(&mut self.rng, self.codecs_panic);
        let witness = SharedWitness::default();
        let codec = TestCodec::new(&witness, manner, self.config.high_water_bytes);
        let (at, token) = (self.conns.len(), Token(1_000 + self.conns.len()));
        let stream = SimStream::open(&self.world, wire);
        let link = self.dispatcher.add(&mut self.engine, stream, codec, token, Ticket::of);
        let place = self.dispatcher.member_of(link).and_then(|number| self.by_number[number]);
        self.owe_round(place.is_none());
        self.check_place(place)?;
        let is_refused = place.is_none() && self.refuses_newcomers;
        match place {
            None if is_refused => mark(Mark::NewcomerRefused),
            None => mark(Mark::ServedLocally),
            Some(_) => {}
        }
        let is_served = place.is_none() && look(&witness).opened;
        self.by_link.insert(link, at);
        self.conns.push(Conn { is_refused, ..Conn::new(link, token, wire, place, manner, witness) });
        self.check(Oracle::Ownership, !is_refused || !is_served, || {
            format!("{link:?} is served on the game's thread, and the members have failed")
        })
    }

    /// How many connections a member has, as far as the game knows.
    fn links_of(&self, at: usize) -> usize {
        self.conns.iter().filter(|conn| conn.place == Some(at) && !conn.has_left).count()
    }

    /// A newcomer is given to the member with the fewest connections.
    fn check_place(&self, place: Option<usize>) -> Check {
        self.check(Oracle::Order, place.is_some() == (self.dispatcher.active() > 0), || {
            format!("a newcomer was given to {place:?}, with {} members active", self.dispatcher.active())
        })?;
        let fewest = self.by_number.iter().flatten().map(|&at| self.links_of(at)).min();
        let Some(place) = place.filter(|_| !self.is_uneven) else { return Ok(()) };
        self.check(Oracle::Fairness, Some(self.links_of(place)) == fewest, || {
            format!("a newcomer was given to member {place}, which has {} connections", self.links_of(place))
        })
    }

    fn next_reply(&mut self, len: usize) -> Reply {
        self.replies += 1;
        Reply { number: self.replies, len, round: environment::round() }
    }

    /// Returns whether the reply was taken.
    pub(super) fn send(&mut self, at: usize, len: usize) -> Result<bool, Failure> {
        let reply = self.next_reply(len);
        self.owe_round(self.conns[at].place.is_none());
        let on_its_way = self.on_its_way(at);
        let sent = self.dispatcher.send(&mut self.engine, self.conns[at].link, reply);
        let refused = sent.err().map(|refused| refused.error.kind());
        self.note_reply(at, reply, on_its_way, refused).map(|()| refused.is_none())
    }

    /// Replies to several.
    pub(super) fn burst(&mut self) -> Check {
        for _ in 0..6 {
            let who = self.rng.below(RECENT as u64) as u32;
            self.with(who, |run, at| run.send(at, 10).map(drop))?;
        }
        Ok(())
    }

    pub(super) fn fill(&mut self, at: usize, len: usize) -> Check {
        // A codec that has ended takes any number.
        for _ in 0..50 {
            if !self.send(at, len)? {
                break;
            }
        }
        Ok(())
    }

    /// To those whose bit is set, in any state.
    pub(super) fn broadcast(&mut self, bits: u32, len: usize) -> Check {
        let to: Vec<usize> = (0..self.conns.len()).filter(|at| bits >> (at % 20) & 1 != 0).collect();
        let reply = self.next_reply(len);
        self.owe_round(to.iter().any(|&at| self.conns[at].place.is_none()));
        let before: Vec<Option<u64>> = to.iter().map(|&at| self.on_its_way(at)).collect();
        let links: Vec<LinkId> = to.iter().map(|&at| self.conns[at].link).collect();
        let refused: HashMap<_, _> =
            self.dispatcher.broadcast(&mut self.engine, links, &reply).into_iter().collect();
        for (at, before) in to.into_iter().zip(before) {
            let kind = refused.get(&self.conns[at].link).copied();
            self.note_reply(at, reply, before, kind)?;
        }
        Ok(())
    }

    /// The weight of the replies that its codec has not got. `None` where nothing more reaches a codec.
    pub(super) fn on_its_way(&self, at: usize) -> Option<u64> {
        let conn = &self.conns[at];
        let witness = look(&conn.witness);
        let is_open = witness.ended.is_none() && self.world.borrow().links[conn.wire].ended.is_none();
        is_open.then(|| conn.weight - witness.weight)
    }

    fn note_reply(
        &mut self,
        at: usize,
        reply: Reply,
        on_its_way: Option<u64>,
        refused: Option<ErrorKind>,
    ) -> Check {
        let limit = self.limits.replies;
        let fits = on_its_way.map(|before| before == 0 || before + reply.weight() <= limit);
        let conn = &mut self.conns[at];
        let (link, is_over) = (conn.link, conn.has_left || conn.ending.is_some());
        match refused {
            None => {
                conn.replies += 1;
                conn.weight += reply.weight();
                conn.expected.extend(reply.bytes());
                if let Some(round) = reply.round {
                    look(&conn.witness).note_sent(round, conn.replies);
                }
            }
            Some(ErrorKind::QueueFull) => {
                mark(Mark::ReplyRefused);
                conn.refusals += 1;
                conn.waits_for_room = true;
            }
            Some(_) => {}
        }
        self.check(Oracle::Stale, is_over == (refused == Some(ErrorKind::NotFound)), || {
            format!("a reply to {link:?}: {refused:?}; it has ended: {is_over}")
        })?;
        self.check(Oracle::Bounds, is_over || fits.is_none_or(|fits| fits == refused.is_none()), || {
            format!("a reply to {link:?}: {refused:?}, with {on_its_way:?} on its way of {limit}")
        })
    }

    pub(super) fn pause(&mut self, at: usize, on: bool) -> Check {
        self.owe_round(self.conns[at].place.is_none());
        let conn = &mut self.conns[at];
        let done = match on {
            true => self.dispatcher.pause(&mut self.engine, conn.link),
            false => self.dispatcher.resume(&mut self.engine, conn.link),
        };
        conn.is_paused = on;
        let (link, is_over) = (conn.link, conn.has_left || conn.ending.is_some());
        self.check(Oracle::Stale, done.is_err() == is_over, || format!("a pause of {link:?}: {done:?}"))
    }

    pub(super) fn end_one(&mut self, at: usize, how: Ending) -> Check {
        self.owe_round(self.conns[at].place.is_none());
        let conn = &mut self.conns[at];
        let is_over = conn.has_left || (conn.ending.is_some() && how == Ending::Close);
        if !conn.has_left && conn.messages < look(&conn.witness).messages {
            mark(Mark::ClosedWithMessages);
        }
        if !conn.has_left && conn.ending == Some(Ending::Close) && how == Ending::Abort {
            mark(Mark::AbortedClosing);
        }
        let done = match how {
            Ending::Close => self.dispatcher.close(&mut self.engine, conn.link),
            Ending::Abort => self.dispatcher.abort(&mut self.engine, conn.link),
        };
        if !is_over {
            conn.ending = Some(how);
            look(&conn.witness).is_ended_by_game = true;
        }
        let link = conn.link;
        self.check(Oracle::Stale, done.is_err() == is_over, || format!("{how:?} of {link:?}: {done:?}"))
    }
}

impl Conn {
    fn new(
        link: LinkId,
        token: Token,
        wire: usize,
        place: Option<usize>,
        manner: Manner,
        witness: SharedWitness,
    ) -> Conn {
        Conn {
            link,
            token,
            wire,
            place,
            is_refused: false,
            manner,
            witness,
            written: 0,
            fin: false,
            resets: false,
            is_dead: false,
            read: 0,
            expected: VecDeque::new(),
            messages: 0,
            received: 0,
            has_end: false,
            replies: 0,
            weight: 0,
            refusals: 0,
            reports_of_room: 0,
            waits_for_room: false,
            is_paused: false,
            ending: None,
            has_left: false,
            has_finished: false,
        }
    }
}
