//! Another event loop around the reactor: it waits on the kernel's handle, for as long as the engine says that it may.

use super::*;

/// What an outer loop sees directly before a wait.
pub(super) struct Outside {
    now_ns: u64,
    /// The engine's answer.
    timeout_ns: Option<u64>,
    /// When its block would end, if no one acted: the kernel's handle is readable, or another thread acts.
    ends_ns: Option<u64>,
}

impl Outside {
    /// Whether it would block.
    fn blocks(&self) -> bool {
        self.timeout_ns != Some(0) && self.ends_ns.is_none_or(|at_ns| at_ns > self.now_ns)
    }
}

impl Run<'_> {
    pub(super) fn look_outside(&mut self) -> Outside {
        let timeout_ns = self.engine.next_timeout_ns();
        let ready_ns = self.engine.kernel().ready_from_ns();
        let world = self.world.borrow();
        let ends_ns = [ready_ns, world.next_scheduled_ns()].into_iter().flatten().min();
        Outside { now_ns: world.now_ns, timeout_ns, ends_ns }
    }

    /// A loop that blocks now misses nothing of what the model knows.
    pub(super) fn check_next_timeout(&self, outside: &Outside) -> Check {
        let until_ns = outside.timeout_ns.map(|ns| outside.now_ns.saturating_add(ns));
        let missed = self.timers.iter().find(|timer| {
            timer.live && until_ns.is_none_or(|until_ns| until_ns > timer.deadline_ns.max(outside.now_ns))
        });
        self.check(Oracle::Time, missed.is_none(), || {
            let due_ns = missed.map(|timer| timer.deadline_ns);
            format!("an outer loop may block until {until_ns:?}, and a timer is due at {due_ns:?}")
        })?;
        let inbox = self.inbox.borrow();
        let waits = inbox.woken
            || !inbox.posts.is_empty()
            || self.channel_is_due()
            || self.names.is_due()
            || self.files.is_due();
        self.check(Oracle::Posts, !(waits && outside.blocks()), || {
            format!(
                "an outer loop may block for {:?} ns, and there are posts, values, look-ups or a wake",
                outside.timeout_ns
            )
        })
    }

    /// If it would have blocked, a wait of its own finds nothing instead.
    pub(super) fn check_outside(&self, outside: &Outside, count: usize) -> Check {
        let now_ns = self.now_ns();
        let until_ns = outside.timeout_ns.map(|ns| outside.now_ns.saturating_add(ns));
        let still = [until_ns, outside.ends_ns].into_iter().flatten().all(|at_ns| at_ns > now_ns);
        self.check(Oracle::Liveness, !(outside.blocks() && still && count > 0), || {
            format!("an outer loop would have blocked until {until_ns:?} with {count} events at {now_ns}")
        })
    }

    /// The loop that `Reactor::native_handle` documents.
    pub(super) fn outer_loop(&mut self, events: Option<&mut Batch<SimStream>>, time_us: u32) -> Check {
        let Some(events) = events else { return Ok(()) };
        let end_ns = self.now_ns() + u64::from(time_us) * 1_000;
        let mut needless = 0;
        while self.now_ns() < end_ns {
            self.engine.flush();
            let outside = self.look_outside();
            self.check_next_timeout(&outside)?;
            if outside.blocks() {
                mark(Mark::BlockedOutside);
                let until_ns = outside.timeout_ns.map(|ns| outside.now_ns.saturating_add(ns));
                let until_ns = [until_ns, outside.ends_ns].into_iter().flatten().min().unwrap_or(end_ns);
                self.world.borrow_mut().now_ns = until_ns.min(end_ns);
                world::run_scheduled(&self.world);
                needless = 0;
            }
            let count = self.wait(events, Duration::ZERO)?;
            needless = if count == 0 { needless + 1 } else { 0 };
            self.check(Oracle::Spin, needless < 200, || {
                format!("an outer loop has made {needless} waits of no time that brought nothing")
            })?;
        }
        Ok(())
    }
}
