//! Promise 19: a crew holds no more than its limits, both ways, and loses nothing by that.

mod common;
mod crew_rig;

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use common::{DEADLINE, Rig, SILENCE, finish, narrow_pair, watchdog};
use crew_rig::{
    CREW, Game, Seen, THREADS, assert_left_once_and_last, count_numbered, lines_of, numbered, write_what_fits,
};
use dolmen::{CrewBuilder, CrewEvent, ErrorKind, LinkId, Reactor};

/// The game does not take its messages: members read what the limit allows and no more, and the peers are blocked. When it
/// takes them again, all of them come.
#[test]
fn p19_a_game_that_takes_no_messages_blocks_the_peers_and_loses_nothing() {
    const LINES: usize = 100_000;
    for threads in THREADS {
        let _watchdog = watchdog();
        let settings = CrewBuilder::new(CREW).threads(threads).message_capacity(100);
        let mut game = Game::with(&settings, Rig::new());
        let pairs: Vec<(TcpStream, TcpStream)> = (0..4).map(|_| narrow_pair()).collect();
        let (links, peers): (Vec<LinkId>, Vec<TcpStream>) =
            pairs.into_iter().map(|(ours, peer)| (game.add(ours), peer)).unzip();
        let bytes = numbered(LINES);
        let mut sent = vec![0; peers.len()];
        // Until no peer can write any more, for a while: no member reads.
        loop {
            let before = sent.clone();
            for (peer, sent) in peers.iter().zip(&mut sent) {
                peer.set_nonblocking(true).expect("nonblocking");
                *sent += write_what_fits(peer, &bytes[*sent..]);
            }
            if sent == before {
                break;
            }
            thread::sleep(SILENCE);
        }
        for &sent in &sent {
            assert!(sent > 0 && sent < bytes.len() / 2, "{sent} bytes of {} were taken", bytes.len());
        }
        let delivered: u64 = game.members().iter().map(|member| member.messages).sum();
        // Beyond the limit: what one receive has brought, for each connection.
        let most = 100 * threads.max(1) as u64 + links.len() as u64 * 64 * 1024 / 7;
        assert!(delivered <= most, "{delivered} messages with {threads} threads");

        let writers: Vec<_> = peers
            .into_iter()
            .zip(sent)
            .map(|(peer, mut sent)| {
                let bytes = bytes.clone();
                thread::spawn(move || {
                    // Under Wine a blocking send behind non-blocking ones does not end.
                    while sent < bytes.len() {
                        sent += write_what_fits(&peer, &bytes[sent..]);
                        thread::yield_now();
                    }
                    finish(&peer);
                    peer
                })
            })
            .collect();
        let seen = game.seen_until_left(&links);
        for &link in &links {
            let lines = lines_of(&seen, link);
            assert_eq!(lines.len(), LINES);
            let in_order = lines.iter().enumerate().all(|(at, line)| *line == format!("line {at}"));
            assert!(in_order, "with {threads} threads");
        }
        assert_left_once_and_last(&seen, &links);
        writers.into_iter().for_each(|writer| drop(writer.join().expect("the writer")));
    }
}

/// With room for a single message, and for as many as there are.
#[test]
fn p19_a_round_of_few_messages_leaves_the_others_for_the_next() {
    const LINES: usize = 200;
    for (threads, capacity) in THREADS.into_iter().flat_map(|threads| [(threads, 1), (threads, 7)]) {
        let _watchdog = watchdog();
        let settings = CrewBuilder::new(CREW).threads(threads).message_capacity(capacity);
        let mut game = Game::with(&settings, Rig::new());
        let (links, mut peers): (Vec<LinkId>, Vec<TcpStream>) = (0..10).map(|_| game.connect()).unzip();
        for peer in &mut peers {
            peer.write_all(&numbered(LINES)).expect("it fits into the system's buffers");
            finish(peer);
        }
        let (mut seen, mut most, mut left) = (Vec::new(), 0, 0);
        while left < links.len() {
            let mut in_round = 0;
            game.round(DEADLINE, |_, event| {
                in_round += 1;
                left += usize::from(matches!(event, CrewEvent::Left { .. }));
                seen.push(Seen::from(event));
            });
            most = most.max(in_round);
        }
        let limit = capacity * threads.max(1);
        assert!(most <= limit, "{most} events in one round, with {threads} threads and room for {capacity}");
        for &link in &links {
            assert_eq!(lines_of(&seen, link).len(), LINES, "with {threads} threads and room for {capacity}");
        }
        assert_left_once_and_last(&seen, &links);
    }
}

