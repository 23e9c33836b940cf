//! Listening sockets that the process was started with, from a service manager (socket activation).
//!
//! `LISTEN_PID` says for which process they are meant, and `LISTEN_FDS` how many there are, from descriptor 3 on.
//! `LISTEN_FDNAMES` has their names. sd_listen_fds(3).
//!
//! It is here because numbers become owned sockets, which needs `unsafe`. The crates for it return numbers.

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketType, sockopt};

/// The first descriptor.
const FIRST: RawFd = 3;
/// More are an error of the configuration.
const MOST: RawFd = 1024;

/// Takes the sockets, each with its name. A second call returns none.
///
/// # Errors
///
/// `InvalidInput`: one is not a listening TCP socket, or there are too many. None is taken then.
pub fn inherited_listeners() -> io::Result<Vec<(TcpListener, String)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<RawFd>().ok());
    let is_ours = number("LISTEN_PID").is_some_and(|id| id.unsigned_abs() == std::process::id());
    let count = number("LISTEN_FDS").filter(|_| is_ours).unwrap_or(0);
    if count <= 0 || TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    if count > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{count} sockets are too many")));
    }
    let descriptors = FIRST..FIRST + count;
    for descriptor in descriptors.clone() {
        // SAFETY: the service manager opened it, and says so by `LISTEN_PID`, which names this process; the process
        // has had no reason to close it. Were it closed all the same, the calls below would fail.
        let descriptor_ref = unsafe { BorrowedFd::borrow_raw(descriptor) };
        check(descriptor_ref).map_err(|reason| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("descriptor {descriptor} {reason}"))
        })?;
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let taken = descriptors.map(|descriptor| {
        // SAFETY: as above, and this is done once in a process: no other part of it owns the descriptor.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        (TcpListener::from(socket), names.next().unwrap_or_default().to_owned())
    });
    Ok(taken.collect())
}

/// Whether it is a listening TCP socket, which no child will inherit.
fn check(socket: BorrowedFd<'_>) -> Result<(), &'static str> {
    let socket = socket.as_fd();
    let is_tcp = sockopt::socket_type(socket) == Ok(SocketType::STREAM)
        && sockopt::socket_domain(socket)
            .is_ok_and(|domain| [AddressFamily::INET, AddressFamily::INET6].contains(&domain));
    if !is_tcp {
        return Err("is not a TCP socket");
    }
    if sockopt::socket_acceptconn(socket) != Ok(true) {
        return Err("does not listen");
    }
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC).map_err(|_| "cannot be kept from children")
}
