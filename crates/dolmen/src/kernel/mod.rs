//! The contract between the engine and an operating system's completion (or readiness) mechanism.
//!
//! A kernel here consists of system calls and the decoding of their results; it decides nothing. Every policy is in
//! [`engine`](crate::engine), and the memory of an operation is handled above this layer, in [`operation`] and
//! [`submitter`], so that every kernel runs the very same hand-over code.
//!
//! # The contract
//!
//! Submitting an operation returns one of
//!
//! * [`Submission::Done`] or [`Submission::Failed`]: it has ended, **no** packet will come;
//! * [`Submission::Pending`]: **exactly one** packet will come out of a later [`Kernel::wait`], whatever happens to the
//!   operation (success, error, cancel). From the moment of the call until that packet the operation and its buffer
//!   belong to the kernel: no other code frees, moves, reuses or reads them.
//!
//! What follows from this for a kernel:
//!
//! * a packet names its operation by address, never by a socket's number, which the system gives to the next socket;
//! * nothing is read through an address that the system returns before [`arrivals`] has recognised it as a pending
//!   operation's: other code, too, can have packets sent to a port;
//! * "failed, no packet" is meant literally. Where a system reports a failure and sends a packet all the same
//!   ([`Immediate`]), the submission is Pending;
//! * a packet's result comes from the operation's own memory, never from a call on the handle, which may be closed;
//! * cancelling is a request. The packet still comes, and if the operation had finished first, the packet brings its
//!   bytes;
//! * no packet is produced inside a submit or a cancel: an operation that is ready immediately waits for the next
//!   [`Kernel::wait`];
//! * a receive is given no buffer. The packet brings one from the pool, so that an idle connection pins none. A kernel
//!   that must lend memory in advance does so only while the pool has enough to spare;
//! * a source is closed only when none of its operations is pending.
//!
//! A kernel may rely on this: at most one receive and one send or transmission are pending on a stream, at most [`Kernel::ACCEPTS`]
//! accepts on a listener, one watch on a watch, one poll on a borrowed socket, one connect on a dial,
//! [`Kernel::DATAGRAMS`] receives and one send on a datagram socket.

#[cfg_attr(not(windows), allow(dead_code))] // Epoll's waits are exact by themselves.
pub(crate) mod alarm;
pub(crate) mod arrivals;
pub(crate) mod buffer;
pub(crate) mod buffer_pool;
mod fault;
pub(crate) mod files;
pub(crate) mod fork;
mod immediate;
#[cfg(target_os = "linux")]
pub mod inherited;
pub(crate) mod lent;
pub(crate) mod mailbox;
pub(crate) mod names;
pub(crate) mod operation;
pub(crate) mod options;
pub(crate) mod pool;
#[cfg_attr(not(any(feature = "c-api", dolmen_sim)), allow(dead_code))] // Only the C library lends sockets.
pub(crate) mod readiness;
pub(crate) mod submitter;
pub(crate) mod thread;
mod transmits;

#[cfg(dolmen_sim)]
pub(crate) mod sim;

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(windows)]
mod iocp;

#[cfg(target_os = "linux")]
pub(crate) use epoll::{Epoll as Native, above_standard, io_fault, set_keepalive};
#[cfg(windows)]
pub use iocp::set_exclusive_address_use;
#[cfg(windows)]
pub(crate) use iocp::{Iocp as Native, Winsock, io_fault, reopen, set_keepalive};

#[cfg(not(any(target_os = "linux", windows)))]
compile_error!(
    "dolmen has a kernel for Linux (epoll) and one for Windows (IOCP); there is none for this system yet"
);

use std::net::SocketAddr;

use crate::address::Address;
use crate::kernel::buffer::Buffer;
use crate::kernel::buffer_pool::BufferPool;
use arrivals::Arrivals;
pub(crate) use fault::{Fault, FaultKind};
use files::{FileAccess, FileJob};
#[cfg_attr(not(any(windows, dolmen_sim)), allow(unused_imports))]
pub(crate) use immediate::Immediate;
use names::Lookup;
use operation::OpPtr;
use pool::Workers;
use readiness::Readiness;

