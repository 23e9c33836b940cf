//! The wait, and what holds after each.

use super::*;

impl Run<'_> {
    pub(super) fn wait_if_possible(
        &mut self,
        events: Option<&mut Batch<SimStream>>,
        timeout_us: u32,
    ) -> Check {
        let Some(events) = events else { return Ok(()) };
        self.wait(events, Duration::from_micros(timeout_us.into())).map(drop)
    }

    /// The caller does not wait for this time.
    pub(super) fn away(&mut self, time_ns: u64) {
        self.away_ns += time_ns;
        self.world.borrow_mut().now_ns += time_ns;
    }

    pub(super) fn wait(
        &mut self,
        events: &mut Batch<SimStream>,
        timeout: Duration,
    ) -> Result<usize, Failure> {
        let start_ns = self.now_ns();
        self.prepare_wait();
        let outside = self.look_outside();
        self.check_next_timeout(&outside)?;
        let waited = self.engine.wait(events, Some(timeout));
        self.note_links();
        self.after_wait();
        self.check_kernel_waits()?;
        self.check_datagrams_sent()?;
        let count = match waited {
            Ok(count) => count,
            Err(error) => {
                self.fail(Oracle::Liveness, || format!("the wait failed: {error}"))?;
                0
            }
        };
        self.report.events += count as u64;
        let largest = self.world.borrow().largest_send;
        self.check(Oracle::Bounds, largest <= self.config.max_send_bytes, || {
            format!("{largest} bytes were passed to the kernel in one send")
        })?;
        self.check(Oracle::Bounds, count <= self.capacity && count == events.len(), || {
            format!("{count} events in room for {}", self.capacity)
        })?;
        self.check_woken(count)?;
        self.check_outside(&outside, count)?;
        self.check_channels(count)?;
        self.check_answers(count)?;
        self.check_files(count)?;
        if count == 0 {
            self.check_eventless(start_ns, timeout)?;
        }
        let mut handled: Check = Ok(());
        for record in events.drain() {
            handled = self.handle(record);
            if handled.is_err() {
                break;
            }
        }
        handled.map(|()| count)
    }

    /// Others act before the wait, and what holds at this moment is noted.
    fn prepare_wait(&mut self) {
        {
            let mut world = self.world.borrow_mut();
            (world.waits, world.idle_waits, world.most_idle_waits) = (0, 0, 0);
        }
        for at in 0..self.peers.len() {
            if self.peers[at].floods && !self.calm {
                self.peer_fills(at);
            }
        }
        for conn in &mut self.conns {
            conn.paused_before = conn.paused;
        }
        self.prepare_udp_wait();
        self.before_wait();
        self.operator.run_threads(self.calm);
    }

    /// The engine has waited in the kernel no more often than it had to.
    fn check_kernel_waits(&self) -> Check {
        let (waits, idle) = {
            let world = self.world.borrow();
            (world.waits, world.most_idle_waits)
        };
        self.check(Oracle::Spin, idle < 64, || {
            format!("{idle} kernel waits without a timeout brought nothing")
        })?;
        let needless = self.operator.needless_reads();
        self.check(Oracle::Spin, needless == 0, || "the console was read with a full inbox".into())?;
        self.check(Oracle::Spin, waits < 5_000, || format!("{waits} kernel waits in one wait"))
    }

    /// What holds after a wait that has returned no event.
    fn check_eventless(&mut self, start_ns: u64, timeout: Duration) -> Check {
        self.check_left_behind(timeout)?;
        self.check_failed_ended()?;
        let now_ns = self.now_ns();
        let waited_ns = now_ns - start_ns;
        let timeout_ns = timeout.as_nanos() as u64;
        self.check(Oracle::Time, waited_ns >= timeout_ns, || {
            format!("a wait of {timeout_ns} ns was over after {waited_ns}")
        })?;
        // Long waits may follow the tick of the machine's clock.
        let late_ns = if timeout > Duration::from_secs(1) { 16_000_000 } else { 1_000_000 };
        self.check(Oracle::Time, waited_ns <= timeout_ns + late_ns, || {
            format!("a wait of {timeout_ns} ns took {waited_ns}")
        })?;
        let late = self.timers.iter().any(|timer| timer.live && timer.deadline_ns < now_ns);
        self.check(Oracle::Time, !late, || "a timer was due and not reported".into())
    }

    /// A wait that has returned no event has left nothing in the kernel that would have been an event.
    fn check_left_behind(&mut self, timeout: Duration) -> Check {
        let faults = self.world.borrow().faults;
        // A kernel that returns without a reason may not have looked; a further wait makes it look. Other packets may
        // take the room any number of times, so some waits are enough.
        let (conns, world) = (&self.conns, &self.world);
        if (faults.return_early() && !timeout.is_zero())
            || world.borrow().waits as usize > MIN_EVENTLESS_WAITS
        {
            return Ok(());
        }
        // A completion for a connection that is closing is not an event.
        let is_heard = |link: usize| {
            let is_read = |conn: &Conn| {
                conn.link == link && conn.state == State::Open && !conn.paused && !conn.releasing
            };
            conns.iter().any(is_read) && world.borrow().links[link].send_failed.is_none()
        };
        let left = self.engine.kernel().left_behind().find(|left| match left {
            (OpKind::Receive, Descriptor::Link(link)) => is_heard(*link),
            (OpKind::Connect, Descriptor::Link(link)) => {
                conns.iter().any(|conn| conn.link == *link && conn.state == State::Open)
            }
            // A send of the same wait may have caused a failure.
            (OpKind::ReceiveFrom, Descriptor::Udp(port)) => !world.borrow().ports[*port].inbound.is_empty(),
            _ => true,
        });
        self.check(Oracle::Fairness, left.is_none(), || {
            format!("a wait has brought nothing although {left:?} was ready")
        })
    }

    /// A connection whose send has failed ends, however much the peer has to send: in the linger time, or twice that if
    /// earlier bytes were still to be delivered. Checked when all has been delivered.
    fn check_failed_ended(&self) -> Check {
        let world = self.world.borrow();
        let linger_ns = self.config.linger.as_nanos() as u64;
        // Pauses for lack of memory, and completions that are late.
        let slack_ns = if self.short_of_memory { 3_000_000_000 } else { 20_000_000 };
        for conn in self.conns.iter().filter(|conn| conn.state == State::Open) {
            let Some((failed_ns, _)) = world.links[conn.link].send_failed else { continue };
            let until_ns = failed_ns + 3 * linger_ns + slack_ns + self.away_ns;
            self.check(Oracle::Bounds, world.now_ns <= until_ns, || {
                format!("{:?} has not ended, and a send of it failed at {failed_ns}", conn.id)
            })?;
        }
        Ok(())
    }
}
