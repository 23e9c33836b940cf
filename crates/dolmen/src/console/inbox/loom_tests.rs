//! Every order in which a reader's thread and the reactor may interleave at the inbox. Run by `cargo xtask loom`.

use loom::sync::{Condvar as Changed, Mutex as Locked};
use loom::thread;

use super::*;
use crate::kernel::{Fault, FaultKind, Signal};

/// The kernel in which the reactor blocks. The first signal fails if a test asks for it.
struct FakeKernel {
    state: Locked<(bool, bool)>,
    changed: Changed,
}

struct FakeSignal(Arc<FakeKernel>);

impl Signal for FakeSignal {
    fn notify(&self) -> Result<(), Fault> {
        let mut state = self.0.state.lock().unwrap();
        if std::mem::take(&mut state.1) {
            return Err(Fault { kind: FaultKind::Exhausted, code: 12 });
        }
        state.0 = true;
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl FakeKernel {
    fn wait(&self) {
        let mut state = self.state.lock().unwrap();
        while !std::mem::take(&mut state.0) {
            state = self.changed.wait(state).unwrap();
        }
    }
}

fn inbox(first_signal_fails: bool) -> (Arc<FakeKernel>, Arc<Mailbox>, Arc<Inbox>) {
    let kernel = FakeKernel { state: Locked::new((false, first_signal_fails)), changed: Changed::new() };
    let kernel = Arc::new(kernel);
    let mailbox = Mailbox::new(Box::new(FakeSignal(Arc::clone(&kernel))), 1);
    let inbox = Inbox::new(Arc::clone(&mailbox));
    (kernel, mailbox, inbox)
}

fn line(number: u16) -> Input {
    Input::Resized { columns: number, rows: 1 }
}

/// A turn of the reactor blocks only with an empty inbox and nothing in the mailbox. If a piece could be left behind,
/// this would never end, which loom reports.
fn take(kernel: &FakeKernel, mailbox: &Mailbox, inbox: &Inbox, count: usize) -> Vec<Input> {
    let mut taken = Vec::new();
    while taken.len() < count {
        mailbox.collect(1, |_| {});
        taken.extend(std::iter::from_fn(|| inbox.pop()));
        if taken.len() < count && inbox.is_empty() && !mailbox.waiting() {
            kernel.wait();
        }
    }
    taken
}

#[test]
fn what_is_pushed_reaches_a_blocked_reactor_in_order() {
    for first_signal_fails in [false, true] {
        loom::model(move || {
            let (kernel, mailbox, inbox) = inbox(first_signal_fails);
            let theirs = Arc::clone(&inbox);
            let reader = thread::spawn(move || {
                theirs.push(line(1));
                theirs.push(line(2));
            });
            assert_eq!(take(&kernel, &mailbox, &inbox, 2), [line(1), line(2)]);
            reader.join().unwrap();
        });
    }
}

/// Loom's inbox holds two pieces.
#[test]
fn a_reader_waits_for_room_and_goes_on_when_there_is_some() {
    loom::model(|| {
        let (kernel, mailbox, inbox) = inbox(false);
        let theirs = Arc::clone(&inbox);
        let reader = thread::spawn(move || {
            for number in 1..=3 {
                assert!(theirs.wait_for_room());
                theirs.push(line(number));
            }
        });
        assert_eq!(take(&kernel, &mailbox, &inbox, 3), [line(1), line(2), line(3)]);
        reader.join().unwrap();
    });
}

#[test]
fn a_reader_that_waits_for_room_ends_when_the_inbox_closes() {
    loom::model(|| {
        let (_kernel, _mailbox, inbox) = inbox(false);
        let theirs = Arc::clone(&inbox);
        let reader = thread::spawn(move || {
            let mut pushed = 0;
            while theirs.wait_for_room() {
                pushed += 1;
                theirs.push(line(pushed));
                assert!(pushed <= 4, "it is closed after one was taken");
            }
            pushed
        });
        let first = inbox.pop();
        inbox.close();
        let pushed = reader.join().unwrap();
        // Input that was read is still taken.
        let taken = first.into_iter().chain(std::iter::from_fn(|| inbox.pop())).count();
        assert_eq!(taken, usize::from(pushed));
    });
}

/// The reader's thread ends first: what it has left is taken.
#[test]
fn pieces_outlive_their_reader() {
    loom::model(|| {
        let (kernel, mailbox, inbox) = inbox(false);
        let theirs = Arc::clone(&inbox);
        let reader = thread::spawn(move || theirs.push(line(1)));
        reader.join().unwrap();
        assert_eq!(take(&kernel, &mailbox, &inbox, 1), [line(1)]);
    });
}

/// A wake without a piece, as after a script's output was read, ends a blocked wait as well.
#[test]
fn a_wake_alone_ends_a_blocked_wait() {
    for first_signal_fails in [false, true] {
        loom::model(move || {
            let (kernel, _mailbox, inbox) = inbox(first_signal_fails);
            let theirs = Arc::clone(&inbox);
            let reader = thread::spawn(move || theirs.wake());
            kernel.wait();
            reader.join().unwrap();
        });
    }
}
