//! Connections that are no players, from addresses of their own on loopback.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::front_end::FrontEnd;

/// Where the many come from, and the one.
const CROWDED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const ANOTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn connect(server: &FrontEnd, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&server.address.into())?;
    Ok(socket.into())
}

/// How long it takes from the connect to the first text.
pub fn newcomer(server: &FrontEnd) -> io::Result<Duration> {
    let begun = Instant::now();
    let mut stream = connect(server, ANOTHER)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains("name") {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer)? {
            0 => return Err(io::Error::other("the newcomer was refused")),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(begun.elapsed())
}

/// Connections that send nothing; those that were refused are left out.
pub fn stay_silent(server: &FrontEnd, count: usize) -> io::Result<Vec<TcpStream>> {
    let mut open = Vec::new();
    for _ in 0..count {
        let mut stream = connect(server, CROWDED)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        // Who stays gets the greeting, and who is refused the reason and an end.
        let mut buffer = [0; 4096];
        let mut all = Vec::new();
        let stays = loop {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break false,
                Ok(count) => all.extend_from_slice(&buffer[..count]),
            }
            if String::from_utf8_lossy(&all).contains("name shall") {
                break true;
            }
        };
        open.extend(stays.then_some(stream));
    }
    Ok(open)
}

/// Connects and closes at once, half of the time with a reset.
pub fn come_and_go(server: &FrontEnd, count: usize) -> io::Result<()> {
    for number in 0..count {
        let stream = connect(server, CROWDED)?;
        // Most of them reset: sockets in TIME_WAIT would use up the ports.
        if number % 16 != 0 {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
    }
    Ok(())
}
