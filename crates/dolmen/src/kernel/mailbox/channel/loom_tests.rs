//! Every order in which senders, their ends, the reactor and the caller's drains may interleave. Run by
//! `cargo xtask loom`.
//!
//! The reactor's thread also drains, as a caller does. When all other threads have ended and no signal is left, a blocked
//! reactor would sleep indefinitely, so a value that waits then would never have been reported.

use std::sync::Arc;

use loom::thread;

use super::super::loom_tests::{FakeKernel, mailbox};
use super::super::{Arrival, InboxReport};
use super::*;

struct Fixture {
    kernel: Arc<FakeKernel>,
    mailbox: Arc<Mailbox>,
    channel: Arc<Channel<u64>>,
}

fn fixture(fail_in: u32, capacity: usize) -> Fixture {
    let (kernel, mailbox) = mailbox(fail_in);
    let channel = Channel::new(Arc::clone(&mailbox), capacity, Token(0));
    Fixture { kernel, mailbox, channel }
}

/// Sends from a separate thread, which then drops its sender. Returns the values that were taken.
fn sender(channel: &Arc<Channel<u64>>, values: &'static [u64]) -> thread::JoinHandle<Vec<u64>> {
    channel.add_sender();
    let channel = Arc::clone(channel);
    thread::spawn(move || {
        let taken = values.iter().copied().filter(|&value| channel.send(value).is_ok()).collect();
        channel.remove_sender();
        taken
    })
}

#[derive(Default)]
struct Drained {
    values: Vec<u64>,
    reports: usize,
    /// Reports that found nothing and no end.
    empty: usize,
    /// Reports of the end.
    ends: usize,
}

impl Drained {
    /// The caller handles a report, and takes `most` values.
    fn handle(&mut self, channel: &Arc<Channel<u64>>, report: &InboxReport, most: usize) {
        if report.is_stale() {
            return;
        }
        self.reports += 1;
        let waiting = channel.len();
        if waiting == 0 {
            if channel.is_closed() { self.ends += 1 } else { self.empty += 1 }
        }
        self.values.extend((0..waiting.min(most)).map_while(|_| channel.pop()));
        channel.drained();
    }
}

/// Runs turns of the reactor until nothing would ever end the next wait. With `early`, the caller also drains between the
/// collection of a report and its delivery.
fn reactor(fixture: &Fixture, most: usize, early: bool) -> Drained {
    let mut drained = Drained::default();
    loop {
        let mut reports = Vec::new();
        fixture.mailbox.collect(1, |arrival| {
            let Arrival::Inbox { report, .. } = arrival else { panic!("there are no posts") };
            reports.push(report);
        });
        if early {
            drained.values.extend(fixture.channel.pop());
            fixture.channel.drained();
        }
        for report in &reports {
            drained.handle(&fixture.channel, report, most);
        }
        if !fixture.mailbox.waiting() && !fixture.kernel.wait() {
            return drained;
        }
    }
}

fn spawn(fixture: Fixture, most: usize, early: bool) -> (Arc<FakeKernel>, thread::JoinHandle<Drained>) {
    let kernel = Arc::clone(&fixture.kernel);
    (kernel, thread::spawn(move || reactor(&fixture, most, early)))
}

#[test]
fn values_of_two_threads_are_reported_until_all_are_drained() {
    loom::model(|| {
        let fixture = fixture(0, 8);
        let other = sender(&fixture.channel, &[1]);
        let channel = Arc::clone(&fixture.channel);
        let (kernel, reactor) = spawn(fixture, 8, false);
        channel.send(11).unwrap();
        assert_eq!(other.join().unwrap(), [1]);
        kernel.end();
        let mut drained = reactor.join().unwrap();
        assert_eq!((drained.ends, drained.empty), (0, 0), "a sender is left");
        drained.values.sort_unstable();
        assert_eq!(drained.values, [1, 11]);
        drop(channel);
    });
}

