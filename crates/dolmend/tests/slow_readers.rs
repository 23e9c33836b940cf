//! Players who read more slowly than others talk, and players who do not read at all.

mod common;

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{Client, DEADLINE};
use dolmen::Poster;
use dolmend::config::{Config, Rate};
use dolmend::limits::Limits;
use dolmend::lobby::Lobby;
use dolmend::ports;
use dolmend::server::{SHUTDOWN, Server};
use dolmend::world::{Admission, ConnectInfo, Departure, Status, Turn, UserId, World};
use flate2::{Decompress, FlushDecompress};

const OUTPUT_LIMIT: usize = 16384;

/// A lobby in a thread of its own, with little room for output.
struct Served {
    address: SocketAddr,
    poster: Poster,
    thread: JoinHandle<Status>,
}

impl Served {
    fn start(unread_timeout: Duration) -> Served {
        Served::with(unread_timeout, Lobby::new)
    }

    fn with<W: World + 'static>(unread_timeout: Duration, world: fn(&Config) -> W) -> Served {
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut config = Config::built_in().expect("the shipped file loads");
            config.limits.command_rate = Rate::new(10_000, 10_000);
            config.limits.command_bytes_per_second = 64 << 20;
            config.output_limit_bytes = OUTPUT_LIMIT;
            config.io_threads = common::io_threads();
            let port = "127.0.0.1:0".parse().expect("a port");
            let (opened, _) = ports::open(&[port], false).expect("it opens");
            let address = opened[0].address;
            let mut server = Server::new(&config, opened, world(&config)).expect("it starts");
            server.set_limits(Limits { unread_timeout, ..Limits::from(&config) });
            sender.send((address, server.poster())).expect("the test waits");
            server.run().expect("the wait works");
            server.status()
        });
        let (address, poster) = receiver.recv_timeout(DEADLINE).expect("it starts");
        Served { address, poster, thread }
    }

    /// A player with a small receive window, so that the system does not take megabytes for the reader.
    fn slow_player(&self, name: &str) -> Client {
        log_on(self.slow_client(), name)
    }

    fn slow_client(&self) -> Client {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("it can be set");
        socket.connect(&self.address.into()).expect("the server accepts");
        Client::over(socket.into())
    }

    /// The counters at the end.
    fn end(self) -> Status {
        self.poster.post(0, SHUTDOWN).expect("it runs");
        self.thread.join().expect("it ends")
    }
}

fn log_on(mut client: Client, name: &str) -> Client {
    client.expect("shall we call you? ");
    client.send(&format!("{name}\r\n"));
    client.expect("for what you can do.\r\n");
    client
}

/// The text of a stream that is compressed from its start sequence on.
fn inflated(bytes: &[u8]) -> String {
    const START: &[u8] = b"\xff\xfa\x56\xff\xf0";
    let Some(place) = common::find(bytes, START) else { return common::text_of(bytes) };
    let (plain, packed) = (&bytes[..place], &bytes[place + START.len()..]);
    let (mut inflate, mut text) = (Decompress::new(true), Vec::with_capacity(64 << 20));
    inflate.decompress_vec(packed, &mut text, FlushDecompress::Sync).expect("nothing is missing inside");
    common::text_of(&[plain, &text].concat())
}

/// Of little use to a compressor.
fn noise(mut state: u64) -> String {
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + ((state >> 33) % 26) as u8)
    };
    (0..3000).map(|_| letter()).collect()
}

/// Collects what arrives from here on.
fn read_all(client: &mut Client) -> Arc<Mutex<Vec<u8>>> {
    let received = Arc::new(Mutex::new(std::mem::take(&mut client.unread)));
    let (mut stream, shared) = (client.stream.try_clone().expect("it stands"), Arc::clone(&received));
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            shared.lock().expect("no reader panics").extend_from_slice(&buffer[..length]);
        }
    });
    received
}

/// Ann says three times as much as the systems on both sides take.
fn talk_to_a_slow_player(compressed: bool) {
    const LINES: u64 = 4000;
    // Ann may talk for longer than [`DEADLINE`], as under a sanitizer.
    let served = Served::start(20 * DEADLINE);
    let mut ann = log_on(Client::connect(served.address), "Ann");
    let mut slow = served.slow_player("Slow");
    ann.expect("Slow has arrived.\r\n");
    if compressed {
        slow.send_bytes(b"\xff\xfc\x18\xff\xfd\x56");
    }
    for number in 0..LINES {
        ann.send(&format!("say {number} {}\r\n", noise(number)));
        ann.expect("You say: ");
    }
    let received = read_all(&mut slow);
    let begun = Instant::now();
    let text = loop {
        assert!(begun.elapsed() < DEADLINE, "Slow does not catch up");
        ann.send("tell Slow good\r\n");
        ann.expect("You tell Slow: good\r\n");
        let bytes = received.lock().expect("no reader panics").clone();
        let text = inflated(&bytes);
        if text.contains("Ann tells you: good\r\n") {
            break text;
        }
    };
    let status = served.end();
    assert_eq!(status.too_slow, 0, "{status}");
    let missing: u64 = text.lines().filter_map(missing_messages).sum();
    assert!(missing > 0, "{}", &text[text.len().saturating_sub(500)..]);
    assert_eq!(missing, status.limits.left_out, "each is reported once");
    let said: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Ann says: ")).collect();
    assert!(said.len() as u64 + missing >= LINES, "{} and {missing}", said.len());
    for line in said {
        let (number, rest) = line.split_once(' ').expect("a number and noise");
        assert!(rest == noise(number.parse().expect("a number")), "not a whole line: {line}");
    }
}

