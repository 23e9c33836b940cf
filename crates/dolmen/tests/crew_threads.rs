//! Promise 21: a connection stays with its member, whatever becomes of the number of threads. And what threads a crew has.

mod common;
mod crew_rig;

use std::collections::HashSet;
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use common::{DEADLINE, Rig, watchdog};
use crew_rig::{CREW, Game, Seen, THREADS};
use dolmen::{CrewBuilder, CrewEvent, LinkId, Reactor};

fn add(game: &mut Game, to: &mut Vec<(LinkId, TcpStream)>, count: usize) {
    (0..count).for_each(|_| to.push(game.connect()));
}

/// How many connections each member has, and whether it gets no more.
fn shares(game: &Game) -> Vec<(usize, bool)> {
    game.members().iter().map(|member| (member.links, member.retiring)).collect()
}

/// The threads of the codecs, each of which answers.
fn threads_of(game: &mut Game, connections: &mut [(LinkId, TcpStream)]) -> Vec<thread::ThreadId> {
    connections.iter_mut().map(|(link, peer)| game.echo(*link, peer, "where")).collect()
}

#[test]
fn p21_connections_stay_while_threads_come_and_go() {
    let _watchdog = watchdog();
    let mut game = Game::new(0);
    let mut connections = Vec::new();
    add(&mut game, &mut connections, 3);
    game.set_threads(2);
    add(&mut game, &mut connections, 4);
    game.set_threads(3);
    add(&mut game, &mut connections, 2);
    let before = threads_of(&mut game, &mut connections);
    let here = thread::current().id();
    assert!(before[..3].iter().all(|&thread| thread == here));
    assert!(before[3..].iter().all(|&thread| thread != here));
    assert_eq!(before[3..].iter().collect::<HashSet<_>>().len(), 3);
    assert_eq!(shares(&game), [(3, true), (2, false), (2, false), (2, false)]);

    game.set_threads(0);
    add(&mut game, &mut connections, 1);
    assert_eq!((game.crew.threads(), game.crew.len()), (0, 10));
    let after = threads_of(&mut game, &mut connections);
    assert_eq!((&after[..9], after[9]), (&before[..], here));
    assert_eq!(shares(&game), [(4, false), (2, true), (2, true), (2, true)]);

    // One that was to end may stay.
    game.set_threads(1);
    add(&mut game, &mut connections, 1);
    let (link, peer) = connections.last_mut().expect("just added");
    assert!(before[3..].contains(&game.echo(*link, peer, "where")));
    game.set_threads(0);

    // Each of the others ends with its last connection.
    let links: Vec<LinkId> = connections.drain(..).map(|(link, _peer)| link).collect();
    game.seen_until_left(&links);
    assert_eq!(shares(&game), [(0, false)]);
    assert!(game.crew.is_empty());
    let (link, mut peer) = game.connect();
    assert_eq!(game.echo(link, &mut peer, "where"), here);
    game.silent();
}

#[test]
fn p21_newcomers_are_given_to_the_member_with_the_fewest_connections() {
    let _watchdog = watchdog();
    let mut game = Game::new(2);
    let mut connections = Vec::new();
    add(&mut game, &mut connections, 6);
    let threads = threads_of(&mut game, &mut connections);
    assert_eq!([threads[0], threads[2], threads[4]], [threads[0]; 3]);
    // Two of one member leave, and the next two take their places.
    let left: Vec<LinkId> = [4, 2].map(|at| connections.remove(at).0).to_vec();
    game.seen_until_left(&left);
    add(&mut game, &mut connections, 2);
    assert_eq!(threads_of(&mut game, &mut connections)[4..], [threads[0]; 2]);
}

/// `Reactor` is not `Send`, and a codec needs not be `Sync`: it moves once, and each of its calls is on that thread.
#[test]
fn p01_a_codec_moves_to_its_thread_once_and_stays_there() {
    for count in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(count);
        let mut connections = Vec::new();
        add(&mut game, &mut connections, 8);
        let first = threads_of(&mut game, &mut connections);
        for _ in 0..20 {
            assert_eq!(threads_of(&mut game, &mut connections), first);
        }
        let here = thread::current().id();
        let different: HashSet<_> = first.iter().collect();
        assert_eq!((different.len(), different.contains(&here)), (count.max(1), count == 0));
    }
}

