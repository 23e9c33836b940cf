//! The platform of the library: a system's calls, and which of the two contracts a socket has there.
//!
//! The contracts are types, so that a simulated machine can have either; this module chooses the one of the system.

mod listener;

#[cfg(unix)]
use std::os::fd::FromRawFd;

use dolmen::raw::ReactorApi;

use crate::accepting::Accepted;
use crate::boundary::Failure;
use crate::console::Stdin;
use crate::sockets::Socket;
use crate::types::{console_type_t, socket_fd_t};

pub(crate) trait Platform: Sized {
    type Reactor: ReactorApi;
    /// The contract of sockets.
    type Socket: Socket<Self>;
    type Stdin: Stdin<Self>;

    /// Which open file a descriptor stands for. Called only where sockets are polled.
    fn file(&self, fd: socket_fd_t) -> std::io::Result<File>;

    /// Begins to connect a socket, which becomes non-blocking. Called only where sockets are polled.
    fn begin_connect(&self, fd: socket_fd_t, address: &[u8]) -> std::io::Result<()>;

    /// Whether a socket has connected to itself. Called only where sockets are polled.
    fn is_connected_to_itself(&self, fd: socket_fd_t) -> bool;

    /// Whether bytes wait, also those of a peer that has reset the connection; the error stays for the caller. Called only
    /// where sockets are polled.
    fn has_bytes(&self, fd: socket_fd_t) -> bool;

    fn is_listening(&self, fd: socket_fd_t) -> bool;

    fn set_nonblocking(&self, fd: socket_fd_t) -> std::io::Result<()>;

    /// Accepts a connection from a non-blocking listener.
    fn accept(&self, fd: socket_fd_t) -> std::io::Result<Accepted>;

    /// The kind of standard input for a caller that reads it by itself. It is neither read nor watched.
    fn stdin_kind(&self) -> console_type_t;

    /// Standard input. With `buffered` the library reads it, and otherwise the caller.
    fn open_stdin(&mut self, reactor: &mut Self::Reactor, buffered: bool) -> Result<Self::Stdin, Failure>;
}

/// Identifies an open file: device and inode. The system reuses a socket's inode only after some billions of sockets; a
/// device that is opened again is the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct File(pub(crate) u64, pub(crate) u64);

/// The system itself.
pub(crate) struct Native;

impl Platform for Native {
    type Reactor = dolmen::Reactor;
    #[cfg(unix)]
    type Socket = crate::sockets::readiness::Socket;
    #[cfg(windows)]
    type Socket = crate::sockets::completion::Socket;
    type Stdin = crate::console::NativeStdin;

    #[cfg(unix)]
    fn file(&self, fd: socket_fd_t) -> std::io::Result<File> {
        // SAFETY: all-zero bytes are a valid `stat`.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `stat` is writable.
        match unsafe { libc::fstat(fd, &mut stat) } {
            // The widths of the two differ between systems.
            #[allow(clippy::unnecessary_cast)]
            0 => Ok(File(stat.st_dev as u64, stat.st_ino as u64)),
            _ => Err(std::io::Error::last_os_error()),
        }
    }

    #[cfg(unix)]
    fn begin_connect(&self, fd: socket_fd_t, address: &[u8]) -> std::io::Result<()> {
        let (mut kind, mut size) = (0, size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: `kind` has room for `size` bytes.
        let found = unsafe {
            libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, (&raw mut kind).cast(), &mut size)
        };
        if found < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // For any other socket a connect means something else, and is over at once.
        if kind != libc::SOCK_STREAM {
            return Err(std::io::Error::from_raw_os_error(libc::EPROTOTYPE));
        }
        // For a system's connect, an address without a family means: end the connection.
        if address[..2] == (libc::AF_UNSPEC as libc::sa_family_t).to_ne_bytes() {
            return Err(std::io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
        }
        // SAFETY: these commands take and return a number; an invalid descriptor is refused.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        // SAFETY: as above.
        if flags < 0 || unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
        let len = address.len() as libc::socklen_t;
        // SAFETY: that many bytes are readable, and the call reads no more.
        match unsafe { libc::connect(fd, address.as_ptr().cast(), len) } {
            0 => Ok(()),
            _ => match std::io::Error::last_os_error() {
                // Interrupted: it goes on all the same.
                error if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => Ok(()),
                error => {
                    // SAFETY: as above. The socket is as it was.
                    unsafe { libc::fcntl(fd, libc::F_SETFL, flags) };
                    Err(error)
                }
            },
        }
    }

    #[cfg(unix)]
    fn is_connected_to_itself(&self, fd: socket_fd_t) -> bool {
        // SAFETY: the header asks the caller to remove a socket before closing it; it is never dropped, and so not
        // closed. The two calls work with any kind of socket, and fail for all but those of IP.
        let socket = std::mem::ManuallyDrop::new(unsafe { std::net::TcpStream::from_raw_fd(fd) });
        matches!((socket.local_addr(), socket.peer_addr()), (Ok(own), Ok(peer)) if own == peer)
    }

    #[cfg(unix)]
    fn has_bytes(&self, fd: socket_fd_t) -> bool {
        let mut bytes = 0;
        // SAFETY: the request writes one int. A descriptor that is not a socket's makes it fail.
        let result = unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut bytes) };
        result == 0 && bytes > 0_i32
    }

    #[cfg(windows)]
    fn is_connected_to_itself(&self, _fd: socket_fd_t) -> bool {
        // The reactor finds out.
        false
    }

    #[cfg(windows)]
    fn has_bytes(&self, _fd: socket_fd_t) -> bool {
        false
    }

    #[cfg(windows)]
    fn begin_connect(&self, _fd: socket_fd_t, _address: &[u8]) -> std::io::Result<()> {
        // The reactor connects.
        Err(std::io::ErrorKind::Unsupported.into())
    }

    #[cfg(windows)]
    fn file(&self, _fd: socket_fd_t) -> std::io::Result<File> {
        // The system does not provide this. It refuses to register a socket twice instead.
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn is_listening(&self, fd: socket_fd_t) -> bool {
        listener::is_listening(fd)
    }

    fn set_nonblocking(&self, fd: socket_fd_t) -> std::io::Result<()> {
        listener::set_nonblocking(fd)
    }

    fn accept(&self, fd: socket_fd_t) -> std::io::Result<Accepted> {
        listener::accept(fd)
    }

    fn stdin_kind(&self) -> console_type_t {
        Self::Stdin::find_kind()
    }

    fn open_stdin(&mut self, reactor: &mut dolmen::Reactor, buffered: bool) -> Result<Self::Stdin, Failure> {
        Self::Stdin::open(reactor, buffered)
    }
}
