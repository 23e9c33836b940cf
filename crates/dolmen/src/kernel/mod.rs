//! The contract between the engine and an operating system's completion (or readiness) mechanism.
//!
//! A kernel here is system calls and the decoding of what they answer; it decides nothing. Every policy is in
//! [`engine`](crate::engine), and the memory of an operation is handled above this line, in [`operation`] and
//! [`submitter`], so that every kernel runs the very same hand-over code.
//!
//! # The contract
//!
//! Submitting an operation answers one of
//!
//! * [`Submission::Done`] or [`Submission::Failed`]: it is over, **no** packet will come;
//! * [`Submission::Pending`]: **exactly one** packet will come out of a later [`Kernel::wait`], whatever happens to the
//!   operation (success, error, cancel). From the moment of the call until that packet the operation and its buffer
//!   belong to the kernel: nobody frees, moves, reuses or looks at them.
//!
//! What follows from that for a kernel:
//!
//! * a packet names its operation by address, never by a socket's number, which the system gives to the next socket;
//! * nothing is read through an address that the system hands out before [`arrivals`] has recognised it as a pending
//!   operation's: others, too, can have packets sent to a port;
//! * "failed, no packet" is meant to the letter. Where a system reports a failure and sends a packet all the same
//!   ([`AtOnce`]), the answer is Pending;
//! * a packet's result comes from the operation's own memory, never from asking the handle, which may be closed;
//! * cancelling is a request. The packet still comes, and if the operation had finished first, it brings its bytes;
//! * no packet is produced inside a submit or a cancel: what is ready at once waits for the next [`Kernel::wait`];
//! * a receive is given no buffer. The packet brings one from the pool, so that an idle connection pins none. A kernel
//!   that must lend memory in advance does so only while the pool has it to spare;
//! * a source is closed only when none of its operations is pending.
//!
//! What a kernel may count on: at most one receive and one send are pending on a stream, at most [`Kernel::ACCEPTS`]
//! accepts on a listener, one watch on a watch, one poll on a borrowed socket.

#[cfg_attr(not(windows), allow(dead_code))] // Epoll's waits are exact by themselves.
pub(crate) mod alarm;
pub(crate) mod arrivals;
pub(crate) mod buffer;
pub(crate) mod fork;
pub(crate) mod operation;
pub(crate) mod readiness;
pub(crate) mod submitter;
pub(crate) mod thread;

#[cfg(feature = "sim")]
pub(crate) mod sim;

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(windows)]
mod iocp;

#[cfg(target_os = "linux")]
pub(crate) use epoll::{Epoll as Native, io_fault};
#[cfg(windows)]
pub use iocp::set_exclusive_address_use;
#[cfg(windows)]
pub(crate) use iocp::{Iocp as Native, io_fault};

#[cfg(not(any(target_os = "linux", windows)))]
compile_error!(
    "dolmen has a kernel for Linux (epoll) and one for Windows (IOCP); there is none for this system yet"
);

use std::io;
use std::net::SocketAddr;

use crate::engine::buffer_pool::BufferPool;
use crate::marks::{Mutant, mutant};
use arrivals::Arrivals;
use operation::OpPtr;
use readiness::{BorrowedSocket, Readiness};

/// What is asked of a kernel at its making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// How many packets one wait may be asked for.
    pub(crate) max_packets: usize,
    /// IOCP: do without packets for operations that succeed at once. Off only in tests of the other path.
    #[cfg_attr(not(windows), allow(dead_code))]
    pub(crate) skip_on_success: bool,
}

