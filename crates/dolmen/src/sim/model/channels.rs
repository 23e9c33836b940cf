//! Channels: values and ends, by this thread and by others during a wait, and the caller's drains.

use super::super::program::ChannelStep;
use super::*;
use crate::channel::{Inbox, Sender, channel};

/// The first token of a channel.
const FIRST: usize = 4000;

pub(super) struct Channels {
    /// Decides what handlers do, so that other seeds keep their decisions.
    rng: Rng,
    /// Shared with actions of other threads that are still to come.
    all: Vec<Rc<RefCell<Channel>>>,
    /// Each value has a copy, so that a value that is leaked shows.
    alive: Arc<()>,
}

/// A value: its number in the channel.
type Value = (u64, Arc<()>);

struct Channel {
    capacity: usize,
    senders: Vec<Sender<Value>>,
    /// `None` once the caller has dropped it.
    inbox: Option<Inbox<Value>>,
    /// Taken, and not drained yet. One thread acts at a time, so there is one order.
    waiting: VecDeque<u64>,
    sent: u64,
    /// An event has come, and the caller has not drained since.
    reported: bool,
    end_reported: bool,
    /// When it first became due during the wait in progress.
    due_during_wait_ns: Option<u64>,
    /// What was wrong with a send.
    wrong: Option<String>,
}

impl Channel {
    /// An event is to come.
    fn is_due(&self) -> bool {
        let ended = self.senders.is_empty() && !self.end_reported;
        self.inbox.is_some() && !self.reported && (!self.waiting.is_empty() || ended)
    }

    /// Sends a value, which is refused when the channel is full, when the inbox is gone, or when the signal for it fails.
    fn send(&mut self, who: u32, alive: &Arc<()>, signal: &SimSignal) {
        if self.senders.is_empty() {
            return;
        }
        let (failed, number) = (signal.failed(), self.sent);
        let sender = &self.senders[who as usize % self.senders.len()];
        let right = match sender.send((number, Arc::clone(alive))) {
            Ok(()) => {
                self.waiting.push_back(number);
                self.sent += 1;
                self.waiting.len() <= self.capacity && self.inbox.is_some()
            }
            Err(refused) => {
                let right = match refused.error.kind() {
                    ErrorKind::PostsFull => self.waiting.len() == self.capacity,
                    ErrorKind::InboxGone => self.inbox.is_none(),
                    ErrorKind::Exhausted => signal.failed() != failed,
                    _ => false,
                };
                right && refused.value.0 == number
            }
        };
        if !right {
            self.wrong = Some(format!("value {number} was taken or refused against the rules"));
        }
    }

    fn drop_sender(&mut self) {
        self.senders.pop();
    }

    /// The caller takes out up to `most` of the values, and sends `more` in between. Returns what was wrong.
    fn drain(&mut self, most: usize, more: bool, alive: &Arc<()>, signal: &SimSignal) -> Option<String> {
        let mut inbox = self.inbox.take()?;
        let there = self.waiting.len();
        if inbox.len() != there || inbox.is_closed() != (there == 0 && self.senders.is_empty()) {
            return Some(format!("{inbox:?} is closed: {}, and {there} wait", inbox.is_closed()));
        }
        let mut taken = Vec::new();
        let mut drain = inbox.drain();
        if most > 0 {
            // One more than there are, to reach the end.
            for _ in 0..most.min(there + 1) {
                taken.extend(drain.next().map(|(number, _)| number));
            }
        }
        drop(drain);
        self.inbox = Some(inbox);
        let expected: Vec<u64> = self.waiting.drain(..most.min(there)).collect();
        self.reported = false;
        if more {
            self.send(0, alive, signal);
        }
        (taken != expected).then(|| format!("a drain brought {taken:?} instead of {expected:?}"))
    }
}

impl Channels {
    pub(super) fn new(seed: u64) -> Channels {
        Channels { rng: Rng::new(seed ^ 0x0C4A_77E1_5EED_1B0C), all: Vec::new(), alive: Arc::new(()) }
    }