/// How many replies may be on their way.
const REPLIES: usize = 16;

/// A game with small queues for what it sends.
fn narrow(threads: usize) -> Game {
    let reactors = Reactor::builder().high_water_mark(8 * 1024);
    let own = Rig::with(&reactors);
    Game::with(&CrewBuilder::new(CREW).threads(threads).reply_limit(REPLIES).reactors(reactors), own)
}

/// Sends the lines from this number on, until one is refused or all are sent. Returns the number of the next.
fn send_from(game: &mut Game, link: LinkId, first: usize, all: usize) -> usize {
    for number in first..all {
        let line = format!("line {number}\n").into_bytes();
        if let Err(refused) = game.crew.send(&mut game.rig.reactor, link, line.clone()) {
            assert_eq!((refused.error.kind(), refused.value), (ErrorKind::QueueFull, line));
            assert!(game.crew.waiting(link).expect("it is there") <= REPLIES);
            return number;
        }
    }
    all
}

/// Whether there is room for replies within a time in which a member that can send does so.
fn has_room_soon(game: &mut Game, link: LinkId) -> bool {
    let (mut has_room, end) = (false, Instant::now() + SILENCE);
    while !has_room && Instant::now() < end {
        game.round(end - Instant::now(), |_, event| {
            assert_eq!(Seen::from(event), Seen::Drained(link));
            assert!(!has_room, "room is reported once for each refusal");
            has_room = true;
        });
    }
    has_room
}

#[test]
fn p19_a_peer_that_does_not_read_has_its_sends_refused_until_it_reads() {
    const LINES: usize = 50_000;
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = narrow(threads);
        let (ours, peer) = narrow_pair();
        let link = game.add(ours);
        let (other, mut other_peer) = game.connect();
        let mut next = send_from(&mut game, link, 0, LINES);
        while has_room_soon(&mut game, link) {
            next = send_from(&mut game, link, next, LINES);
            assert!(next < LINES, "all of it was taken");
        }
        // The other connections of the member do not wait for it.
        game.echo(other, &mut other_peer, "meanwhile");

        let reader = count_numbered(peer);
        while next < LINES {
            game.seen_until("room", |seen| *seen == Seen::Drained(link));
            next = send_from(&mut game, link, next, LINES);
        }
        game.close(link);
        let seen = game.seen_until_left(&[link]);
        assert_eq!(seen, [Seen::Left(link, "Finished".to_owned())]);
        assert_eq!(reader.join().expect("the reader"), LINES, "with {threads} threads");
        game.echo(other, &mut other_peer, "afterwards");
    }
}

/// A pause of the game is one reason more not to read, and its end does not end the others.
#[test]
fn p19_a_connection_that_the_game_has_paused_is_not_read() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (link, mut peer) = game.connect();
        let (other, mut other_peer) = game.connect();
        game.crew.pause(&mut game.rig.reactor, link).expect("it is there");
        // A reply comes behind the pause on the same way: when it has arrived, the pause has as well.
        game.send(link, "paused");
        assert_eq!(game.read(&mut peer, 7), b"paused\n");
        peer.write_all(b"held back\n").expect("write");
        game.echo(other, &mut other_peer, "meanwhile");
        game.silent();
        game.crew.resume(&mut game.rig.reactor, link).expect("it is there");
        let seen = game.seen_until("line", |_| true);
        assert_eq!(seen, [Seen::Said(link, "held back".to_owned())]);
    }
}
