//! The server with a world that records its calls: driven step by step, in one thread, so that only the server decides
//! the order.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use dolmen::{Inbox, Sender};
use dolmend::config::{Config, Rate};
use dolmend::ports;
use dolmend::server::{SHUTDOWN, Server};
use dolmend::world::{Admission, Channels, ConnectInfo, Departure, Operation, Turn, UserId, World};

const DEADLINE: Duration = Duration::from_secs(30);

/// The world's calls, in words.
#[derive(Default)]
struct Record {
    recorded: Vec<String>,
    refuse: bool,
    /// What it says to a new configuration.
    refuse_configuration: Option<String>,
    /// It tells of a departure as it asks for a line.
    asks: bool,
    beats: Option<Duration>,
    /// The results of other threads.
    answers: Option<(Sender<UserId>, Inbox<UserId>)>,
}

impl World for Record {
    fn started(&mut self, channels: &Channels<'_>) {
        assert!(self.recorded.is_empty());
        self.answers = Some(channels.open(8));
    }

    fn results(&mut self, turn: &mut Turn<'_>) {
        let (_, inbox) = self.answers.as_mut().expect("it was started");
        for user in inbox.drain() {
            self.recorded.push(format!("result for {user}"));
            turn.send(user, "answered\n");
            turn.release(user);
        }
    }

    fn connect(&mut self, info: &ConnectInfo) -> Admission {
        self.recorded.push(format!("connect {}", info.user));
        if self.refuse { Admission::Refuse("Go away.\n".into()) } else { Admission::Accept }
    }

    fn logon(&mut self, turn: &mut Turn<'_>, user: UserId) {
        assert!(turn.users().contains(&user));
        self.recorded.push(format!("logon {user}"));
        turn.send(user, "hello\n");
    }

    fn process_input(&mut self, turn: &mut Turn<'_>, user: UserId, line: &str) {
        self.recorded.push(format!("{user}: {line}"));
        match line {
            "leave" => {
                turn.disconnect(user);
                // None of these actions has an effect any more, and none must fail.
                turn.disconnect(user);
                turn.send(user, "lost\n");
            }
            "kill others" => {
                let others: Vec<UserId> =
                    turn.users().iter().copied().filter(|&other| other != user).collect();
                others.into_iter().for_each(|other| turn.disconnect(other));
            }
            "ask" => {
                turn.hold(user);
                // More than once is the same.
                turn.hold(user);
            }
            "name" => {
                ["Name", "? "].into_iter().for_each(|part| turn.send(user, part));
                // It leads to another call, in the same round.
                let other = turn.users().iter().copied().find(|&other| other != user);
                other.into_iter().for_each(|other| turn.disconnect(other));
            }
            "timer" => {
                turn.set_timer(Duration::from_millis(1));
                turn.set_timer(Duration::from_secs(3600));
                turn.set_timer(Duration::from_millis(2));
            }
            "reload" => turn.operate(Operation::Reload),
            "prompt" => {
                turn.prompt(user, "> ");
                turn.broadcast("It rains.\n");
            }
            // More than an answer may be.
            "flood" => turn.send(user, "x".repeat(17 << 20)),
            _ => turn.send(user, format!("{line}\n")),
        }
    }

    fn net_dead(&mut self, turn: &mut Turn<'_>, user: UserId, why: Departure) {
        assert!(!turn.users().contains(&user));
        self.recorded.push(format!("net_dead {user} {why:?}"));
        let text = format!("{user} is gone\n");
        match self.asks {
            true => turn.users().to_vec().into_iter().for_each(|other| turn.prompt(other, text.as_str())),
            false => turn.broadcast(text),
        }
    }

    fn reconfigured(&mut self, _: &mut Turn<'_>, config: &Config) -> Result<(), String> {
        self.recorded.push(format!("reconfigured {}", config.mud_name));
        self.refuse_configuration.take().map_or(Ok(()), Err)
    }

    fn timer_expired(&mut self, turn: &mut Turn<'_>) {
        let times = self.recorded.iter().filter(|line| line.starts_with("timer")).count() + 1;
        self.recorded.push(format!("timer {times}"));
        if times == 1 {
            turn.set_timer(Duration::from_millis(1));
        }
    }

    fn heart_beat_interval(&self) -> Option<Duration> {
        self.beats
    }

    fn heart_beat(&mut self, _turn: &mut Turn<'_>) {
        self.recorded.push("beat".into());
    }
}

struct Rig {
    server: Server<Record>,
    address: SocketAddr,
}

