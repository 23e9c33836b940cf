//! Promises 18 to 20, for games whose rounds are not like the usual one: they end early, take nothing, or lose a wait's events.

mod common;
mod crew_rig;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use common::{DEADLINE, Rig, SILENCE, narrow_pair, pair, watchdog};
use crew_rig::{CREW, Game, LINKS, Seen, THREADS, lines_of, numbered};
use dolmen::{Codec, Crew, CrewBuilder, CrewEvent, Link, Reactor};

/// One wait, whose events are handed over.
fn wait(game: &mut Game, timeout: Duration) -> usize {
    let Rig { reactor, events } = &mut game.rig;
    let found = reactor.wait(events, Some(timeout)).expect("wait");
    for event in events.drain() {
        assert!(game.crew.handle(reactor, event).is_none(), "it is the crew's");
    }
    found
}

/// A round of so many events at most.
fn short_round(game: &mut Game, most: usize) -> Vec<Seen> {
    assert!(wait(game, DEADLINE) > 0, "the game is not woken for what it has left");
    let mut seen = Vec::new();
    while seen.len() < most {
        let Some(event) = game.crew.take_event(&mut game.rig.reactor) else { break };
        seen.push(Seen::from(event));
    }
    game.crew.end_round(&mut game.rig.reactor);
    seen
}

/// Its member may not read ahead of it: what waits is bounded, and nothing is lost.
#[test]
fn p19_a_game_that_takes_one_message_a_round_gets_all_of_them_and_the_crew_keeps_few() {
    const LINES: usize = 3_000;
    for threads in THREADS {
        let _watchdog = watchdog();
        let settings = CrewBuilder::new(CREW).threads(threads).message_capacity(8);
        // One receive brings few lines.
        let members = Reactor::builder().buffer_size(256);
        let own = Rig::with(&members);
        let mut game = Game::with(&settings.reactors(members), own);
        let (link, mut peer) = game.connect();
        peer.write_all(&numbered(LINES)).expect("it fits into the system's buffers");
        let mut seen = Vec::new();
        while seen.len() < LINES {
            seen.extend(short_round(&mut game, 1));
            let delivered: u64 = game.members().iter().map(|member| member.messages).sum();
            let waiting = delivered - seen.len() as u64;
            // Two queues, and what one receive has brought.
            assert!(waiting <= 2 * 8 + 256 / 7, "{waiting} messages wait with {threads} threads");
        }
        let lines = lines_of(&seen, link);
        assert!(lines.iter().enumerate().all(|(at, line)| *line == format!("line {at}")), "in order");
        game.silent();
    }
}

/// A round that takes nothing at all is followed by another one.
#[test]
fn p18_what_a_round_leaves_wakes_the_game_again() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (link, mut peer) = game.connect();
        peer.write_all(b"one\ntwo\n").expect("write");
        for _ in 0..3 {
            assert_eq!(short_round(&mut game, 0), []);
        }
        assert_eq!(game.seen_until("line", |seen| *seen == Seen::Said(link, "two".to_owned())).len(), 2);
        game.silent();
    }
}

/// The game goes on waiting in the midst of a round, and ends it after the second wait.
#[test]
fn p18_a_round_of_two_waits_leaves_nothing() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (link, mut peer) = game.connect();
        peer.write_all(b"one\n").expect("write");
        let mut first = None;
        while first.is_none() {
            assert!(wait(&mut game, DEADLINE) > 0, "no line");
            first = game.crew.take_event(&mut game.rig.reactor).map(Seen::from);
            if first.is_none() {
                game.crew.end_round(&mut game.rig.reactor);
            }
        }
        assert_eq!(first, Some(Seen::Said(link, "one".to_owned())));
        peer.write_all(b"two\n").expect("write");
        let mut seen = Vec::new();
        while seen.is_empty() {
            assert!(wait(&mut game, DEADLINE) > 0, "the second line with {threads} threads");
            while let Some(event) = game.crew.next_event(&mut game.rig.reactor) {
                seen.push(Seen::from(event));
            }
        }
        assert_eq!(seen, [Seen::Said(link, "two".to_owned())]);
        game.silent();
    }
}

/// The game has not passed on what reports the second line, and takes nothing after it.
#[test]
fn p19_a_report_that_the_game_drops_in_the_middle_of_a_round_costs_no_message() {
    for threads in [1, 2] {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (link, mut peer) = game.connect();
        peer.write_all(b"one\n").expect("write");
        while game.crew.take_event(&mut game.rig.reactor).is_none() {
            game.crew.end_round(&mut game.rig.reactor);
            assert!(wait(&mut game, DEADLINE) > 0, "no line");
        }
        peer.write_all(b"two\n").expect("write");
        let Rig { reactor, events } = &mut game.rig;
        assert!(reactor.wait(events, Some(DEADLINE)).expect("wait") > 0, "no second line");
        drop(events.drain());
        game.crew.end_round(reactor);
        assert!(wait(&mut game, DEADLINE) > 0, "nothing ends the next wait");
        let event = game.crew.next_event(&mut game.rig.reactor).map(Seen::from);
        assert_eq!(event, Some(Seen::Said(link, "two".to_owned())));
        game.silent();
    }
}

