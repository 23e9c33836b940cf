//! Promises 20 and 21: a crew stays whole when the caller's types panic where no one expects it: in destructors, and where the
//! codecs of a member make what they share.

mod common;
mod crew_rig;

use std::io::Write;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use common::{DEADLINE, Rig, pair, watchdog};
use crew_rig::{CREW, LINKS, assert_ended};
use dolmen::{Codec, Crew, CrewBuilder, CrewEvent, ErrorKind, LeaveReason, Link};

/// Without the panic hook, which would print a message.
fn fail(text: &str) -> ! {
    resume_unwind(Box::new(text.to_owned()))
}

/// Events of one round after another, up to one like `last`.
#[track_caller]
fn until<C: Codec>(
    rig: &mut Rig,
    crew: &mut Crew<C>,
    mut last: impl FnMut(&CrewEvent<C>) -> bool,
) -> Vec<CrewEvent<C>> {
    let (mut all, end) = (Vec::new(), Instant::now() + DEADLINE);
    loop {
        let Rig { reactor, events } = rig;
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "only these after {DEADLINE:?}: {all:?}");
        reactor.wait(events, Some(left)).expect("wait");
        for event in events.drain() {
            assert!(crew.handle(reactor, event).is_none(), "it is the crew's");
        }
        let mut over = false;
        while let Some(event) = crew.next_event(reactor) {
            over |= last(&event);
            all.push(event);
        }
        if over {
            return all;
        }
    }
}

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

/// Panics when it is dropped, if it is armed, and counts.
struct Bomb {
    dropped: Arc<AtomicUsize>,
    is_armed: bool,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
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
    fn new(dropped: &Arc<AtomicUsize>, is_armed: bool) -> Bombs {
        let own = Bomb { dropped: Arc::clone(dropped), is_armed };
        Bombs { own, delivers_armed: false, delivered: None }
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
            link.deliver(Bomb { dropped: Arc::clone(&self.own.dropped), is_armed: self.delivers_armed });
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
    let dropped = Arc::default();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (ours, peer) = pair();
        crew.add(&mut rig.reactor, ours, Bombs::new(&dropped, true), LINKS);
        peers.push(peer);
    }
    peers[0].write_all(b"!").expect("write");
    let mut left = 0;
    let events = until(&mut rig, &mut crew, |event| {
        left += usize::from(matches!(event, CrewEvent::Left { reason: LeaveReason::MemberFailed, .. }));
        left == 3
    });
    let CrewEvent::MemberFailed { member: 0, cause } = &events[0] else { panic!("{events:?}") };
    assert_eq!((cause.as_str(), dropped.load(Ordering::Relaxed)), ("a codec", 3));
    peers.iter().for_each(|peer| assert_ended(peer));
}

/// The connection has left before its codec is dropped, and its member fails by that. By then the game has put another member
/// into its place, which is another one.
#[test]
fn p20_a_failure_that_comes_after_its_member_was_replaced_ends_no_other() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut crew: Crew<Bombs> = CrewBuilder::new(CREW).threads(1).build(&rig.reactor).expect("a crew");
    let dropped = Arc::default();
    let (ours, peer) = pair();
    let first = crew.add(&mut rig.reactor, ours, Bombs::new(&dropped, true), LINKS);
    crew.set_threads(&rig.reactor, 0).expect("fewer");
    drop(peer);
    // In the round of its end: the notice of the failure is taken with it, or comes later.
    let (mut newcomer, mut has_left) = (None, false);
    while newcomer.is_none() {
        let Rig { reactor, events } = &mut rig;
        reactor.wait(events, Some(DEADLINE)).expect("wait");
        for event in events.drain() {
            assert!(crew.handle(reactor, event).is_none(), "it is the crew's");
        }
        while let Some(event) = crew.next_event(reactor) {
            let CrewEvent::Left { link, reason: LeaveReason::Closed(_), .. } = event else {
                panic!("{event:?}")
            };
            assert!(link == first && !std::mem::replace(&mut has_left, true), "it leaves once");
            crew.set_threads(reactor, 1).expect("one again");
            let (ours, peer) = pair();
            newcomer = Some((crew.add(reactor, ours, Bombs::new(&dropped, false), LINKS), peer));
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
    for threads in crew_rig::THREADS {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let settings = CrewBuilder::new(CREW).threads(threads).message_capacity(4);
        let mut crew: Crew<Bombs> = settings.build(&rig.reactor).expect("a crew");
        let dropped: Arc<AtomicUsize> = Arc::default();
        let (report, delivered) = mpsc::channel();
        let mut peers = Vec::new();
        for _ in 0..2 {
            let (ours, mut peer) = pair();
            let mut codec = Bombs::new(&dropped, true);
            (codec.delivers_armed, codec.delivered) = (true, Some(report.clone()));
            crew.add(&mut rig.reactor, ours, codec, LINKS);
            peer.write_all(&[b'x'; 20]).expect("write");
            peers.push(peer);
        }
        let mut first = None;
        while first.is_none() {
            let Rig { reactor, events } = &mut rig;
            reactor.wait(events, Some(DEADLINE)).expect("wait");
            for event in events.drain() {
                assert!(crew.handle(reactor, event).is_none(), "it is the crew's");
            }
            first = crew.take_event(reactor);
        }
        let Some(CrewEvent::Message { mut message, .. }) = first else { panic!("{first:?}") };
        message.is_armed = false;
        drop(message);
        if threads > 0 {
            // Both have delivered all of it, or one of them a part.
            delivered.recv_timeout(DEADLINE).expect("a codec has delivered");
        }
        crew.end(&mut rig.reactor);
        assert!(dropped.load(Ordering::Relaxed) > 2, "codecs and messages, with {threads} threads");
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
    let dropped: Arc<AtomicUsize> = Arc::default();
    let ((begun, has_begun), (goes_on, go_on)) = (mpsc::channel(), mpsc::channel());
    let (ours, mut peer) = pair();
    let link = crew.add(&mut rig.reactor, ours, Works { begun, go_on }, LINKS);
    peer.write_all(b"x").expect("write");
    has_begun.recv_timeout(DEADLINE).expect("the codec works");
    for _ in 0..5 {
        let reply = Bomb { dropped: Arc::clone(&dropped), is_armed: true };
        crew.send(&mut rig.reactor, link, reply).map_err(|refused| refused.error).expect("there is room");
    }
    goes_on.send(()).expect("the codec waits");
    until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Left { .. }));
    drop(crew);
    assert_eq!(dropped.load(Ordering::Relaxed), 5);
}