/// The number in a report about missing messages.
fn missing_messages(line: &str) -> Option<u64> {
    let (messages, _) = line.strip_prefix('(')?.split_once(" missing here")?;
    if messages == "One message is" { Some(1) } else { messages.strip_suffix(" messages are")?.parse().ok() }
}

#[test]
fn a_player_whose_link_is_slower_than_the_talk_stays_and_is_told_what_is_missing() {
    talk_to_a_slow_player(false);
}

#[test]
fn a_compressed_stream_has_no_hole_inside_either() {
    talk_to_a_slow_player(true);
}

#[test]
fn a_player_who_reads_nothing_at_all_is_disconnected_without_effect_on_others() {
    let served = Served::start(Duration::from_secs(1));
    let mut ann = log_on(Client::connect(served.address), "Ann");
    let mut unresponsive = served.slow_player("Deaf");
    ann.expect("Deaf has arrived.\r\n");
    let shout = "x".repeat(4000);
    let begun = Instant::now();
    let mut heard = String::new();
    while !heard.contains("Deaf has left.") {
        assert!(begun.elapsed() < DEADLINE, "Deaf stays");
        ann.send(&format!("say {shout}\r\n"));
        heard = ann.expect(&format!("You say: {shout}\r\n"));
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "not before the time: {:?}", begun.elapsed());
    unresponsive.expect_gone();
    ann.send("who\r\n");
    ann.expect("One is here:\r\n  Ann (you)\r\n");
    let status = served.end();
    assert_eq!(status.too_slow, 1);
    assert!(status.limits.left_out > 0);
}

/// A game in which a command may have a long answer, and what one says may be long for the others. The words
/// `number` and `text`: so many kilobytes for the user, or so often the text for all others.
struct Hall;

impl World for Hall {
    fn connect(&mut self, _: &ConnectInfo) -> Admission {
        Admission::Accept
    }

    fn logon(&mut self, turn: &mut Turn<'_>, user: UserId) {
        turn.send(user, "Welcome.\n");
    }

    fn process_input(&mut self, turn: &mut Turn<'_>, user: UserId, line: &str) {
        let (word, number) = line.split_once(' ').unwrap_or((line, "1"));
        let text = (["b".repeat(998), "\n".into()].concat()).repeat(number.parse().unwrap_or(1));
        match word {
            "list" => turn.send(user, text),
            "show" => turn.users().to_vec().into_iter().filter(|&other| other != user).for_each(|other| {
                turn.send(other, "Look:\n");
                turn.send(other, text.as_str());
                turn.send(other, "Shown.\n");
            }),
            // The same of what a compressor makes little shorter.
            "hiss" => turn.users().to_vec().into_iter().filter(|&other| other != user).for_each(|other| {
                turn.send(other, (0..40).map(noise).collect::<String>());
                turn.send(other, "\nHissed.\n");
            }),
            // As while a program that was asked works.
            "hold" => turn.hold(user),
            "release" => turn.users().to_vec().into_iter().for_each(|other| {
                turn.send(other, "first\n");
                turn.send(other, text.as_str());
                turn.release(other);
            }),
            _ => {}
        }
        turn.send(user, "Done.\n");
    }

    fn net_dead(&mut self, turn: &mut Turn<'_>, _: UserId, _: Departure) {
        turn.users().to_vec().into_iter().for_each(|other| turn.send(other, "One has left.\n"));
    }
}

fn enter(mut client: Client) -> Client {
    client.expect("Welcome.\r\n");
    client
}

/// Whether a text arrives, if another player says more for each piece that is read.
fn arrives(text: &str, slow: &mut Client, mut talker: Option<&mut Client>) -> bool {
    let (begun, mut tail) = (Instant::now(), std::mem::take(&mut slow.unread));
    while begun.elapsed() < DEADLINE {
        talker.as_mut().into_iter().for_each(|talker| show(talker, 3));
        let mut block = [0; 2000];
        let length = slow.stream.read(&mut block).expect("it stands");
        tail.extend_from_slice(&block[..length]);
        if length == 0 || common::find(&tail, text.as_bytes()).is_some() {
            return length > 0;
        }
        tail.drain(..tail.len().saturating_sub(text.len()));
    }
    false
}