/// Delivers the time of each receive.
struct Clock;

impl Codec for Clock {
    type Message = Instant;
    type Reply = ();
    type Shared = ();

    fn received(&mut self, _: &[u8], link: &mut Link<'_, Self>) {
        link.deliver(link.now());
    }

    fn send(&mut self, (): (), _: &mut Link<'_, Self>) {}
}

/// Without threads it is the game's wait that has brought it, and its round goes on.
#[test]
fn p13_in_a_round_of_two_waits_the_codecs_time_is_that_of_the_second() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let settings = CrewBuilder::new(CREW).threads(threads);
        let mut crew: Crew<Clock> = settings.build(&rig.reactor).expect("a crew");
        let (ours, mut peer) = pair();
        crew.add(&mut rig.reactor, ours, Clock, LINKS);
        peer.write_all(b"x").expect("write");
        let mut first = None;
        while first.is_none() {
            assert!(crew_rig::wait(&mut rig, &mut crew, DEADLINE), "no message");
            first = crew.take_event(&mut rig.reactor);
            if first.is_none() {
                crew.end_round(&mut rig.reactor);
            }
        }
        let between = Instant::now();
        peer.write_all(b"x").expect("write");
        let events = crew_rig::until(&mut rig, &mut crew, |_| true);
        let [CrewEvent::Message { message, .. }] = events[..] else { panic!("{events:?}") };
        assert!(message >= between, "{:?} too old with {threads} threads", between - message);
    }
}

/// As after an error in the game's loop. What the members have reported with them comes with the next round.
#[test]
fn p18_a_wait_whose_events_are_dropped_silences_no_member() {
    for threads in [1, 2] {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (link, mut peer) = game.connect();
        peer.write_all(b"one\n").expect("write");
        let Rig { reactor, events } = &mut game.rig;
        assert!(reactor.wait(events, Some(DEADLINE)).expect("wait") > 0, "no line");
        drop(events.drain());
        peer.write_all(b"two\n").expect("write");
        // Nothing reports it again, but any round takes it.
        let mut seen = Vec::new();
        while seen.len() < 2 {
            game.round(SILENCE, |_, event| seen.push(Seen::from(event)));
        }
        assert_eq!(lines_of(&seen, link), ["one", "two"]);
        game.echo(link, &mut peer, "three");
    }
}

/// Each of its connections has an event of its own, and each of these events may be the only one of its round.
#[test]
fn p20_the_connections_of_a_failed_member_leave_in_rounds_of_one_event() {
    let _watchdog = watchdog();
    let mut game = Game::new(1);
    let (links, mut peers): (Vec<_>, Vec<_>) = (0..3).map(|_| game.connect()).unzip();
    for (&link, peer) in links.iter().zip(&mut peers) {
        game.echo(link, peer, "here");
    }
    peers[1].write_all(b"panic\n").expect("write");
    let mut seen = Vec::new();
    while seen.len() < 5 {
        seen.extend(short_round(&mut game, 1));
    }
    let left = links.iter().map(|&link| Seen::Left(link, "MemberFailed".to_owned()));
    let said = [Seen::Said(links[1], "panic".to_owned()), Seen::Failed(0, "panic".to_owned())];
    assert_eq!(seen, said.into_iter().chain(left).collect::<Vec<_>>());
    game.silent();
}

/// Holds what its peer has said until the flush, and then sends it back.
struct Holds(Vec<u8>);

impl Codec for Holds {
    type Message = ();
    type Reply = ();
    type Shared = ();

    fn received(&mut self, data: &[u8], _: &mut Link<'_, Self>) {
        self.0.extend_from_slice(data);
    }

    fn send(&mut self, (): (), link: &mut Link<'_, Self>) {
        link.send(b"!");
    }

    fn flush(&mut self, link: &mut Link<'_, Self>) {
        link.send(&std::mem::take(&mut self.0));
    }
}

