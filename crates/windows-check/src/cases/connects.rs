//! Outgoing connections.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use dolmen::{CloseReason, Event, Events, Reactor, Target, Token};
use socket2::{Domain, Socket, Type};
use windows_sys::Win32::Networking::WinSock::WSAECONNREFUSED;

use crate::case::{Check, Outcome, Result, fail};
use crate::sys;

const DEADLINE: Duration = Duration::from_secs(30);

/// A socket that is bound, although Windows chooses its port only when it connects. Wine knows no such sockets, and
/// chooses it immediately.
fn bound_without_port() -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // Without the option, the socket has a port before, which is right as well.
    let _is_late = sys::choose_port_late(&socket);
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    Ok(socket.into())
}

/// The answers of ConnectEx, each once, and the sockets that it leaves behind: complete ones after a success, none after
/// a failure.
pub fn connects(check: &Check) -> Result {
    // Windows tries a closed port for two seconds.
    let rounds = if check.quick { 5 } else { 20 };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let open = listener.local_addr()?;
    let closed = {
        let gone = TcpListener::bind("127.0.0.1:0")?;
        gone.local_addr()?
    };
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(16);
    for round in 0..rounds {
        let prepared = Target::from(open).socket(bound_without_port()?);
        let whole = reactor.connect(open, Token(0))?;
        let bound = reactor.connect(prepared, Token(1))?;
        let refused = reactor.connect(closed, Token(2))?;
        let cancelled = reactor.connect(open, Token(3))?;
        if round % 2 == 0 {
            // ConnectEx has begun.
            reactor.flush();
        }
        reactor.remove(cancelled);
        let (mut connected, mut failed) = (Vec::new(), None);
        while connected.len() < 2 || failed.is_none() {
            if reactor.wait(&mut events, Some(DEADLINE))? == 0 {
                fail!("round {round}: connected {connected:?}, failed {failed:?}, and then nothing");
            }
            for event in &mut events {
                match event {
                    Event::Connected { conn, local, .. } if conn == whole || conn == bound => {
                        connected.push(local.to_string());
                        // Only a socket with its context up to date can be shut down.
                        reactor.shutdown_write(conn)?;
                    }
                    Event::Closed { conn, reason: CloseReason::Failed { code }, .. }
                        if conn == refused && failed.is_none() =>
                    {
                        failed = Some(code);
                    }
                    other => fail!("{other:?} in round {round}"),
                }
            }
        }
        if failed != Some(WSAECONNREFUSED) {
            fail!("round {round}: a closed port ended the connect with {failed:?}");
        }
        reactor.flush();
        listener.set_nonblocking(true)?;
        let end = Instant::now() + DEADLINE;
        while !connected.is_empty() {
            // A cancelled one may have ended before it is accepted. It has no address then, which is an error to std.
            let Ok((mut peer, from)) = listener.accept() else {
                if Instant::now() > end {
                    fail!("round {round}: {connected:?} cannot be accepted");
                }
                thread::yield_now();
                continue;
            };
            peer.set_nonblocking(false)?;
            let from = from.to_string();
            if connected.contains(&from) {
                peer.set_read_timeout(Some(DEADLINE))?;
                if peer.read(&mut [0])? != 0 {
                    fail!("round {round}: bytes that nobody has sent");
                }
                connected.retain(|local| *local != from);
            }
        }
        for conn in [whole, bound] {
            reactor.remove(conn);
        }
    }
    while reactor.stats().operations_in_flight > 0 {
        if reactor.wait(&mut events, Some(DEADLINE))? > 0 {
            fail!("an event after the last removal");
        }
    }
    if reactor.stats().connections > 0 {
        fail!("something is left: {:?}", reactor.stats());
    }
    Ok(Outcome::Pass(format!("{rounds} rounds: connected, bound without a port, refused, cancelled")))
}
