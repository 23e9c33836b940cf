//! The actions on listeners, timers and watches.

use super::*;

impl Run<'_> {
    pub(super) fn listen(&mut self) {
        if self.listeners.iter().filter(|listener| listener.open).count() >= 2 {
            return;
        }
        let (listener, number) = SimListener::open(&self.world);
        let token = Token(1000 + self.listeners.len());
        let id = self.engine.listen(listener, token).expect("it must succeed");
        let (open, failed, added_ns, failures) = (true, false, self.now_ns(), 0);
        self.listeners.push(Listener { id, number, open, failed, added_ns, failures });
    }

    pub(super) fn connect_to(&mut self, who: u32) {
        let open = self.listeners.iter().filter(|listener| listener.open);
        let open: Vec<usize> = open.map(|listener| listener.number).collect();
        if !open.is_empty() && self.peers.len() < MOST_LINKS {
            let link = self.connect();
            let number = open[who as usize % open.len()];
            self.world.borrow_mut().listeners[number].backlog.push_back(link);
        }
    }

    pub(super) fn remove_listener(&mut self, who: u32) -> Check {
        let count = self.listeners.len();
        if count == 0 {
            return Ok(());
        }
        let listener = &mut self.listeners[who as usize % count];
        let known = self.engine.remove_listener(listener.id);
        let open = std::mem::replace(&mut listener.open, false);
        self.check(Oracle::Stale, known == open, || "a listener was removed twice".into())
    }

    pub(super) fn timer(&mut self, after_us: u32, period_ns: u64) {
        let after = Duration::from_micros(after_us.into());
        let deadline_ns = self.now_ns() + u64::from(after_us) * 1_000;
        let token = Token(2000 + self.timers.len());
        let id = if period_ns == 0 {
            self.engine.add_timer(after, token)
        } else {
            self.engine.add_interval(after, token)
        };
        self.timers.push(Timer { id, deadline_ns, period_ns, live: true });
    }

    pub(super) fn cancel_timer(&mut self, who: u32) -> Check {
        let count = self.timers.len();
        if count == 0 {
            return Ok(());
        }
        let timer = &mut self.timers[who as usize % count];
        let known = self.engine.remove_timer(timer.id);
        let live = std::mem::replace(&mut timer.live, false);
        // A one-shot timer may have gone off without having been delivered yet.
        let plausible = known == live || (live && timer.period_ns == 0);
        self.check(Oracle::Time, plausible, || "a timer was forgotten".into())
    }

    pub(super) fn set_timer(&mut self, who: u32, after_us: u32) -> Check {
        let now_ns = self.now_ns();
        let count = self.timers.len();
        let Some(timer) = self.timers.get_mut(who as usize % count.max(1)) else { return Ok(()) };
        // Whether a tick of an interval that is due has gone off, and so will be delivered, only the engine knows.
        let due = timer.live && timer.deadline_ns <= now_ns;
        if due && timer.period_ns != 0 {
            return Ok(());
        }
        let known = self.engine.set_timer(timer.id, Duration::from_micros(after_us.into()));
        let live = timer.live;
        if known {
            timer.deadline_ns = now_ns + u64::from(after_us) * 1_000;
        }
        self.check(Oracle::Time, known == live || due, || {
            "a timer was forgotten, or set after its end".into()
        })
    }

    pub(super) fn watch(&mut self) {
        if self.watches.iter().filter(|watch| watch.open).count() >= 3 {
            return;
        }
        let (source, handle) = SimHandle::open(&self.world);
        let id = self.engine.watch(source, Token(4000)).expect("it must succeed");
        self.watches.push(Watch { id, handle, open: true, due: false });
    }

    pub(super) fn signal(&mut self, who: u32) {
        let count = self.watches.len();
        if count > 0 {
            let watch = &mut self.watches[who as usize % count];
            self.world.borrow_mut().signalled[watch.handle] = true;
            watch.due = true;
        }
    }

    pub(super) fn unwatch(&mut self, who: u32) {
        let count = self.watches.len();
        if count > 0 {
            let watch = &mut self.watches[who as usize % count];
            watch.open = false;
            self.engine.remove_watch(watch.id);
        }
    }
}
