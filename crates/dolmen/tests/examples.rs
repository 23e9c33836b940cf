//! The programs in `examples`, except `echo` and `proxy`, which have files of their own, and those at a console.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};

use common::{DEADLINE, Example, Temp, pattern, watchdog};
use socket2::{Domain, Socket, Type};

/// A client that sends and reads lines.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
        Client(BufReader::new(stream))
    }

    fn says(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).expect("write");
    }

    #[track_caller]
    fn reads(&mut self, part: &str) {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("read");
        assert!(line.contains(part), "{line:?} instead of {part:?}");
    }

    fn reads_the_end(&mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("an orderly end");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

#[test]
fn the_chat_example_has_names_and_rooms() {
    let _watchdog = watchdog();
    let mut chat = Example::start(&[], "chat", "127.0.0.1:0");
    let address = chat.listening().expect("it listens");
    let mut ann = Client::connect(address);
    ann.reads("You are in the hall.");
    let mut bob = Client::connect(address);
    bob.reads("You are in the hall.");
    ann.reads("is here");
    ann.says("/name Ann");
    bob.reads("Ann was guest");
    // A line may come in pieces.
    ann.0.get_mut().write_all(b"hel").expect("write");
    ann.says("lo");
    bob.reads("Ann says: hello");
    bob.says("/join garden");
    bob.reads("You are in the garden.");
    ann.reads("goes elsewhere");
    ann.says("is anyone here?");
    ann.says("/dance");
    ann.reads("/name NAME");
    bob.says("/join hall");
    // Nothing of what was said in the hall meanwhile.
    bob.reads("You are in the hall.");
    ann.reads("is here");
    bob.says("/quit");
    ann.reads("has left");
    bob.reads_the_end();
}

#[test]
fn the_chat_example_ends_a_silent_connection() {
    let _watchdog = watchdog();
    let mut chat = Example::start(&[], "chat", "127.0.0.1:0 1");
    let address = chat.listening().expect("it listens");
    let mut silent = Client::connect(address);
    silent.reads("Welcome");
    silent.reads("silent for too long");
    silent.reads_the_end();
}

#[test]
fn the_worker_example_replies_to_each_line_and_in_any_order() {
    let _watchdog = watchdog();
    let mut worker = Example::start(&[], "worker", "127.0.0.1:0");
    let address = worker.listening().expect("it listens");
    let mut clients = [(); 3].map(|()| Client::connect(address));
    for client in &mut clients {
        client.says("100");
        client.reads("25 primes up to 100");
        client.says("one hundred");
        client.reads("a number, please");
    }
    clients[0].says("50000");
    clients[1].says("10");
    clients[1].reads("4 primes up to 10");
    clients[0].reads("5133 primes up to 50000");
    // A client that sends its end behind its number gets its reply first.
    clients[2].says("20000");
    clients[2].0.get_ref().shutdown(std::net::Shutdown::Write).expect("shut down");
    clients[2].reads("2262 primes up to 20000");
    clients[2].reads_the_end();
}

/// Each number is a line of 80 bytes. A server that reads on takes all of them.
#[test]
fn the_worker_example_reads_no_further_from_a_client_that_does_not_read() {
    const LINES: usize = 800_000;
    let _watchdog = watchdog();
    let mut worker = Example::start(&[], "worker", "127.0.0.1:0");
    let address = worker.listening().expect("it listens");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Small, so that the replies soon wait in the server.
    socket.set_recv_buffer_size(16_384).expect("a size");
    socket.set_send_buffer_size(16_384).expect("a size");
    socket.connect(&address.into()).expect("connect");
    let mut greedy = TcpStream::from(socket);
    greedy.set_write_timeout(Some(common::SILENCE)).expect("timeout");
    let line = format!("{:>79}\n", 1);
    let lines = line.repeat(1_000);
    let mut sent = 0;
    let stopped = loop {
        match greedy.write(&lines.as_bytes()[sent % line.len()..]) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
        assert!(sent < LINES * line.len(), "it reads on, {sent} bytes by now");
    };
    assert!(
        matches!(stopped.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
        "{stopped}"
    );
    // Others are served meanwhile.
    let mut other = Client::connect(address);
    other.says("10");
    other.reads("4 primes up to 10");
    if cfg!(windows) {
        return; // There the state of a socket is unknown after such a timeout.
    }
    // What was taken is replied to once the client reads.
    greedy.set_read_timeout(Some(DEADLINE)).expect("timeout");
    let reader = BufReader::new(greedy.try_clone().expect("clone"));
    let replies =
        std::thread::spawn(move || reader.lines().map(|line| line.expect("read")).collect::<Vec<_>>());
    greedy.set_write_timeout(Some(DEADLINE)).expect("timeout");
    greedy.write_all(&line.as_bytes()[sent % line.len()..]).expect("the rest of a line");
    greedy.shutdown(std::net::Shutdown::Write).expect("shut down");
    let replies = replies.join().expect("the reader");
    assert_eq!(replies.len(), sent / line.len() + 1);
    assert!(replies.iter().all(|reply| reply == "0 primes up to 1"));
}

#[test]
fn each_example_says_how_it_is_used() {
    let _watchdog = watchdog();
    let examples: &[(&str, &[&str])] = &[
        ("chat", &["127.0.0.1:0", "soon"]),
        ("console_chat", &["nowhere"]),
        ("echo", &["nowhere"]),
        #[cfg(target_os = "linux")]
        ("in_tokio", &["nowhere"]),
        ("lookup", &["localhost", "http"]),
        ("proxy", &["127.0.0.1:0", "nowhere"]),
        ("proxy", &["127.0.0.1:0", "::1"]),
        ("proxy", &["nowhere", "127.0.0.1:4000"]),
        ("serve_file", &["nowhere", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]),
        ("serve_file", &["127.0.0.1:0", "/nowhere/at/all"]),
        ("udp_echo", &["nowhere"]),
        ("worker", &["nowhere"]),
    ];
    for &(name, wrong) in examples {
        for arguments in [&[], wrong] {
            let output = std::process::Command::new(common::example(name))
                .args(arguments)
                .stdin(std::process::Stdio::null())
                .output()
                .expect("it runs");
            let said = String::from_utf8(output.stderr).expect("text");
            assert!(matches!(output.status.code(), Some(1 | 2)), "{name} {arguments:?}: {said}");
            let usage = said.lines().last().unwrap_or_default();
            assert!(usage.starts_with(&format!("usage: {name} ")), "{name} {arguments:?}: {said}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_in_tokio_example_echoes_lines_beside_a_task_of_tokio() {
    let _watchdog = watchdog();
    let mut example = Example::start(&[], "in_tokio", "127.0.0.1:0");
    let address = example.listening().expect("it listens");
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(address)).collect();
    for n in 0..50 {
        clients.iter_mut().for_each(|client| client.says(&format!("line {n}")));
        clients.iter_mut().for_each(|client| client.reads(&format!("line {n}")));
    }
    // The task of tokio's runs as well.
    let count = |client: &mut Client| {
        client.says("count");
        let mut line = String::new();
        client.0.read_line(&mut line).expect("read");
        line.trim().strip_prefix("count ").expect("a count").parse::<u64>().expect("a number")
    };
    let before = count(&mut clients[0]);
    let end = std::time::Instant::now() + DEADLINE;
    while count(&mut clients[0]) < before + 5 {
        assert!(std::time::Instant::now() < end, "no ticks");
    }
    for mut client in clients {
        client.0.get_mut().write_all(b"last\n").expect("write");
        client.0.get_ref().shutdown(std::net::Shutdown::Write).expect("shut down");
        client.reads("last");
        client.reads_the_end();
    }
}

#[cfg(windows)]
#[test]
fn the_in_tokio_example_says_that_it_is_for_unix() {
    let mut example = Example::start(&[], "in_tokio", "127.0.0.1:0");
    let said = example.listening().expect_err("it ends");
    assert!(said.contains("for Unix"), "{said}");
    assert!(!example.wait().success());
}

#[test]
fn the_udp_echo_example_returns_each_datagram_whole() {
    let _watchdog = watchdog();
    let mut echo = Example::start(&[], "udp_echo", "127.0.0.1:0");
    let address = echo.listening().expect("it listens");
    let client = UdpSocket::bind("127.0.0.1:0").expect("bind");
    client.set_read_timeout(Some(DEADLINE)).expect("timeout");
    // A client that is gone when its answer comes.
    UdpSocket::bind("127.0.0.1:0").and_then(|gone| gone.send_to(b"bye", address)).expect("send");
    let mut answer = vec![0; 65_535];
    for size in [1, 0, 1_000, 4_000, 20_000] {
        let data = vec![size as u8; size];
        client.send_to(&data, address).expect("send");
        let (count, from) = client.recv_from(&mut answer).expect("an answer");
        assert_eq!((&answer[..count], from), (&data[..], address));
    }
}

#[test]
fn the_lookup_example_reports_each_address_name_and_port_and_ends() {
    let _watchdog = watchdog();
    let (_open, open) = common::listener();
    let (refusing, refused) = common::listener();
    drop(refusing);
    let ports = [open.port().to_string(), refused.port().to_string()];
    let run = |arguments: &[&str]| {
        let output =
            std::process::Command::new(common::example("lookup")).args(arguments).output().expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, said, errors) = run(&["localhost", &ports[0], &ports[1]]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{said}");
    let count = |part: &str| said.lines().filter(|line| line.contains(part)).count();
    assert!(
        count("address 127.0.0.1") == 1 && count("address ") == count(" is ") + count(" has no name"),
        "{said}"
    );
    assert_eq!(count(&format!("port {}: open at 127.0.0.1:{}", ports[0], ports[0])), 1, "{said}");
    // Windows tries a peer that refuses again, for about as long as the example waits.
    let refused = count(&format!("port {}: refused", ports[1]));
    let timed_out = count(&format!("port {}: timed out", ports[1]));
    assert!(refused == 1 || (cfg!(windows) && timed_out == 1), "{said}");
    // An address in text; and what is no name.
    let (code, said, _) = run(&["127.0.0.1", &ports[0]]);
    assert!(code == Some(0) && said.contains("address 127.0.0.1") && said.contains("open at"), "{said}");
    // No port is open.
    let (code, said, _) = run(&["127.0.0.1", &ports[1]]);
    assert!(code == Some(1) && said.contains("address 127.0.0.1"), "{said}");
    let (code, said, errors) = run(&[" "]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(errors.contains("not a valid host name"), "{errors}");
    assert_eq!(run(&["localhost", "65536"]).0, Some(2));
}

#[test]
fn the_serve_file_example_sends_the_file_to_each_reader_and_then_the_end() {
    let _watchdog = watchdog();
    let bytes = pattern(2_000_000);
    let (temp, _file) = Temp::with(&bytes);
    let mut example = Example::start(&[], "serve_file", &format!("127.0.0.1:0 {}", temp.0.display()));
    let address = example.listening().expect("it listens");
    // One reads nothing, one leaves in the middle, and the others get all of it.
    let silent = Client::connect(address);
    let mut early = Client::connect(address);
    early.0.read_exact(&mut [0; 100_000]).expect("read");
    drop(early);
    for _ in 0..3 {
        let mut got = Vec::new();
        Client::connect(address).0.read_to_end(&mut got).expect("an orderly end");
        assert!(got == bytes, "{} bytes of {}", got.len(), bytes.len());
    }
    drop(silent);
}