impl Rig {
    fn new(world: Record) -> Rig {
        let mut config = Config::built_in().expect("the shipped file loads");
        // These tests type faster than players.
        config.limits.command_rate = Rate { per_second: 10_000, burst: 10_000 };
        config.limits.command_bytes_per_second = 64 << 20;
        let port = "127.0.0.1:0:ascii".parse().expect("a port");
        config.replace_ports(&[port]).expect("one port");
        let (opened, _) = ports::open(&[port], false).expect("it opens");
        let address = opened[0].address;
        Rig { server: Server::new(&config, opened, world).expect("it starts"), address }
    }

    fn recorded(&self) -> &[String] {
        &self.server.world().recorded
    }

    /// Goes on until the world got this call.
    fn until(&mut self, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        while !self.recorded().iter().any(|line| line == text) {
            assert!(Instant::now() < deadline, "never called {text:?}: {:?}", self.recorded());
            self.server.step(Some(Duration::from_secs(1))).expect("the wait works");
        }
    }

    fn connect(&mut self, user: u64) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("the server accepts");
        client.set_read_timeout(Some(DEADLINE)).expect("it can be set");
        self.until(&format!("logon #{user}"));
        client
    }

    /// Ends the server, and returns the recorded departures.
    fn departures(mut self) -> Vec<String> {
        self.server.poster().post(0, SHUTDOWN).expect("the server is there");
        self.server.run().expect("the wait works");
        self.recorded().iter().filter(|line| line.starts_with("net_dead")).cloned().collect()
    }
}

/// Reads to the end. A reset counts as an end where nothing was promised.
fn rest(client: &mut TcpStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).expect("an orderly end");
    text
}

#[test]
fn a_users_calls_are_in_order() {
    let mut rig = Rig::new(Record::default());
    let mut client = rig.connect(1);
    client.write_all(b"one\r\ntwo\r\nleave\r\nthree\r\n").expect("it is read");
    rig.until("net_dead #1 Disconnected");
    assert_eq!(
        rig.recorded(),
        ["connect #1", "logon #1", "#1: one", "#1: two", "#1: leave", "net_dead #1 Disconnected"]
    );
    client.shutdown(Shutdown::Write).expect("it stands");
    // The next user keeps the server going until the first one's output has been sent.
    rig.connect(2);
    assert_eq!(rest(&mut client), "hello\r\none\r\ntwo\r\n");
    assert_eq!(rig.departures(), ["net_dead #1 Disconnected", "net_dead #2 Shutdown"]);
}

#[test]
fn every_departure_is_reported_exactly_once() {
    let mut rig = Rig::new(Record::default());
    // The client closes its side.
    let client = rig.connect(1);
    client.shutdown(Shutdown::Write).expect("it stands");
    rig.until("net_dead #1 PeerClosed");
    // The client closes both directions. Unread input would make that a reset.
    let mut client = rig.connect(2);
    rig.server.step(Some(Duration::ZERO)).expect("the greeting goes out");
    client.read_exact(&mut [0; b"hello\r\n".len()]).expect("the greeting");
    drop(client);
    rig.until("net_dead #2 PeerClosed");
    // The connection breaks.
    let client = rig.connect(3);
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("it can be set");
    drop(client);
    rig.until("net_dead #3 Lost");
    // More output than the server keeps.
    let mut client = rig.connect(4);
    client.write_all(b"flood\n").expect("it is read");
    rig.until("net_dead #4 TooSlow");
    // Caused by another user, in whose turn it happens.
    let mut client = rig.connect(5);
    let other = rig.connect(6);
    client.write_all(b"kill others\nleave\n").expect("it is read");
    rig.until("net_dead #6 Disconnected");
    rig.until("net_dead #5 Disconnected");
    drop((client, other));
    // The users who are left at the end.
    let left = rig.connect(7);
    // It closes when it reads the end; otherwise the server would wait for that.
    let closer = std::thread::spawn(move || rest(&mut { left }));
    assert_eq!(
        rig.departures(),
        [
            "net_dead #1 PeerClosed",
            "net_dead #2 PeerClosed",
            "net_dead #3 Lost",
            "net_dead #4 TooSlow",
            "net_dead #6 Disconnected",
            "net_dead #5 Disconnected",
            "net_dead #7 Shutdown",
        ]
    );
    let seen = closer.join().expect("it was read");
    assert!(seen.ends_with("The server is shutting down. Good-bye.\r\n"), "{seen}");
}

#[test]
fn a_world_that_refuses_a_configuration_leaves_nothing_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    let (port, metrics) = (free(), free());
    let mut rig = Rig::new(Record { refuse_configuration: Some("No.".into()), ..Record::default() });
    let log = folder.path().join("new.log");
    let text = format!(
        "port : {}\nport : {port}\nmetrics : {metrics}\nlog file : {}\nmud name : New\n",
        rig.address,
        log.display()
    );
    rig.server.reload_by(move || {
        Config::from_text("new.conf", text.as_bytes(), Path::new("")).map_err(|error| error.to_string())
    });
    let before: Vec<_> = rig.server.listening().collect();
    let mut ann = rig.connect(1);
    ann.write_all(b"reload\n").expect("it is read");
    rig.until("reconfigured New");
    assert!(!log.exists());
    assert_eq!(rig.server.listening().collect::<Vec<_>>(), before);
    for address in [port, metrics] {
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < deadline, "{address} is open");
            rig.server.step(Some(Duration::ZERO)).expect("the wait works");
        }
    }
}

