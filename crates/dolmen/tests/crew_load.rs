//! A crew under load: every connection's messages come whole and in order, and so do its replies, while a tenth of the
//! connections reset at random.
//!
//! `DOLMEN_CREW_LOAD=2000x200` runs 2,000 connections with 200 messages each. The default is a part of that.

mod common;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Instant;

use common::{DEADLINE, Random, Rig, listener, note_progress, reset, watchdog};
use dolmen::{
    CloseReason, Codec, Crew, CrewBuilder, CrewEvent, Event, LeaveReason, Link, LinkId, Reactor, Token,
};

const PORT: Token = Token(0);
const CREW: Token = Token(1);
const LINKS: Token = Token(2);

/// The threads of the clients.
const CLIENT_THREADS: usize = 4;
/// How many lines a client sends before it reads their echoes. They fit into the system's buffers.
const BATCH: usize = 10;
/// The longest line.
const LONGEST: usize = 120;

#[derive(Clone, Copy)]
struct Load {
    connections: usize,
    messages: usize,
}

impl Load {
    fn chosen() -> Load {
        let default = if cfg!(windows) { "200x50" } else { "1000x100" };
        let text = std::env::var("DOLMEN_CREW_LOAD").unwrap_or_else(|_| default.to_owned());
        let numbers = text.split_once('x').and_then(|(connections, messages)| {
            Some(Load { connections: connections.parse().ok()?, messages: messages.parse().ok()? })
        });
        numbers.unwrap_or_else(|| panic!("DOLMEN_CREW_LOAD is {text:?}; an example: 2000x200"))
    }
}

/// Messages are lines, as a telnet codec has them.
#[derive(Default)]
struct Lines {
    unfinished: Vec<u8>,
}

impl Codec for Lines {
    type Message = Vec<u8>;
    type Reply = Vec<u8>;
    type Shared = ();

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        for piece in data.split_inclusive(|&byte| byte == b'\n') {
            self.unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                link.deliver(std::mem::take(&mut self.unfinished));
            }
        }
    }

    fn send(&mut self, line: Vec<u8>, link: &mut Link<'_, Self>) {
        link.send(&line);
    }
}

/// A client and what it will do.
struct Client {
    name: usize,
    stream: Option<TcpStream>,
    /// It resets when it has sent so many messages and a part of the next.
    resets_after: Option<usize>,
}

fn line(random: &mut Random, client: usize, number: usize) -> Vec<u8> {
    let mut line = format!("{client} {number} ").into_bytes();
    let length = random.below(LONGEST);
    line.extend((0..length).map(|_| b'a' + random.below(26) as u8));
    line.push(b'\n');
    line
}

impl Client {
    fn connect(name: usize, address: SocketAddr, load: Load, random: &mut Random) -> Client {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("timeout");
        let resets_after = (random.below(10) == 0).then(|| random.below(load.messages));
        Client { name, stream: Some(stream), resets_after }
    }

    /// Sends a batch from this number on. Returns what it has to get back.
    fn send(&mut self, first: usize, last: usize, random: &mut Random) -> Vec<u8> {
        let Some(stream) = &mut self.stream else { return Vec::new() };
        let mut batch = Vec::new();
        for number in first..last {
            let line = line(random, self.name, number);
            if self.resets_after == Some(number) {
                batch.extend_from_slice(&line[..random.below(line.len())]);
                stream.write_all(&batch).expect("write");
                reset(self.stream.take().expect("it is connected"));
                return Vec::new();
            }
            batch.extend(line);
        }
        stream.write_all(&batch).expect("write");
        batch
    }

    fn check(&mut self, expected: &[u8]) {
        let Some(stream) = &mut self.stream else { return };
        let mut echo = vec![0; expected.len()];
        stream.read_exact(&mut echo).expect("read");
        assert!(echo == expected, "client {}: not its own echo, or not in its order", self.name);
    }
}

/// One thread's clients. Those that do not reset end in order.
fn clients(thread: usize, address: SocketAddr, load: Load) -> HashMap<usize, Option<usize>> {
    let mut random = Random::new(thread as u64);
    let names =
        (thread * load.connections / CLIENT_THREADS)..((thread + 1) * load.connections / CLIENT_THREADS);
    let mut clients: Vec<Client> = names
        .map(|name| {
            let mut client = Client::connect(name, address, load, &mut random);
            // No more at a time than the backlog takes: each has its first answer before the next one connects.
            let batch = client.send(0, 1, &mut random);
            client.check(&batch);
            client
        })
        .collect();
    for first in (1..load.messages).step_by(BATCH) {
        let last = (first + BATCH).min(load.messages);
        let batches: Vec<Vec<u8>> =
            clients.iter_mut().map(|client| client.send(first, last, &mut random)).collect();
        clients.iter_mut().zip(&batches).for_each(|(client, batch)| client.check(batch));
    }
    clients.into_iter().map(|client| (client.name, client.resets_after)).collect()
}

