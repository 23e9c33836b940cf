//! Connecting: a socket is registered once the system has begun to connect it, because before that epoll reports a
//! hang-up [hc59]. Its first edge is the end of the attempt, and the socket knows how it has ended.
//!
//! The system cannot be asked to connect without blocking except through the mode of the socket. So a dial's socket is
//! non-blocking, and blocks again from the moment it is a stream, as one that was added.
//!
//! Manual pages: connect(2), socket(7) (`SO_ERROR`), unix(7).

use std::io;
use std::mem::ManuallyDrop;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_error, socket_type};
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, getpeername, getsockname,
    socket_with,
};

use super::super::operation::OpPtr;
use super::super::{Fault, FaultKind, Kernel as _, Outcome, Packet, Submission};
use super::descriptor::above_standard;
use super::fault::fault;
use super::socket::is_tcp;
use super::table::{Entry, Source};
use super::{Epoll, STREAM_FLAGS};
use crate::address::Address;

impl Epoll {
    pub(super) fn open_dial(
        &mut self,
        address: &Address,
        prepared: Option<TcpStream>,
    ) -> Result<Source, Fault> {
        let fd = match prepared {
            Some(socket) => self.check_prepared(socket, address)?,
            None => self.make_socket(address)?,
        };
        let index = self.table.reserve();
        let source = self.table.fill(index, Entry::Dial { fd, connect: None, registered: false });
        // It is not: a stream that has just been added is.
        self.table.slot(index).edges.writable = false;
        Ok(source)
    }

    fn make_socket(&mut self, address: &Address) -> Result<TcpStream, Fault> {
        self.calls += 1;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(family_of(address), SocketType::STREAM, flags, None).and_then(above_standard);
        Ok(TcpStream::from(fd.map_err(fault)?))
    }

    /// Refuses a socket that cannot be connected: here, and not by a failure of the connection [p16].
    fn check_prepared(&mut self, socket: TcpStream, address: &Address) -> Result<TcpStream, Fault> {
        let invalid = |errno: Errno| Fault { kind: FaultKind::Invalid, code: errno.raw_os_error() };
        self.calls += 6;
        if socket_type(&socket).map_err(fault)? != SocketType::STREAM {
            return Err(invalid(Errno::PROTOTYPE));
        }
        if socket_acceptconn(&socket).map_err(fault)? {
            return Err(invalid(Errno::INVAL));
        }
        if getpeername(&socket).is_ok() {
            return Err(invalid(Errno::ISCONN));
        }
        if socket_domain(&socket).map_err(fault)? != family_of(address) {
            let code = Errno::AFNOSUPPORT.raw_os_error();
            return Err(Fault { kind: FaultKind::WrongFamily, code });
        }
        // connect(2) would return immediately, and the socket would have no peer before its first send.
        if has_fast_open(&socket) {
            return Err(Fault { kind: FaultKind::FastOpen, code: Errno::INVAL.raw_os_error() });
        }
        rustix::io::ioctl_fionbio(&socket, true).map_err(fault)?;
        Ok(socket)
    }

