//! `examples/proxy`, as a program: volume, back-pressure, half-close, refusals.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use common::{DEADLINE, Example, Random, listener, watchdog};

const WINE: bool = cfg!(windows);

fn proxy(upstream: SocketAddr) -> (Example, SocketAddr) {
    let mut proxy = Example::start(&[], "proxy", &format!("127.0.0.1:0 {upstream}"));
    let address = proxy.listening().expect("it listens");
    (proxy, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// What a memory file of the system says about a process, in bytes.
#[cfg(target_os = "linux")]
fn peak_bytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Reads to the end, in pieces with pauses, and returns the sum of the bytes and their number.
fn read_slowly(mut stream: &TcpStream) -> (u64, usize) {
    let mut buffer = vec![0; 100_000];
    let (mut sum, mut count) = (0_u64, 0);
    loop {
        match stream.read(&mut buffer).expect("read") {
            0 => return (sum, count),
            read => {
                // The position counts as well, so that bytes that have changed places change the sum.
                let pairs = buffer[..read].iter().zip(count + 1..);
                sum = pairs.fold(sum, |sum, (&byte, at)| sum.wrapping_add(u64::from(byte) * at as u64));
                count += read;
                // Slower than the sender: this is the load, and nothing waits for it.
                thread::sleep(Duration::from_micros(300));
            }
        }
    }
}

fn sum_of(data: &[u8]) -> u64 {
    data.iter().zip(1..).fold(0_u64, |sum, (&byte, at)| sum.wrapping_add(u64::from(byte) * at))
}

/// The upstream may be a name, and an address in brackets.
#[test]
fn the_upstream_may_be_a_name() {
    let _watchdog = watchdog();
    let (server, upstream) = listener();
    let mut proxy = Example::start(&[], "proxy", &format!("localhost:0 localhost:{}", upstream.port()));
    let mut client = connect(proxy.listening().expect("it listens"));
    client.write_all(b"hello").expect("write");
    let (mut stream, _) = server.accept().expect("accept");
    let mut got = [0; 5];
    stream.read_exact(&mut got).expect("read");
    assert_eq!(&got, b"hello");
    if let Ok(server) = TcpListener::bind("[::1]:0") {
        let upstream = server.local_addr().expect("an address");
        let (_proxy, address) = self::proxy(upstream);
        let mut client = connect(address);
        server.accept().expect("accept").0.write_all(b"hello").expect("write");
        client.read_exact(&mut got).expect("read");
    }
}

/// Both sides send before they read, and close their sending sides when they have sent.
#[test]
fn much_goes_both_ways_through_slow_readers_in_little_memory() {
    let _watchdog = watchdog();
    let bytes: usize = if WINE { 2 << 20 } else { 20 << 20 };
    let (server, upstream) = listener();
    #[cfg_attr(windows, expect(unused_variables))]
    let (process, address) = proxy(upstream);
    let sides = |seed: u64, stream: TcpStream| {
        thread::spawn(move || {
            let data = Random::new(seed).bytes(bytes);
            let sum = sum_of(&data);
            let writer = stream.try_clone().expect("clone");
            let sender = thread::spawn(move || {
                (&writer).write_all(&data).expect("write");
                writer.shutdown(Shutdown::Write).expect("shut down");
            });
            let read = read_slowly(&stream);
            sender.join().expect("sent");
            (sum, read)
        })
    };
    let pairs = if WINE { 1 } else { 3 };
    let threads: Vec<_> = (0..pairs)
        .map(|pair| {
            let client = connect(address);
            let (accepted, _) = server.accept().expect("accept");
            accepted.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            (sides(2 * pair, client), sides(2 * pair + 1, accepted))
        })
        .collect();
    for (client, accepted) in threads {
        let (client, accepted) = (client.join().expect("a side"), accepted.join().expect("a side"));
        assert_eq!(client.1, (accepted.0, bytes));
        assert_eq!(accepted.1, (client.0, bytes));
    }
    #[cfg(target_os = "linux")]
    {
        let peak = peak_bytes(process.id());
        println!("the proxy took {} KiB at most", peak / 1024);
        // 2 x 3 queues of 256 KiB with as much again in the buffers that they grow from, and the program itself.
        assert!(peak < 16 << 20, "{peak} bytes");
    }
}

#[test]
fn a_thousand_connections_pass_in_parallel() {
    let _watchdog = watchdog();
    let count: usize = if WINE { 100 } else { 1_000 };
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    socket.listen(4_096).expect("listen");
    let server: TcpListener = socket.into();
    let (_process, address) = proxy(server.local_addr().expect("an address"));
    let echo = thread::spawn(move || {
        let streams: Vec<TcpStream> = (0..count).map(|_| server.accept().expect("accept").0).collect();
        for mut stream in streams {
            let mut line = [0; 8];
            stream.read_exact(&mut line).expect("a line");
            stream.write_all(&line).expect("its echo");
        }
    });
    let mut clients: Vec<TcpStream> = (0..count).map(|_| connect(address)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("{number:7}\n").as_bytes()).expect("write");
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let mut line = [0; 8];
        client.read_exact(&mut line).expect("an echo");
        assert_eq!(String::from_utf8_lossy(&line), format!("{number:7}\n"));
        client.shutdown(Shutdown::Write).expect("shut down");
        assert_eq!(client.read(&mut line).expect("the end"), 0);
    }
    echo.join().expect("all echoes");
}

#[test]
fn an_upstream_that_refuses_ends_the_client_at_once() {
    let _watchdog = watchdog();
    let (server, upstream) = listener();
    drop(server);
    let (_process, address) = proxy(upstream);
    for _ in 0..3 {
        let mut client = connect(address);
        // With a reset, or with an end if that is faster.
        match client.read(&mut [0; 16]) {
            Ok(0) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn one_direction_ends_while_the_other_continues() {
    let _watchdog = watchdog();
    let (server, upstream) = listener();
    let (_process, address) = proxy(upstream);
    let mut client = connect(address);
    let (mut accepted, _) = server.accept().expect("accept");
    client.write_all(b"a question").expect("write");
    client.shutdown(Shutdown::Write).expect("shut down");
    let mut question = Vec::new();
    accepted.read_to_end(&mut question).expect("the question, and the end");
    assert_eq!(question, b"a question");
    accepted.write_all(b"a late answer").expect("write");
    drop(accepted);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("the answer, and the end");
    assert_eq!(answer, b"a late answer");
}

#[test]
fn a_side_that_resets_resets_the_other() {
    let _watchdog = watchdog();
    let (server, upstream) = listener();
    let (_process, address) = proxy(upstream);
    let mut client = connect(address);
    let (accepted, _) = server.accept().expect("accept");
    client.write_all(b"hello").expect("write");
    common::reset(accepted);
    let end = client.read(&mut [0; 16]);
    assert!(end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
}
