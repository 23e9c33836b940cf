//! The game's rounds: a wait, what it has brought, the crew's events, and the end. A game may leave events for its next round,
//! and leave its round open for another wait.

use super::*;

/// How a game goes about one round.
struct Habit {
    /// It takes no more events after so many.
    ends_after: u64,
    /// It waits once more, and then ends the round.
    leaves_open: bool,
    /// It ends the round itself, also when there is no further event.
    ends_itself: bool,
}

impl Run<'_> {
    /// Half a round: the wait, or what follows. Others may act in between.
    pub(super) fn step_game(&mut self) -> Check {
        if !self.has_found && !self.owes_round {
            // With a round open it waits for a while only.
            if !self.is_left_open && !member::is_awake(&mut self.engine) {
                return Ok(());
            }
            let waited = member::wait(&self.world, &mut self.engine, &mut self.batch);
            self.check(Oracle::Liveness, waited.is_ok(), || format!("the game's wait failed: {waited:?}"))?;
            environment::count_wait();
            self.has_found = true;
            if self.rng.percent(25) {
                return Ok(());
            }
        }
        if std::mem::take(&mut self.has_found) {
            self.handle_found();
        }
        self.round()
    }

    fn handle_found(&mut self) {
        environment::open_round();
        self.dispatcher.open_round(&self.engine);
        for record in self.batch.drain() {
            // A report of waiting notices has done its part when it has ended the wait: a game may drop it.
            if let Some(happening) = Happening::of_record(record) {
                self.dispatcher.handle(&mut self.engine, happening);
            }
        }
    }

    fn habit(&mut self) -> Habit {
        let leaves_events = !self.is_calm && self.rng.percent(15);
        let leaves_open = !self.is_calm && !self.is_left_open && self.rng.percent(20);
        let ends_after = if leaves_events { self.rng.below(4) } else { u64::MAX };
        Habit { ends_after, leaves_open, ends_itself: leaves_open || self.rng.percent(30) }
    }

    fn round(&mut self) -> Check {
        let habit = self.habit();
        let mut is_left_early = false;
        for count in 0.. {
            self.check(Oracle::Liveness, count < 10_000, || "a round does not end".into())?;
            if !self.members.is_empty() && self.rng.percent(15) {
                let at = self.rng.below(self.members.len() as u64) as usize;
                self.step_member(at)?;
            }
            is_left_early = count >= habit.ends_after && self.orphans.is_empty();
            if is_left_early {
                mark(Mark::RoundLeftEarly);
                break;
            }
            let Some(event) = self.next_event(&habit)? else { break };
            self.report.events += 1;
            self.handle(event)?;
        }
        self.owes_round = false;
        self.is_left_open = habit.leaves_open;
        if habit.leaves_open {
            mark(Mark::RoundLeftOpen);
            return Ok(());
        }
        if habit.ends_itself || is_left_early {
            self.dispatcher.end_round(&mut self.engine);
        }
        environment::end_round();
        let orphans = self.orphans.len();
        self.check(Oracle::Order, orphans == 0, || format!("{orphans} connections were not reported"))?;
        self.check_game(is_left_early)?;
        self.replace_failed()
    }

    fn next_event(&mut self, habit: &Habit) -> Result<Option<CrewEvent<TestCodec>>, Failure> {
        // The first one begins the round, unless the events of a wait have.
        if environment::round().is_none() {
            environment::open_round();
        }
        let event = match habit.ends_itself {
            true => self.dispatcher.take_event(&mut self.engine),
            false => self.dispatcher.next_event(&mut self.engine),
        };
        if event.is_none() && !habit.ends_itself {
            environment::end_round();
        }
        self.join_ended()?;
        Ok(event)
    }
}