/// The options for making a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// The most packets that one wait may be asked for.
    pub(crate) max_packets: usize,
    /// IOCP: omit packets for operations that succeed immediately. Off only in tests of the other path.
    #[cfg_attr(not(windows), allow(dead_code))]
    pub(crate) skip_on_success: bool,
    /// IOCP: how many transmissions may be pending. `None`: as many as the edition of the system allows.
    #[cfg_attr(not(windows), allow(dead_code))]
    pub(crate) most_transmits: Option<usize>,
}

/// What a kernel did with a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(windows, allow(dead_code))] // Its kernel transmits.
pub(crate) enum Direct {
    /// It has sent so many bytes, at least one.
    Sent(usize),
    /// Nothing: the socket takes nothing now. A send waits until it does.
    Full,
    /// Nothing. A read, or a send, has the reason.
    No,
}

/// The mechanism under an engine; see the [module documentation](self) for the contract.
pub(crate) trait Kernel: Sized + 'static {
    /// The room a kernel needs at the start of every operation.
    type Header: Default;
    /// A kernel's state of one registered stream, listener or watch.
    type Source;
    /// A connected stream socket, owned.
    type Stream: options::StreamOptions;
    /// A listening socket, owned.
    type Listener;
    /// Any other handle that can be waited for, owned.
    type Handle;
    /// A datagram socket, owned.
    type Udp: options::DatagramOptions;
    /// A file, shared with the threads that read and write it.
    type File: FileAccess;

    /// How many accepts the engine keeps posted on a listener.
    const ACCEPTS: usize;

    /// An attempt to connect took too long. Decided by the engine, which has no error codes of its own.
    const TIMED_OUT: Fault;

    /// The peer refuses connections, as the system reports it.
    const REFUSED: Fault;

    /// How many receives the engine keeps posted on a datagram socket.
    const DATAGRAMS: usize;

    /// How many operations share one allocation; see [`operation`].
    const CELLS_PER_BLOCK: usize = 128;

    fn new(options: Options) -> Result<Self, Fault>;

    /// The signal that makes a wait on this kernel return from another thread.
    fn signal(&self) -> Box<dyn Signal>;

    /// What looks names up meanwhile.
    fn name_workers(&self) -> Box<dyn Workers<Lookup>> {
        Box::new(names::threads())
    }

    /// What reads and writes files meanwhile.
    fn file_workers(&self) -> Box<dyn Workers<FileJob<Self::File>>>;

    /// The clock of timers and timeouts, in nanoseconds since some moment before the kernel was made.
    fn now_ns(&self) -> u64;

    /// How many calls into the operating system have been made [p17].
    fn calls(&self) -> u64;

    fn add_stream(&mut self, stream: Self::Stream) -> Result<Self::Source, (Fault, Self::Stream)>;

    /// Makes a socket to connect to `address`, or takes a prepared one, for [`Kernel::connect`] and nothing else.
    fn add_dial(&mut self, address: &Address, prepared: Option<Self::Stream>) -> Result<Self::Source, Fault>;

    /// A listener for [`Kernel::accept`].
    fn add_listener(&mut self, listener: Self::Listener) -> Result<Self::Source, (Fault, Self::Listener)>;

    /// A listener for [`Kernel::watch`] and [`Kernel::accept_now`].
    fn add_readiness_listener(
        &mut self,
        listener: Self::Listener,
    ) -> Result<Self::Source, (Fault, Self::Listener)>;

    fn add_handle(&mut self, handle: Self::Handle) -> Result<Self::Source, Fault>;

    /// A bound datagram socket for [`Kernel::receive_from`] and [`Kernel::send_to`].
    fn add_udp(&mut self, socket: Self::Udp) -> Result<Self::Source, (Fault, Self::Udp)>;

    /// # Safety
    ///
    /// As for every submission below: `op` is alive, owned by the caller and stays at its address; if the submission is
    /// Pending it is left alone until its packet. `source` is of the kind that the operation is for.
    unsafe fn receive(
        &mut self,
        source: &Self::Source,
        op: OpPtr<Self>,
        pool: &BufferPool,
    ) -> Submission<Self>;

    /// Sends immediately and without an operation, as many bytes as the system takes, for a kernel that can. `None`: the
    /// bytes need an operation.
    fn try_send(&mut self, _source: &Self::Source, _bytes: &[u8]) -> Option<Result<usize, Fault>> {
        None
    }

    /// Sends the bytes that [`bytes_to_send`](operation::bytes_to_send) returns. May send less than all of them.
    ///
    /// # Safety
    ///
    /// See [`Kernel::receive`].
    unsafe fn send(&mut self, source: &Self::Source, op: OpPtr<Self>) -> Submission<Self>;

    /// Connects. Once this has succeeded, [`Kernel::finish_connect`] makes the source a stream. A source connects once,
    /// except after [`FaultKind::Exhausted`]: then it may be tried again.
    ///
    /// # Safety
    ///
    /// See [`Kernel::receive`].
    unsafe fn connect(
        &mut self,
        source: &Self::Source,
        op: OpPtr<Self>,
        address: &Address,
    ) -> Submission<Self>;

    /// The connect to `peer` has succeeded, and from here on the source is a stream like those that were added. Before
    /// this, no other call may be made on it [hc60]. Returns its own address and the peer's.
    fn finish_connect(&mut self, source: &Self::Source, peer: &Address) -> Result<(Address, Address), Fault>;

    /// Receives one datagram, with its buffer in the packet. One that is longer than the buffer is cut, and its packet
    /// says so. A datagram without bytes is a datagram. A failure that an earlier datagram has caused is
    /// [`FaultKind::Transient`]: the next receive may succeed.
    ///
    /// # Safety
    ///
    /// See [`Kernel::receive`].
    unsafe fn receive_from(
        &mut self,
        source: &Self::Source,
        op: OpPtr<Self>,
        pool: &BufferPool,
    ) -> Submission<Self>;

    /// Sends the bytes that [`bytes_to_send`](operation::bytes_to_send) returns as one datagram, all of them or none.
    /// After a failure that an earlier datagram has caused, this one was not sent either.
    ///
    /// # Safety
    ///
    /// See [`Kernel::receive`].
    unsafe fn send_to(&mut self, source: &Self::Source, op: OpPtr<Self>, to: SocketAddr) -> Submission<Self>;

    /// Accepts one connection.
    ///
    /// # Safety
    ///
    /// See [`Kernel::receive`].
    unsafe fn accept(&mut self, source: &Self::Source, op: OpPtr<Self>) -> Submission<Self>;

    /// Waits until a handle is signalled, or a readiness listener has connections waiting.
    ///
    /// # Safety
    ///
    /// See [`Kernel::receive`].
    unsafe fn watch(&mut self, source: &Self::Source, op: OpPtr<Self>) -> Submission<Self>;

    /// Adds a socket that the caller owns, for [`Kernel::poll`]. The kernel only waits for it and does nothing else to
    /// it. [`Close::Release`] is the only way to close this source, as for all borrowed ones.
    ///
    /// A kernel that does not support borrowed sockets keeps these default methods.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn add_borrowed(
        &mut self,
        _socket: readiness::BorrowedSocket,
        _interest: Readiness,
    ) -> Result<Self::Source, Fault> {
        Err(Fault { kind: FaultKind::Invalid, code: 0 })
    }

    /// Whether a socket is a connected stream of bytes, and neither a listening socket nor a datagram socket. Called
    /// only where streams are adopted.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn is_stream(&self, _socket: readiness::BorrowedSocket) -> Result<bool, Fault> {
        Err(Fault { kind: FaultKind::Invalid, code: 0 })
    }

    /// Adds a connected socket that the caller owns, to receive from and send on. `again`: it was here before, was
    /// released, and has been open ever since.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn add_borrowed_stream(
        &mut self,
        _socket: readiness::BorrowedSocket,
        _again: bool,
    ) -> Result<Self::Source, Fault> {
        Err(Fault { kind: FaultKind::Invalid, code: 0 })
    }

    /// Adds a socket that the caller owns and that is not connected, for [`Kernel::connect`]. `again` as above.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn add_borrowed_dial(
        &mut self,
        _socket: readiness::BorrowedSocket,
        _address: &Address,
        _again: bool,
    ) -> Result<Self::Source, Fault> {
        Err(Fault { kind: FaultKind::Invalid, code: 0 })
    }

    /// Waits until a borrowed socket is ready for what `interest` asks for, or has ended. Level-triggered: the next
    /// poll finds again what was not handled, and a packet reports the state in the wait that delivers it. A poll with
    /// the same interest as the last one costs no call.
    ///
    /// # Safety
    ///
    /// See [`Kernel::receive`].
    unsafe fn poll(
        &mut self,
        _source: &Self::Source,
        _op: OpPtr<Self>,
        _interest: Readiness,
    ) -> Submission<Self> {
        unreachable!("nothing borrowed was added")
    }

    /// What a poll for `interest` finds at this moment. For a result of an earlier poll that could not be delivered in
    /// the wait that found it: the caller has acted since.
    fn recheck(&mut self, _source: &Self::Source, _interest: Readiness) -> Readiness {
        unreachable!("nothing borrowed was added")
    }

    /// Whether the number of a polled socket still stands for that socket, or the caller has closed that one and the system
    /// has given the number to another. `None`: the system does not provide this.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn is_same_socket(&self, _source: &Self::Source) -> Option<bool> {
        None
    }

    /// Changes the interest of a pending poll. A poll without any interest stays pending until this is called again, or
    /// it is cancelled.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    fn set_interest(&mut self, _source: &Self::Source, _interest: Readiness) -> Result<(), Fault> {
        unreachable!("nothing borrowed was added")
    }

    /// Sends a part of a file (`count` is not 0) on a stream without a copy in our memory, as far as both can do it now. A
    /// kernel that cannot keeps this method: the engine transmits, or reads and sends.
    fn send_file_now(
        &mut self,
        _source: &Self::Source,
        _file: &Self::File,
        _offset: u64,
        _count: usize,
    ) -> Direct {
        Direct::No
    }

    /// How many transmissions may be pending at a time. 0: this kernel makes none.
    fn most_transmits(&self) -> usize {
        0
    }

    /// Sends a part of a file (`count` is not 0) on a stream without a copy in our memory. The file is one that
    /// [`FileAccess::reopen`] has returned. Succeeds when all of the part has been sent, or all of it that the file has:
    /// then with fewer bytes, or none.
    ///
    /// If the submission fails as [`FaultKind::Invalid`], [`FaultKind::NotConnected`] or [`FaultKind::Exhausted`], nothing
    /// was sent. After any other failure, of the submission or in a packet, some of the part may have been sent, and the
    /// system does not say how much.
    ///
    /// # Safety
    ///
    /// See [`Kernel::receive`]. The file stays open until the operation has ended.
    unsafe fn transmit(
        &mut self,
        _source: &Self::Source,
        _op: OpPtr<Self>,
        _file: &Self::File,
        _offset: u64,
        _count: u32,
    ) -> Submission<Self> {
        unreachable!("this kernel makes no transmissions")
    }

    /// Requests the early end of a pending operation. A poll is only cancelled when its source is to be released, and
    /// the system no longer uses a borrowed socket when this returns.
    ///
    /// # Safety
    ///
    /// `op` is pending on `source`.
    unsafe fn cancel(&mut self, source: &Self::Source, op: OpPtr<Self>);

    /// As [`Kernel::cancel`], on a stream that stays open: a system that cannot cancel the operation leaves it pending.
    ///
    /// # Safety
    ///
    /// `op` is pending on `source`.
    unsafe fn withdraw(&mut self, source: &Self::Source, op: OpPtr<Self>) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.cancel(source, op) }
    }

    /// The socket of a stream that was added, for its options.
    fn stream<'a>(&'a mut self, source: &'a Self::Source) -> &'a Self::Stream;

    /// The datagram socket that was added, for its options.
    fn udp<'a>(&'a mut self, source: &'a Self::Source) -> &'a Self::Udp;

    /// Takes out a stream that was added, none of whose operations is pending. The caller owns the socket again.
    fn release(&mut self, source: Self::Source) -> Self::Stream;

    /// Accepts from a readiness listener, without blocking; returns `None` when no connection waits.
    fn accept_now(&mut self, source: &Self::Source) -> Result<Option<(Self::Stream, SocketAddr)>, Fault>;

    /// Sends FIN after the bytes sent so far. After a reset that was not reported yet this fails, with the reason if
    /// the system still knows it, and otherwise as not connected.
    fn shutdown_write(&mut self, source: &Self::Source) -> Result<(), Fault>;

    /// How many bytes the system has received on a stream and not handed out. Zero where it cannot say.
    fn unread(&mut self, source: &Self::Source) -> usize;

    /// The connection of a borrowed stream ends with bytes unsent. How many of them the system still sends is not
    /// known, so anything sent on it later follows a hole: from now on adding it `again` is refused, with
    /// [`FaultKind::Cut`], until its number is reused for another socket.
    ///
    /// A kernel that does not add borrowed streams has nothing to record. The readiness kernels are such: there the
    /// caller sends on a borrowed socket, and knows how much the system has taken.
    fn note_cut(&mut self, _source: &Self::Source) {}

    /// Closes a source none of whose operations is pending.
    fn close(&mut self, source: Self::Source, how: Close);

    /// Called before a turn. In a forked process, which has a copy of the kernel: replaces what it shares with the
    /// other process by its own, and registers everything anew.
    fn after_fork(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// From here on everything is cancelled and closed, and then the kernel is dropped. Registrations of borrowed
    /// sockets need not be removed one by one if they end with the kernel.
    fn retire(&mut self) {}

    /// Whether packets are ready without waiting, so that the next [`Kernel::wait`] will not block.
    fn has_packets(&self) -> bool {
        false
    }

    /// The next wait is to end at `deadline_ns` if nothing happens before, by the kernel's clock. For kernels whose
    /// waits are coarse by themselves. Costs nothing while the deadline is the same as before.
    fn expect_end(&mut self, _deadline_ns: u64) {}

    /// Waits up to `timeout_ns` (`None`: indefinitely) for packets and takes out about `max` of them at most. It may
    /// return early without packets: after a signal, an interruption, or for no reason.
    ///
    /// Returns whether there may be more packets for which there was no room: not only packets take room.
    ///
    /// # Safety
    ///
    /// Every operation submitted to this kernel and not yet out in a packet is still alive and untouched. `arrivals`
    /// belongs to the table that these operations are from.
    unsafe fn wait(
        &mut self,
        packets: &mut Vec<Packet<Self>>,
        max: usize,
        timeout_ns: Option<u64>,
        pool: &BufferPool,
        arrivals: &mut Arrivals<'_, Self>,
    ) -> Result<bool, Fault>;
}

