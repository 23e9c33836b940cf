//! Channels: values of any type, reported once for what waits, in order, bounded, with an end on both sides.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use common::{Rig, Seen, watchdog};
use dolmen::{ErrorKind, Event, Events, Inbox, Reactor, Sender, Token};

const INBOX: Token = Token(7);

/// A value that counts those of its kind that exist.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>) -> Counted {
        alive.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(alive))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn kind<T>(refused: Result<(), dolmen::SendError<T>>) -> (ErrorKind, T) {
    let refused = refused.expect_err("it must be refused");
    (refused.error.kind(), refused.value)
}

/// One turn without blocking.
fn turn(rig: &mut Rig) -> Vec<Seen> {
    rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
    rig.events.drain().map(Seen::from).collect()
}

#[test]
fn a_thousand_values_are_one_event() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (sender, mut inbox) = rig.reactor.channel(1_000, INBOX);
    for _ in 0..3 {
        let other = sender.clone();
        let thread = thread::spawn(move || (0..1_000).for_each(|value| other.send(value).expect("send")));
        thread.join().expect("the sender");
        assert_eq!(rig.seen_until("event", |_| true), [Seen::Inbox(INBOX)]);
        assert_eq!(inbox.len(), 1_000);
        rig.silent();
        assert_eq!(inbox.drain().collect::<Vec<_>>(), (0..1_000).collect::<Vec<_>>());
        assert!(inbox.is_empty() && !inbox.is_closed());
        rig.silent();
    }
}

/// While the event waits for the caller, more values come, and the reactor does not report them again.
#[test]
fn nothing_is_reported_again_before_the_caller_has_drained() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (sender, mut inbox) = rig.reactor.channel(10, INBOX);
    sender.send(1).expect("send");
    assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)]);
    sender.send(2).expect("send");
    assert_eq!(turn(&mut rig), []);
    // A part is drained: the rest is reported, without another value.
    assert_eq!(inbox.drain().next(), Some(1));
    assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)]);
    assert_eq!(turn(&mut rig), []);
    // A drain that takes nothing is a drain.
    drop(inbox.drain());
    assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)]);
    assert_eq!(inbox.drain().collect::<Vec<_>>(), [2]);
    assert_eq!(turn(&mut rig), []);
    sender.send(3).expect("send");
    assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)]);
}

#[test]
fn values_that_come_during_a_drain_are_left_for_the_next_one() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (sender, mut inbox) = rig.reactor.channel(10, INBOX);
    sender.send(0).expect("send");
    assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)]);
    for round in 0..5 {
        let mut drained = Vec::new();
        for value in inbox.drain() {
            drained.push(value);
            sender.send(value + 1).expect("send");
        }
        assert_eq!(drained, [round], "a drain ends");
        assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)]);
    }
}

/// The caller drains without an event, at each moment at which one may be under way. No event finds an empty inbox.
#[test]
fn an_event_never_finds_an_empty_inbox() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (sender, mut inbox) = rig.reactor.channel(10, INBOX);
    // Before the reactor has found it.
    sender.send(1).expect("send");
    assert_eq!(inbox.drain().count(), 1);
    assert_eq!(turn(&mut rig), []);
    // When the event is in `Events`.
    sender.send(2).expect("send");
    assert_eq!(rig.reactor.wait(&mut rig.events, None).expect("wait"), 1);
    assert_eq!(inbox.drain().count(), 1);
    // A value that comes in between belongs to an event of its own.
    sender.send(3).expect("send");
    assert_eq!(rig.events.drain().count(), 0);
    assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)]);
    assert_eq!(inbox.drain().collect::<Vec<_>>(), [3]);
    // When it waits in the reactor, because the events were full.
    let mut rig = rig.capacity(1);
    let (second, mut second_inbox) = rig.reactor.channel(10, Token(8));
    sender.send(4).expect("send");
    second.send(5).expect("send");
    assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)]);
    assert_eq!(second_inbox.drain().collect::<Vec<_>>(), [5]);
    assert_eq!(turn(&mut rig), []);
    rig.silent();
}

