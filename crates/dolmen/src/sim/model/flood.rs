//! Fairness: a flood by every peer, in which each source that was ready gets a turn.

use super::*;

impl Run<'_> {
    pub(super) fn flood_if_possible(&mut self, events: Option<&mut Batch<SimStream>>) -> Check {
        match events {
            // Miri does not test fairness, and a flood takes it minutes.
            Some(events) if !cfg!(miri) => self.flood(events),
            _ => Ok(()),
        }
    }

    /// Every peer sends; each source that was ready at the start gets a turn soon.
    fn flood(&mut self, events: &mut Batch<SimStream>) -> Check {
        let faults = self.world.borrow().faults;
        {
            let mut world = self.world.borrow_mut();
            world.faults.delay = 0;
            world.faults.no_memory = 0;
            world.faults.spurious = 0;
            world.faults.early_return = 0;
        }
        let quiet = std::mem::replace(&mut self.calm, true);
        self.flooding = true;
        let turns = 16
            + 12 * (self.conns.len().min(MOST_LINKS)
                + self.timers.len()
                + self.polls.len()
                + 16 * self.udps.len()
                + 4)
                / self.capacity.min(self.config.max_events);
        self.act(Action::Post, None)?;
        let waiting: Vec<(usize, u64)> = (0..self.conns.len())
            // Connections without memory just now may have to wait for the end of a pause.
            .filter(|&at| {
                self.conns[at].state == State::Open
                    && self.conns[at].is_up()
                    && !self.conns[at].paused
                    && !self.conns[at].releasing
                    && faults.no_memory == 0
            })
            .filter(|&at| !self.world.borrow().links[self.conns[at].link].inbound.bytes.is_empty())
            .map(|at| (at, self.conns[at].received))
            .collect();
        let last_post = self.inbox.borrow().posts.back().copied();
        let standing = self.standing_polls();
        let (spoken, delivered) = self.operator.waiting();
        let waiting_udps = self.waiting_udps(faults);
        for _ in 0..turns {
            self.post_receives()?;
            for kind in 0..if spoken { 2 * self.capacity as u32 } else { 0 } {
                self.operator.type_in(kind % 5);
            }
            for who in 0..MOST_OPEN as u32 {
                self.peer_send(who, 50);
            }
            self.flood_udps();
            self.wait(events, Duration::ZERO)?;
        }
        for (at, received) in waiting {
            let conn = &self.conns[at];
            let served = conn.received > received || conn.state != State::Open || conn.paused;
            let reset = self.world.borrow().links[conn.link].reset.is_some();
            self.check(Oracle::Fairness, served || reset, || {
                format!("{:?} had bytes waiting and was not served within {turns} waits", conn.id)
            })?;
        }
        let posted = last_post.is_none_or(|last| !self.inbox.borrow().posts.contains(&last));
        self.check(Oracle::Fairness, posted, || format!("a post was not delivered within {turns} waits"))?;
        self.check_reported_again(&standing)?;
        self.check_udps_served(&waiting_udps, turns)?;
        let (_, delivered_since) = self.operator.waiting();
        self.check(Oracle::Fairness, !spoken || delivered_since > delivered, || {
            format!("the console's input was not delivered within {turns} waits")
        })?;
        self.flooding = false;
        self.calm = quiet;
        self.world.borrow_mut().faults = faults;
        Ok(())
    }
}