/// The caller drains one value at a time, or all, or also without a report. The values stay in order, the end is reported
/// once, and after the last value.
#[test]
fn the_end_is_reported_once_and_after_the_last_value() {
    for (most, early) in [(1, false), (8, false), (8, true)] {
        loom::model(move || {
            let fixture = fixture(0, 8);
            let other = sender(&fixture.channel, &[1, 2]);
            fixture.channel.remove_sender();
            let channel = Arc::clone(&fixture.channel);
            let (kernel, reactor) = spawn(fixture, most, early);
            other.join().unwrap();
            kernel.end();
            let drained = reactor.join().unwrap();
            assert_eq!((drained.values, drained.ends, drained.empty), (vec![1, 2], 1, 0));
            assert!(channel.is_closed());
        });
    }
}

/// The last sender is dropped by one of two threads.
#[test]
fn two_threads_that_end_together_are_one_end() {
    loom::model(|| {
        let fixture = fixture(0, 8);
        let other = sender(&fixture.channel, &[11]);
        let channel = Arc::clone(&fixture.channel);
        let (kernel, reactor) = spawn(fixture, 8, false);
        channel.remove_sender();
        other.join().unwrap();
        kernel.end();
        let drained = reactor.join().unwrap();
        assert_eq!((drained.values, drained.ends, drained.empty), (vec![11], 1, 0));
    });
}

#[test]
fn an_end_without_values_is_reported() {
    loom::model(|| {
        let fixture = fixture(0, 8);
        let last = sender(&fixture.channel, &[]);
        fixture.channel.remove_sender();
        let (kernel, reactor) = spawn(fixture, 8, false);
        last.join().unwrap();
        kernel.end();
        let drained = reactor.join().unwrap();
        assert_eq!((drained.reports, drained.ends), (1, 1));
    });
}

/// Any of the signals may fail: a value that was taken arrives, one that was refused does not, no sender relies in vain on
/// another one's signal, and no report finds an empty inbox.
#[test]
fn hc42_a_value_whose_signal_fails_is_returned_or_counts_as_sent() {
    for fail_in in 1..=2 {
        loom::model(move || {
            let fixture = fixture(fail_in, 8);
            let other = sender(&fixture.channel, &[1]);
            let channel = Arc::clone(&fixture.channel);
            let (kernel, reactor) = spawn(fixture, 8, false);
            let own = channel.send(11).is_ok().then_some(11);
            let mut taken = other.join().unwrap();
            taken.extend(own);
            kernel.end();
            let mut drained = reactor.join().unwrap();
            drained.values.sort_unstable();
            assert_eq!((drained.values, drained.empty), (taken, 0));
            drop(channel);
        });
    }
}

/// The end has no one to return an error to, so it is signalled again.
#[test]
fn hc42_an_end_whose_signal_fails_is_reported() {
    for fail_in in 1..=2 {
        loom::model(move || {
            let fixture = fixture(fail_in, 8);
            let last = sender(&fixture.channel, &[1]);
            fixture.channel.remove_sender();
            let (kernel, reactor) = spawn(fixture, 8, false);
            let taken = last.join().unwrap();
            kernel.end();
            let drained = reactor.join().unwrap();
            assert_eq!((drained.values, drained.ends, drained.empty), (taken, 1, 0));
        });
    }
}

/// With room for one value: the second one is refused, or the first one was drained before.
#[test]
fn a_full_channel_has_room_again_after_a_drain() {
    loom::model(|| {
        let fixture = fixture(0, 1);
        let other = sender(&fixture.channel, &[1, 2]);
        let channel = Arc::clone(&fixture.channel);
        let (kernel, reactor) = spawn(fixture, 8, false);
        let taken = other.join().unwrap();
        kernel.end();
        assert!(taken == [1, 2] || taken == [1], "{taken:?}");
        assert_eq!(reactor.join().unwrap().values, taken);
        drop(channel);
    });
}

/// The inbox is dropped while another thread sends, or the reactor is, or both: each value is taken or refused, and none
/// is reported afterwards.
#[test]
fn a_dropped_inbox_and_a_dropped_reactor_refuse_values() {
    for reactor_too in [false, true] {
        loom::model(move || {
            let fixture = fixture(0, 8);
            let channel = Arc::clone(&fixture.channel);
            let other = thread::spawn(move || {
                let taken = channel.send(1).is_ok();
                channel.remove_sender();
                taken
            });
            let mut reports = Vec::new();
            fixture.mailbox.collect(8, |arrival| {
                if let Arrival::Inbox { report, .. } = arrival {
                    reports.push(report);
                }
            });
            fixture.channel.close();
            if reactor_too {
                fixture.mailbox.close();
            }
            let refused = fixture.channel.send(2);
            assert!(matches!(refused, Err((Refused::Gone | Refused::InboxGone, 2))));
            let taken = other.join().unwrap();
            assert!(reports.is_empty() || taken);
            assert!(reports.iter().all(InboxReport::is_stale));
            fixture.mailbox.collect(8, |_| panic!("the inbox is gone"));
            assert_eq!(fixture.channel.len(), 0);
            drop(reports);
            // The mailbox owns no channel, and the channel is not leaked.
            assert_eq!(Arc::strong_count(&fixture.channel), 1);
        });
    }
}