#[test]
fn ten_thousand_values_of_each_of_four_threads_arrive_once_and_in_order() {
    const EACH: u64 = 10_000;
    let _watchdog = watchdog();
    // With room for all of them, and with so little that they are refused again and again.
    for capacity in [4 * EACH as usize, 16] {
        let mut rig = Rig::new();
        let (sender, mut inbox) = rig.reactor.channel(capacity, INBOX);
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let sender = sender.clone();
                thread::spawn(move || {
                    for number in 0..EACH {
                        let mut value = (thread, number.to_string());
                        while let Err(refused) = sender.send(value) {
                            assert_eq!(refused.error.kind(), ErrorKind::PostsFull);
                            value = refused.value;
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        drop(sender);
        let (mut next, mut events) = ([0; 4], 0);
        rig.until("end of the channel", |_, event| {
            assert!(matches!(event, Event::Inbox { token: INBOX, .. }), "{event:?}");
            events += 1;
            assert!(!inbox.is_empty() || inbox.is_closed(), "an event for nothing");
            let is_end = inbox.is_closed();
            assert!(inbox.len() <= capacity);
            for (thread, number) in inbox.drain() {
                assert_eq!(number, next[thread].to_string(), "a value of thread {thread}");
                next[thread] += 1;
            }
            is_end
        });
        assert_eq!(next, [EACH; 4]);
        threads.into_iter().for_each(|thread| thread.join().expect("a sender"));
        rig.silent();
    }
}

#[test]
fn a_full_channel_returns_the_value_and_takes_it_after_a_drain() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    // Zero counts as one.
    for (asked, room) in [(3, 3), (0, 1)] {
        let (sender, mut inbox) = rig.reactor.channel(asked, INBOX);
        for round in 0..3 {
            (0..room).for_each(|value| sender.send(value).expect("send"));
            let refused = sender.clone().send(99).expect_err("it is full");
            assert_eq!((refused.error.kind(), refused.value), (ErrorKind::PostsFull, 99));
            assert!(refused.error.to_string().contains("Token(7)"), "{}", refused.error);
            assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)], "round {round}");
            assert_eq!(kind(sender.send(99)).0, ErrorKind::PostsFull, "reported, and not drained");
            assert_eq!(inbox.drain().collect::<Vec<_>>(), (0..room).collect::<Vec<_>>());
        }
        drop(inbox);
    }
}

#[test]
fn the_end_is_one_event_and_follows_the_values() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    // Without a value.
    let (sender, inbox) = rig.reactor.channel::<u8>(10, INBOX);
    let other = sender.clone();
    drop(sender);
    assert_eq!(turn(&mut rig), []);
    thread::spawn(move || drop(other)).join().expect("the other thread");
    assert!(inbox.is_closed());
    assert_eq!(rig.seen_until("end", |_| true), [Seen::Inbox(INBOX)]);
    rig.silent();
    // With values: before, and while they are reported.
    for reported in [false, true] {
        let (sender, mut inbox) = rig.reactor.channel(10, INBOX);
        sender.send(1).expect("send");
        if reported {
            assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)]);
            drop(sender);
            assert_eq!(turn(&mut rig), []);
        } else {
            drop(sender);
            assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)]);
        }
        assert!(!inbox.is_closed(), "a value waits");
        assert_eq!(inbox.drain().collect::<Vec<_>>(), [1]);
        assert!(inbox.is_closed());
        assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)], "the end");
        assert_eq!(inbox.drain().count(), 0);
        assert_eq!(turn(&mut rig), [], "once");
    }
    // A drain while the end is under way does not lose it.
    let (sender, mut inbox) = rig.reactor.channel::<u8>(10, INBOX);
    drop(sender);
    assert_eq!(inbox.drain().count(), 0);
    assert_eq!(rig.reactor.wait(&mut rig.events, None).expect("wait"), 1);
    assert_eq!(inbox.drain().count(), 0);
    assert_eq!(rig.events.drain().map(Seen::from).collect::<Vec<_>>(), [Seen::Inbox(INBOX)]);
}

