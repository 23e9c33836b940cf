//! The server with a world in which hardly anything happens, in this thread.

use std::collections::HashSet;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{LogKind, Server};
use crate::config::{Config, Networks, Rate};
use crate::keepalive;
use crate::limits::Limits;
use crate::ports;
use crate::world::{Admission, ConnectInfo, Departure, Turn, UserId, World};

/// A user is logged on with the first line.
#[derive(Default)]
struct Quiet {
    /// Who had a turn, in order.
    turns: Vec<UserId>,
    /// What a turn takes.
    work: Duration,
}

impl World for Quiet {
    fn connect(&mut self, _: &ConnectInfo) -> Admission {
        Admission::Accept
    }

    fn has_login(&self) -> bool {
        true
    }

    fn logon(&mut self, _: &mut Turn<'_>, _: UserId) {}

    fn process_input(&mut self, turn: &mut Turn<'_>, user: UserId, _: &str) {
        turn.logged_on(user);
        self.turns.push(user);
        std::thread::sleep(self.work);
    }

    fn net_dead(&mut self, _: &mut Turn<'_>, _: UserId, _: Departure) {}
}

struct Fixture {
    server: Server<Quiet>,
    address: SocketAddr,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Fixture {
        let port = "127.0.0.1:0:ascii".parse().expect("a port");
        let (opened, _) = ports::open(&[port], false).expect("it opens");
        let (mut config, address) = (Config::built_in().expect("it is good"), opened[0].address);
        change(&mut config);
        Fixture { server: Server::new(&config, opened, Quiet::default()).expect("it starts"), address }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).expect("it listens")
    }

    fn step_until(&mut self, mut done: impl FnMut(&Server<Quiet>) -> bool) {
        let begun = Instant::now();
        while !done(&self.server) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", self.server.status());
            self.server.step(Some(Duration::from_millis(100))).expect("the wait works");
        }
    }

    fn players(&self) -> String {
        let text = self.server.server_status().to_text();
        text.lines().find_map(|line| line.strip_prefix("PLAYERS\t")).unwrap_or_default().to_owned()
    }
}

#[test]
fn the_number_of_lines_about_limits_that_were_left_out_is_kept_until_a_line_reports_it() {
    let mut server = Fixture::new().server;
    let may_log = |server: &mut Server<Quiet>, number: u32| {
        server.may_log(LogKind::TooOften, std::net::Ipv4Addr::from_bits(number).into())
    };
    let logged = (0..1000).filter(|&number| may_log(&mut server, number).is_some()).count() as u64;
    assert!(logged < 1000, "the number of different lines is bounded");
    server.now += Duration::from_secs(3600);
    assert_eq!(server.repeats.unreported(), 1000 - logged);
    assert_eq!(may_log(&mut server, 1), Some(0));
    assert_eq!(server.repeats.unreported(), 0, "it has been reported");
}

#[test]
fn the_number_of_lines_left_out_is_reported_even_if_no_other_line_comes() {
    let mut server = Fixture::new().server;
    let address = std::net::Ipv4Addr::LOCALHOST.into();
    for why in ["no PROXY header", "no PROXY header in time"] {
        // One fault does not hide another.
        assert_eq!(server.may_log(LogKind::BadHeader(why), address), Some(0));
    }
    assert!(!server.limit_timer.reports);
    assert_eq!(server.may_log(LogKind::BadHeader("no PROXY header"), address), None);
    assert!(server.limit_timer.reports && server.repeats.unreported() == 1);
    server.report_left_out();
    assert_eq!((server.limit_timer.reports, server.repeats.unreported()), (false, 0));
}

#[test]
fn who_has_waited_under_an_old_rate_gets_turns_under_the_new_one() {
    let mut fixture = Fixture::new();
    let limits = |rate| Limits { command_rate: rate, ..Limits::default() };
    fixture.server.set_limits(limits(Rate::new(1, 100)));
    let mut client = fixture.connect();
    client.write_all(&b"x\r\n".repeat(130)).expect("it is read");
    fixture.step_until(|server| server.status().lines >= 100);
    fixture.server.set_limits(limits(Rate::new(20, 20)));
    fixture.step_until(|server| server.status().lines == 130);
}

/// [D6] Their next lines are there before those who wait are looked at: a user who has had a turn must not have the next one.
#[test]
fn users_of_one_address_take_turns_though_a_turn_takes_longer_than_the_budget_needs_for_a_command() {
    const USERS: usize = 8;
    // The burst of an address, and two turns for each user.
    const BURST: usize = 100;
    const TURNS: usize = BURST + 2 * USERS;
    let mut fixture = Fixture::with(|config| config.limits.no_limits = Networks::default());
    let mut clients: Vec<TcpStream> = (0..USERS).map(|_| fixture.connect()).collect();
    for client in &mut clients {
        client.write_all(&b"x\r\n".repeat(20)).expect("it is read");
    }
    fixture.step_until(|server| server.world().turns.len() >= BURST);
    fixture.server.world.work = Duration::from_millis(25);
    fixture.step_until(|server| server.world().turns.len() >= TURNS);
    let turns = &fixture.server.world().turns[BURST..TURNS];
    let who: HashSet<UserId> = turns.iter().copied().collect();
    assert_eq!(who.len(), USERS, "{turns:?}");
}

#[test]
fn a_list_of_games_gets_the_number_of_those_who_are_logged_on() {
    let mut fixture = Fixture::new();
    let mut client = fixture.connect();
    let _crawler = fixture.connect();
    fixture.step_until(|server| server.status().users == 2);
    assert_eq!(fixture.players(), "0");
    client.write_all(b"Ann\r\n").expect("it is read");
    fixture.step_until(|server| server.status().lines == 1);
    assert_eq!(fixture.players(), "1");
}

#[test]
fn a_reload_gives_those_present_the_keepalive_that_a_newcomer_gets() {
    let seconds = Duration::from_secs;
    let limits = |after: Option<u64>| Limits {
        keepalive: after.map(seconds),
        trusted_proxies: vec!["127.0.0.2/32".parse().expect("a network")].into(),
        ..Limits::default()
    };
    for threads in [0, 1] {
        let mut fixture = Fixture::with(|config| config.io_threads = threads);
        fixture.server.set_limits(limits(None));
        let early = fixture.connect();
        // A proxy that has not named its player yet.
        let proxy =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        proxy.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).expect("an address of this machine");
        proxy.connect(&fixture.address.into()).expect("it listens");
        let proxy = TcpStream::from(proxy);
        fixture.step_until(|server| (server.users.len(), server.unnamed.len()) == (1, 1));
        let peers = [&early, &proxy].map(|client| client.local_addr().expect("it is connected"));
        for after in [Some(60), None, Some(600)] {
            fixture.server.set_limits(limits(after));
            fixture.step_until(|_| {
                peers.iter().all(|&peer| keepalive::tests::last_set(peer) == Some(after.map(seconds)))
            });
        }
    }
}
