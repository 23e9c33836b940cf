//! What a link promises its codec: to report room to it, to send what it holds back before a close, and to count what is on its
//! way.

mod common;
mod crew_rig;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{DEADLINE, Rig, finish, narrow_pair, pair, watchdog};
use crew_rig::{CREW, Game, LINKS, Seen, THREADS, round, until, until_true};
use dolmen::{Codec, Crew, CrewBuilder, CrewEvent, ErrorKind, Link, Reactor};

/// How much a codec sends by itself: more than fits.
const ALL: usize = 500_000;

/// Sends so much by itself, from its first reply on, and stops while its link is blocked. Other replies are sent as they are.
struct Fills {
    left: usize,
}

impl Fills {
    fn fill(&mut self, link: &mut Link<'_, Self>) {
        while self.left > 0 && !link.is_blocked() {
            self.left -= 10_000;
            link.send(&[b'x'; 10_000]);
        }
        link.deliver(self.left);
    }
}

impl Codec for Fills {
    type Message = usize;
    type Reply = &'static [u8];
    type Shared = ();

    fn received(&mut self, _: &[u8], _: &mut Link<'_, Self>) {}

    fn send(&mut self, reply: &'static [u8], link: &mut Link<'_, Self>) {
        match reply {
            [] => self.fill(link),
            _ => link.send(reply),
        }
    }

    fn drained(&mut self, link: &mut Link<'_, Self>) {
        assert!(!link.is_blocked(), "room is reported to it");
        self.fill(link);
    }
}

/// Also when replies have waited meanwhile, which are sent first.
#[test]
fn p19_a_codec_that_stops_while_its_link_is_blocked_gets_room_reported() {
    for (threads, extra) in THREADS.into_iter().flat_map(|threads| [(threads, 0), (threads, 3)]) {
        let _watchdog = watchdog();
        let reactors = Reactor::builder().high_water_mark(8 * 1024);
        let mut rig = Rig::with(&reactors);
        let settings = CrewBuilder::new(CREW).threads(threads).reactors(reactors);
        let mut crew: Crew<Fills> = settings.build(&rig.reactor).expect("a crew");
        let (ours, mut peer) = narrow_pair();
        let link = crew.add(&mut rig.reactor, ours, Fills { left: ALL }, LINKS);
        crew.send(&mut rig.reactor, link, b"").expect("there is room");
        (0..extra).for_each(|_| crew.send(&mut rig.reactor, link, b"extra").expect("there is room"));
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; ALL + 5 * extra];
            peer.read_exact(&mut bytes).map(|()| peer)
        });
        let (mut left, mut stops) = (ALL, 0);
        while left > 0 {
            for event in round(&mut rig, &mut crew, DEADLINE) {
                let CrewEvent::Message { message, .. } = event else { panic!("{event:?}") };
                (left, stops) = (message, stops + 1);
            }
        }
        assert!(stops > 2, "it was blocked, with {threads} threads");
        while !reader.is_finished() {
            let Rig { reactor, events } = &mut rig;
            reactor.wait(events, Some(Duration::from_millis(5))).expect("wait");
            for event in events.drain() {
                assert!(crew.handle(reactor, event).is_none(), "it is the crew's");
            }
            // Another report of room.
            while crew.next_event(reactor).is_some() {}
        }
        drop(reader.join().expect("the reader").expect("all of it is sent"));
    }
}

/// More than the reactor and the system have room for.
const FILLING: usize = 1_000_000;

/// Reads to the end, in a thread.
fn read_all(mut peer: TcpStream) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).expect("an orderly end");
        bytes
    })
}

/// The calls in which a codec may close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Opened,
    Received,
    EndOfStream,
    Drained,
    Send,
    Expired,
}

/// Holds a text back in one of its calls, and closes in the same. Delivers a message when it is there.
struct Parting {
    during: Call,
    held: &'static [u8],
    deadline: Option<Instant>,
}

impl Parting {
    fn part(&mut self, call: Call, link: &mut Link<'_, Self>) {
        if call == self.during {
            self.held = b"farewell";
            link.close();
        }
    }
}

impl Codec for Parting {
    type Message = ();
    type Reply = ();
    type Shared = ();

    fn opened(&mut self, link: &mut Link<'_, Self>) {
        match self.during {
            Call::Drained => link.send(&[b'x'; FILLING]),
            Call::Expired => self.deadline = Some(link.now() + Duration::from_millis(10)),
            _ => {}
        }
        link.deliver(());
        self.part(Call::Opened, link);
    }