/// At each moment: before the reactor has found it, in the reactor, in `Events`, and afterwards.
#[test]
fn no_event_of_a_dropped_inbox_is_delivered() {
    let _watchdog = watchdog();
    let alive = Arc::new(AtomicUsize::new(0));
    for end in [false, true] {
        for moment in 0..4 {
            let mut rig = Rig::new().capacity(1);
            let (first, mut first_inbox) = rig.reactor.channel(10, Token(1));
            let (sender, inbox) = rig.reactor.channel(10, INBOX);
            let mut inbox = Some(inbox);
            first.send(()).expect("send");
            let mut sender = Some(sender);
            match end {
                true => sender = None,
                false => sender.as_ref().expect("it is there").send(Counted::new(&alive)).expect("send"),
            }
            if moment == 0 {
                inbox = None;
            }
            assert_eq!(turn(&mut rig), [Seen::Inbox(Token(1))]);
            first_inbox.drain().for_each(drop);
            if moment == 1 {
                inbox = None;
            }
            assert_eq!(
                rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait"),
                usize::from(inbox.is_some())
            );
            if moment == 2 {
                inbox = None;
            }
            assert_eq!(rig.events.drain().count(), usize::from(inbox.is_some()), "moment {moment}");
            drop(inbox);
            assert_eq!(alive.load(Ordering::Relaxed), 0, "its values are dropped");
            if let Some(sender) = sender {
                let (kind, value) = kind(sender.send(Counted::new(&alive)));
                assert_eq!((kind, alive.load(Ordering::Relaxed)), (ErrorKind::InboxGone, 1));
                drop(value);
            }
            rig.silent();
        }
    }
}

#[test]
fn an_inbox_outlives_its_reactor_and_its_senders_are_refused() {
    let _watchdog = watchdog();
    let alive = Arc::new(AtomicUsize::new(0));
    for reported in [false, true] {
        let mut rig = Rig::new();
        let (sender, mut inbox) = rig.reactor.channel(10, INBOX);
        sender.send(Counted::new(&alive)).expect("send");
        sender.send(Counted::new(&alive)).expect("send");
        if reported {
            assert_eq!(turn(&mut rig), [Seen::Inbox(INBOX)]);
        }
        drop(rig);
        assert_eq!(kind(sender.send(Counted::new(&alive))).0, ErrorKind::ReactorGone);
        assert_eq!(inbox.drain().take(1).count(), 1);
        assert!(!inbox.is_closed());
        drop(sender);
        assert_eq!(alive.load(Ordering::Relaxed), 1);
        drop(inbox);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}

/// Values that own senders of their own channel, and values that send when they are dropped, are neither leaked nor a
/// deadlock.
#[test]
fn a_value_may_own_a_sender_of_its_channel_and_use_it_when_it_is_dropped() {
    struct Echo(Option<Sender<Echo>>, Arc<AtomicUsize>);
    impl Drop for Echo {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::Relaxed);
            if let Some(sender) = self.0.take() {
                let _ = sender.send(Echo(None, Arc::clone(&self.1)));
            }
        }
    }
    let _watchdog = watchdog();
    for reactor_first in [false, true] {
        let dropped = Arc::new(AtomicUsize::new(0));
        let rig = Rig::new();
        let (sender, inbox) = rig.reactor.channel(10, INBOX);
        for _ in 0..3 {
            sender.send(Echo(Some(sender.clone()), Arc::clone(&dropped))).expect("send");
        }
        drop(sender);
        if reactor_first {
            drop(rig);
            drop(inbox);
        } else {
            drop(inbox);
            drop(rig);
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 6, "each value, and what it has sent in vain");
    }
}

