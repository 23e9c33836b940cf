//! Promises 20 and 21: a crew stays whole when the caller's types panic where no one expects it: in destructors, and where the
//! codecs of a member make what they share.

mod common;
mod crew_rig;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, ThreadId};
use std::time::Instant;

use common::{DEADLINE, Rig, pair, watchdog};
use crew_rig::{CREW, LINKS, THREADS, assert_ended, fail, until, wait};
use dolmen::{Codec, Crew, CrewBuilder, CrewEvent, ErrorKind, LeaveReason, Link};

/// The first one may be made, and no other.
struct Once;

static MADE: AtomicUsize = AtomicUsize::new(0);

impl Default for Once {
    fn default() -> Once {
        if MADE.fetch_add(1, Ordering::Relaxed) > 1 {
            fail("there is one already");
        }
        Once
    }
}

struct WithOnce;

impl Codec for WithOnce {
    type Message = Vec<u8>;
    type Reply = ();
    type Shared = Once;

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        link.deliver(data.to_vec());
    }

    fn send(&mut self, (): (), _: &mut Link<'_, Self>) {}
}

/// The game's thread makes one for itself, and then one member does.
#[test]
fn p20_a_member_that_cannot_make_what_its_codecs_share_does_not_start() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let settings = CrewBuilder::new(CREW).threads(1);
    let mut crew: Crew<WithOnce> = settings.build(&rig.reactor).expect("the first is made");
    let refused = crew.set_threads(&rig.reactor, 2).expect_err("the second is not");
    assert_eq!((refused.kind(), crew.threads()), (ErrorKind::Os, 1));
    // The one there is goes on.
    let (ours, mut peer) = pair();
    crew.add(&mut rig.reactor, ours, WithOnce, LINKS);
    peer.write_all(b"x").expect("write");
    until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Message { .. }));
}

/// So many may be made.
struct Scarce;

static AVAILABLE: AtomicUsize = AtomicUsize::new(usize::MAX);

impl Default for Scarce {
    fn default() -> Scarce {
        let take_one = |left: usize| left.checked_sub(1);
        if AVAILABLE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_err() {
            fail("there is none");
        }
        Scarce
    }
}

/// Delivers its thread for each receive. `!` panics.
struct Needs;

impl Codec for Needs {
    type Message = ThreadId;
    type Reply = ();
    type Shared = Scarce;

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        if data.contains(&b'!') {
            fail("a codec");
        }
        link.deliver(thread::current().id());
    }

    fn send(&mut self, (): (), _: &mut Link<'_, Self>) {}
}

/// What has ended the members must not reach the game, and a start that fails replaces none of them.
#[test]
fn p20_after_a_start_that_fails_newcomers_leave_until_one_works() {
    for threads in [1, 2] {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let settings = CrewBuilder::new(CREW).threads(threads);
        let mut crew: Crew<Needs> = settings.build(&rig.reactor).expect("a crew");
        for _ in 0..threads {
            let (ours, mut peer) = pair();
            crew.add(&mut rig.reactor, ours, Needs, LINKS);
            peer.write_all(b"!").expect("write");
            until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Left { .. }));
        }
        AVAILABLE.store(0, Ordering::Relaxed);
        for _ in 0..2 {
            let refused = crew.set_threads(&rig.reactor, threads).expect_err("it cannot start");
            assert_eq!((refused.kind(), crew.threads()), (ErrorKind::Os, 0));
            let (ours, mut peer) = pair();
            let newcomer = crew.add(&mut rig.reactor, ours, Needs, LINKS);
            // It would panic in the game.
            let _ = peer.write_all(b"!");
            let events = until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Left { .. }));
            let [CrewEvent::Left { link, reason: LeaveReason::MemberFailed, .. }] = events[..] else {
                panic!("{events:?}")
            };
            assert_eq!(link, newcomer);
            assert_ended(&peer);
        }
        // The first of two may work: it serves all newcomers.
        let mut peers = Vec::new();
        for left in (0..threads).rev() {
            AVAILABLE.store(if left > 0 { 1 } else { usize::MAX }, Ordering::Relaxed);
            assert_eq!(crew.set_threads(&rig.reactor, threads).is_err(), left > 0, "{left} are missing");
            assert_eq!(crew.threads(), threads - left);
            let (ours, mut peer) = pair();
            crew.add(&mut rig.reactor, ours, Needs, LINKS);
            peer.write_all(b"x").expect("write");
            let events = until(&mut rig, &mut crew, |_| true);
            let [CrewEvent::Message { message, .. }] = events[..] else { panic!("{events:?}") };
            assert_ne!(message, thread::current().id(), "a member serves it");
            peers.push(peer);
        }
    }
}