#[test]
fn what_another_call_shows_in_the_same_round_stands_over_a_prompt() {
    for asks in [false, true] {
        let mut rig = Rig::new(Record { asks, ..Record::default() });
        let mut ann = rig.connect(1);
        // One leaves; a text that more than one are shown is encoded once.
        let others = (rig.connect(2), rig.connect(3));
        ann.write_all(b"name\nprompt\nleave\n").expect("it is read");
        rig.until("net_dead #1 Disconnected");
        ann.shutdown(Shutdown::Write).expect("it stands");
        drop(others);
        assert_eq!(rig.departures().len(), 3);
        let shown = rest(&mut ann);
        assert_eq!(shown, "hello\r\nName? \r\n#2 is gone\r\nName? > \r\nIt rains.\r\n> ", "{asks}");
    }
}

#[test]
fn lines_that_came_whole_before_a_reset_are_processed() {
    let mut rig = Rig::new(Record::default());
    let mut client = rig.connect(1);
    // Received while the connection is not read: all of it waits when the reset arrives.
    client.write_all(b"one\ntwo\nthree\ndrop all but the sw").expect("it is read");
    rig.until("#1: one");
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("it can be set");
    drop(client);
    rig.until("net_dead #1 Lost");
    assert_eq!(rig.recorded()[2..], ["#1: one", "#1: two", "#1: three", "net_dead #1 Lost"]);
}

#[test]
fn a_refused_connection_gets_the_reason_and_no_further_call() {
    let mut rig = Rig::new(Record { refuse: true, ..Record::default() });
    let mut client = TcpStream::connect(rig.address).expect("the server accepts");
    client.set_read_timeout(Some(DEADLINE)).expect("it can be set");
    client.write_all(b"let me in\r\n").expect("it is read");
    rig.until("connect #1");
    client.shutdown(Shutdown::Write).expect("it stands");
    assert_eq!(rig.departures(), [""; 0]);
    assert_eq!(rest(&mut client), "Go away.\r\n");
}

#[test]
fn the_lines_and_the_end_of_a_user_who_is_held_wait_for_the_result() {
    let mut rig = Rig::new(Record::default());
    let mut client = rig.connect(1);
    client.write_all(b"ask\nlater\nleave\n").expect("it is read");
    client.shutdown(Shutdown::Write).expect("it stands");
    rig.until("#1: ask");
    // Others are served in the meantime, and nothing turns round in circles.
    let mut other = rig.connect(2);
    other.write_all(b"one\ntwo\n").expect("it is read");
    rig.until("#2: two");
    let waits = rig.server.status().waits;
    rig.server.step(Some(Duration::from_millis(50))).expect("the wait works");
    assert!(rig.server.status().waits - waits == 1 && !rig.recorded().iter().any(|line| line == "#1: later"));
    let (answers, _) = rig.server.world().answers.as_ref().expect("it was started");
    let answers = answers.clone();
    std::thread::spawn(move || answers.send(UserId(1)).expect("there is room")).join().expect("sent");
    rig.until("net_dead #1 Disconnected");
    let own = rig.recorded().iter().filter(|line| line.contains("#1")).map(String::as_str);
    assert_eq!(
        own.collect::<Vec<_>>(),
        [
            "connect #1",
            "logon #1",
            "#1: ask",
            "result for #1",
            "#1: later",
            "#1: leave",
            "net_dead #1 Disconnected"
        ]
    );
    other.write_all(b"leave\n").expect("it is read");
    rig.until("net_dead #2 Disconnected");
    assert_eq!(rest(&mut client), "hello\r\nanswered\r\nlater\r\n");
}

#[test]
fn the_end_of_the_server_does_not_wait_for_a_result() {
    let mut rig = Rig::new(Record::default());
    let mut client = rig.connect(1);
    client.write_all(b"ask\nlater\n").expect("it is read");
    rig.until("#1: ask");
    let closer = std::thread::spawn(move || rest(&mut client));
    assert_eq!(rig.departures(), ["net_dead #1 Shutdown"]);
    assert!(closer.join().expect("it was read").ends_with("Good-bye.\r\n"));
}