/// The member has a part of the round's orders, all for one connection, and the game works on.
#[test]
fn p18_a_long_round_for_one_connection_does_not_hold_the_flush_of_another() {
    const BATCH: usize = 64;
    let _watchdog = watchdog();
    let mut reactor = Reactor::new().expect("a reactor");
    let mut crew: Crew<Holds> = CrewBuilder::new(CREW).threads(1).build(&reactor).expect("a crew");
    let ((ours, mut busy), (theirs, mut peer)) = (pair(), pair());
    let link = crew.add(&mut reactor, ours, Holds(Vec::new()), LINKS);
    crew.add(&mut reactor, theirs, Holds(Vec::new()), LINKS);
    assert!(crew.take_event(&mut reactor).is_none(), "the round begins");
    for _ in 0..BATCH {
        crew.send(&mut reactor, link, ()).expect("there is room");
    }
    let mut arrived = [0; BATCH];
    busy.read_exact(&mut arrived).expect("the batch has crossed");
    peer.write_all(b"ping").expect("write");
    let mut answer = [0; 4];
    peer.read_exact(&mut answer).expect("it is flushed while the round goes on");
    assert_eq!(&answer, b"ping");
    crew.end_round(&mut reactor);
}

/// More than the reactor and the system have room for.
const FILLING: usize = 1_000_000;

enum Part {
    /// Blocks the link, and is reported to the game.
    Filling,
    /// Is sent by the flush.
    Held(&'static [u8]),
    Short,
}

#[derive(Default)]
struct Parts {
    held: &'static [u8],
}

impl Codec for Parts {
    type Message = ();
    type Reply = Part;
    type Shared = ();

    fn received(&mut self, _: &[u8], _: &mut Link<'_, Self>) {}

    fn send(&mut self, part: Part, link: &mut Link<'_, Self>) {
        match part {
            Part::Filling => {
                link.send(&[b'x'; FILLING]);
                assert!(link.is_blocked(), "there was room");
                link.deliver(());
            }
            Part::Held(text) => self.held = text,
            Part::Short => link.send(b"!"),
        }
    }

    fn flush(&mut self, link: &mut Link<'_, Self>) {
        link.send(std::mem::take(&mut self.held));
    }
}

/// The reply of one round reaches its codec in a later one, of which this connection gets nothing.
#[test]
fn p18_a_reply_that_has_waited_for_room_is_flushed_while_a_later_round_is_long() {
    const BATCH: usize = 64;
    let _watchdog = watchdog();
    let reactors = Reactor::builder().high_water_mark(8 * 1024);
    let mut rig = Rig::with(&reactors);
    let settings = CrewBuilder::new(CREW).threads(1).reactors(reactors);
    let mut crew: Crew<Parts> = settings.build(&rig.reactor).expect("a crew");
    let ((ours, mut peer), (theirs, mut busy_peer)) = (narrow_pair(), pair());
    let link = crew.add(&mut rig.reactor, ours, Parts::default(), LINKS);
    let busy = crew.add(&mut rig.reactor, theirs, Parts::default(), LINKS);
    let send = |rig: &mut Rig, crew: &mut Crew<Parts>, link, part| {
        crew.send(&mut rig.reactor, link, part).map_err(|refused| refused.error).expect("there is room");
    };
    send(&mut rig, &mut crew, link, Part::Filling);
    // It comes when the turn of the reply is over, with its flush.
    crew_rig::until(&mut rig, &mut crew, |event| matches!(event, CrewEvent::Message { .. }));

    assert!(crew.take_event(&mut rig.reactor).is_none(), "the first round begins");
    send(&mut rig, &mut crew, link, Part::Held(b"held"));
    crew.end_round(&mut rig.reactor);
    assert!(crew.take_event(&mut rig.reactor).is_none(), "the second round begins");
    for _ in 0..BATCH {
        send(&mut rig, &mut crew, busy, Part::Short);
    }
    busy_peer.read_exact(&mut [0; BATCH]).expect("the batch has crossed");
    let mut bytes = vec![0; FILLING + 4];
    peer.read_exact(&mut bytes).expect("it is flushed while the round goes on");
    assert!(bytes.ends_with(b"xheld"));
    crew.end_round(&mut rig.reactor);
}

/// The first member's messages fill the game's queue, and the second one's must not be forgotten.
#[test]
fn p18_a_member_is_not_forgotten_behind_one_that_fills_the_round() {
    let _watchdog = watchdog();
    let mut game = Game::with(&CrewBuilder::new(CREW).threads(2).message_capacity(1), Rig::new());
    let (links, mut peers): (Vec<_>, Vec<_>) = (0..2).map(|_| game.connect()).unzip();
    for count in 0..50 {
        for peer in &mut peers {
            peer.write_all(b"x\n").expect("write");
        }
        let mut said = 0;
        game.until("a line of each member", |_, event| {
            said += usize::from(matches!(event, CrewEvent::Message { .. }));
            said == links.len()
        });
        assert_eq!(said, links.len(), "at {count}");
    }
}