/// How many bombs there have been, and how many of them are gone.
#[derive(Default)]
struct Bombed {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

impl Bombed {
    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Panics when it is dropped, if it is armed, and counts.
struct Bomb {
    bombed: Arc<Bombed>,
    is_armed: bool,
}

impl Bomb {
    fn new(bombed: &Arc<Bombed>, is_armed: bool) -> Bomb {
        bombed.made.fetch_add(1, Ordering::Relaxed);
        Bomb { bombed: Arc::clone(bombed), is_armed }
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.bombed.dropped.fetch_add(1, Ordering::Relaxed);
        if self.is_armed {
            fail("a destructor");
        }
    }
}

/// Delivers a bomb for each byte, and keeps one. `!` panics.
struct Bombs {
    own: Bomb,
    /// What it delivers panics.
    delivers_armed: bool,
    delivered: Option<mpsc::Sender<()>>,
}

impl Bombs {
    fn new(bombed: &Arc<Bombed>, is_armed: bool) -> Bombs {
        Bombs { own: Bomb::new(bombed, is_armed), delivers_armed: false, delivered: None }
    }
}

impl Codec for Bombs {
    type Message = Bomb;
    type Reply = Bomb;
    type Shared = ();

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        for &byte in data {
            if byte == b'!' {
                fail("a codec");
            }
            link.deliver(Bomb::new(&self.own.bombed, self.delivers_armed));
        }
        if let Some(delivered) = &self.delivered {
            delivered.send(()).expect("the test waits");
        }
    }

    fn send(&mut self, _: Bomb, _: &mut Link<'_, Self>) {}
}

/// Two at a time would end the process.
#[test]
fn p20_the_codecs_of_a_failed_member_may_all_panic_when_they_are_dropped() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut crew: Crew<Bombs> = CrewBuilder::new(CREW).threads(1).build(&rig.reactor).expect("a crew");
    let bombed: Arc<Bombed> = Arc::default();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (ours, peer) = pair();
        crew.add(&mut rig.reactor, ours, Bombs::new(&bombed, true), LINKS);
        peers.push(peer);
    }
    peers[0].write_all(b"!").expect("write");
    let mut left = 0;
    let events = until(&mut rig, &mut crew, |event| {
        left += usize::from(matches!(event, CrewEvent::Left { reason: LeaveReason::MemberFailed, .. }));
        left == 3
    });
    let CrewEvent::MemberFailed { member: 0, cause } = &events[0] else { panic!("{events:?}") };
    assert_eq!((cause.as_str(), bombed.dropped()), ("a codec", 3));
    peers.iter().for_each(|peer| assert_ended(peer));
}

/// The connection has left before its codec is dropped, and its member fails by that. By then the game has put another member
/// into its place, which is another one.
#[test]
fn p20_a_failure_that_comes_after_its_member_was_replaced_ends_no_other() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut crew: Crew<Bombs> = CrewBuilder::new(CREW).threads(1).build(&rig.reactor).expect("a crew");
    let bombed = Arc::default();
    let (ours, peer) = pair();
    let first = crew.add(&mut rig.reactor, ours, Bombs::new(&bombed, true), LINKS);
    crew.set_threads(&rig.reactor, 0).expect("fewer");
    drop(peer);
    // In the round of its end: the notice of the failure is taken with it, or comes later.
    let (mut newcomer, mut has_left) = (None, false);
    while newcomer.is_none() {
        assert!(wait(&mut rig, &mut crew, DEADLINE), "no end");
        while let Some(event) = crew.next_event(&mut rig.reactor) {
            let CrewEvent::Left { link, reason: LeaveReason::Closed(_), .. } = event else {
                panic!("{event:?}")
            };
            assert!(link == first && !std::mem::replace(&mut has_left, true), "it leaves once");
            crew.set_threads(&rig.reactor, 1).expect("one again");
            let (ours, peer) = pair();
            newcomer = Some((crew.add(&mut rig.reactor, ours, Bombs::new(&bombed, false), LINKS), peer));
        }
    }
    let (link, mut peer) = newcomer.expect("just made");
    peer.write_all(b"x").expect("write");
    let events = until(&mut rig, &mut crew, |_| true);
    assert!(matches!(events[..], [CrewEvent::Message { link: from, .. }] if from == link), "{events:?}");
    assert_eq!((crew.threads(), crew.len()), (1, 1));
}

