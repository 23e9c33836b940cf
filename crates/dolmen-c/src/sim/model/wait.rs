//! The wait, and the caller's reaction to its events.

use super::*;

/// How late the kernel may give operations back.
const LATEST_NS: u64 = 10_000_000;

/// What an outer loop sees directly before a wait.
struct Outside {
    now_ns: u64,
    /// The library's answer.
    timeout_ns: Option<u64>,
    /// When its block would end, if the caller did nothing: the handle is readable, or another thread acts.
    ends_ns: Option<u64>,
}

impl Outside {
    fn until_ns(&self) -> Option<u64> {
        self.timeout_ns.map(|ns| self.now_ns.saturating_add(ns))
    }

    fn blocks(&self) -> bool {
        self.timeout_ns != Some(0) && self.ends_ns.is_none_or(|at_ns| at_ns > self.now_ns)
    }
}

impl<P: System> Run<'_, P> {
    /// The events of the last wait still point to the same bytes.
    pub(super) fn check_buffers(&mut self) -> Check {
        let same = self.held.release();
        self.filled.clear();
        self.check(Oracle::Buffers, same, || "the bytes of an event changed before the next wait".into())
    }

    /// One wait and all reactions to it. Whether nothing would ever have ended it.
    pub(super) fn wait(&mut self, room: usize, timeout: Option<Duration>) -> Result<bool, Failure> {
        self.check_buffers()?;
        self.machine.begin_wait();
        self.others.interrupted.set(false);
        let start_ns = self.machine.now_ns();
        let failed = self.inner.platform.attempts().failed.get();
        let outside = self.look_outside()?;
        let fruitless = self.inner.platform.attempts().fruitless.get();
        let foreign = self.foreign;
        let waited = self.wait_by_header(room, timeout)?;
        let attempts = self.inner.platform.attempts();
        // Each pause ends once.
        self.pauses += attempts.failed.get() - failed;
        let was_fruitless = attempts.fruitless.get() > fruitless;
        let waits = self.machine.kernel_waits();
        self.check(Oracle::Spin, waits.most_idle < 64, || {
            format!("{} kernel waits without a timeout brought nothing", waits.most_idle)
        })?;
        self.check(Oracle::Spin, waits.count < 5_000, || {
            format!("{} kernel waits in one wait", waits.count)
        })?;
        let (count, events) = match waited {
            Ok(found) => found,
            Err(_) if waits.stuck && timeout.is_none() => {
                self.check_nothing_due(false)?;
                return Ok(true);
            }
            Err(failure) => {
                self.fail(Oracle::Liveness, || format!("the wait failed: {failure}"))?;
                (0, Vec::new())
            }
        };
        self.check(Oracle::Liveness, count == 0 || !waits.stuck, || {
            format!("a wait that had {count} events waited for more")
        })?;
        self.report.events += count as u64;
        let most = room.min(self.max_events);
        self.check(Oracle::Bounds, count <= most, || format!("{count} events in room for {most}"))?;
        self.check_time(count, self.machine.now_ns() - start_ns, timeout, was_fruitless)?;
        // The machine sends packets of others without a reason.
        self.check_outside(&outside, count - (self.foreign - foreign) as usize)?;
        self.check_timers()?;
        for event in &events {
            self.check_event(event)?;
        }
        let consoles =
            events.iter().filter(|event| matches!(Context::of(event.context), Some(Context::Console(_))));
        let consoles = consoles.count();
        self.check(Oracle::Bounds, consoles <= 1, || {
            format!("{consoles} events of standard input in a wait")
        })?;
        self.check_bounds()?;
        // A wait whose array was full may not have checked standard input yet. A report of standard input, or of a listener
        // whose connections the library accepts, that came to nothing took a place; a wait that has delivered nothing has checked again.
        let accepting = self
            .registrations
            .iter()
            .filter(|registration| registration.live && registration.accepts)
            .count();
        let places = count + accepting + usize::from(self.console.registered.is_some());
        let is_full = count > 0 && places >= most;
        if is_full && accepting > 0 {
            self.pauses += 1;
        }
        self.may_be_woken = (self.others.woken.replace(false) || self.may_be_woken) && is_full;
        if accepting > 0 {
            self.change_listeners(is_full || was_fruitless)?;
        }
        for event in &events {
            self.handle(event)?;
        }
        Ok(false)
    }

    pub(super) fn note_removed(&mut self) {
        self.removed += 1;
        self.removed_at_ns = self.machine.now_ns();
    }

    fn check_time(
        &mut self,
        count: usize,
        waited_ns: u64,
        timeout: Option<Duration>,
        was_fruitless: bool,
    ) -> Check {
        let timeout_ns = timeout.map_or(u64::MAX, |timeout| timeout.as_nanos() as u64);
        let woken = self.others.woken.get() || self.may_be_woken;
        if count > 0 {
            return Ok(());
        }
        self.check(Oracle::Time, waited_ns <= timeout_ns.saturating_add(1_000_000), || {
            format!("a wait of {timeout_ns} ns took {waited_ns}")
        })?;
        // POSIX: any end of the kernel's wait ends the caller's.
        let for_nothing = self.machine.returns_early() || self.others.interrupted.get() || was_fruitless;
        let mut ended = woken || (!P::COMPLETION && for_nothing);
        if !ended && waited_ns < timeout_ns && !P::COMPLETION {
            ended = self.others.signalled.replace(false) || self.removed > 0 || self.pauses > 0;
            match self.removed {
                0 => self.pauses = self.pauses.saturating_sub(1),
                _ => self.removed -= 1,
            }
        }
        let start_ns = self.machine.now_ns() - waited_ns;
        if !ended && waited_ns >= timeout_ns && start_ns > self.removed_at_ns + LATEST_NS {
            // It had no reason to return: all that the kernel held for removed sources has been given back.
            self.removed = 0;
            self.others.signalled.set(false);
        }
        self.check(Oracle::Time, ended || waited_ns >= timeout_ns, || {
            format!("a wait of {timeout_ns} ns was over after {waited_ns}, woken: {woken}")
        })?;
        let now_ns = self.machine.now_ns();
        // A wait that was ended need not have checked. With a wakeup it has: the wakeup is reported together with
        // everything else that is due.
        let has_looked = self.others.woken.get() || !ended;
        let late = self.timers.iter().any(|timer| timer.live && timer.deadline_ns < now_ns);
        self.check(Oracle::Time, !has_looked || !late, || "a timer was due and not reported".into())
    }

    /// The caller withdraws its interest in listeners that may pause, or whose connections may wait for room, and comes back
    /// to it later.
    fn change_listeners(&mut self, may_wait: bool) -> Check {
        if self.calm || self.flooding || !self.rng.percent(40) {
            return Ok(());
        }
        for at in 0..self.registrations.len() {
            let registration = &self.registrations[at];
            let accepts = registration.live && registration.accepts;
            let asks = registration.interest & EVENT_READ != 0;
            let current = self.machine.object(registration.fd) == Some(registration.object);
            if accepts && current && (may_wait || !asks) {
                self.modify_registered(at, if asks { 0 } else { EVENT_READ })?;
            }
        }
        Ok(())
    }

    /// The statistics count the caller's timers. One that is due may be on its way already.
    fn check_timers(&mut self) -> Check {
        let (now_ns, set) = (self.machine.now_ns(), self.inner.stats().timers as usize);
        let live = self.timers.iter().filter(|timer| timer.live);
        let certain = live.clone().filter(|timer| timer.period_ns > 0 || timer.deadline_ns > now_ns).count();
        let most = live.count();
        self.check(Oracle::Bounds, (certain..=most).contains(&set), || {
            format!("{set} timers, and {certain} to {most} are set")
        })
    }

    /// What an outer loop sees directly before a wait.
    fn look_outside(&mut self) -> Result<Outside, Failure> {
        let timeout_ns = self.inner.next_timeout().map(|timeout| timeout.as_nanos() as u64);
        let outside = Outside {
            now_ns: self.machine.now_ns(),
            timeout_ns,
            ends_ns: self.machine.ends_block_ns(&mut self.inner.reactor),
        };
        let missed = outside.until_ns().is_none_or(|until_ns| {
            self.timers.iter().any(|timer| timer.live && until_ns > timer.deadline_ns.max(outside.now_ns))
        });
        let any = self.timers.iter().any(|timer| timer.live);
        self.check(Oracle::Time, !(missed && any), || {
            format!("an outer loop may block until {:?}, and a timer is due before", outside.until_ns())
        })?;
        let waits = self.others.woken.get() || !self.others.posts.borrow().is_empty();
        self.check(Oracle::Posts, !(waits && outside.blocks()), || {
            format!("an outer loop may block for {timeout_ns:?} ns, and there are posts or a wakeup")
        })?;
        Ok(outside)
    }

    /// If an outer loop would have blocked, a wait of its own finds nothing instead.
    fn check_outside(&self, outside: &Outside, count: usize) -> Check {
        let now_ns = self.machine.now_ns();
        let still = [outside.until_ns(), outside.ends_ns].into_iter().flatten().all(|at_ns| at_ns > now_ns);
        self.check(Oracle::Liveness, !(outside.blocks() && still && count > 0), || {
            format!(
                "an outer loop would have blocked until {:?} with {count} events at {now_ns}",
                outside.until_ns()
            )
        })
    }

    fn handle(&mut self, event: &io_event_t) -> Check {
        match Context::of(event.context) {
            Some(Context::Socket(number)) if self.registrations[number].live => {
                if P::COMPLETION {
                    self.handle_completion(number, event)?;
                } else {
                    self.handle_readiness(number, event)?;
                }
            }
            Some(Context::Console(_))
                if event.event_type == EVENT_READ
                    && event.buffer.is_null()
                    && (self.calm || (!self.flooding && self.rng.percent(70))) =>
            {
                let most = if self.calm { usize::MAX } else { 1 + self.rng.below(100) as usize };
                self.read_console(most)?;
            }
            _ => {}
        }
        if !self.calm && !self.flooding && self.rng.percent(25) {
            let action = program::verb(&mut self.rng);
            self.act(action)?;
        }
        Ok(())
    }

    fn handle_readiness(&mut self, number: usize, event: &io_event_t) -> Check {
        let (fd, object, interest) = {
            let registration = &self.registrations[number];
            (registration.fd, registration.object, registration.interest)
        };
        if self.flooding || !self.machine.is_open(object) || (!self.calm && self.rng.percent(30)) {
            return Ok(());
        }
        let mut unwanted = 0;
        match object {
            Object::Listener(listener) => self.accept(listener),
            Object::Link(link) => {
                if event.event_type & EVENT_READ != 0 {
                    let most = if self.calm { usize::MAX } else { 1 + self.rng.below(80) as usize };
                    self.receive(link, most)?;
                    let over = self.machine.link(link).fin || self.machine.link(link).reset.is_some();
                    unwanted |= if over { EVENT_READ } else { 0 };
                }
                if event.event_type & EVENT_WRITE != 0 {
                    if self.calm {
                        unwanted |= EVENT_WRITE;
                    } else {
                        let much = 1 + self.rng.below(100) as usize;
                        self.send(link, much);
                    }
                }
                if event.event_type & (EVENT_ERROR | EVENT_CLOSE) != 0 {
                    unwanted = interest;
                }
            }
        }
        if unwanted == 0 || self.by_fd.get(&fd) != Some(&number) {
            return Ok(());
        }
        if self.machine.object(fd) != Some(object) {
            return self.remove(fd);
        }
        if !self.calm && self.rng.percent(40) {
            self.close(fd)
        } else {
            self.modify_registered(number, interest & !unwanted)
        }
    }

    fn handle_completion(&mut self, number: usize, event: &io_event_t) -> Check {
        let (fd, object) = (self.registrations[number].fd, self.registrations[number].object);
        let current = self.machine.object(fd) == Some(object);
        let chance = |run: &mut Self, percent| run.calm || run.flooding || run.rng.percent(percent);
        match (object, event.event_type) {
            (Object::Listener(listener), _) if !self.flooding && chance(self, 70) => self.accept(listener),
            (Object::Listener(_), _) => {}
            (_, EVENT_READ) => {
                if chance(self, 80) && current {
                    let len = if self.rng.percent(50) { 1 + self.rng.below(20) as usize } else { 0 };
                    self.post_read(fd, len)?;
                }
                if !self.calm && current && self.rng.percent(30) {
                    let much = 1 + self.rng.below(60) as usize;
                    self.post_write(fd, much)?;
                }
            }
            (_, EVENT_WRITE) if !self.calm && current && self.rng.percent(30) => {
                mark(Mark::RoomAskedAgain);
                self.modify_registered(number, EVENT_WRITE)?;
            }
            (_, EVENT_CLOSE | EVENT_ERROR) if !self.calm && self.rng.percent(50) => self.remove(fd)?,
            _ => {}
        }
        Ok(())
    }

    /// Each source that always has something is reported within a bounded number of waits.
    pub(super) fn flood_with(&mut self, room: usize) -> Check {
        let lacks_memory = self.machine.lacks_memory();
        let faults = self.machine.suspend_faults();
        let room = room.min(self.max_events);
        let sources = self.by_fd.len() + self.timers.iter().filter(|timer| timer.live).count() + 4;
        let turns = 8 + 8 * sources / room;
        self.others.perform(ExternalAction::Post);
        let last_post = self.others.posts.borrow().back().copied();
        self.post_reads()?;
        let standing: Vec<(usize, u64)> = (0..self.registrations.len())
            // A call that was refused, for lack of memory or because the number was closed, is repeated after its pause.
            .filter(|&at| {
                let registration = &self.registrations[at];
                let may_be_refused = registration.accepts || (P::COMPLETION && registration.link().is_some());
                let pauses = registration.accepts && self.inner.platform.attempts().failed.get() > 0;
                self.is_standing(at) && !(lacks_memory && may_be_refused) && !pauses
            })
            .map(|at| (at, self.registrations[at].reported))
            .collect();
        let console = self.console_stands().then_some(self.console.reported);
        for _ in 0..turns {
            for link in 0..self.machine.links() {
                if !self.input.borrow().is_link(link) {
                    self.others.perform(ExternalAction::PeerWrite(link as u32, 20));
                }
            }
            self.others.perform(ExternalAction::Type(20));
            self.wait(room, Some(Duration::ZERO))?;
        }
        for (at, reported) in standing {
            let served = self.registrations[at].reported > reported || !self.is_standing(at);
            self.check(Oracle::Fairness, served, || {
                format!("registration {at} had something and was not reported within {turns} waits")
            })?;
        }
        let served =
            console.is_none_or(|reported| self.console.reported > reported) || !self.console_stands();
        self.check(Oracle::Fairness, served, || {
            format!("standard input was not reported within {turns} waits")
        })?;
        let posted = last_post.is_none_or(|last| !self.others.posts.borrow().contains(&last));
        self.check(Oracle::Fairness, posted, || format!("a post was not delivered within {turns} waits"))?;
        self.machine.restore_faults(faults);
        Ok(())
    }

    /// Whether a registration has something to report.
    fn is_standing(&self, at: usize) -> bool {
        let registration = &self.registrations[at];
        let object = registration.object;
        // A socket that has lost its number may lose its turn each time, as it cannot be checked again.
        let has_lost_number = !P::COMPLETION && self.machine.object(registration.fd) != Some(object);
        if !registration.live || registration.ended || has_lost_number || !self.machine.is_open(object) {
            return false;
        }
        match registration.link() {
            Some(link) if P::COMPLETION => {
                registration.asked && matches!(self.machine.peek(link), dolmen::sim::Found::Bytes(_))
            }
            None if P::COMPLETION => !self.machine.ready(object, dolmen::raw::Readiness::READABLE).is_empty(),
            _ => !self.ready(at).is_empty(),
        }
    }
}