/// Each end is dropped while the other one is in use, at whatever moment the threads find.
#[test]
fn each_end_may_be_dropped_while_the_other_is_in_use() {
    let _watchdog = watchdog();
    let alive = Arc::new(AtomicUsize::new(0));
    for round in 0..if cfg!(windows) { 100 } else { 1_000 } {
        let mut rig = Rig::new();
        let (sender, inbox) = rig.reactor.channel(1_000, INBOX);
        let (start, counter) = (Arc::new(Barrier::new(2)), Arc::clone(&alive));
        let begin = Arc::clone(&start);
        let thread = thread::spawn(move || {
            begin.wait();
            let mut sent = 0;
            while sent < 50 && sender.send(Counted::new(&counter)).is_ok() {
                sent += 1;
            }
            sent
        });
        let mut inbox = Some(inbox);
        start.wait();
        let mut got = 0;
        let mut over = false;
        while !over {
            rig.reactor.wait(&mut rig.events, Some(Duration::from_micros(50))).expect("wait");
            let reported = rig.events.drain().count();
            let Some(open) = &mut inbox else { panic!("an event of an inbox that was dropped") };
            got += open.drain().count();
            match round % 3 {
                // The senders' end comes first.
                0 => over = open.is_closed(),
                1 => over = got > 20 || open.is_closed(),
                _ => over = reported > 0,
            }
            if over {
                inbox = None;
            }
        }
        if round % 2 == 0 {
            drop(rig);
            let sent = thread.join().expect("the sender");
            assert!(sent >= got && (round % 3 != 0 || sent == got), "{got} of {sent}");
        } else {
            thread.join().expect("the sender");
            drop(rig);
        }
        assert_eq!(alive.load(Ordering::Relaxed), 0, "all values are dropped");
    }
}

/// A channel that is always reported does not keep others, or a connection, from their turn; nor do many channels.
#[test]
fn p03_busy_channels_starve_no_other_source() {
    const CHANNELS: usize = 100;
    let _watchdog = watchdog();
    let mut rig = Rig::new().capacity(3);
    let mut channels: Vec<(Sender<u64>, Inbox<u64>)> =
        (0..CHANNELS).map(|at| rig.reactor.channel(10, Token(at))).collect();
    for (sender, _) in &channels {
        sender.send(0).expect("send");
    }
    let (poster, waker) = (rig.reactor.poster(), rig.reactor.waker());
    let mut counts = [0; CHANNELS];
    for round in 0..10 {
        poster.post(round, INBOX).expect("post");
        waker.wake();
        let (mut posted, mut woken) = (false, false);
        for _ in 0..2 * CHANNELS / 3 {
            rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
            for event in rig.events.drain() {
                match event {
                    Event::Inbox { token: Token(at), .. } => {
                        counts[at] += 1;
                        let (sender, inbox) = &mut channels[at];
                        for value in inbox.drain() {
                            sender.send(value + 1).expect("send");
                        }
                    }
                    Event::Posted { .. } => posted = true,
                    Event::Woken => woken = true,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(posted && woken, "round {round}");
    }
    let (least, most) = (counts.iter().min().expect("some"), counts.iter().max().expect("some"));
    assert!(*least > 10 && most - least <= 2, "each in its turn: {least} to {most}");
}

/// A blocked wait ends with the first value, and with the end.
#[test]
fn a_value_and_the_end_each_end_a_wait() {
    let _watchdog = watchdog();
    let mut reactor = Reactor::new().expect("a reactor");
    let mut events = Events::with_capacity(8);
    let (sender, mut inbox) = reactor.channel(10, INBOX);
    let (go, went) = std::sync::mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        sender.send(1).expect("send");
        went.recv().expect("the main thread");
    });
    assert_eq!(reactor.wait(&mut events, None).expect("wait"), 1);
    assert_eq!(inbox.drain().collect::<Vec<_>>(), [1]);
    go.send(()).expect("the sender");
    assert_eq!(reactor.wait(&mut events, None).expect("wait"), 1);
    assert!(inbox.is_closed());
    thread.join().expect("the sender");
}
