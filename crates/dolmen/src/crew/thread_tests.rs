//! The game and a member at what they share, with threads of the system: longer than loom can, and for Miri, which checks
//! each access (`cargo xtask miri`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use super::ledger::Ledger;
use crate::kernel::mailbox::{Channel, Mailbox, NullSignal, Taken};
use crate::token::Token;

/// More than fits at a time.
const REPLIES: u64 = if cfg!(miri) { 60 } else { 20_000 };
const LIMIT: u64 = 8;
const ROOM: usize = 3;

#[derive(Debug)]
enum Notice {
    Said(Box<u64>),
    Drained,
}

/// Neither of the two sleeps, so that they meet as often as they can. What was put is taken, in order, once each.
#[test]
fn replies_and_their_answers_stay_in_order_between_two_threads() {
    let (ours, theirs) = (Mailbox::new(Box::new(NullSignal), 8), Mailbox::new(Box::new(NullSignal), 8));
    let orders: Arc<Channel<Box<u64>>> = Channel::new(Arc::clone(&theirs), usize::MAX, Token(0));
    let notices = Channel::new(Arc::clone(&ours), ROOM, Token(0));
    let ledger = Arc::new(Ledger::default());
    let of_member = (Arc::clone(&orders), Arc::clone(&notices), Arc::clone(&ledger));
    let member = thread::spawn(move || {
        let (orders, notices, ledger) = of_member;
        let (mut outgoing, mut taken, mut last) = (VecDeque::new(), Taken::default(), 0);
        while last < REPLIES || !outgoing.is_empty() {
            orders.take(&mut taken);
            for reply in taken.drain() {
                if ledger.release(1, LIMIT) {
                    outgoing.push_back(Notice::Drained);
                }
                last = *reply;
                outgoing.push_back(Notice::Said(reply));
            }
            notices.put(&mut outgoing, false);
            thread::yield_now();
        }
    });
    let (mut next, mut refused, mut refusals, mut drained) = (1, false, 0, 0);
    let (mut said, mut taken) = (0, Taken::default());
    while said < REPLIES || refused {
        while next <= REPLIES && !refused {
            if ledger.admit(1, LIMIT) {
                orders.put(&mut VecDeque::from([Box::new(next)]), true);
                next += 1;
            } else {
                (refused, refusals) = (true, refusals + 1);
            }
        }
        notices.take(&mut taken);
        for notice in taken.drain() {
            match notice {
                Notice::Said(reply) => {
                    said += 1;
                    assert_eq!(*reply, said);
                }
                Notice::Drained => {
                    assert!(std::mem::take(&mut refused), "there was no refusal");
                    drained += 1;
                }
            }
        }
        thread::yield_now();
    }
    member.join().expect("the member");
    assert_eq!((refusals, ledger.weight(), orders.len(), notices.len()), (drained, 0, 0, 0));
    // As their reactors do: a list owns its channels, and they own it.
    [ours, theirs].iter().for_each(|mailbox| mailbox.close());
}