    /// Whether the channels are dropped before the reactor.
    pub(super) fn goes_first(&mut self) -> bool {
        self.rng.percent(50)
    }

    /// The reactor is dropped before the channels, or after them. What was sent before can still be drained. Returns what
    /// was wrong.
    pub(super) fn end(mut self, reactor_gone: bool, signal: &SimSignal) -> Option<String> {
        let mut wrong = None;
        for channel in &self.all {
            let mut channel = channel.borrow_mut();
            if reactor_gone && channel.inbox.is_some() {
                let refused = channel.senders.first().map(|sender| sender.send((0, Arc::clone(&self.alive))));
                if refused.is_some_and(|sent| sent.map_err(|e| e.error.kind()) != Err(ErrorKind::ReactorGone))
                {
                    wrong = Some("a value was taken after the reactor was gone".to_owned());
                }
                let most = self.rng.below(4) as usize;
                wrong = channel.drain(most, false, &self.alive, signal).or(wrong);
            }
        }
        self.all.clear();
        let left = Arc::strong_count(&self.alive) - 1;
        wrong.or_else(|| (reactor_gone && left != 0).then(|| format!("{left} values are left")))
    }
}

impl Run<'_> {
    fn channel(&self, who: u32) -> Option<Rc<RefCell<Channel>>> {
        let all = &self.channels.all;
        // The latest ones.
        let recent = all.len().min(4);
        (recent > 0).then(|| Rc::clone(&all[all.len() - 1 - who as usize % recent]))
    }

    pub(super) fn channel_step(&mut self, step: ChannelStep) -> Check {
        let (signal, alive) = (Arc::clone(&self.world.borrow().signal), Arc::clone(&self.channels.alive));
        match step {
            ChannelStep::Open(capacity) => {
                let token = Token(FIRST + self.channels.all.len());
                let (sender, inbox) = channel(self.engine.mailbox(), capacity.into(), token);
                self.channels.all.push(Rc::new(RefCell::new(Channel {
                    capacity: usize::from(capacity).max(1),
                    senders: vec![sender],
                    inbox: Some(inbox),
                    waiting: VecDeque::new(),
                    sent: 0,
                    reported: false,
                    end_reported: false,
                    due_during_wait_ns: None,
                    wrong: None,
                })));
            }
            ChannelStep::Send(who) => self.now(who, |channel| channel.send(who, &alive, &signal)),
            ChannelStep::CloneSender(who) => self.now(who, |channel| {
                let clone = channel.senders.first().cloned();
                channel.senders.extend(clone);
            }),
            ChannelStep::DropSender(who) => self.now(who, Channel::drop_sender),
            ChannelStep::DropInbox(who) => self.now(who, |channel| {
                channel.inbox = None;
                channel.waiting.clear();
            }),
            ChannelStep::SendLater(who, after_us) => {
                // A copy that waits in an action of a thread that never runs is not a leak.
                let alive = Arc::downgrade(&alive);
                self.later(who, after_us, move |channel| {
                    if let Some(alive) = alive.upgrade() {
                        channel.send(who, &alive, &signal);
                    }
                });
            }
            ChannelStep::DropSenderLater(who, after_us) => self.later(who, after_us, Channel::drop_sender),
            ChannelStep::Drain(who, most) => {
                let Some(channel) = self.channel(who) else { return Ok(()) };
                let more = self.channels.rng.percent(20);
                let wrong = channel.borrow_mut().drain(most.into(), more, &alive, &signal);
                self.check(Oracle::Posts, wrong.is_none(), || wrong.unwrap_or_default())?;
            }
        }
        Ok(())
    }

    fn now(&self, who: u32, act: impl FnOnce(&mut Channel)) {
        if let Some(channel) = self.channel(who) {
            act(&mut channel.borrow_mut());
        }
    }

    fn later(&self, who: u32, after_us: u32, act: impl FnOnce(&mut Channel) + 'static) {
        let Some(channel) = self.channel(who).map(|channel| Rc::downgrade(&channel)) else { return };
        let at_ns = self.now_ns() + u64::from(after_us) * 1_000;
        self.world.borrow_mut().schedule(at_ns, move |now_ns| {
            let Some(channel) = channel.upgrade() else { return };
            let mut channel = channel.borrow_mut();
            let was_due = channel.is_due();
            act(&mut channel);
            if !was_due && channel.is_due() {
                channel.due_during_wait_ns.get_or_insert(now_ns);
            }
        });
    }

    /// An event: something waits, or it is the end, and neither was reported before.
    pub(super) fn inbox_reported(&mut self, token: Token) -> Check {
        let channel = token.0.checked_sub(FIRST).and_then(|at| self.channels.all.get(at)).cloned();
        let Some(channel) = channel else {
            return self.fail(Oracle::Stale, || "an inbox that never was is reported".into());
        };
        let mut known = channel.borrow_mut();
        let open = known.inbox.is_some();
        self.check(Oracle::Stale, open, || format!("{token:?} was dropped, and is reported"))?;
        let due = known.is_due();
        self.check(Oracle::Posts, due, || format!("{token:?} is reported without a reason, or twice"))?;
        known.end_reported |= known.waiting.is_empty();
        known.reported = true;
        let (alive, most) = (Arc::clone(&self.channels.alive), self.channels.rng.below(4) as usize);
        let more = !self.calm && self.channels.rng.percent(20);
        let signal = Arc::clone(&self.world.borrow().signal);
        let wrong = match self.channels.rng.below(20) {
            _ if self.calm => known.drain(usize::MAX, false, &alive, &signal),
            0 => {
                known.inbox = None;
                known.waiting.clear();
                None
            }
            // Later, without an event.
            1..4 => None,
            4..10 => known.drain(most, more, &alive, &signal),
            _ => known.drain(usize::MAX, more, &alive, &signal),
        };
        self.check(Oracle::Posts, wrong.is_none(), || wrong.unwrap_or_default())
    }

    /// Values and ends of other threads end the wait immediately, and one without events has left none behind.
    pub(super) fn check_channels(&self, count: usize) -> Check {
        let now_ns = self.now_ns();
        for (at, channel) in self.channels.all.iter().enumerate() {
            let mut channel = channel.borrow_mut();
            let due_ns = channel.due_during_wait_ns.take().unwrap_or(now_ns);
            self.check(Oracle::Posts, now_ns <= due_ns + 1_000_000, || {
                format!("channel {at} was due at {due_ns}, and the wait ended at {now_ns}")
            })?;
            let left = count == 0 && channel.is_due();
            self.check(Oracle::Posts, !left, || format!("a wait without events left channel {at} behind"))?;
            let wrong = channel.wrong.take();
            self.check(Oracle::Posts, wrong.is_none(), || wrong.unwrap_or_default())?;
        }
        Ok(())
    }

    /// An event of a channel is to come.
    pub(super) fn channel_is_due(&self) -> bool {
        self.channels.all.iter().any(|channel| channel.borrow().is_due())
    }

    /// What the caller has left is drained, so that the rest is reported.
    pub(super) fn drain_channels(&mut self) -> Check {
        for at in 0..self.channels.all.len() {
            let channel = Rc::clone(&self.channels.all[at]);
            let signal = Arc::clone(&self.world.borrow().signal);
            let mut channel = channel.borrow_mut();
            if channel.reported {
                let wrong = channel.drain(usize::MAX, false, &self.channels.alive, &signal);
                self.check(Oracle::Posts, wrong.is_none(), || wrong.unwrap_or_default())?;
            }
        }
        Ok(())
    }

    pub(super) fn check_channels_drained(&self) -> Check {
        for (at, channel) in self.channels.all.iter().enumerate() {
            let channel = channel.borrow();
            let left = channel.inbox.is_some() && (!channel.waiting.is_empty() || channel.is_due());
            self.check(Oracle::Posts, !left, || {
                format!("channel {at} was never reported: {:?}", channel.waiting)
            })?;
        }
        Ok(())
    }
}
