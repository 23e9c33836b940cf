//! The end of a run: the machine is healed, everything is delivered, and nothing is left.

use super::*;

impl Run<'_> {
    /// Heals the machine, checks that everything due is delivered, and drops it all.
    pub(super) fn end(mut self, mut events: Batch<SimStream>) -> Result<Report, Failure> {
        self.calm = true;
        let drop_at_once = self.rng.percent(25);
        if !drop_at_once {
            self.world.borrow_mut().heal();
            self.heal_network();
            self.settle(&mut events)?;
            self.check_all_delivered()?;
            self.close_everything(&mut events)?;
        }
        let channels_first = self.channels.goes_first();
        let engine = ManuallyDrop::into_inner(self.engine);
        let Run { world, oracles, report, lent, channels, mut rng, .. } = self;
        let signal = Arc::clone(&world.borrow().signal);
        let (mut channels, mut wrong) = (Some(channels), None);
        if channels_first {
            wrong = channels.take().and_then(|channels| channels.end(false, &signal));
        }
        if rng.percent(50) {
            events.clear();
            drop(engine);
        } else {
            // Events may outlive their reactor.
            drop(engine);
            events.clear();
        }
        if let Some(channels) = channels {
            wrong = channels.end(true, &signal);
        }
        if let Some(message) = wrong.filter(|_| oracles.contains(&Oracle::Posts)) {
            return Err(Failure { oracle: Oracle::Posts, message });
        }
        // Threads that look names up may be left behind.
        let (last_ns, now_ns) = (world.borrow().last_scheduled_ns().unwrap_or(0), world.borrow().now_ns);
        world.borrow_mut().now_ns = now_ns.max(last_ns);
        world::run_scheduled(&world);
        let held = borrowed::held(&lent);
        let left = world.borrow().open_descriptors();
        drop(ManuallyDrop::into_inner(lent));
        if left != held && oracles.contains(&Oracle::Empty) {
            return Err(Failure {
                oracle: Oracle::Empty,
                message: format!("{left} descriptors are open, {held} of them the caller's"),
            });
        }
        Ok(report)
    }

    fn settle(&mut self, events: &mut Batch<SimStream>) -> Check {
        for at in 0..self.timers.len() {
            if self.timers[at].live && self.timers[at].period_ns > 0 {
                self.act(Action::CancelTimer(at as u32), None)?;
            }
        }
        for at in 0..self.conns.len() {
            if self.conns[at].state == State::Open && self.conns[at].lent.is_none() {
                self.conns[at].paused = false;
                let _ = self.engine.resume(self.conns[at].id);
            }
        }
        self.drain_channels()?;
        // One batch per wait: some hundred waits are plenty for what fits on the wires.
        for _ in 0..2_000 {
            self.post_receives()?;
            let count = self.wait(events, AN_HOUR)?;
            let on_the_wire = self.world.borrow().links.iter().any(|link| !link.outbound.bytes.is_empty());
            if count == 0 && !on_the_wire {
                return Ok(());
            }
            for link in 0..self.peers.len() {
                self.peer_read(link, usize::MAX)?;
            }
        }
        self.fail(Oracle::Liveness, || "it never becomes calm".into())
    }

    fn check_all_delivered(&self) -> Check {
        for conn in &self.conns {
            match conn.state {
                State::Open => self.check_conn_delivered(conn)?,
                State::Closing | State::Aborted => {
                    self.fail(Oracle::Liveness, || format!("{:?} was never reported as closed", conn.id))?;
                }
                State::Removed | State::Gone => {}
            }
        }
        let world = self.world.borrow();
        for listener in self.listeners.iter().filter(|listener| listener.open) {
            let waiting = world.listeners[listener.number].backlog.len();
            self.check(Oracle::Liveness, waiting == 0, || format!("{waiting} wait to be accepted"))?;
        }
        self.check_polls_reported()?;
        self.check_datagrams_delivered()?;
        self.check_input_delivered()?;
        let signalled = self.watches.iter().any(|watch| watch.open && world.signalled[watch.handle]);
        self.check(Oracle::Liveness, !signalled, || "a signal was not reported".into())?;
        self.check_channels_drained()?;
        self.check_files_reported()?;
        self.check_names_reported()?;
        self.check_hosts_reported()?;
        let inbox = self.inbox.borrow();
        self.check(Oracle::Posts, inbox.posts.is_empty(), || {
            format!("{} posts were never delivered", inbox.posts.len())
        })?;
        self.check(Oracle::Posts, !inbox.woken, || "a wake was lost".into())?;
        let timers = self.timers.iter().any(|timer| timer.live);
        self.check(Oracle::Time, !timers, || "a timer never went off".into())
    }

    fn check_conn_delivered(&self, conn: &Conn) -> Check {
        let world = self.world.borrow();
        let link = &world.links[conn.link];
        let id = conn.id;
        self.check(Oracle::Liveness, !conn.releasing, || format!("{id:?} was never released"))?;
        self.check(Oracle::Liveness, link.send_failed.is_none(), || {
            format!("{id:?} has not ended after a failed send")
        })?;
        self.check(Oracle::Liveness, conn.is_up(), || format!("{id:?} has not been connected"))?;
        let reset = link.reset.is_some();
        let sent = self.peers[conn.link].sent;
        self.check(Oracle::Liveness, reset || conn.received == sent, || {
            format!("{id:?} has received {} of {sent} bytes", conn.received)
        })?;
        self.check(Oracle::Liveness, reset || conn.ended == self.peers[conn.link].fin, || {
            format!("{id:?} did not report the end")
        })?;
        self.check(Oracle::Liveness, reset || link.outbound.total == conn.accepted, || {
            format!("{id:?} has sent {} of {} bytes", link.outbound.total, conn.accepted)
        })?;
        self.check(Oracle::Liveness, !reset || conn.ended, || format!("{id:?} did not report a reset"))?;
        let reported = conn.asked.writes.is_empty();
        self.check(Oracle::Liveness, reset || reported, || format!("{id:?} did not report all its sends"))?;
        self.check(Oracle::Liveness, reset || conn.refusals.is_answered(), || {
            format!("{id:?} has room and did not report it")
        })
    }

    fn close_everything(&mut self, events: &mut Batch<SimStream>) -> Check {
        for at in 0..self.conns.len() {
            if self.conns[at].state == State::Open && self.conns[at].lent.is_none() {
                self.close(at);
            }
        }
        self.return_everything()?;
        self.remove_console()?;
        self.remove_udps()?;
        for at in 0..self.listeners.len() as u32 {
            self.act(Action::RemoveListener(at), None)?;
        }
        for at in 0..self.watches.len() as u32 {
            self.act(Action::Unwatch(at), None)?;
        }
        self.settle(events)?;
        events.clear();
        let left =
            self.conns.iter().any(|conn| matches!(conn.state, State::Open | State::Closing | State::Aborted));
        self.check(Oracle::Liveness, !left, || "a connection was never reported as closed".into())?;
        let stats = self.engine.stats();
        let held = (stats.connections, stats.listeners, stats.watches, stats.datagram_sockets);
        self.check(Oracle::Empty, held == (0, 0, 0, 0), || format!("left in the tables: {held:?}"))?;
        let pending = (stats.timers, stats.lookups);
        self.check(Oracle::Empty, pending == (0, 0), || format!("timers and look-ups left: {pending:?}"))?;
        self.check(Oracle::Empty, stats.file_operations == 0, || {
            format!("{} operations on files are left", stats.file_operations)
        })?;
        let lent = (stats.operations_in_flight, stats.buffers_out, stats.queued_bytes);
        self.check(Oracle::Empty, lent == (0, 0, 0), || format!("still lent: {lent:?}"))
    }
}
