//! What a reactor has done, and what it holds.

/// Counters since the reactor was made, and gauges of this moment. See [`Reactor::stats`](crate::Reactor::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls of `wait`.
    pub waits: u64,
    /// Times the kernel was asked for completions; more than `waits` where it came back early or for internal work.
    pub polls: u64,
    /// Calls into the operating system made by the kernel, the waits included.
    pub kernel_calls: u64,
    /// Events handed out.
    pub events: u64,
    /// Bytes received and handed out or discarded.
    pub bytes_received: u64,
    /// Bytes the system has taken over for sending.
    pub bytes_sent: u64,
    /// Connections accepted by listeners.
    pub accepted: u64,
    /// Times a `send` was refused because the queue was full.
    pub sends_refused: u64,
    /// Times the system could not wake the reactor for a [`Waker`](crate::Waker) or a [`Poster`](crate::Poster).
    pub signals_failed: u64,
    /// Completions of something that the reactor did not begin, on its completion port but with a key of others. They are
    /// dropped. Always 0 on Linux.
    pub foreign_completions: u64,
    /// Completions on the reactor's port that are of no operation of the reactor's, although their key says so: another
    /// part of the program makes overlapped calls of its own on a registered socket. They are dropped. Always 0 on Linux.
    pub unknown_completions: u64,

    /// Connections registered, those on their way out included.
    pub connections: usize,
    /// Listeners registered, those on their way out included.
    pub listeners: usize,
    /// Watches registered, those on their way out included.
    pub watches: usize,
    /// Timers set, the reactor's own included.
    pub timers: usize,
    /// Operations the kernel holds now.
    pub operations_in_flight: usize,
    /// Receive buffers that are out of the pool: lent to the kernel, or in `Events`.
    pub buffers_out: usize,
    /// Receive buffers at rest in the pool.
    pub buffers_free: usize,
    /// Bytes accepted by `send` that the system has not taken yet, over all connections.
    pub queued_bytes: usize,
}