    fn received(&mut self, _: &[u8], link: &mut Link<'_, Self>) {
        self.part(Call::Received, link);
    }

    fn end_of_stream(&mut self, link: &mut Link<'_, Self>) {
        self.part(Call::EndOfStream, link);
    }

    fn drained(&mut self, link: &mut Link<'_, Self>) {
        self.part(Call::Drained, link);
    }

    fn send(&mut self, (): (), link: &mut Link<'_, Self>) {
        self.part(Call::Send, link);
    }

    fn flush(&mut self, link: &mut Link<'_, Self>) {
        link.send(std::mem::take(&mut self.held));
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn expired(&mut self, link: &mut Link<'_, Self>) {
        self.part(Call::Expired, link);
    }
}

/// Whichever call of its turn is the first, and no matter that the same one closes.
#[test]
fn p18_what_a_codec_holds_back_in_the_call_that_closes_is_sent() {
    let all = [Call::Opened, Call::Received, Call::EndOfStream, Call::Drained, Call::Send, Call::Expired];
    for (threads, during) in THREADS.into_iter().flat_map(|threads| all.map(|call| (threads, call))) {
        let _watchdog = watchdog();
        let reactors = Reactor::builder().high_water_mark(8 * 1024);
        let mut rig = Rig::with(&reactors);
        let settings = CrewBuilder::new(CREW).threads(threads).reactors(reactors);
        let mut crew: Crew<Parting> = settings.build(&rig.reactor).expect("a crew");
        let (ours, mut peer) = narrow_pair();
        let codec = Parting { during, held: b"", deadline: None };
        let link = crew.add(&mut rig.reactor, ours, codec, LINKS);
        // It comes when the turn of the first call is over.
        until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Message { .. }));
        match during {
            Call::Received => peer.write_all(b"x").expect("write"),
            Call::EndOfStream => finish(&peer),
            Call::Send => crew.send(&mut rig.reactor, link, ()).expect("there is room"),
            Call::Opened | Call::Drained | Call::Expired => {}
        }
        let reader = read_all(peer);
        until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Left { .. }));
        let bytes = reader.join().expect("the reader");
        let text = bytes.iter().map(|&byte| char::from(byte)).filter(|&byte| byte != 'x').collect::<String>();
        assert_eq!(text, "farewell", "in {during:?} with {threads} threads");
    }
}

/// Holds each reply until the flush. An empty one closes.
struct Holds(Vec<u8>);

impl Codec for Holds {
    type Message = ();
    type Reply = Vec<u8>;
    type Shared = ();

    fn received(&mut self, _: &[u8], _: &mut Link<'_, Self>) {}

    fn send(&mut self, reply: Vec<u8>, link: &mut Link<'_, Self>) {
        if reply.is_empty() {
            link.close();
        }
        self.0.extend_from_slice(&reply);
    }

    fn flush(&mut self, link: &mut Link<'_, Self>) {
        link.send(&std::mem::take(&mut self.0));
    }

    fn weight(reply: &Vec<u8>) -> usize {
        reply.capacity()
    }
}

#[test]
fn p18_what_a_codec_holds_back_is_sent_before_it_closes() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let mut crew: Crew<Holds> =
            CrewBuilder::new(CREW).threads(threads).build(&rig.reactor).expect("a crew");
        let (ours, mut peer) = pair();
        let link = crew.add(&mut rig.reactor, ours, Holds(Vec::new()), LINKS);
        // In one round.
        assert!(crew.take_event(&mut rig.reactor).is_none());
        crew.send(&mut rig.reactor, link, b"farewell".to_vec()).expect("there is room");
        crew.send(&mut rig.reactor, link, Vec::new()).expect("there is room");
        crew.end_round(&mut rig.reactor);
        let reader = std::thread::spawn(move || {
            let mut bytes = String::new();
            peer.read_to_string(&mut bytes).map(|_| bytes)
        });
        until(&mut rig, &mut crew, |_| true);
        let bytes = reader.join().expect("the reader").expect("an orderly end");
        assert_eq!(bytes, "farewell", "with {threads} threads");
    }
}

/// The close comes in the round of the reply, and before its flush.
#[test]
fn p18_what_a_codec_holds_back_is_sent_before_the_game_closes() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let mut crew: Crew<Holds> =
            CrewBuilder::new(CREW).threads(threads).build(&rig.reactor).expect("a crew");
        let (ours, peer) = pair();
        let link = crew.add(&mut rig.reactor, ours, Holds(Vec::new()), LINKS);
        assert!(crew.take_event(&mut rig.reactor).is_none(), "the round begins");
        crew.send(&mut rig.reactor, link, b"farewell".to_vec()).expect("there is room");
        crew.close(&mut rig.reactor, link).expect("it is there");
        crew.end_round(&mut rig.reactor);
        let reader = read_all(peer);
        until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Left { .. }));
        assert_eq!(reader.join().expect("the reader"), b"farewell", "with {threads} threads");
    }
}

