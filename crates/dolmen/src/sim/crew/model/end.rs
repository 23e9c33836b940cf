//! The calm, and the end: everything is delivered, and nothing is left.

use super::*;

/// Long enough for everything in progress; costs nothing on a virtual clock.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// How many steps everything in progress takes at most.
const MOST_STEPS: usize = 20_000;

impl Run<'_> {
    /// All run, and the peers read, until no one has anything to do within this time.
    pub(super) fn calm_down(&mut self, horizon: Duration) -> Check {
        let was_calm = std::mem::replace(&mut self.is_calm, true);
        for _ in 0..MOST_STEPS {
            for at in 0..self.conns.len() {
                self.peer_reads(at, usize::MAX)?;
            }
            if self.run_awake()? {
                continue;
            }
            let next_ns = self.next_ns();
            self.check_deadlines(next_ns)?;
            let until_ns = self.now_ns() + horizon.as_nanos() as u64;
            let Some(next_ns) = next_ns.filter(|&next_ns| next_ns <= until_ns) else {
                self.is_calm = was_calm;
                return self.check_calm();
            };
            let mut world = self.world.borrow_mut();
            world.now_ns = world.now_ns.max(next_ns);
        }
        self.fail(Oracle::Liveness, || "it never becomes calm".into())
    }

    /// Steps one of those that are awake. Returns false if no one is.
    fn run_awake(&mut self) -> Result<bool, Failure> {
        let mut awake: Vec<Option<usize>> = Vec::new();
        if self.has_found || self.owes_round || self.is_left_open || member::is_awake(&mut self.engine) {
            awake.push(None);
        }
        awake.extend((0..self.members.len()).filter(|&at| self.members[at].is_awake()).map(Some));
        if awake.is_empty() {
            return Ok(false);
        }
        match awake[self.rng.below(awake.len() as u64) as usize] {
            Some(at) => self.step_member(at)?,
            None => self.step_game()?,
        }
        Ok(true)
    }

    /// When the next one wakes.
    fn next_ns(&mut self) -> Option<u64> {
        let game_ns = member::wakes_ns(&mut self.engine);
        self.members.iter_mut().filter_map(SimMember::wakes_ns).chain(game_ns).min()
    }

    /// Heals the machine, checks that everything is delivered, and ends all connections and members, or nothing of that.
    pub(super) fn end(&mut self) -> Check {
        self.is_calm = true;
        if self.rng.percent(25) {
            return Ok(());
        }
        self.world.borrow_mut().heal();
        self.settle()?;
        self.check_paused()?;
        for at in 0..self.conns.len() {
            self.pause(at, false)?;
            self.peer_writes(at, 20)?;
        }
        self.settle()?;
        let revives = self.rng.percent(50);
        for at in 0..self.conns.len() {
            self.conns[at].is_dead &= !revives;
            if !self.conns[at].has_left {
                self.send(at, 30)?;
                let how = if self.rng.percent(80) { Ending::Close } else { Ending::Abort };
                self.end_one(at, how)?;
            }
        }
        self.settle()?;
        self.check_whole()?;
        let left = self.dispatcher.len();
        self.check(Oracle::Liveness, left == 0, || format!("{left} connections have not left"))?;
        self.check_members_empty()?;
        self.set_threads(0)?;
        self.settle()?;
        let running = self.members.iter().filter(|member| !member.has_ended()).count();
        self.check(Oracle::Empty, running == 0, || format!("{running} members without connections go on"))
    }

    fn settle(&mut self) -> Check {
        self.calm_down(AN_HOUR)?;
        self.check_ended()
    }

    /// Connections that the game has paused are not read.
    fn check_paused(&mut self) -> Check {
        let received = |run: &Self| -> Vec<u64> {
            run.conns.iter().map(|conn| look(&conn.witness).received_bytes).collect()
        };
        let before = received(self);
        for at in 0..self.conns.len() {
            self.peer_writes(at, 20)?;
        }
        self.settle()?;
        for (conn, (before, after)) in self.conns.iter().zip(before.into_iter().zip(received(self))) {
            self.check(Oracle::Bounds, !conn.is_paused || before == after, || {
                format!("{:?} was read while it was paused", conn.link)
            })?;
        }
        Ok(())
    }

    /// No engine has anything of a connection.
    fn check_members_empty(&self) -> Check {
        let members = self.members.iter().filter_map(SimMember::stats);
        for stats in members.chain([self.engine.stats()]) {
            let left = (stats.connections, stats.operations_in_flight, stats.buffers_out, stats.queued_bytes);
            self.check(Oracle::Empty, left == (0, 0, 0, 0), || format!("still there: {left:?}"))?;
            self.check(Oracle::Empty, stats.timers <= 1, || format!("{} timers", stats.timers))?;
        }
        Ok(())
    }

    /// Drops the crew, whatever is in progress.
    pub(super) fn drop_all(mut self) -> Result<Report, Failure> {
        if self.conns.iter().any(|conn| !conn.has_left) {
            mark(Mark::DroppedWithLinks);
        }
        self.dispatcher.stop_all();
        for at in 0..self.members.len() {
            if !self.members[at].has_ended() {
                self.join(at)?;
            }
        }
        let Run { dispatcher, engine, batch, members, world, oracles, conns, report, mut rng, .. } = self;
        if rng.percent(50) {
            drop(dispatcher);
            drop((batch, engine));
        } else {
            drop((engine, batch));
            drop(dispatcher);
        }
        drop(members);
        let open = world.borrow().open_descriptors();
        let kept = conns.iter().filter(|conn| !look(&conn.witness).dropped).count();
        if (open, kept) != (0, 0) && oracles.contains(&Oracle::Empty) {
            let message = format!("{open} descriptors are open, and {kept} codecs are left");
            return Err(Failure { oracle: Oracle::Empty, message });
        }
        Ok(report)
    }
}
