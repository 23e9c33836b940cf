//! Posts and wakes, by this thread and by others during a wait.

use super::*;

/// What this thread and others have sent to the reactor through its mailbox.
#[derive(Default)]
pub(super) struct Inbox {
    /// Taken, and not delivered yet.
    pub(super) posts: VecDeque<u64>,
    pub(super) posted: u64,
    /// Woken, and not delivered yet.
    pub(super) woken: bool,
    /// When the first undelivered one was sent during the wait in progress.
    pub(super) sent_during_wait_ns: Option<u64>,
    /// A post was refused without a reason.
    pub(super) refused: bool,
}

/// Makes a post, which may be refused while too many wait, or when the signal for it fails. Returns whether it was
/// taken.
fn post(poster: &Poster, inbox: &mut Inbox, capacity: usize, signal: &SimSignal) -> bool {
    let failed = signal.failed();
    match poster.post(inbox.posted, Token(3000)) {
        Ok(()) => {
            inbox.posts.push_back(inbox.posted);
            inbox.posted += 1;
            true
        }
        Err(error) => {
            inbox.refused |= match error.kind() {
                ErrorKind::PostsFull => inbox.posts.len() < capacity,
                ErrorKind::Exhausted => signal.failed() == failed,
                _ => true,
            };
            false
        }
    }
}

impl Run<'_> {
    pub(super) fn post(&mut self) {
        let signal = Arc::clone(&self.world.borrow().signal);
        post(&self.poster, &mut self.inbox.borrow_mut(), self.config.post_capacity, &signal);
    }

    pub(super) fn wake(&mut self) {
        self.waker.wake();
        self.inbox.borrow_mut().woken = true;
    }

    pub(super) fn post_later(&mut self, after_us: u32) {
        let (inbox, poster) = (Rc::clone(&self.inbox), self.poster.clone());
        let (signal, capacity) = (Arc::clone(&self.world.borrow().signal), self.config.post_capacity);
        let at_ns = self.now_ns() + u64::from(after_us) * 1_000;
        self.world.borrow_mut().schedule(at_ns, move |now_ns| {
            let mut inbox = inbox.borrow_mut();
            if post(&poster, &mut inbox, capacity, &signal) {
                inbox.sent_during_wait_ns.get_or_insert(now_ns);
            }
        });
    }

    pub(super) fn wake_later(&mut self, after_us: u32) {
        let (inbox, waker) = (Rc::clone(&self.inbox), self.waker.clone());
        let at_ns = self.now_ns() + u64::from(after_us) * 1_000;
        self.world.borrow_mut().schedule(at_ns, move |now_ns| {
            waker.wake();
            let mut inbox = inbox.borrow_mut();
            inbox.woken = true;
            inbox.sent_during_wait_ns.get_or_insert(now_ns);
        });
    }

    /// Posts and wakes of other threads end the wait immediately.
    pub(super) fn check_woken(&self, count: usize) -> Check {
        let now_ns = self.now_ns();
        let mut inbox = self.inbox.borrow_mut();
        let sent_ns = inbox.sent_during_wait_ns.take().unwrap_or(now_ns);
        self.check(Oracle::Posts, now_ns <= sent_ns + 1_000_000, || {
            format!("what was sent at {sent_ns} ended the wait at {now_ns}")
        })?;
        let left = count == 0 && (inbox.woken || !inbox.posts.is_empty());
        self.check(Oracle::Posts, !left, || "a wait without events left a post or a wake behind".into())?;
        self.check(Oracle::Posts, !inbox.refused, || "a post was refused without need".into())
    }
}