/// What was sent before the reactor was dropped can be drained.
#[test]
fn an_inbox_outlives_its_reactor() {
    loom::model(|| {
        let fixture = fixture(0, 8);
        let other = sender(&fixture.channel, &[1, 2]);
        fixture.mailbox.close();
        let taken = other.join().unwrap();
        let left: Vec<u64> = std::iter::from_fn(|| fixture.channel.pop()).collect();
        assert_eq!(left, taken);
        fixture.channel.drained();
        assert_eq!(Arc::strong_count(&fixture.channel), 1);
    });
}

/// Puts values from a thread with a reactor of its own, as a member of a crew does: what finds no room waits, and is put
/// again when that reactor is woken. Returns what wakes it.
fn putter(channel: &Arc<Channel<u64>>, values: &'static [u64]) -> (Arc<Mailbox>, thread::JoinHandle<()>) {
    let (kernel, own) = mailbox(0);
    let (channel, waker) = (Arc::clone(channel), Arc::clone(&own));
    let thread = thread::spawn(move || {
        let mut waiting: VecDeque<u64> = values.iter().copied().collect();
        loop {
            channel.put(&mut waiting, false);
            if waiting.is_empty() {
                return;
            }
            while !own.collect(1, |_| panic!("it is only woken")) {
                if !own.waiting() {
                    kernel.wait();
                }
            }
        }
    });
    (waker, thread)
}

/// Takes until there are so many values. A take that does not report the room to the putter, or a value that is not
/// reported, is a deadlock.
fn take_all(fixture: &Fixture, putter: &Mailbox, count: usize) -> Vec<u64> {
    let (mut values, mut taken) = (Vec::new(), Taken::default());
    while values.len() < count {
        let mut reported = false;
        fixture.mailbox.collect(8, |arrival| {
            let Arrival::Inbox { report, .. } = arrival else { panic!("there are no posts") };
            reported |= !report.is_stale();
        });
        if reported {
            if fixture.channel.take(&mut taken) {
                putter.wake();
            }
            let before = values.len();
            values.extend(taken.drain());
            assert!(values.len() > before, "a report without a value");
        } else if !fixture.mailbox.waiting() {
            fixture.kernel.wait();
        }
    }
    values
}

#[test]
fn values_that_find_no_room_are_put_when_a_take_has_made_some() {
    loom::model(|| {
        let fixture = fixture(0, 1);
        let (waker, putter) = putter(&fixture.channel, &[1, 2]);
        assert_eq!(take_all(&fixture, &waker, 2), [1, 2]);
        putter.join().unwrap();
        assert_eq!(fixture.channel.len(), 0);
    });
}

/// Values that are put without regard to the room, as a member that fails does, take it from the others.
#[test]
fn values_beyond_the_room_are_reported_as_well() {
    loom::model(|| {
        let fixture = fixture(0, 1);
        fixture.channel.put(&mut VecDeque::from([11, 12]), true);
        let (waker, putter) = putter(&fixture.channel, &[1]);
        assert_eq!(take_all(&fixture, &waker, 3), [11, 12, 1]);
        putter.join().unwrap();
    });
}

/// The taker goes: a putter that waits for room is woken, and its values are dropped, not kept for no one.
#[test]
fn a_putter_does_not_wait_for_a_taker_that_is_gone() {
    for reactor_too in [false, true] {
        loom::model(move || {
            let fixture = fixture(0, 1);
            let (waker, putter) = putter(&fixture.channel, &[1, 2]);
            if reactor_too {
                fixture.mailbox.close();
            }
            fixture.channel.close();
            waker.wake();
            putter.join().unwrap();
            assert_eq!(fixture.channel.len(), 0);
        });
    }
}
