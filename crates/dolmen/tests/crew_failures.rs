//! Promise 20: what fails in a crew is reported, and the rest goes on.

mod common;
mod crew_rig;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{Rig, pair, watchdog};
use crew_rig::{CREW, Game, Seen, THREADS, assert_ended, lines_of};
use dolmen::{CrewBuilder, LinkId, Reactor};

fn failed(link: LinkId) -> Seen {
    Seen::Left(link, "MemberFailed".to_owned())
}

/// A member with every second connection fails: its lines of before come, then the failure, and then the ends, in the order
/// in which the connections have come.
#[test]
fn p20_a_codec_that_panics_ends_its_member_and_the_others_go_on() {
    let _watchdog = watchdog();
    let mut game = Game::new(2);
    let (links, mut peers): (Vec<LinkId>, Vec<TcpStream>) = (0..8).map(|_| game.connect()).unzip();
    for (&link, peer) in links.iter().zip(&mut peers) {
        game.echo(link, peer, "here");
    }
    peers[4].write_all(b"before\npanic\nafter\n").expect("write");
    let seen = game.seen_until("end of the last", |seen| *seen == failed(links[6]));
    assert_eq!(lines_of(&seen, links[4]), ["before", "panic"]);
    let rest: Vec<&Seen> = seen.iter().filter(|seen| !matches!(seen, Seen::Said(..))).collect();
    let member = Seen::Failed(0, "panic".to_owned());
    let ends = [0, 2, 4, 6].map(|at| failed(links[at]));
    assert_eq!(rest, std::iter::once(&member).chain(&ends).collect::<Vec<_>>());
    assert_eq!((game.crew.threads(), game.crew.len()), (1, 4));
    for at in [0, 2, 4, 6] {
        assert_ended(&peers[at]);
    }
    for at in [1, 3, 5, 7] {
        game.echo(links[at], &mut peers[at], "still here");
    }

    // Newcomers are given to the other one, and then to the one that replaces it.
    let (link, mut peer) = game.connect();
    game.echo(link, &mut peer, "new");
    assert_eq!(game.members().len(), 1);
    game.set_threads(2);
    let (link, mut peer) = game.connect();
    game.echo(link, &mut peer, "newer");
    let connections: Vec<usize> = game.members().iter().map(|member| member.links).collect();
    assert_eq!((game.crew.threads(), connections), (2, vec![1, 5]));
    game.silent();
}

/// With no other member, newcomers leave: nothing serves them until the game has set the threads anew.
#[test]
fn p20_after_the_only_member_has_failed_newcomers_leave_until_the_game_replaces_it() {
    let _watchdog = watchdog();
    let mut game = Game::new(1);
    let (first, mut peer) = game.connect();
    game.echo(first, &mut peer, "here");
    peer.write_all(b"panic\n").expect("write");
    // It may come to the failed one, before the game knows.
    let (early, early_peer) = game.connect();
    let seen = game.seen_until("end of both", |seen| *seen == failed(early));
    assert!(seen.ends_with(&[Seen::Failed(0, "panic".to_owned()), failed(first), failed(early)]), "{seen:?}");
    assert_ended(&early_peer);
    assert_eq!((game.crew.threads(), game.crew.len()), (0, 0));

    // What has ended the member would end the game.
    let (link, peer) = game.connect();
    let seen = game.seen_until("its end", |seen| *seen == failed(link));
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_ended(&peer);
    game.set_threads(1);
    let (newer, mut newer_peer) = game.connect();
    assert_ne!(game.echo(newer, &mut newer_peer, "newer"), std::thread::current().id());
    // Without threads the game has chosen to serve them itself.
    game.set_threads(0);
    let (newest, mut newest_peer) = game.connect();
    assert_eq!(game.echo(newest, &mut newest_peer, "newest"), std::thread::current().id());
}

/// It was to end anyway, so the game has lost no member that it wants.
#[test]
fn p20_after_a_retiring_member_has_failed_the_game_serves_newcomers() {
    let _watchdog = watchdog();
    let mut game = Game::new(1);
    let (first, mut peer) = game.connect();
    game.echo(first, &mut peer, "here");
    game.set_threads(0);
    peer.write_all(b"panic\n").expect("write");
    let seen = game.seen_until_left(&[first]);
    assert!(seen.ends_with(&[Seen::Failed(0, "panic".to_owned()), failed(first)]), "{seen:?}");
    let (newcomer, mut peer) = game.connect();
    assert_eq!(game.echo(newcomer, &mut peer, "new"), std::thread::current().id());
}

