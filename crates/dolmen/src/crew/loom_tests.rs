//! Every order in which the game and a member may interleave at what they share: a ledger, and the two channels. Run by
//! `cargo xtask loom`.
//!
//! Each of the two blocks in a kernel of its own, and nothing else wakes it. So a notice or an order that is not announced,
//! and room that is made and not announced, is a deadlock, which loom reports.

use std::collections::VecDeque;
use std::sync::Arc;

use loom::thread;

use super::ledger::Ledger;
use crate::kernel::mailbox::loom_tests::{FakeKernel, mailbox};
use crate::kernel::mailbox::{Arrival, Channel, Mailbox, Taken};
use crate::token::Token;

/// The reply for which there is no room, and the room that is made meanwhile, do not miss each other.
#[test]
fn after_a_refusal_the_room_is_reported_once_and_after_an_admission_never() {
    loom::model(|| {
        let ledger = Arc::new(Ledger::default());
        assert!(ledger.admit(1, 2) && ledger.admit(1, 2));
        let codecs = Arc::clone(&ledger);
        let member = thread::spawn(move || (0..2).filter(|_| codecs.release(1, 2)).count());
        let admitted = (0..2).filter(|_| ledger.admit(1, 2)).count();
        let reports = member.join().unwrap();
        assert_eq!(ledger.weight(), admitted as u64);
        assert_eq!(reports, usize::from(admitted < 2), "{admitted} were admitted");
    });
}

#[derive(Debug, PartialEq)]
enum Notice {
    Said(u64),
    Drained,
}

/// What blocks one of the two.
struct Side {
    kernel: Arc<FakeKernel>,
    mailbox: Arc<Mailbox>,
}

impl Side {
    fn new() -> Side {
        let (kernel, mailbox) = mailbox(0);
        Side { kernel, mailbox }
    }

    /// One wait. Returns whether the channel was reported.
    fn wait(&self) -> bool {
        let (mut reported, mut woken) = (false, false);
        while !reported && !woken {
            woken = self.mailbox.collect(8, |arrival| {
                let Arrival::Inbox { report, .. } = arrival else { panic!("there are no posts") };
                reported |= !report.is_stale();
            });
            if !reported && !woken && !self.mailbox.waiting() {
                self.kernel.wait();
            }
        }
        reported
    }
}

/// A member whose codec says each reply. It ends when it has passed on that it has said one.
fn member(side: &Side, orders: &Arc<Channel<u64>>, notices: &Arc<Channel<Notice>>, ledger: &Ledger) {
    let (mut outgoing, mut taken, mut is_over) = (VecDeque::new(), Taken::default(), false);
    while !is_over || !outgoing.is_empty() {
        if side.wait() {
            orders.take(&mut taken);
            for reply in taken.drain() {
                if ledger.release(1, 1) {
                    outgoing.push_back(Notice::Drained);
                }
                outgoing.push_back(Notice::Said(reply));
                is_over = true;
            }
        }
        notices.put(&mut outgoing, false);
    }
}

/// With room for one reply and for one notice, so that each of the two waits for the other: the game for room for another
/// reply, and the member for room for the notice that says so and for the one behind it.
#[test]
fn a_game_and_a_member_with_the_least_room_do_not_wait_for_each_other() {
    loom::model(|| {
        let (game, ours) = (Side::new(), Side::new());
        let waker = Arc::clone(&ours.mailbox);
        let orders = Channel::new(Arc::clone(&ours.mailbox), usize::MAX, Token(0));
        let notices = Channel::new(Arc::clone(&game.mailbox), 1, Token(0));
        let ledger = Arc::new(Ledger::default());
        let theirs = (Arc::clone(&orders), Arc::clone(&notices), Arc::clone(&ledger));
        let thread = thread::spawn(move || member(&ours, &theirs.0, &theirs.1, &theirs.2));

        assert!(ledger.admit(1, 1));
        orders.put(&mut VecDeque::from([7]), true);
        let mut is_refused = !ledger.admit(1, 1);
        let (mut said, mut taken) = (Vec::new(), Taken::default());
        while said.is_empty() || is_refused {
            if game.wait() {
                if notices.take(&mut taken) {
                    waker.wake();
                }
                for notice in taken.drain() {
                    match notice {
                        Notice::Said(reply) => said.push(reply),
                        Notice::Drained => assert!(std::mem::take(&mut is_refused), "there was no refusal"),
                    }
                }
            }
        }
        assert_eq!(said, [7]);
        thread.join().unwrap();
        assert_eq!((orders.len(), notices.len()), (0, 0));
    });
}
