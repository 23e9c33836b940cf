//! Promise 21: dropping a crew joins its threads in bounded time, whatever is under way.

mod common;
mod crew_rig;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use common::{Rig, narrow_pair, watchdog};
use crew_rig::{Game, THREADS, numbered};
use dolmen::{Events, LinkId, Reactor};

/// Far less than the linger time, so that no peer is waited for.
const BOUNDED: Duration = Duration::from_secs(2);

/// Every peer sends as much as it can and reads nothing; the game has not taken any of it, and has sent as much as it can.
#[test]
fn p21_a_drop_with_thousands_of_messages_under_way_is_bounded() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let pairs: Vec<(TcpStream, TcpStream)> = (0..50).map(|_| narrow_pair()).collect();
        let (links, peers): (Vec<LinkId>, Vec<TcpStream>) =
            pairs.into_iter().map(|(ours, peer)| (game.add(ours), peer)).unzip();
        let writers: Vec<_> = peers
            .into_iter()
            .map(|mut peer| {
                thread::spawn(move || {
                    let lines = numbered(10_000);
                    // Until it is reset.
                    while peer.write_all(&lines).is_ok() {}
                })
            })
            .collect();
        // The game takes some, so that all of them are in the midst of it.
        let mut taken = 0;
        game.until("messages", |_, _| {
            taken += 1;
            taken >= 5_000
        });
        for &link in &links {
            while game.crew.send(&mut game.rig.reactor, link, vec![b'x'; 1_000]).is_ok() {}
        }
        game.close(links[0]);
        let started = Instant::now();
        let (rig, codecs) = game.drop_crew();
        assert!(started.elapsed() < BOUNDED, "{:?} with {threads} threads", started.elapsed());
        assert_eq!(codecs, 0, "a member is left behind with {threads} threads");
        // Those on the game's thread are its reactor's.
        drop(rig);
        writers.into_iter().for_each(|writer| writer.join().expect("the writer"));
    }
}

/// The replies that have not reached their codecs are dropped: a drop waits for the calls that are in progress, and not for
/// those that would follow.
#[test]
fn p21_a_drop_waits_for_the_call_in_progress_and_for_no_other() {
    for threads in [1, 2] {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (links, mut peers): (Vec<LinkId>, Vec<TcpStream>) = (0..threads).map(|_| game.connect()).unzip();
        for (&link, peer) in links.iter().zip(&mut peers) {
            game.echo(link, peer, "here");
            // One call takes a tenth of a second, and a hundred calls would take ten.
            peer.write_all(b"work\n").expect("write");
        }
        for &link in &links {
            (0..100).for_each(|_| game.send(link, "work"));
        }
        let started = Instant::now();
        let (_rig, codecs) = game.drop_crew();
        assert!(started.elapsed() < BOUNDED, "{:?} with {threads} threads", started.elapsed());
        assert_eq!(codecs, 0, "a member is left behind with {threads} threads");
    }
}

/// Newcomers are on their way to their members, and members end.
#[test]
fn p21_a_crew_is_dropped_at_any_moment() {
    for threads in THREADS {
        let _watchdog = watchdog();
        for connections in 0..20 {
            let mut game = Game::new(threads);
            let _peers: Vec<TcpStream> = (0..connections).map(|_| game.connect().1).collect();
            if connections % 2 == 1 {
                game.set_threads(0);
            }
            if connections % 3 == 0 {
                game.round(Duration::ZERO, |_, event| panic!("{event:?}"));
            }
            let (_rig, codecs) = game.drop_crew();
            assert_eq!(codecs, 0, "with {threads} threads and {connections} connections");
        }
    }
}

/// The game's reactor is gone first: nobody takes messages any more, and the members have to end all the same.
#[test]
fn p21_a_crew_outlives_its_games_reactor() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (link, mut peer) = game.connect();
        game.echo(link, &mut peer, "here");
        peer.write_all(&numbered(1_000)).expect("write");
        game.rig = Rig::with(&Reactor::builder());
        let started = Instant::now();
        let (_rig, codecs) = game.drop_crew();
        assert!(started.elapsed() < BOUNDED, "{:?}", started.elapsed());
        assert_eq!(codecs, 0);
    }
}

/// The reactor goes on without them.
#[test]
fn p21_the_end_of_a_crew_leaves_nothing_of_it_in_the_games_reactor() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (link, mut peer) = game.connect();
        game.echo(link, &mut peer, "here");
        let (mut rig, codecs) = game.end_crew();
        assert_eq!(codecs, 0);
        let mut events = Events::with_capacity(16);
        while rig.reactor.stats().connections > 0 {
            let found = rig.reactor.wait(&mut events, Some(Duration::from_millis(10))).expect("wait");
            assert_eq!(found, 0, "with {threads} threads: {:?}", events.drain().next());
        }
        // The end of the stream, or a reset.
        assert_eq!(peer.read(&mut [0; 16]).unwrap_or(0), 0);
    }
}