    /// # Safety
    ///
    /// As for every submission.
    pub(super) unsafe fn begin_connect(
        &mut self,
        source: &Source,
        op: OpPtr<Self>,
        address: &Address,
    ) -> Submission<Self> {
        if let Err(fault) = self.after_fork() {
            return Submission::Failed(fault);
        }
        let Entry::Dial { fd, .. } = self.table.entry(source) else {
            unreachable!("a connect is for a dial")
        };
        self.calls += 1;
        let begun = match address {
            Address::Ip(address) => rustix::net::connect(fd, address),
            Address::Unix(address) => unix_to_rustix(address).and_then(|to| rustix::net::connect(fd, &to)),
        };
        match begun {
            // Interrupted: it goes on all the same. Or another process has begun it, or ended it: one that has forked, and
            // shares the socket.
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR | Errno::ALREADY | Errno::ISCONN) => {}
            // A Unix socket's backlog is full. Its edge would not be reported.
            Err(Errno::AGAIN) => {
                return Submission::Failed(Fault { kind: FaultKind::Exhausted, ..fault(Errno::AGAIN) });
            }
            Err(errno) => return Submission::Failed(connect_fault(errno)),
        }
        let data = self.table.event_data(source.0);
        let fd = self.table.entry(source).fd();
        self.calls += 1;
        if let Err(errno) = epoll::add(&self.epoll, fd, data, STREAM_FLAGS) {
            return Submission::Failed(Fault { kind: FaultKind::Other, ..fault(errno) });
        }
        let Some(Entry::Dial { connect, registered, .. }) = &mut self.table.slot(source.0).entry else {
            unreachable!("it was just looked at")
        };
        *registered = true;
        if matches!(begun, Ok(()) | Err(Errno::ISCONN)) {
            return Submission::Done(Outcome::Connected);
        }
        assert!(connect.replace(op).is_none(), "two connects on one dial");
        Submission::Pending
    }

    pub(super) fn end_connect(
        &mut self,
        source: &Source,
        dialled: &Address,
    ) -> Result<(Address, Address), Fault> {
        let Entry::Dial { fd, .. } = self.table.entry(source) else { unreachable!("it was a dial") };
        self.calls += 3;
        let local = getsockname(fd).and_then(|local| address_of(fd, local, UnixStream::local_addr));
        let peer = getpeername(fd);
        let peer = peer.and_then(|peer| address_of(fd, peer.ok_or(Errno::NOTCONN)?, UnixStream::peer_addr));
        // One that has reset the connection is no peer any more, but what it has sent is still to be received.
        let peer = peer.or_else(|errno| if is_readable(fd) { Ok(dialled.clone()) } else { Err(errno) });
        if let Ok(Address::Unix(_)) = local {
            self.calls += 2;
        }
        let blocks = rustix::io::ioctl_fionbio(fd, false);
        let tcp = is_tcp(fd.as_fd(), &mut self.calls);
        // Without a peer, it was another process that has taken the error: one that has forked, and shares the socket.
        let (local, peer) = (local.map_err(connect_fault)?, peer.map_err(connect_fault)?);
        blocks.map_err(connect_fault)?;
        let slot = self.table.slot(source.0);
        let Some(Entry::Dial { fd, .. }) = slot.entry.take() else { unreachable!("it was just looked at") };
        slot.entry = Some(Entry::Stream { fd, receive: None, send: None });
        slot.edges.plain = tcp;
        slot.edges.writable = true;
        Ok((local, peer))
    }
}

/// The end of an attempt, of which an edge has come.
pub(super) fn serve_connect(
    fd: &TcpStream,
    connect: &mut Option<OpPtr<Epoll>>,
    packets: &mut Vec<Packet<Epoll>>,
    calls: &mut u64,
) {
    let Some(op) = connect.take() else { return };
    *calls += 1;
    // A peer may have accepted, said why it hangs up, and reset the connection. Its bytes come first, and then the error,
    // which would be taken away here [p06].
    let result = if is_readable(fd) {
        Ok(Outcome::Connected)
    } else {
        *calls += 1;
        match socket_error(fd) {
            Ok(Ok(())) => Ok(Outcome::Connected),
            Ok(Err(errno)) | Err(errno) => Err(connect_fault(errno)),
        }
    };
    packets.push(Packet { op, result });
}

/// Whether bytes wait, also those of a peer that has reset the connection. An error stays where it is.
fn is_readable(fd: &TcpStream) -> bool {
    rustix::io::ioctl_fionread(fd).is_ok_and(|bytes| bytes > 0)
}

/// Every failure is final, whatever it would mean to a stream or a listener.
fn connect_fault(errno: Errno) -> Fault {
    Fault { kind: FaultKind::Other, code: errno.raw_os_error() }
}

fn family_of(address: &Address) -> AddressFamily {
    match address {
        Address::Ip(ip) if ip.is_ipv4() => AddressFamily::INET,
        Address::Ip(_) => AddressFamily::INET6,
        Address::Unix(_) => AddressFamily::UNIX,
    }
}

/// Whether TCP_FASTOPEN_CONNECT is set: tcp(7). Other sockets do not have the option, and neither has Linux before 4.11.
fn has_fast_open(socket: &TcpStream) -> bool {
    let (mut value, mut len) = (0_i32, size_of::<i32>() as libc::socklen_t);
    // SAFETY: the value has room for `len` bytes, and the socket is open.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN_CONNECT,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    result == 0 && value != 0
}

fn unix_to_rustix(address: &UnixAddr) -> Result<SocketAddrUnix, Errno> {
    match (address.as_pathname(), address.as_abstract_name()) {
        (Some(path), _) => SocketAddrUnix::new(path),
        (None, Some(name)) => SocketAddrUnix::new_abstract_name(name),
        (None, None) => Err(Errno::INVAL),
    }
}

/// The standard library decodes the address of a Unix socket: in rustix's, one without a name is an abstract name without
/// bytes.
fn address_of(
    socket: &TcpStream,
    address: SocketAddrAny,
    of_unix: impl FnOnce(&UnixStream) -> io::Result<UnixAddr>,
) -> Result<Address, Errno> {
    if let Ok(ip) = SocketAddr::try_from(address) {
        return Ok(Address::Ip(ip));
    }
    // SAFETY: the socket stays open during the call, and this second owner of its number is never dropped.
    let unix = ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(socket.as_raw_fd()) });
    let known = of_unix(&unix).map(Address::from);
    known.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}