/// The mechanism under an engine; see the [module documentation](self) for the contract.
pub(crate) trait Kernel: Sized + 'static {
    /// The room a kernel needs at the start of every operation.
    type Header: Default;
    /// What a kernel remembers of one registered stream, listener or watch.
    type Source;
    /// A connected stream socket, owned.
    type Stream;
    /// A listening socket, owned.
    type Listener;
    /// Something else that can be waited for, owned.
    type Handle;

    /// How many accepts the engine keeps posted on a listener.
    const ACCEPTS: usize;

    /// How many operations' memory is allocated together; see [`operation`].
    const CELLS_PER_BLOCK: usize = 128;

    fn new(options: Options) -> Result<Self, Fault>;

    /// What makes a wait on this kernel return from another thread.
    fn signal(&self) -> Box<dyn Signal>;

    /// The clock of timers and timeouts, in nanoseconds since some moment before the kernel was made.
    fn now_ns(&self) -> u64;

    /// How many calls into the operating system have been made.
    fn calls(&self) -> u64;

    fn add_stream(&mut self, stream: Self::Stream) -> Result<Self::Source, (Fault, Self::Stream)>;

    /// A listener for [`Kernel::accept`].
    fn add_listener(&mut self, listener: Self::Listener) -> Result<Self::Source, (Fault, Self::Listener)>;

    /// A listener for [`Kernel::watch`] and [`Kernel::accept_now`].
    fn add_readiness_listener(
        &mut self,
        listener: Self::Listener,
    ) -> Result<Self::Source, (Fault, Self::Listener)>;

    fn add_handle(&mut self, handle: Self::Handle) -> Result<Self::Source, Fault>;

    /// # Safety
    ///
    /// As for every submission below: `op` is alive, in the caller's hands and stays at its address; when the answer
    /// is Pending it is left alone until its packet. `source` is of the kind the operation is for.
    unsafe fn receive(
        &mut self,
        source: &Self::Source,
        op: OpPtr<Self>,
        pool: &mut BufferPool,
    ) -> Submission<Self>;

    /// Sends what [`bytes_to_send`](operation::bytes_to_send) says. May send less than all of it.
    ///
    /// # Safety
    ///
    /// See [`Kernel::receive`].
    unsafe fn send(&mut self, source: &Self::Source, op: OpPtr<Self>) -> Submission<Self>;

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

    /// A socket of somebody else's, for [`Kernel::poll`]. It is not touched but for being waited for, and
    /// [`Close::Release`] is the only way to close this source, as of all that is borrowed.
    ///
    /// A kernel that has nothing to do with borrowed sockets leaves this and what belongs to it as it is here.
    fn add_borrowed(&mut self, _socket: BorrowedSocket, _interest: Readiness) -> Result<Self::Source, Fault> {
        Err(Fault { kind: FaultKind::Invalid, code: 0 })
    }

    /// Whether a socket is a connected stream of bytes, and neither listening nor one of datagrams. Asked only where
    /// streams are adopted.
    fn is_stream(&self, _socket: BorrowedSocket) -> Result<bool, Fault> {
        Err(Fault { kind: FaultKind::Invalid, code: 0 })
    }

    /// A connected socket of somebody else's, to receive from and send on. `again`: it was here before, was released,
    /// and has been open all the time.
    fn add_borrowed_stream(&mut self, _socket: BorrowedSocket, _again: bool) -> Result<Self::Source, Fault> {
        Err(Fault { kind: FaultKind::Invalid, code: 0 })
    }

    /// Waits until a borrowed socket is ready for what `interest` asks for, or has ended. Level-triggered: what was
    /// not dealt with is found again by the next poll, and a packet reports what is so in the wait that brings it. A poll for the same interest as the last one costs no call.
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

    /// What a poll for `interest` finds at this moment. For what an earlier one has found and could not be delivered in
    /// the wait that brought it: the caller has acted since.
    fn look_again(&mut self, _source: &Self::Source, _interest: Readiness) -> Readiness {
        unreachable!("nothing borrowed was added")
    }

    /// Changes what a pending poll waits for. One for nothing at all stays pending until this is called again, or it
    /// is cancelled.
    fn set_interest(&mut self, _source: &Self::Source, _interest: Readiness) -> Result<(), Fault> {
        unreachable!("nothing borrowed was added")
    }

    /// Asks for the early end of a pending operation. A poll is only cancelled when its source is to be released, and
    /// the system has nothing more to do with a borrowed socket when this returns.
    ///
    /// # Safety
    ///
    /// `op` is pending on `source`.
    unsafe fn cancel(&mut self, source: &Self::Source, op: OpPtr<Self>);

    /// Accepts from a readiness listener, without blocking; `None` when nobody waits.
    fn accept_now(&mut self, source: &Self::Source) -> Result<Option<(Self::Stream, SocketAddr)>, Fault>;

    /// Sends FIN after what has been sent. After a reset that nobody has heard of yet this fails, with the reason if the
    /// system still knows it, and otherwise as not connected.
    fn shutdown_write(&mut self, source: &Self::Source) -> Result<(), Fault>;

    /// How many bytes the system has received on a stream and not handed out. Zero where it cannot say.
    fn unread(&mut self, source: &Self::Source) -> usize;

    /// The connection of a borrowed stream ends with bytes unsent. How many of them still go out is not known, so what is
    /// sent on it later follows a hole: from now on adding it `again` is refused, with [`FaultKind::Cut`], until its number
    /// stands for another socket.
    ///
    /// A kernel that does not add borrowed streams has nothing to note. The readiness kernels are such: there the caller
    /// sends on a borrowed socket, and knows how much the system has taken.
    fn note_cut(&mut self, _source: &Self::Source) {}

    /// Ends a source none of whose operations is pending.
    fn close(&mut self, source: Self::Source, how: Close);

    /// Called before a turn. In a forked process, which has a copy of the kernel: makes its own of what it shares with the
    /// other process, and registers everything anew.
    fn after_fork(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// From here on everything is cancelled and closed, and then the kernel is dropped. What the system has registered
    /// of borrowed sockets need not be taken back one by one if it goes with the kernel.
    fn retire(&mut self) {}

    /// Whether packets are there that need no waiting for, so that the next [`Kernel::wait`] will not block.
    fn has_packets(&self) -> bool {
        false
    }

    /// The next wait is to end at `deadline_ns` if nothing happens before, by the kernel's clock. For kernels whose waits
    /// are coarse by themselves. Costs nothing while it is the same moment as before.
    fn expect_end(&mut self, _deadline_ns: u64) {}

    /// Waits up to `timeout_ns` (`None`: for ever) for packets and takes out about `max` of them at most. It may
    /// return early and empty-handed: after a signal, an interruption, or for no reason.
    ///
    /// Returns whether there may be more for which there was no room: other things than packets take room as well.
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
        pool: &mut BufferPool,
        arrivals: &mut Arrivals<'_, Self>,
    ) -> Result<bool, Fault>;
}

