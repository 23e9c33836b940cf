//! Promise 18: a crew keeps the order of each connection, both ways, and its end comes once and last.

mod common;
mod crew_rig;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use common::{Random, Rig, finish, read_to_reset, reset, watchdog};
use crew_rig::{CREW, Game, Seen, THREADS, assert_left_once_and_last, count_numbered, lines_of, numbered};
use dolmen::{CrewBuilder, CrewEvent, ErrorKind, LinkId, Reactor};

/// The peer sends in pieces that are no lines.
fn write_in_pieces(mut peer: &TcpStream, bytes: &[u8], seed: u64) {
    let (mut random, mut left) = (Random::new(seed), bytes);
    while !left.is_empty() {
        let (piece, rest) = left.split_at(left.len().min(1 + random.below(700)));
        peer.write_all(piece).expect("write");
        left = rest;
    }
}

#[test]
fn p18_the_messages_of_each_connection_come_in_their_order_and_then_its_end() {
    const LINES: usize = 300;
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (links, peers): (Vec<LinkId>, Vec<TcpStream>) = (0..12).map(|_| game.connect()).unzip();
        let writer = thread::spawn(move || {
            for (seed, peer) in (0..).zip(&peers) {
                write_in_pieces(peer, &numbered(LINES), seed);
                finish(peer);
            }
            peers
        });
        let seen = game.seen_until_left(&links);
        let expected: Vec<String> = (0..LINES).map(|number| format!("line {number}")).collect();
        for &link in &links {
            assert_eq!(lines_of(&seen, link), expected, "of {link} with {threads} threads");
        }
        assert_left_once_and_last(&seen, &links);
        assert!(game.crew.is_empty());
        game.silent();
        writer.join().expect("the writer");
    }
}

/// Each way in which a connection can end: by its peer, by the game, and by its codec.
#[test]
fn p18_every_end_is_reported_once_and_last() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (links, mut peers): (Vec<LinkId>, Vec<TcpStream>) = (0..6).map(|_| game.connect()).unzip();
        for (link, peer) in links.iter().zip(&mut peers) {
            game.echo(*link, peer, "here");
        }
        game.close(links[0]);
        game.abort(links[1]);
        // Each is behind a line, so that there is something before the end.
        for (peer, line) in peers.iter_mut().zip(["", "", "close", "abort", "last", "last"]).skip(2) {
            peer.write_all(format!("{line}\nnever answered\n").as_bytes()).expect("write");
        }
        let mut peers = peers.into_iter();
        let mut next = || peers.next().expect("a peer");
        let (closed, aborted, closed_by_codec, aborted_by_codec, finished) =
            (next(), next(), next(), next(), next());
        finish(&finished);
        drop((closed, closed_by_codec));
        // What it has sent may be lost with it.
        reset(next());
        let seen = game.seen_until_left(&links);
        read_to_reset(aborted);
        read_to_reset(aborted_by_codec);
        assert_left_once_and_last(&seen, &links);
        let reasons = links.iter().map(|link| {
            let left = seen.iter().find(|seen| matches!(seen, Seen::Left(of, _) if of == link));
            let Some(Seen::Left(_, reason)) = left else { panic!("no end of {link}") };
            reason.as_str()
        });
        let reasons: Vec<&str> = reasons.collect();
        assert_eq!(
            reasons,
            ["Finished", "Aborted", "Finished", "Aborted", "Finished", "Reset"],
            "{threads} threads"
        );
        assert_eq!(lines_of(&seen, links[2]), ["close"], "its codec gets nothing after it has closed");
        assert_eq!(lines_of(&seen, links[4]), ["last", "never answered"]);
        for link in links {
            let refused = game.crew.send(&mut game.rig.reactor, link, Vec::new()).expect_err("it has left");
            assert_eq!(refused.error.kind(), ErrorKind::NotFound);
            let refused = game.crew.abort(&mut game.rig.reactor, link).expect_err("it has left");
            assert_eq!(refused.kind(), ErrorKind::NotFound);
        }
        game.silent();
    }
}