#[test]
fn a_book_and_a_line_that_wait_at_the_same_time_take_turns() {
    let mut rig = Rig::new(Record::default());
    let mut one = rig.connect(1);
    let mut two = rig.connect(2);
    let mut book = String::new();
    for number in 0..200 {
        writeln!(book, "{number}").expect("a string");
    }
    // The server does not run in the meantime: this thread is its thread.
    one.write_all(book.as_bytes()).expect("it is read");
    two.write_all(b"short\nshort\nlast\n").expect("it is read");
    rig.until("#2: last");
    let before = rig.recorded().iter().filter(|line| line.starts_with("#1: ")).count();
    // With both lines in one wait it is three; a completion that arrives a little later costs a few turns more, and
    // taking the book in one turn would make it hundreds.
    assert!(before < 100, "{before} lines of the book came first");
    rig.until("#1: 199");
    let lines: Vec<&String> = rig.recorded().iter().filter(|line| line.starts_with("#1: ")).collect();
    let expected: Vec<String> = (0..200).map(|number| format!("#1: {number}")).collect();
    assert!(lines.into_iter().eq(&expected));
}

#[test]
fn no_more_is_read_from_a_flood_than_turns_can_keep_up_with() {
    let mut rig = Rig::new(Record::default());
    let mut client = rig.connect(1);
    client.set_nonblocking(true).expect("it can be set");
    // Each byte is a line, and each round processes one.
    let flood = vec![b'\n'; 65_536];
    for _ in 0..500 {
        // Bytes that do not fit into the system's buffers are left out.
        let _ = client.write(&flood);
        rig.server.step(Some(Duration::ZERO)).expect("the wait works");
        let status = rig.server.status();
        let waiting = status.received_bytes - status.lines;
        assert!(waiting < 10_000, "{waiting} lines wait");
    }
    rig.until("#1: ");
}

#[test]
fn connections_on_their_way_out_are_bounded_while_others_arrive() {
    let mut rig = Rig::new(Record::default());
    // They never close their side, so each would take the full time of a good-bye.
    let mut clients = Vec::new();
    for user in 1..=300 {
        let mut client = rig.connect(user);
        client.write_all(b"leave\n").expect("it is read");
        rig.until(&format!("net_dead #{user} Disconnected"));
        assert!(rig.server.status().leaving <= 256, "{:?}", rig.server.status());
        clients.push(client);
    }
}

#[test]
fn nobody_waits_for_a_user_who_does_not_read() {
    let mut rig = Rig::new(Record::default());
    let mut client = rig.connect(1);
    client.write_all(b"flood\n").expect("it is read");
    rig.until("net_dead #1 TooSlow");
    let mut steps = 0;
    while rig.server.status().leaving > 0 {
        rig.server.step(Some(Duration::from_secs(1))).expect("the wait works");
        steps += 1;
    }
    // A good-bye to a client that stays takes five seconds, in each of which a step ends without an event.
    assert!(steps < 4, "{steps} steps");
    drop(client);
}

#[test]
fn nobody_is_let_in_while_the_server_says_good_bye() {
    let mut rig = Rig::new(Record::default());
    // It does not close its side, so the server has to wait.
    let _client = rig.connect(1);
    rig.server.poster().post(0, SHUTDOWN).expect("the server is there");
    rig.until("net_dead #1 Shutdown");
    while TcpStream::connect(rig.address).is_ok() {
        let goes_on = rig.server.step(Some(Duration::from_millis(10))).expect("the wait works");
        assert!(goes_on, "connections were accepted to the end");
    }
    assert_eq!(rig.recorded(), ["connect #1", "logon #1", "net_dead #1 Shutdown"]);
}

#[test]
fn a_heart_beats_only_where_one_is_wanted() {
    let mut rig = Rig::new(Record { beats: Some(Duration::from_millis(5)), ..Record::default() });
    rig.until("beat");
    let mut still = Rig::new(Record::default());
    still.server.step(Some(Duration::from_millis(50))).expect("the wait works");
    assert_eq!(still.recorded(), [""; 0]);
}

#[test]
fn a_world_has_one_timer_that_expires_once_each_time_it_is_set() {
    let mut rig = Rig::new(Record::default());
    let mut client = rig.connect(1);
    client.write_all(b"timer\r\n").expect("it is read");
    // Set again by the call itself.
    rig.until("timer 2");
    rig.server.step(Some(Duration::from_millis(50))).expect("the wait works");
    rig.server.step(Some(Duration::from_millis(50))).expect("the wait works");
    assert!(!rig.recorded().contains(&"timer 3".to_string()), "{:?}", rig.recorded());
    drop(client);
}

#[test]
fn a_server_that_has_ended_stays_ended() {
    let mut rig = Rig::new(Record::default());
    rig.server.poster().post(0, SHUTDOWN).expect("the server is there");
    rig.server.run().expect("the wait works");
    assert!(!rig.server.step(None).expect("no wait is needed"));
    drop(rig.server);
    assert!(TcpStream::connect(rig.address).is_err());
}
