//! Promise 1: one waiter, by type. Only wakers, posters and senders cross threads.

mod common;

use std::thread;

use common::{Rig, Seen, watchdog};
use dolmen::{Events, Inbox, Poster, Reactor, Sender, Token, Waker};

/// Compiles only while the type does not implement the trait: otherwise both implementations of `Ambiguous` apply, and
/// `_` is ambiguous.
macro_rules! assert_not_implemented {
    ($type:ty: $trait:ident) => {
        const _: fn() = || {
            trait Ambiguous<A> {
                fn item() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            struct Implemented;
            impl<T: ?Sized + $trait> Ambiguous<Implemented> for T {}
            <$type as Ambiguous<_>>::item();
        };
    };
}

assert_not_implemented!(Reactor: Send);
assert_not_implemented!(Reactor: Sync);
assert_not_implemented!(Reactor: Clone);
// Nothing is drained between an event and its handling.
assert_not_implemented!(Inbox<u8>: Send);
assert_not_implemented!(Inbox<u8>: Sync);
// They return their buffers to the reactor's pool, without a lock.
assert_not_implemented!(Events: Send);
assert_not_implemented!(Events: Sync);

const fn crosses_threads<T: Send + Sync + Clone + 'static>() {}
const _: () = crosses_threads::<Waker>();
const _: () = crosses_threads::<Poster>();
const _: () = crosses_threads::<Sender<Box<dyn FnOnce() + Send>>>();

#[test]
fn p01_wakers_and_posters_reach_the_waiter_from_other_threads() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (waker, poster) = (rig.reactor.waker(), rig.reactor.poster());
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let (waker, poster) = (waker.clone(), poster.clone());
            thread::spawn(move || {
                poster.post(n as u64, Token(n)).expect("post");
                waker.wake();
            })
        })
        .collect();
    let mut posted = Vec::new();
    let mut woken = 0;
    rig.until("posts and a wake", |_, event| {
        match Seen::from(event) {
            Seen::Posted(Token(n), value) => {
                assert_eq!(n as u64, value);
                posted.push(n);
            }
            Seen::Woken => woken += 1,
            other => panic!("{other:?}"),
        }
        posted.len() == 8 && woken > 0
    });
    posted.sort_unstable();
    assert_eq!(posted, [0, 1, 2, 3, 4, 5, 6, 7]);
    threads.into_iter().for_each(|thread| thread.join().expect("a poster"));
}
