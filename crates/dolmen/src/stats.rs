//! What a reactor has done, and what it holds.

/// Counters since the reactor was made, and gauges of this moment. See [`Reactor::stats`](crate::Reactor::stats).
///
/// ```
/// # use dolmen::{Event, Events, Reactor, Token};
/// # use std::io::{Read, Write};
/// # use std::net::{TcpListener, TcpStream};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// let before = reactor.stats();
/// reactor.wait(&mut events, Some(std::time::Duration::ZERO))?;
/// assert_eq!(reactor.stats().waits, before.waits + 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls of `wait`.
    pub waits: u64,
    /// Times the engine waited in the kernel for completions, blocking or not; more than `waits` where such a call
    /// returned early or served internal work.
    pub kernel_waits: u64,
    /// Calls into the operating system made by the kernel layer, the waits included.
    pub kernel_calls: u64,
    /// Events handed out.
    pub events: u64,
    /// Bytes received, whether handed out or discarded.
    pub bytes_received: u64,
    /// Bytes that the system has taken for sending.
    pub bytes_sent: u64,
    /// Those of files that it has read by itself, without a copy in the memory of this process. They are in `bytes_sent`.
    pub bytes_sent_uncopied: u64,
    /// Datagrams received, whether handed out or discarded. Their bytes are in `bytes_received`.
    pub datagrams_received: u64,
    /// Datagrams that the system has taken for sending. Their bytes are in `bytes_sent`.
    pub datagrams_sent: u64,
    /// Connections accepted by listeners.
    pub accepted: u64,
    /// Times a `send` or a `send_to` was refused because the queue had no room.
    pub sends_refused: u64,
    /// Times the system could not wake the reactor for a [`Waker`](crate::Waker) or a [`Poster`](crate::Poster).
    pub signals_failed: u64,
    /// Completions on the reactor's completion port that carry the key of other code, for something that the reactor
    /// did not begin. They are dropped. Always 0 on Linux.
    pub foreign_completions: u64,
    /// Completions on the reactor's port that belong to none of its operations, although their key says so: another
    /// part of the program makes its own overlapped calls on a registered socket. They are dropped. Always 0 on Linux.
    pub unknown_completions: u64,

    /// Connections registered, including those that are closing.
    pub connections: usize,
    /// Listeners registered, including those that are closing.
    pub listeners: usize,
    /// Watches registered, including those that are closing.
    pub watches: usize,
    /// Datagram sockets registered, including those that are closing.
    pub datagram_sockets: usize,
    /// Timers set, including the reactor's own.
    pub timers: usize,
    /// Look-ups of names that are not reported yet.
    pub lookups: usize,
    /// Reads and writes of files that are not reported yet.
    pub file_operations: usize,
    /// Operations the kernel holds now.
    pub operations_in_flight: usize,
    /// Receive buffers that are out of the pool: lent to the kernel, or in `Events`.
    pub buffers_out: usize,
    /// Receive buffers at rest in the pool.
    pub buffers_free: usize,
    /// Bytes accepted by `send` and `send_to` that the system has not taken yet, over all connections and datagram
    /// sockets.
    pub queued_bytes: usize,
}