/// How an overlapped call came back that is over at once. A completion port's rules, for the kernels that have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(windows), allow(dead_code))]
pub(crate) enum AtOnce {
    Success,
    /// The call says that it failed. But a status of this class (0x8…, and 0x4… where the call calls it a failure) is no
    /// error to the system's I/O manager, which treats the operation as it treats one that succeeded.
    Warning,
    Error,
}

#[cfg_attr(not(windows), allow(dead_code))]
impl AtOnce {
    /// Whether a packet comes all the same. `skips`: operations that are over at once send none on this socket.
    pub(crate) fn sends_packet(self, skips: bool) -> bool {
        match self {
            AtOnce::Success => !skips,
            AtOnce::Warning => !skips && !mutant(Mutant::WarningIsFailure),
            AtOnce::Error => false,
        }
    }
}

/// Wakes a wait; held by wakers and posters in any thread, and outlives the kernel.
pub(crate) trait Signal: Send + Sync {
    /// Ends the wait that is under way, or else the next one. After a failure it may not have, and a later call may
    /// succeed.
    fn notify(&self) -> Result<(), Fault>;
}

/// What a submission answers; see the [module documentation](self).
pub(crate) enum Submission<K: Kernel> {
    Done(Outcome<K>),
    Failed(Fault),
    Pending,
}

/// What a successful operation brought.
pub(crate) enum Outcome<K: Kernel> {
    /// A receive (0: end of stream) or a send.
    Bytes(usize),
    Accepted(K::Stream, SocketAddr),
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
    /// Not at all: the socket goes on, out of our hands.
    Release,
}

/// What kind of failure, as far as it makes a difference to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The peer reset the connection, or it was aborted underneath us.
    Reset,
    /// Cancelled on request.
    Cancelled,
    /// Out of handles, buffers or memory: worth trying again later. Nothing was sent or received.
    Exhausted,
    /// This attempt came to nothing and the next one may succeed at once (a peer gone before it was accepted).
    Transient,
    /// The same socket or handle is registered already.
    AlreadyRegistered,
    /// Not a valid or usable handle.
    Invalid,
    /// The stream is not connected: never was, or not any more.
    NotConnected,
    /// A borrowed stream whose last connection ended with bytes unsent.
    Cut,
    Other,
}

/// A failure as the operating system reported it. Small and copyable; becomes an [`io::Error`] when it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// The system's own code.
    pub(crate) code: i32,
}

impl Fault {
    pub(crate) fn to_io(self) -> io::Error {
        io::Error::from_raw_os_error(self.code)
    }
}
