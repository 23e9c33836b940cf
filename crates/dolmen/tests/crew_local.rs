//! Promises 17 to 20 where the game's own thread serves the connections: it is as bounded as a member, has the crew's linger
//! time, and a panic of a codec leaves nothing behind. And what goes wrong with another reactor.

mod common;
mod crew_rig;

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use common::{DEADLINE, Rig, SILENCE, narrow_pair, pair, watchdog};
use crew_rig::{CREW, Game, LINKS, Seen, THREADS, assert_ended, lines_of, numbered, write_what_fits};
use dolmen::{Codec, Crew, CrewBuilder, Link, Reactor};

/// The game's reactor would wait for 5 seconds.
#[test]
fn p18_the_linger_time_is_the_crews_on_every_thread() {
    const LINGER: Duration = Duration::from_millis(200);
    for threads in THREADS {
        let _watchdog = watchdog();
        let settings = CrewBuilder::new(CREW).threads(threads).linger(LINGER);
        let mut game = Game::with(&settings, Rig::new());
        let (link, mut peer) = game.connect();
        game.echo(link, &mut peer, "here");
        let closed = Instant::now();
        game.close(link);
        // The peer does not close its side.
        let seen = game.seen_until_left(&[link]);
        let took = closed.elapsed();
        assert!(took >= LINGER && took < Duration::from_secs(4), "{took:?} with {threads} threads");
        assert_eq!(seen, [Seen::Left(link, "Finished".to_owned())]);
        assert_eq!(peer.read(&mut [0; 8]).expect("an orderly end"), 0);
    }
}

/// It handles what its waits bring, and takes nothing.
#[test]
fn p19_a_game_that_ends_no_round_is_sent_no_more_than_the_limit() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let settings = CrewBuilder::new(CREW).threads(threads).message_capacity(100);
        let mut game = Game::with(&settings, Rig::new());
        let (ours, peer) = narrow_pair();
        let link = game.add(ours);
        peer.set_nonblocking(true).expect("nonblocking");
        let bytes = numbered(200_000);
        let (mut sent, mut last) = (0, Instant::now());
        while last.elapsed() < SILENCE {
            let count = write_what_fits(&peer, &bytes[sent..]);
            sent += count;
            if count > 0 {
                last = Instant::now();
            }
            let Rig { reactor, events } = &mut game.rig;
            reactor.wait(events, Some(Duration::from_millis(1))).expect("wait");
            for event in events.drain() {
                assert!(game.crew.handle(reactor, event).is_none(), "it is the crew's");
            }
        }
        assert!(sent > 0 && sent < bytes.len() / 2, "{sent} of {} bytes with {threads} threads", bytes.len());
        let lines = bytes[..sent].iter().filter(|&&byte| byte == b'\n').count();
        // What has been reported is not reported again.
        let mut seen: Vec<Seen> =
            std::iter::from_fn(|| game.crew.next_event(&mut game.rig.reactor)).map(Seen::from).collect();
        while seen.len() < lines {
            seen.extend(game.seen_until("line", |_| true));
        }
        let expected: Vec<String> = (0..lines).map(|number| format!("line {number}")).collect();
        assert_eq!(lines_of(&seen, link), expected);
    }
}

/// Panics when it is opened, and when it gets `!`.
struct Fragile {
    opens: bool,
}

impl Codec for Fragile {
    type Message = Vec<u8>;
    type Reply = ();
    type Shared = ();

    fn opened(&mut self, _: &mut Link<'_, Self>) {
        if !self.opens {
            resume_unwind(Box::new("opened"));
        }
    }

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        if data == b"!" {
            resume_unwind(Box::new("received"));
        }
        link.deliver(data.to_vec());
    }

    fn send(&mut self, (): (), _: &mut Link<'_, Self>) {}
}