/// The peers go on sending. The game ends each connection at another line, and while others wait in the same round.
#[test]
fn p18_after_a_close_and_an_abort_nothing_comes_but_the_end() {
    for threads in THREADS {
        let _watchdog = watchdog();
        // A peer that goes on sending does not answer a close.
        let settings = CrewBuilder::new(CREW).threads(threads).linger(Duration::from_millis(100));
        let own = Reactor::builder().linger(Duration::from_millis(100));
        let mut game = Game::with(&settings, Rig::with(&own));
        let (links, peers): (Vec<LinkId>, Vec<TcpStream>) = (0..20).map(|_| game.connect()).unzip();
        let writers: Vec<_> = peers
            .into_iter()
            .map(|mut peer| {
                let lines = numbered(2_000);
                thread::spawn(move || {
                    // Until it is closed.
                    while peer.write_all(&lines).is_ok() {}
                })
            })
            .collect();
        let mut ended = Vec::new();
        let (mut said, mut seen) = (vec![0; links.len()], Vec::new());
        game.until("end of all connections", |game, event| {
            if let CrewEvent::Message { link, .. } = &event {
                let (link, at) = (*link, links.iter().position(|of| of == link).expect("one of ours"));
                assert!(!ended.contains(&link), "a message of {link}, which the game has ended");
                said[at] += 1;
                if said[at] == 10 * (at + 1) {
                    ended.push(link);
                    if at % 2 == 0 {
                        game.close(link)
                    } else {
                        game.abort(link)
                    }
                    let refused = game.crew.close(&mut game.rig.reactor, link);
                    assert_eq!(refused.expect_err("once").kind(), ErrorKind::NotFound);
                }
            }
            seen.push(Seen::from(event));
            game.crew.is_empty()
        });
        assert_eq!(ended.len(), links.len());
        assert_left_once_and_last(&seen, &links);
        game.silent();
        writers.into_iter().for_each(|writer| writer.join().expect("the writer"));
    }
}

/// Sends and broadcasts of many rounds, and then a close, which comes after them.
#[test]
fn p18_what_the_game_sends_arrives_whole_and_in_its_order() {
    const LINES: usize = 500;
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (links, peers): (Vec<LinkId>, Vec<TcpStream>) = (0..9).map(|_| game.connect()).unzip();
        let readers: Vec<_> = peers.into_iter().map(count_numbered).collect();
        for number in 0..LINES {
            let line = format!("line {number}");
            if number % 3 == 0 {
                let reply = format!("{line}\n").into_bytes();
                let refused = game.crew.broadcast(&mut game.rig.reactor, links.iter().copied(), &reply);
                assert_eq!(refused, []);
            } else {
                links.iter().for_each(|&link| game.send(link, &line));
            }
            if number % 50 == 0 {
                game.round(Duration::ZERO, |_, event| panic!("{event:?}"));
            }
        }
        links.iter().for_each(|&link| game.close(link));
        let seen = game.seen_until_left(&links);
        assert_eq!(seen.len(), links.len(), "{seen:?}");
        for reader in readers {
            assert_eq!(reader.join().expect("the reader"), LINES, "with {threads} threads");
        }
    }
}

/// Those that have refused a broadcast are named, and the others get it.
#[test]
fn p18_a_broadcast_names_the_connections_that_refuse_it() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let [(closing, _closing_peer), (left, left_peer), (there, mut peer)] =
            [(); 3].map(|()| game.connect());
        game.close(closing);
        drop(left_peer);
        game.seen_until_left(&[left]);
        let reply = b"to all\n".to_vec();
        let refused = game.crew.broadcast(&mut game.rig.reactor, [closing, left, there], &reply);
        assert_eq!(refused, [(closing, ErrorKind::NotFound), (left, ErrorKind::NotFound)]);
        assert_eq!(game.read(&mut peer, reply.len()), reply);
        game.echo(there, &mut peer, "after it");
        let mut rest = Vec::new();
        finish(&peer);
        game.seen_until_left(&[there]);
        peer.read_to_end(&mut rest).expect("an orderly end");
        assert_eq!(rest, b"");
    }
}