/// What is sent to a member that has failed is dropped, until the game knows. Then it is refused.
#[test]
fn p20_all_members_may_fail_while_the_game_sends_to_them() {
    let _watchdog = watchdog();
    let mut game = Game::new(2);
    for _ in 0..20 {
        game.set_threads(2);
        let (links, mut peers): (Vec<LinkId>, Vec<TcpStream>) = (0..10).map(|_| game.connect()).unzip();
        for peer in &mut peers {
            peer.write_all(b"panic\n").expect("write");
        }
        let mut left = 0;
        while left < links.len() {
            for &link in &links {
                // It is refused when the link has left.
                let _ = game.crew.send(&mut game.rig.reactor, link, b"to all\n".to_vec());
            }
            game.round(std::time::Duration::from_millis(1), |_, event| {
                left += usize::from(matches!(Seen::from(event), Seen::Left(..)));
            });
        }
        assert_eq!((game.crew.threads(), game.crew.len(), game.members().len()), (0, 0, 1));
    }
    game.silent();
}

/// On the game's thread a codec's panic is a panic of the game, like that of any code that it calls.
#[test]
fn p20_without_threads_a_codec_that_panics_panics_in_the_game() {
    let _watchdog = watchdog();
    let mut game = Game::new(0);
    let (link, mut peer) = game.connect();
    peer.write_all(b"panic\n").expect("write");
    let panic = catch_unwind(AssertUnwindSafe(|| game.seen_until_left(&[link]))).expect_err("it panics");
    assert_eq!(panic.downcast_ref::<String>().map(String::as_str), Some("panic"));
}

/// A stream that the member's reactor does not take, here because it has as many as it may have.
#[test]
fn p20_a_stream_that_cannot_be_registered_leaves_and_is_closed() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let reactors = Reactor::builder().max_connections(1);
        let own = Rig::with(&reactors);
        let mut game = Game::with(&CrewBuilder::new(CREW).threads(threads).reactors(reactors), own);
        let mut there: Vec<_> = (0..threads.max(1)).map(|_| game.connect()).collect();
        let (ours, peer) = pair();
        let refused = game.add(ours);
        let seen = game.seen_until_left(&[refused]);
        assert_eq!(seen, [Seen::Left(refused, "Refused TableFull".to_owned())], "{threads} threads");
        assert_ended(&peer);
        assert_eq!(game.crew.len(), there.len());
        for (link, peer) in &mut there {
            game.echo(*link, peer, "still here");
        }
    }
}

/// A game that catches the panic goes on, and the connection has left.
#[test]
fn p20_without_threads_a_game_that_catches_a_codecs_panic_goes_on() {
    let _watchdog = watchdog();
    let mut game = Game::new(0);
    let (link, mut peer) = game.connect();
    let (other, mut other_peer) = game.connect();
    game.echo(link, &mut peer, "here");
    peer.write_all(b"panic\n").expect("write");
    catch_unwind(AssertUnwindSafe(|| game.seen_until_left(&[link]))).expect_err("it panics");
    let seen = game.seen_until_left(&[link]);
    assert_eq!(seen, [Seen::Said(link, "panic".to_owned()), failed(link)]);
    assert_ended(&peer);
    assert_eq!(game.crew.len(), 1);
    game.echo(other, &mut other_peer, "still here");
    let (_rig, codecs) = game.end_crew();
    assert_eq!(codecs, 0);
}

/// The panic comes among the flushes of several: the others are flushed all the same.
#[test]
fn p20_without_threads_a_flush_that_panics_takes_no_other_with_it() {
    let _watchdog = watchdog();
    let mut game = Game::new(0);
    let mut all: Vec<(LinkId, TcpStream)> = (0..5).map(|_| game.connect()).collect();
    for (link, peer) in &mut all {
        game.echo(*link, peer, "here");
    }
    let (failing, _failing_peer) = all.remove(2);
    for link in [all[0].0, all[1].0, failing, all[2].0, all[3].0] {
        let reply: &[u8] = if link == failing { b"fuse\n" } else { b"held\n" };
        game.crew.send(&mut game.rig.reactor, link, reply.to_vec()).expect("there is room");
    }
    catch_unwind(AssertUnwindSafe(|| game.crew.end_round(&mut game.rig.reactor))).expect_err("it panics");
    assert_eq!(game.seen_until_left(&[failing]), [failed(failing)]);
    game.rig.reactor.flush();
    for (_, peer) in &mut all {
        let mut line = [0; 5];
        peer.read_exact(&mut line).expect("it is flushed");
        assert_eq!(&line, b"held\n");
    }
}