/// Wherever they are when the crew is dropped: taken by the game and not handed out, in the queue, and beyond its room.
#[test]
fn p21_messages_may_all_panic_when_they_are_dropped_with_the_crew() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let settings = CrewBuilder::new(CREW).threads(threads).message_capacity(4);
        let mut crew: Crew<Bombs> = settings.build(&rig.reactor).expect("a crew");
        let bombed: Arc<Bombed> = Arc::default();
        let (report, delivered) = mpsc::channel();
        let mut peers = Vec::new();
        for _ in 0..2 {
            let (ours, mut peer) = pair();
            let mut codec = Bombs::new(&bombed, true);
            (codec.delivers_armed, codec.delivered) = (true, Some(report.clone()));
            crew.add(&mut rig.reactor, ours, codec, LINKS);
            peer.write_all(&[b'x'; 20]).expect("write");
            peers.push(peer);
        }
        let mut first = None;
        while first.is_none() {
            assert!(wait(&mut rig, &mut crew, DEADLINE), "no message");
            first = crew.take_event(&mut rig.reactor);
        }
        let Some(CrewEvent::Message { mut message, .. }) = first else { panic!("{first:?}") };
        message.is_armed = false;
        drop(message);
        if threads > 0 {
            // Both have delivered all of it, or one of them a part.
            delivered.recv_timeout(DEADLINE).expect("a codec has delivered");
        }
        crew.end(&mut rig.reactor);
        let made = bombed.made.load(Ordering::Relaxed);
        assert!(made > 2, "two codecs and messages, with {threads} threads");
        assert_eq!(bombed.dropped(), made, "with {threads} threads");
    }
}

/// Tells the test when it begins to work, and goes on when the test lets it.
struct Works {
    begun: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Codec for Works {
    type Message = ();
    type Reply = Bomb;
    type Shared = ();

    fn received(&mut self, _: &[u8], _: &mut Link<'_, Self>) {
        self.begun.send(()).expect("the test waits");
        self.go_on.recv_timeout(DEADLINE).expect("the test goes on");
        fail("a codec");
    }

    fn send(&mut self, _: Bomb, _: &mut Link<'_, Self>) {}
}

/// They are on their way to a member that fails.
#[test]
fn p20_replies_to_a_failed_member_may_all_panic_when_they_are_dropped() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut crew: Crew<Works> = CrewBuilder::new(CREW).threads(1).build(&rig.reactor).expect("a crew");
    let bombed: Arc<Bombed> = Arc::default();
    let ((begun, has_begun), (goes_on, go_on)) = (mpsc::channel(), mpsc::channel());
    let (ours, mut peer) = pair();
    let link = crew.add(&mut rig.reactor, ours, Works { begun, go_on }, LINKS);
    peer.write_all(b"x").expect("write");
    has_begun.recv_timeout(DEADLINE).expect("the codec works");
    for _ in 0..5 {
        let reply = Bomb::new(&bombed, true);
        crew.send(&mut rig.reactor, link, reply).map_err(|refused| refused.error).expect("there is room");
    }
    goes_on.send(()).expect("the codec waits");
    until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Left { .. }));
    drop(crew);
    assert_eq!(bombed.dropped(), 5);
}

/// They wait in the game's open round when it learns of the failure.
#[test]
fn p20_replies_that_a_round_holds_for_a_failed_member_may_all_panic_when_they_are_dropped() {
    // A batch of 64 crosses at once.
    for held in [2, 63] {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let mut crew: Crew<Bombs> = CrewBuilder::new(CREW).threads(1).build(&rig.reactor).expect("a crew");
        let bombed: Arc<Bombed> = Arc::default();
        let (ours, mut peer) = pair();
        let link = crew.add(&mut rig.reactor, ours, Bombs::new(&bombed, true), LINKS);
        assert!(crew.take_event(&mut rig.reactor).is_none(), "the round begins");
        for _ in 0..held {
            let reply = Bomb::new(&bombed, true);
            crew.send(&mut rig.reactor, link, reply).map_err(|refused| refused.error).expect("there is room");
        }
        peer.write_all(b"!").expect("write");
        let mut events = Vec::new();
        while events.len() < 2 {
            assert!(wait(&mut rig, &mut crew, DEADLINE), "only {events:?}");
            events.extend(std::iter::from_fn(|| crew.take_event(&mut rig.reactor)));
        }
        let [
            CrewEvent::MemberFailed { member: 0, .. },
            CrewEvent::Left { link: left, reason: LeaveReason::MemberFailed, .. },
        ] = events[..]
        else {
            panic!("{events:?}")
        };
        // Also the codec is one.
        assert_eq!((left, bombed.dropped()), (link, held + 1));
        crew.end_round(&mut rig.reactor);
        assert!(crew.is_empty());
    }
}

