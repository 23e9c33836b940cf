//! `examples/crew_echo`, as a program, without threads and with some.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::{DEADLINE, Example, Random, finish, watchdog};

/// Lines of random letters. The last one has no end.
fn lines(random: &mut Random, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        let length = random.below(2_000);
        bytes.extend((0..length).map(|_| b'a' + random.below(26) as u8));
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(b"the last");
    bytes
}

#[test]
fn the_crew_echo_example_reports_its_address_and_echoes_a_hundred_clients() {
    for threads in 0..3_usize {
        let _watchdog = watchdog();
        let mut echo = Example::start(&[], "crew_echo", &format!("127.0.0.1:0 {threads}"));
        let address = echo.listening().expect("it listens");
        assert!(address.ip().is_loopback() && address.port() != 0, "{address}");
        let mut random = Random::new(threads as u64);
        let mut clients: Vec<(TcpStream, Vec<u8>)> = (0..100)
            .map(|_| {
                let client = TcpStream::connect(address).expect("connect");
                client.set_read_timeout(Some(DEADLINE)).expect("timeout");
                (client, lines(&mut random, 20))
            })
            .collect();
        for (client, lines) in &mut clients {
            client.write_all(lines).expect("it fits into the system's buffers");
            finish(client);
        }
        for (mut client, lines) in clients {
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).expect("an orderly end");
            assert!(answer == lines, "not its own echo, with {threads} threads");
        }
    }
}

/// One receive brings more lines than a round may have replies by default.
#[test]
fn the_crew_echo_example_echoes_many_short_lines_that_come_at_once() {
    for threads in 0..3 {
        let _watchdog = watchdog();
        let mut echo = Example::start(&[], "crew_echo", &format!("127.0.0.1:0 {threads}"));
        let mut client = TcpStream::connect(echo.listening().expect("it listens")).expect("connect");
        client.set_read_timeout(Some(DEADLINE)).expect("timeout");
        let lines = b"a\n".repeat(20_000);
        client.write_all(&lines).expect("it fits into the system's buffers");
        finish(&client);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("an orderly end");
        assert!(answer == lines, "{} bytes with {threads} threads", answer.len());
    }
}

#[test]
fn the_crew_echo_example_resets_a_client_with_an_endless_line_and_serves_the_others() {
    for threads in [0, 2] {
        let _watchdog = watchdog();
        let mut echo = Example::start(&[], "crew_echo", &format!("127.0.0.1:0 {threads}"));
        let address = echo.listening().expect("it listens");
        let mut endless = TcpStream::connect(address).expect("connect");
        let line = [b'x'; 10_000];
        while endless.write_all(&line).is_ok() {}
        let mut last = TcpStream::connect(address).expect("connect");
        last.set_read_timeout(Some(DEADLINE)).expect("timeout");
        last.write_all(b"still there?\n").expect("write");
        last.read_exact(&mut [0; 13]).expect("read");
        let mut said = String::new();
        echo.stop();
        echo.stderr.read_to_string(&mut said).expect("text");
        assert_eq!(said, "");
    }
}

#[test]
fn the_crew_echo_example_says_how_it_is_called() {
    for arguments in ["127.0.0.1:0", "127.0.0.1:0 many"] {
        let mut echo = Example::start(&[], "crew_echo", arguments);
        let said = echo.listening().expect_err("it does not listen");
        assert!(said.starts_with("usage: crew_echo ADDR THREADS"), "{said}");
        assert_eq!(echo.wait().code(), Some(2));
    }
}