/// Wakes a wait; held by wakers and posters in any thread, and outlives the kernel.
pub(crate) trait Signal: Send + Sync {
    /// Ends the wait that is in progress, or else the next one. After a failure it may not have ended it, and a later call
    /// may succeed.
    fn notify(&self) -> Result<(), Fault>;
}

/// The result of a submission; see the [module documentation](self).
pub(crate) enum Submission<K: Kernel> {
    Done(Outcome<K>),
    Failed(Fault),
    Pending,
}

/// The result of a successful operation.
pub(crate) enum Outcome<K: Kernel> {
    /// A receive, with at least one byte. The buffer is the pool's, and returns to it by itself.
    Received(Buffer),
    /// A datagram, which may be empty. `truncated`: it was longer than the buffer, and the rest of it is lost.
    Datagram {
        buffer: Buffer,
        from: SocketAddr,
        truncated: bool,
    },
    /// A receive that has found the end of the stream.
    EndOfStream,
    /// A send or a transmission, of this many bytes.
    Sent(usize),
    Accepted(K::Stream, SocketAddr),
    Connected,
    /// A watch.
    Ready,
    /// A poll.
    Polled(Readiness),
}

/// The end of a pending operation.
pub(crate) struct Packet<K: Kernel> {
    pub(crate) op: OpPtr<K>,
    pub(crate) result: Result<Outcome<K>, Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// FIN if it has not been sent.
    Orderly,
    /// RST, and whatever is still in the system's buffers is dropped.
    Reset,
    /// Not at all: the socket stays open, and is no longer ours.
    Release,
}
