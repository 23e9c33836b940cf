//! `examples/echo`, as a program.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::{DEADLINE, Example, Random, finish, watchdog};

#[test]
fn the_echo_example_reports_its_address_and_echoes_a_hundred_clients() {
    let _watchdog = watchdog();
    let mut echo = Example::start(&[], "echo", "127.0.0.1:0");
    let address = echo.listening().expect("it listens");
    assert!(address.ip().is_loopback() && address.port() != 0, "{address}");

    let mut random = Random::new(100);
    let mut clients: Vec<TcpStream> = (0..100)
        .map(|_| {
            let client = TcpStream::connect(address).expect("connect");
            client.set_read_timeout(Some(DEADLINE)).expect("timeout");
            client
        })
        .collect();
    for _ in 0..5 {
        let lines: Vec<Vec<u8>> =
            clients.iter().map(|_| random.bytes(1 + random.clone().below(10_000))).collect();
        for (client, line) in clients.iter_mut().zip(&lines) {
            client.write_all(line).expect("write");
        }
        for (client, line) in clients.iter_mut().zip(&lines) {
            let mut answer = vec![0; line.len()];
            client.read_exact(&mut answer).expect("read");
            assert!(answer == *line, "not its own echo");
        }
    }
    // The last bytes are echoed as well, and then the end.
    for client in &mut clients {
        client.write_all(b"quit\n").expect("write");
        finish(client);
    }
    for client in &mut clients {
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).expect("an orderly end");
        assert_eq!(rest, b"quit\n");
    }
}

#[test]
fn the_echo_example_is_patient_with_a_client_that_reads_slowly() {
    let _watchdog = watchdog();
    let mut echo = Example::start(&[], "echo", "127.0.0.1:0");
    let address = echo.listening().expect("it listens");
    let mut client = TcpStream::connect(address).expect("connect");
    client.set_read_timeout(Some(DEADLINE)).expect("timeout");
    let bytes = Random::new(1).bytes(if cfg!(windows) { 2_000_000 } else { 8_000_000 });
    let writer = {
        let (mut client, bytes) = (client.try_clone().expect("a copy"), bytes.clone());
        std::thread::spawn(move || client.write_all(&bytes).expect("write"))
    };
    // More than its queue and all buffers in between hold, so that the writer blocks until the client reads.
    let mut answer = vec![0; bytes.len()];
    for part in answer.chunks_mut(50_000) {
        client.read_exact(part).expect("read");
        std::thread::yield_now();
    }
    assert!(answer == bytes);
    writer.join().expect("the writer");
}

/// A client that is gone is reported by its `Closed` event, not by each send.
#[test]
fn the_echo_example_prints_nothing_about_clients_that_are_gone() {
    let _watchdog = watchdog();
    let mut echo = Example::start(&[], "echo", "127.0.0.1:0");
    let address = echo.listening().expect("it listens");
    for _ in 0..5 {
        let mut client = TcpStream::connect(address).expect("connect");
        // It leaves with unread echoes, which resets the connection, as soon as the first one arrives.
        client.write_all(&vec![b'x'; 100_000]).expect("write");
        client.read_exact(&mut [0]).expect("read");
    }
    let mut last = TcpStream::connect(address).expect("connect");
    last.set_read_timeout(Some(DEADLINE)).expect("timeout");
    last.write_all(b"still there?").expect("write");
    last.read_exact(&mut [0; 12]).expect("read");
    let mut said = String::new();
    echo.stop();
    echo.stderr.read_to_string(&mut said).expect("text");
    assert_eq!(said, "");
}