/// A deadline is not early, whatever other deadlines there are, and a codec without one is not called.
#[test]
fn p13_a_codecs_deadline_is_not_early_and_each_has_its_own() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        // In another order than that in which they are due.
        let times = [90, 30, 60, 1, 45].map(Duration::from_millis);
        let started = Instant::now();
        let (links, _peers): (Vec<LinkId>, Vec<TcpStream>) = times
            .iter()
            .map(|time| {
                let (link, mut peer) = game.connect();
                peer.write_all(format!("expire {}\n", time.as_millis()).as_bytes()).expect("write");
                (link, peer)
            })
            .unzip();
        let (without, mut without_peer) = game.connect();
        let mut expired = 0;
        game.until("deadlines", |_, event| {
            let CrewEvent::Message { link, message, .. } = event else { panic!("{event:?}") };
            let at = links.iter().position(|of| *of == link).expect("one with a deadline");
            if message.line == "expired" {
                assert!(started.elapsed() >= times[at], "{:?} for {:?}", started.elapsed(), times[at]);
                expired += 1;
            }
            expired == links.len()
        });
        game.silent();
        game.echo(without, &mut without_peer, "here");
    }
}

/// A deadline that stays over is the fault of its codec. The others of its member are served, and no processor is kept busy.
#[test]
fn p13_a_deadline_that_stays_over_is_called_again_after_a_pause() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (overdue, mut peer) = game.connect();
        let (other, mut other_peer) = game.connect();
        peer.write_all(b"overdue\n").expect("write");
        let (mut calls, mut answered) = (0, false);
        let mut started = Instant::now();
        game.until("ten calls", |game, event| {
            match Seen::from(event) {
                Seen::Said(link, line) if link == overdue && line == "expired" => {
                    if calls == 0 {
                        started = Instant::now();
                        other_peer.write_all(b"meanwhile\n").expect("write");
                    }
                    calls += 1;
                }
                Seen::Said(link, line) if link == other => {
                    assert_eq!(line, "meanwhile");
                    game.send(other, "answer");
                    answered = true;
                }
                seen => assert_eq!(seen, Seen::Said(overdue, "overdue".to_owned())),
            }
            calls >= 10 && answered
        });
        // The first one may have been handed out late, and with it the next.
        assert!(
            started.elapsed() >= Duration::from_millis(10 * (10 - 2)),
            "{calls} in {:?}",
            started.elapsed()
        );
    }
}

/// The game acts between two rounds, as on the tick of a timer, and then waits for a long time.
#[test]
fn p02_what_the_game_does_between_rounds_takes_effect_without_another_event() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let reactors = Reactor::builder().max_connections(1);
        let own = Rig::with(&reactors);
        let mut game = Game::with(&CrewBuilder::new(CREW).threads(threads).reactors(reactors), own);
        let connections: Vec<_> = (0..threads.max(1)).map(|_| game.connect()).collect();
        game.silent();
        // What a codec holds back is flushed.
        let started = Instant::now();
        for (link, mut peer) in connections {
            game.send(link, "held");
            if threads == 0 {
                game.round(DEADLINE, |_, event| panic!("{event:?}"));
            }
            assert_eq!(game.read(&mut peer, 5), b"held\n");
            // It ends, which is an event in any case.
            drop(peer);
            game.seen_until_left(&[link]);
        }
        // What a codec delivers is handed out: here the end of a stream that is not taken.
        let there: Vec<_> = (0..threads.max(1)).map(|_| game.connect()).collect();
        let (refused, _peer) = game.connect();
        game.seen_until_left(&[refused]);
        assert!(started.elapsed() < DEADLINE / 2, "{:?} with {threads} threads", started.elapsed());
        drop(there);
    }
}