/// What the game knows of a connection.
#[derive(Default)]
struct Player {
    client: Option<usize>,
    messages: usize,
    left: Option<LeaveReason>,
}

/// Takes a message, which has to be the next one of its client. Returns whether it is.
fn is_next(player: &mut Player, message: &[u8]) -> bool {
    let text = std::str::from_utf8(message).expect("text");
    let mut words = text.trim_end_matches('\n').split(' ').map(str::parse::<usize>);
    let (Some(Ok(client)), Some(Ok(number))) = (words.next(), words.next()) else { return false };
    let is_next = *player.client.get_or_insert(client) == client && number == player.messages;
    player.messages += 1;
    is_next && text.ends_with('\n')
}

fn serve(rig: &mut Rig, crew: &mut Crew<Lines>, connections: usize) -> Vec<Player> {
    let mut players: HashMap<LinkId, Player> = HashMap::new();
    let mut left = 0;
    while left < connections {
        note_progress(rig.reactor.wait(&mut rig.events, Some(DEADLINE)).expect("wait"));
        for event in &mut rig.events {
            match crew.handle(&mut rig.reactor, event) {
                Some(Event::Accepted { stream, .. }) => {
                    // It fails for one that has been reset.
                    let _ = stream.set_nodelay(true);
                    let link = crew.add(&mut rig.reactor, stream, Lines::default(), LINKS);
                    assert!(players.insert(link, Player::default()).is_none(), "{link} a second time");
                }
                other => assert!(other.is_none(), "{other:?}"),
            }
        }
        while let Some(event) = crew.next_event(&mut rig.reactor) {
            match event {
                CrewEvent::Message { link, message, .. } => {
                    let player = players.get_mut(&link).expect("it was added");
                    assert!(
                        player.left.is_none() && is_next(player, &message),
                        "{link}: {}",
                        message.escape_ascii()
                    );
                    crew.send(&mut rig.reactor, link, message).expect("there is room");
                }
                CrewEvent::Left { link, reason, .. } => {
                    let player = players.get_mut(&link).expect("it was added");
                    assert!(player.left.replace(reason).is_none(), "{link} has left twice");
                    left += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    players.into_values().collect()
}

fn load_of(threads: usize) {
    let _watchdog = watchdog();
    let load = Load::chosen();
    #[cfg(target_os = "linux")]
    common::allow_descriptors(2 * load.connections as u64 + 100);
    let reactors = Reactor::builder().max_connections(load.connections);
    let mut rig = Rig::with(&reactors);
    let (listening, address) = listener();
    rig.reactor.listen(listening, PORT).expect("listen");
    let settings = CrewBuilder::new(CREW).threads(threads).reactors(reactors);
    let mut crew = settings.build(&rig.reactor).expect("a crew");
    let started = Instant::now();
    let generators: Vec<_> =
        (0..CLIENT_THREADS).map(|thread| thread::spawn(move || clients(thread, address, load))).collect();
    let players = serve(&mut rig, &mut crew, load.connections);
    let took = started.elapsed();
    let sent: HashMap<usize, Option<usize>> =
        generators.into_iter().flat_map(|generator| generator.join().expect("the clients")).collect();
    let (mut resets, mut messages) = (0, 0);
    for player in &players {
        messages += player.messages;
        // One that has reset before its first message has no name.
        let resets_after = player.client.map_or(Some(0), |client| sent[&client]);
        let reason = player.left.as_ref().expect("all have left");
        match resets_after {
            Some(most) => {
                resets += 1;
                assert!(player.messages <= most, "{} of {most}", player.messages);
                assert!(matches!(reason, LeaveReason::Closed(CloseReason::Reset)), "{reason:?}");
            }
            None => {
                assert_eq!(player.messages, load.messages);
                assert!(matches!(reason, LeaveReason::Closed(CloseReason::Finished)), "{reason:?}");
            }
        }
    }
    assert_eq!(resets, sent.values().flatten().count());
    let shares: Vec<u64> = crew.members().map(|member| member.messages).collect();
    assert!(shares.iter().all(|&share| share > 0), "a member had no work: {shares:?}");
    assert!(shares.iter().sum::<u64>() >= messages as u64);
    let Load { connections, .. } = load;
    println!(
        "{threads} threads: {connections} connections, {resets} of them reset, {messages} messages in {took:?}"
    );
}

#[test]
fn p18_p19_every_connection_is_in_order_and_whole_without_threads() {
    load_of(0);
}

#[test]
fn p18_p19_every_connection_is_in_order_and_whole_with_one_member() {
    load_of(1);
}

#[test]
fn p18_p19_every_connection_is_in_order_and_whole_with_two_members() {
    load_of(2);
}

#[test]
fn p18_p19_every_connection_is_in_order_and_whole_with_four_members() {
    load_of(4);
}