#[test]
fn p20_a_connection_whose_codec_panics_when_it_is_opened_was_never_there() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut crew: Crew<Fragile> = CrewBuilder::new(CREW).build(&rig.reactor).expect("a crew");
    let (ours, peer) = pair();
    catch_unwind(AssertUnwindSafe(|| crew.add(&mut rig.reactor, ours, Fragile { opens: false }, LINKS)))
        .expect_err("it panics");
    assert_eq!((crew.len(), crew.members().next().expect("the game's thread").links), (0, 0));
    let (ours, mut other) = pair();
    crew.add(&mut rig.reactor, ours, Fragile { opens: true }, LINKS);
    other.write_all(b"here").expect("write");
    let mut seen = Vec::new();
    while seen.is_empty() {
        let Rig { reactor, events } = &mut rig;
        reactor.wait(events, Some(DEADLINE)).expect("wait");
        for event in events.drain() {
            assert!(crew.handle(reactor, event).is_none(), "it is the crew's");
        }
        while let Some(event) = crew.next_event(reactor) {
            seen.push(format!("{event:?}"));
        }
    }
    assert!(seen.len() == 1 && seen[0].starts_with("Message"), "{seen:?}");
    assert_ended(&peer);
}

/// Its own wakes may mean anything.
#[test]
fn p20_a_panic_that_the_game_catches_wakes_it_without_a_wake_of_its_own() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let mut crew: Crew<Fragile> = CrewBuilder::new(CREW).build(&rig.reactor).expect("a crew");
    let (ours, mut peer) = pair();
    let link = crew.add(&mut rig.reactor, ours, Fragile { opens: true }, LINKS);
    peer.write_all(b"!").expect("write");
    let (mut panics, mut seen) = (0, Vec::new());
    while seen.is_empty() {
        let Rig { reactor, events } = &mut rig;
        assert!(reactor.wait(events, Some(DEADLINE)).expect("wait") > 0, "it is woken");
        for event in events.drain() {
            match catch_unwind(AssertUnwindSafe(|| crew.handle(reactor, event).is_none())) {
                Ok(is_the_crews) => assert!(is_the_crews, "the game has not been woken by anyone"),
                Err(_) => panics += 1,
            }
        }
        // A game that leaves this round by its panic.
        if panics == 1 {
            panics += 1;
            continue;
        }
        while let Some(event) = crew.next_event(reactor) {
            seen.push(format!("{event:?}"));
        }
    }
    assert_eq!(
        (panics, seen),
        (2, vec![format!("Left {{ link: {link:?}, token: {LINKS:?}, reason: MemberFailed }}")])
    );
}

#[test]
fn a_crew_refuses_another_reactor_than_its_own() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (link, mut peer) = game.connect();
        let mut other = Reactor::new().expect("a reactor");
        let text = |panic: Box<dyn std::any::Any + Send>| panic.downcast_ref::<String>().cloned();
        let refused =
            catch_unwind(AssertUnwindSafe(|| game.crew.close(&mut other, link))).expect_err("it panics");
        assert!(text(refused).expect("a text").contains("the reactor that it was built with"));
        catch_unwind(AssertUnwindSafe(|| game.crew.set_threads(&other, 3))).expect_err("it panics");
        game.echo(link, &mut peer, "still here");
    }
}

/// The bytes go out after the turn in which they were sent, and a thread at rest has no further turn.
#[test]
fn p17_what_was_sent_is_not_counted_as_queued() {
    for threads in [1, 2] {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (ours, mut peer) = narrow_pair();
        let link = game.add(ours);
        game.send(link, &"x".repeat(200_000));
        let queued = |game: &Game| game.members().iter().map(|member| member.queued_bytes).sum::<usize>();
        let until = |what: &str, is_so: &dyn Fn(usize) -> bool| {
            let end = Instant::now() + DEADLINE;
            while !is_so(queued(&game)) {
                assert!(Instant::now() < end, "not {what}, but {} with {threads} threads", queued(&game));
                std::thread::yield_now();
            }
        };
        until("some", &|queued| queued > 0);
        peer.read_exact(&mut vec![0; 200_001]).expect("the peer reads");
        until("none", &|queued| queued == 0);
    }
}
