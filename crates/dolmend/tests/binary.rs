//! A port of kind `binary`: bytes for the world, and bytes from it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use dolmend::config::Config;
use dolmend::ports;
use dolmend::server::Server;
use dolmend::world::{Admission, ConnectInfo, Departure, Turn, UserId, World};

const DEADLINE: Duration = Duration::from_secs(30);

/// Sends each byte back plus one.
#[derive(Default)]
struct Successor {
    departed: Option<Departure>,
}

impl World for Successor {
    fn connect(&mut self, _: &ConnectInfo) -> Admission {
        Admission::Accept
    }

    fn logon(&mut self, turn: &mut Turn<'_>, user: UserId) {
        turn.logged_on(user);
        turn.send_bytes(user, *b"\xff\n");
    }

    fn process_input(&mut self, _: &mut Turn<'_>, _: UserId, line: &str) {
        panic!("a line on a binary port: {line}");
    }

    fn process_bytes(&mut self, turn: &mut Turn<'_>, user: UserId, bytes: &[u8]) {
        turn.send_bytes(user, bytes.iter().map(|byte| byte.wrapping_add(1)).collect::<Vec<u8>>());
    }

    fn net_dead(&mut self, _: &mut Turn<'_>, _: UserId, why: Departure) {
        self.departed = Some(why);
    }
}

/// All byte values, also those that are telnet's, line ends, and the first ones of strangers.
#[test]
fn bytes_pass_unchanged_both_ways() {
    let config = Config::built_in().expect("the shipped file loads");
    let (opened, _) = ports::open(&["127.0.0.1:0:binary".parse().expect("a port")], false).expect("it opens");
    let address = opened[0].address;
    let mut server = Server::new(&config, opened, Successor::default()).expect("it starts");
    let client = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("it can be set");
        let all: Vec<u8> = b"\x16\x03GET / HTTP/1.1\r\n".iter().copied().chain(0..=255).collect();
        stream.write_all(&all).expect("the server reads");
        stream.shutdown(Shutdown::Write).expect("it stands");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the server closes");
        (all, answer)
    });
    let begun = Instant::now();
    while server.world().departed.is_none() {
        assert!(begun.elapsed() < DEADLINE, "the user stays");
        server.step(Some(Duration::from_secs(1))).expect("the wait works");
    }
    assert_eq!(server.world().departed, Some(Departure::PeerClosed));
    while !client.is_finished() {
        assert!(begun.elapsed() < DEADLINE, "the client stays");
        server.step(Some(Duration::from_millis(10))).expect("the wait works");
    }
    let (sent, answer) = client.join().expect("the client ends");
    let expected: Vec<u8> =
        b"\xff\n".iter().copied().chain(sent.iter().map(|byte| byte.wrapping_add(1))).collect();
    assert_eq!(answer, expected);
}