fn show(client: &mut Client, kilobytes: usize) {
    client.send(&format!("show {kilobytes}\r\n"));
    client.expect("Done.\r\n");
}

#[test]
fn after_a_long_answer_a_user_gets_turns_however_much_others_talk() {
    let served = Served::with(Duration::from_secs(60), |_| Hall);
    let mut slow = enter(served.slow_client());
    let mut talker = enter(Client::connect(served.address));
    slow.send("list 1000\r\n");
    assert!(arrives("Done.\r\n", &mut slow, None));
    // More than the systems on both sides take.
    (0..3000).for_each(|_| show(&mut talker, 3));
    slow.send("list 0\r\n");
    assert!(arrives("Done.\r\n", &mut slow, Some(&mut talker)), "the command gets no turn");
    assert_eq!(served.end().too_slow, 0);
}

#[test]
fn a_user_who_does_not_read_an_answer_is_disconnected_in_a_quiet_game() {
    let served = Served::with(Duration::from_secs(3), |_| Hall);
    let mut other = enter(Client::connect(served.address));
    let mut unresponsive = enter(served.slow_client());
    unresponsive.send("list 12000\r\n");
    // The next command of this one waits.
    let mut impatient = enter(served.slow_client());
    impatient.send("list 12000\r\nlist 1\r\n");
    (0..2).for_each(|_| drop(other.expect("One has left.\r\n")));
    let status = served.end();
    assert_eq!(status.too_slow, 2);
    assert!(status.waits < 60, "one who reads nothing costs others nothing: {status}");
}

#[test]
fn a_text_that_is_longer_than_the_limit_arrives_at_one_who_reads() {
    let served = Served::with(Duration::from_secs(30), |_| Hall);
    let mut reader = enter(Client::connect(served.address));
    let mut packed = enter(Client::connect(served.address));
    packed.send_bytes(b"\xff\xfc\x18\xff\xfd\x56list 0\r\n");
    packed.expect_bytes(b"\xff\xfa\x56\xff\xf0");
    packed.unread.splice(0..0, *b"\xff\xfa\x56\xff\xf0");
    let mut talker = enter(Client::connect(served.address));
    show(&mut talker, 100);
    let line = format!("{}\r\n", "b".repeat(998));
    assert_eq!(reader.expect("Shown.\r\n").matches(&line).count(), 100);
    // The end of the stream, and the text before.
    let received = read_all(&mut packed);
    let text_until = |end: &str| {
        let (begun, mut text) = (Instant::now(), String::new());
        while !text.contains(end) {
            assert!(begun.elapsed() < DEADLINE, "{} bytes", text.len());
            text = inflated(&received.lock().expect("no reader panics").clone());
        }
        text
    };
    text_until("Shown.\r\n");
    talker.send("hiss\r\n");
    let hiss: String = (0..40).map(noise).collect();
    assert!(reader.expect("\r\nHissed.\r\n").ends_with(&hiss));
    let text = text_until("\r\nHissed.\r\n");
    assert!(text.contains(&hiss));
    let status = served.end();
    assert_eq!((text.matches(&line).count(), status.limits.left_out), (100, 0));
}

#[test]
fn what_a_user_gets_while_the_world_holds_the_lines_is_an_answer() {
    let served = Served::with(Duration::from_secs(30), |_| Hall);
    let mut waiting = enter(served.slow_client());
    waiting.send("hold\r\n");
    waiting.expect("Done.\r\n");
    let mut other = enter(Client::connect(served.address));
    other.send("release 5000\r\n");
    assert!(arrives("b\r\nDone.\r\n", &mut other, None));
    waiting.send("list 0\r\n");
    waiting.expect("first\r\n");
    assert!(arrives("b\r\nDone.\r\n", &mut waiting, None));
    let status = served.end();
    assert_eq!((status.too_slow, status.limits.left_out), (0, 0), "{status}");
}

#[test]
fn what_others_say_while_the_world_holds_the_lines_is_no_answer_and_the_answer_comes_all_the_same() {
    // More than an answer may have.
    const SHOWN: usize = 1400;
    let served = Served::with(Duration::from_secs(60), |_| Hall);
    let mut waiting = enter(served.slow_client());
    waiting.send("hold\r\n");
    waiting.expect("Done.\r\n");
    let mut talker = enter(Client::connect(served.address));
    (0..SHOWN).for_each(|_| show(&mut talker, 15));
    // In pieces, of which the first would leave no room for another.
    talker.send("release 20\r\n");
    assert!(arrives("b\r\nDone.\r\n", &mut talker, None));
    let answer = format!("first\r\n{}", format!("{}\r\n", "b".repeat(998)).repeat(20));
    assert!(arrives(&answer, &mut waiting, None), "the answer was left out");
    let status = served.end();
    assert_eq!(status.too_slow, 0, "{status}");
    // Some of three texts each, but for what the systems on both sides take.
    assert!(status.limits.left_out > SHOWN as u64, "{status}");
}