/// Sends a point at each flush.
struct Points;

impl Codec for Points {
    type Message = ();
    type Reply = ();
    type Shared = ();

    fn opened(&mut self, link: &mut Link<'_, Self>) {
        link.deliver(());
    }

    fn received(&mut self, _: &[u8], _: &mut Link<'_, Self>) {}

    fn send(&mut self, (): (), _: &mut Link<'_, Self>) {}

    fn flush(&mut self, link: &mut Link<'_, Self>) {
        link.send(b".");
    }
}

/// It is no call of the codec's: one that has been flushed has nothing to send.
#[test]
fn p18_the_games_close_alone_is_no_reason_for_a_flush() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let mut crew: Crew<Points> =
            CrewBuilder::new(CREW).threads(threads).build(&rig.reactor).expect("a crew");
        let (ours, peer) = pair();
        let link = crew.add(&mut rig.reactor, ours, Points, LINKS);
        // It comes behind the flush of its turn.
        until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Message { .. }));
        crew.close(&mut rig.reactor, link).expect("it is there");
        let reader = read_all(peer);
        until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Left { .. }));
        assert_eq!(reader.join().expect("the reader"), b".", "with {threads} threads");
    }
}

/// A copy of a reply has another capacity than the original. What was counted is what is released.
#[test]
fn p19_a_reply_is_released_with_the_weight_with_which_it_was_taken() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let settings = CrewBuilder::new(CREW).threads(threads).reply_limit(1000);
        let mut crew: Crew<Holds> = settings.build(&rig.reactor).expect("a crew");
        let (ours, mut peer) = pair();
        let link = crew.add(&mut rig.reactor, ours, Holds(Vec::new()), LINKS);
        let mut text = Vec::with_capacity(100);
        text.push(b'x');
        for _ in 0..30 {
            assert_eq!(crew.broadcast(&mut rig.reactor, [link], &text), []);
            // The flush of the game's own thread.
            while crew.next_event(&mut rig.reactor).is_some() {}
            rig.reactor.flush();
            peer.read_exact(&mut [0]).expect("it has arrived");
            assert_eq!(crew.waiting(link).expect("it is there"), 0);
        }
    }
}

/// Nothing weighs nothing: the limit holds for empty replies.
#[test]
fn p19_replies_without_a_weight_count_one_each() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let reactors = Reactor::builder().high_water_mark(8 * 1024);
        let mut rig = Rig::with(&reactors);
        let settings = CrewBuilder::new(CREW).threads(threads).reply_limit(10).reactors(reactors);
        let mut crew: Crew<Weightless> = settings.build(&rig.reactor).expect("a crew");
        let (ours, _peer) = narrow_pair();
        let link = crew.add(&mut rig.reactor, ours, Weightless, LINKS);
        until(&mut rig, &mut crew, |_| true);
        for _ in 0..10 {
            crew.send(&mut rig.reactor, link, ()).expect("there is room");
        }
        let refused = crew.send(&mut rig.reactor, link, ()).expect_err("there are ten");
        assert_eq!((refused.error.kind(), crew.waiting(link).ok()), (ErrorKind::QueueFull, Some(10)));
    }
}

/// Blocks its link when it is opened, and says so.
struct Weightless;

impl Codec for Weightless {
    type Message = ();
    type Reply = ();
    type Shared = ();

    fn opened(&mut self, link: &mut Link<'_, Self>) {
        link.send(&vec![b'x'; 4_000_000]);
        link.deliver(());
    }