/// Delivers what arrives. After a `!` its deadline panics, and then its destructor, if that is armed.
struct Undecided {
    is_over: bool,
    _own: Bomb,
}

impl Undecided {
    fn new(bombed: &Arc<Bombed>, is_armed: bool) -> Undecided {
        Undecided { is_over: false, _own: Bomb::new(bombed, is_armed) }
    }
}

impl Codec for Undecided {
    type Message = Vec<u8>;
    type Reply = ();
    type Shared = ();

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        self.is_over = data.contains(&b'!');
        link.deliver(data.to_vec());
    }

    fn send(&mut self, (): (), _: &mut Link<'_, Self>) {}

    fn deadline(&self) -> Option<Instant> {
        if self.is_over {
            fail("a deadline");
        }
        None
    }
}

/// Two panics at a time would end the process.
#[test]
fn p20_a_codec_whose_deadline_panics_ends_its_member_only() {
    for (threads, is_armed) in [(1, false), (1, true), (2, false), (2, true)] {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let settings = CrewBuilder::new(CREW).threads(threads);
        let mut crew: Crew<Undecided> = settings.build(&rig.reactor).expect("a crew");
        let (bombed, others): (Arc<Bombed>, Arc<Bombed>) = Default::default();
        let (mut links, mut peers) = (Vec::new(), Vec::new());
        for at in 0..2 * threads {
            let (ours, peer) = pair();
            let (bombed, is_armed) = if at % threads == 0 { (&bombed, is_armed) } else { (&others, false) };
            links.push(crew.add(&mut rig.reactor, ours, Undecided::new(bombed, is_armed), LINKS));
            peers.push(peer);
        }
        peers[0].write_all(b"!").expect("write");
        let events = until(
            &mut rig,
            &mut crew,
            |event| matches!(event, CrewEvent::Left { link, .. } if *link == links[threads]),
        );
        let [
            CrewEvent::Message { .. },
            CrewEvent::MemberFailed { member: 0, cause },
            CrewEvent::Left { link, reason: LeaveReason::MemberFailed, .. },
            CrewEvent::Left { reason: LeaveReason::MemberFailed, .. },
        ] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((cause.as_str(), *link, bombed.dropped()), ("a deadline", links[0], 2));
        assert_eq!(crew.len(), 2 * (threads - 1));
        for at in (0..links.len()).filter(|at| at % threads != 0) {
            peers[at].write_all(b"x").expect("write");
            let events = until(&mut rig, &mut crew, |_| true);
            assert!(
                matches!(events[..], [CrewEvent::Message { link, .. }] if link == links[at]),
                "{events:?}"
            );
        }
        [0, threads].iter().for_each(|&at| assert_ended(&peers[at]));
    }
}

/// A game that catches it goes on, and the connection has left.
#[test]
fn p20_without_threads_a_codec_whose_deadline_panics_has_left() {
    for is_armed in [false, true] {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let mut crew: Crew<Undecided> = CrewBuilder::new(CREW).build(&rig.reactor).expect("a crew");
        let (bombed, others): (Arc<Bombed>, Arc<Bombed>) = Default::default();
        let ((ours, mut peer), (theirs, mut other_peer)) = (pair(), pair());
        let link = crew.add(&mut rig.reactor, ours, Undecided::new(&bombed, is_armed), LINKS);
        let other = crew.add(&mut rig.reactor, theirs, Undecided::new(&others, false), LINKS);
        peer.write_all(b"!").expect("write");
        let panic = catch_unwind(AssertUnwindSafe(|| until(&mut rig, &mut crew, |_| false)));
        let panic = panic.expect_err("it panics");
        assert_eq!(panic.downcast_ref::<String>().map(String::as_str), Some("a deadline"));
        let events = until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Left { .. }));
        let [
            CrewEvent::Message { .. },
            CrewEvent::Left { link: left, reason: LeaveReason::MemberFailed, .. },
        ] = events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((left, crew.len(), bombed.dropped()), (link, 1, 1));
        assert_ended(&peer);
        other_peer.write_all(b"x").expect("write");
        let events = until(&mut rig, &mut crew, |_| true);
        assert!(matches!(events[..], [CrewEvent::Message { link, .. }] if link == other), "{events:?}");
        crew.end(&mut rig.reactor);
        assert_eq!(others.dropped(), 1);
    }
}
