//! The life of a connection.
//!
//! ```text
//! Connecting ──first address that accepts──► Open          (refused, timed out: Closing)
//! Open ──close──► Lingering ──all sent, FIN sent, peer's end seen (or time is up)──► Closing ──► gone: `Closed`
//!   ├──abort, reset, failure──────────────────────────────────────────────────────────▲  └─removed─► gone: no event
//!   └──release──all sent, receive withdrawn, its bytes delivered──► gone: `Released`
//! ```
//!
//! Every public method and every completion only changes the state and puts the connection in the run queue.
//! [`Connection::serve`] then does what the state requires. It may be called at any time and any number of times.
//!
//! `connecting` has what precedes an outgoing connection. `sending`, `files`, `transmitting`, `receiving`, `closing` and `releasing` each have the steps of one part, `retry` the pauses while the system has no
//! memory, and `adopted` what differs when the caller owns the socket.

use std::num::NonZeroU32;

use crate::close_reason::CloseReason;
use crate::error::{Error, ErrorKind};
use crate::kernel::buffer::Buffer;
use crate::kernel::operation::OpHandle;
use crate::kernel::submitter::{Completion, Started};
use crate::kernel::{Close, Direct, Fault, FaultKind, Kernel, Outcome};
use crate::marks::{Mark, mark};
use crate::record::Record;
use crate::shared_bytes::SharedBytes;
use crate::token::{ConnId, FileOpId, Key, Token};

use super::config::{Config, next_retry_ns};
use super::context::Context;
use super::registration::{Registration, Served, SourceRef};
use super::send_queue::SendQueue;
use super::timers::{Direction, Purpose};

mod adopted;
mod closing;
mod connecting;
mod files;
mod receiving;
mod releasing;
mod retry;
mod sending;
mod transmitting;

pub(super) use files::{MOST_FILES, Piece};

use connecting::Connecting;
use files::FileSends;
use retry::{Backoff, is_worth_a_retry};

/// Kept small: most connections are idle, and a reactor may have ten thousand of them.
pub(super) struct Connection<K: Kernel> {
    /// `None` while it is connecting.
    source: Option<K::Source>,
    token: Token,
    receive: Option<OpHandle>,
    send: Option<OpHandle>,
    /// Everything that there is to send, if that is one piece of shared bytes: then there is no queue.
    shared: Option<SharedBytes>,
    /// Present only while there is something else to send.
    queue: Option<Box<SendQueue>>,
    /// Present only while there are files to send.
    files: Option<Box<FileSends<K::File>>>,
    /// Present once something unusual has happened.
    rare: Option<Box<Rare>>,
    registration: Registration,
    write: Write,
    /// Closed by the caller: sends the queue and FIN, and waits for the peer's end. Received bytes are discarded.
    lingering: bool,
    /// The peer's end of stream has been read.
    read_ended: bool,
    paused: bool,
    /// The caller owns the socket, and posts each receive.
    adopted: bool,
}

/// State that a connection needs only while it ends, is held back, or once the system had no memory for it.
#[derive(Default)]
struct Rare {
    /// Bytes received while paused.
    held: Option<Buffer>,
    refused: Refused,
    /// What is left to try while it is connecting.
    connecting: Option<Box<Connecting>>,
    /// Limits lingering, and the time in which the bytes received before a failed send are delivered.
    linger: Option<Key>,
    /// When that time is up.
    linger_until_ns: u64,
    /// Why sending failed; becomes the reason of the close once all received bytes are delivered.
    failure: Option<Fault>,
    /// Upper bound of the bytes to receive after a failed send: what the system held then.
    receive_limit_bytes: usize,
    /// The caller was not waiting when the linger time ran out, and has been given the same time again.
    has_grace: bool,
    /// No receive has completed since the linger time ran out.
    stalled: bool,
    /// The reason while closing; `None` means finished.
    reason: Option<CloseReason>,
    cancelled: bool,
    /// The caller has asked for the stream.
    releasing: bool,
    /// The pending receive has been withdrawn for that.
    withdrawn: bool,
    /// The stream leaves with the `Released` event instead of being closed.
    released: bool,
    /// The caller has removed the connection: no `Closed` event.
    suppress_closed_event: bool,
    /// The connection ends with a reset, whatever its reason.
    resets: bool,
    send_backoff: Backoff,
    receive_backoff: Backoff,
}

/// Sends that were refused because the queue was full.
#[derive(Default)]
struct Refused {
    /// `Drained` is due when the queue is down to fewer bytes than this.
    drained_below: Option<NonZeroU32>,
    /// A `Drained` record is in the outbox. There is one at a time.
    is_listed: bool,
}

/// The sending side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Open,
    /// FIN follows the queued bytes.
    Finishing,
    /// FIN has been sent.
    Shut,
    Failed,
}

impl<K: Kernel> Connection<K> {
    pub(super) fn new(source: K::Source, token: Token) -> Connection<K> {
        Connection::over(Some(source), token)
    }

    fn over(source: Option<K::Source>, token: Token) -> Connection<K> {
        Connection {
            source,
            token,
            receive: None,
            send: None,
            shared: None,
            queue: None,
            files: None,
            rare: None,
            registration: Registration::default(),
            write: Write::Open,
            lingering: false,
            read_ended: false,
            paused: false,
            adopted: false,
        }
    }

    /// Neither closed by the caller nor at its end: the public methods apply.
    pub(super) fn is_open(&self) -> bool {
        !self.lingering && !self.is_closing()
    }

    /// Waiting for its operations to complete before it is freed.
    pub(super) fn is_closing(&self) -> bool {
        self.registration.is_closing()
    }

    /// How many bytes a send would take now.
    pub(super) fn capacity(&self, config: &Config) -> usize {
        if self.write == Write::Open && !self.is_releasing() {
            config.high_water_bytes.saturating_sub(self.queued_bytes())
        } else {
            0
        }
    }

    /// The socket of a connection that is not adopted. `None` while it is connecting.
    pub(super) fn stream<'a>(&'a self, cx: &'a mut Context<K>) -> Option<&'a K::Stream> {
        self.source.as_ref().map(|source| cx.submitter.kernel().stream(source))
    }

    /// Of a connection that is no longer connecting.
    fn source(&self) -> &K::Source {
        self.source.as_ref().expect("it is connected")
    }

    fn failure(&self) -> Option<Fault> {
        self.rare.as_ref().and_then(|rare| rare.failure)
    }

    fn take_held(&mut self) -> Option<Buffer> {
        self.rare.as_mut().and_then(|rare| rare.held.take())
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn list(&mut self, cx: &mut Context<K>, key: Key) {
        cx.list(&mut self.registration, SourceRef::Connection(key.slot));
    }

    /// Does what the connection's state requires.
    pub(super) fn serve(&mut self, cx: &mut Context<K>, key: Key) -> Served {
        self.registration.unlist();
        if self.is_connecting() && !self.is_closing() {
            return self.serve_connecting();
        }
        if !self.is_closing() {
            self.serve_sending(cx, key);
        }
        if self.is_releasing() && self.is_sent() {
            let leaves = self.serve_releasing(cx, key);
            return if leaves { Served::Ended { silent: false } } else { Served::Alive };
        }
        if !self.is_closing() {
            self.serve_receiving(cx, key);
        }
        match self.is_closing() {
            true => self.serve_closing(cx),
            false if self.wants_piece() => Served::Piece,
            false => Served::Alive,
        }
    }
}