    fn received(&mut self, _: &[u8], _: &mut Link<'_, Self>) {}

    fn send(&mut self, (): (), _: &mut Link<'_, Self>) {}

    fn weight((): &()) -> usize {
        0
    }
}

/// Blocks its link when it is opened. Delivers the weight of each reply that reaches it, and 0 at first.
struct Heavy;

impl Codec for Heavy {
    type Message = usize;
    type Reply = usize;
    type Shared = ();

    fn opened(&mut self, link: &mut Link<'_, Self>) {
        link.send(&[b'x'; FILLING]);
        link.deliver(0);
    }

    fn received(&mut self, _: &[u8], _: &mut Link<'_, Self>) {}

    fn send(&mut self, weight: usize, link: &mut Link<'_, Self>) {
        link.deliver(weight);
    }

    fn weight(&weight: &usize) -> usize {
        weight
    }
}

/// It is heavier than any limit, and no sum overflows.
#[test]
fn p19_a_reply_of_the_greatest_weight_is_taken_alone() {
    let limits = [(10, false), (10, true), (usize::MAX, false), (usize::MAX, true)];
    for (threads, (limit, is_refused)) in
        THREADS.into_iter().flat_map(|threads| limits.map(|of| (threads, of)))
    {
        let _watchdog = watchdog();
        let reactors = Reactor::builder().high_water_mark(8 * 1024);
        let mut rig = Rig::with(&reactors);
        let settings = CrewBuilder::new(CREW).threads(threads).reply_limit(limit).reactors(reactors);
        let mut crew: Crew<Heavy> = settings.build(&rig.reactor).expect("a crew");
        let (ours, mut peer) = narrow_pair();
        let link = crew.add(&mut rig.reactor, ours, Heavy, LINKS);
        until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Message { message: 0, .. }));
        // The link is blocked, so it stays on its way.
        crew.send(&mut rig.reactor, link, usize::MAX).expect("there is nothing else");
        assert!(crew.waiting(link).expect("it is there") > 10);
        if is_refused {
            for weight in [1, usize::MAX] {
                let refused = crew.send(&mut rig.reactor, link, weight).expect_err("it is not alone");
                assert_eq!((refused.error.kind(), refused.value), (ErrorKind::QueueFull, weight));
            }
        }
        let reader = thread::spawn(move || peer.read_exact(&mut vec![0; FILLING]).map(|()| peer));
        let has_arrived =
            |event: &CrewEvent<_>| matches!(event, CrewEvent::Message { message: usize::MAX, .. });
        let events = until(&mut rig, &mut crew, has_arrived);
        match events[..] {
            [CrewEvent::Message { .. }] => assert!(!is_refused, "room is reported after a refusal"),
            [CrewEvent::Drained { .. }, CrewEvent::Message { .. }] => assert!(is_refused, "there was none"),
            _ => panic!("{events:?} with {threads} threads"),
        }
        assert_eq!(crew.waiting(link).expect("it is there"), 0, "with {threads} threads");
        crew.send(&mut rig.reactor, link, 1).expect("there is room");
        until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Message { message: 1, .. }));
        until_true(&mut rig, &mut crew, |_| reader.is_finished());
        reader.join().expect("the reader").expect("it reads");
    }
}

/// No clock has such a time: the peer may take as long as it likes.
#[test]
fn p20_the_longest_linger_time_is_none() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let reactors = Reactor::builder().high_water_mark(8 * 1024).linger(Duration::MAX);
        let own = Rig::with(&reactors);
        let settings = CrewBuilder::new(CREW).threads(threads).reactors(reactors).linger(Duration::MAX);
        let mut game = Game::with(&settings, own);
        let (ours, mut peer) = narrow_pair();
        let link = game.add(ours);
        let size = 1_000_000;
        game.crew.send(&mut game.rig.reactor, link, vec![b'x'; size]).expect("there is room");
        game.crew.send(&mut game.rig.reactor, link, b"the last".to_vec()).expect("there is room");
        game.close(link);
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // The connection ends when this peer closes it too.
            peer.read_to_end(&mut bytes)
        });
        game.seen_until_left(&[link]);
        let count = reader.join().expect("the reader").expect("an orderly end");
        assert_eq!(count, size + 8, "with {threads} threads");
    }
}

/// A reset would take from the peer what it has not read.
#[test]
fn p18_a_close_that_has_sent_everything_ends_without_a_reset() {
    const LINGER: Duration = Duration::from_millis(100);
    for threads in THREADS {
        let _watchdog = watchdog();
        let settings = CrewBuilder::new(CREW).threads(threads).linger(LINGER);
        let mut game = Game::with(&settings, Rig::with(&Reactor::builder().linger(LINGER)));
        let (link, mut peer) = game.connect();
        game.crew.send(&mut game.rig.reactor, link, b"bye\n".to_vec()).expect("there is room");
        game.close(link);
        // The peer does not close, and reads only afterwards.
        let seen = game.seen_until_left(&[link]);
        assert_eq!(seen, [Seen::Left(link, "Finished".to_owned())], "with {threads} threads");
        let mut text = String::new();
        peer.read_to_string(&mut text).expect("no reset");
        assert_eq!(text, "bye\n");
    }
}
