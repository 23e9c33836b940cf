//! The life of a connection.
//!
//! ```text
//! Open ──close──► Lingering ──all sent, FIN sent, peer's end seen (or time is up)──► Closing ──► gone: `Closed`
//!   └──abort, reset, failure──────────────────────────────────────────────────────────▲  └─removed─► gone: no event
//! ```
//!
//! Every public method and every completion only changes the state and puts the connection in the run queue.
//! [`Engine::serve_connection`] then does what the state requires. It may be called at any time and any number of
//! times.

use std::num::NonZeroU32;

use crate::error::{AddError, Error, ErrorKind};
use crate::events::{CloseReason, Record};
use crate::kernel::buffer::Buffer;
use crate::kernel::operation::OpHandle;
use crate::kernel::submitter::{Completion, Started};
use crate::kernel::{Close, Fault, FaultKind, Kernel, Outcome};
use crate::marks::{Mark, Mutant, mark, mutant};
use crate::token::{ConnId, Key, Token};

use super::send_queue::SendQueue;
use super::timers::Purpose;
use super::{Engine, SourceRef, next_retry_ns, not_found, refused, saturating_ns};

mod borrowed;

pub(super) use borrowed::Borrowed;

/// How long a receive that was posted just before the linger time ran out may take to find the bytes that have arrived.
const SECOND_LOOK_NS: u64 = 100_000_000;

/// Kept small: most connections are idle, and a reactor may have ten thousand of them.
pub(super) struct Connection<K: Kernel> {
    source: K::Source,
    token: Token,
    receive: Option<OpHandle>,
    send: Option<OpHandle>,
    /// Present only while there is something to send.
    queue: Option<Box<SendQueue>>,
    /// Bytes received while paused.
    held: Option<Buffer>,
    /// Present once something unusual has happened.
    rare: Option<Box<Rare>>,
    /// A send was refused; `Drained` is due when the queue is down to fewer bytes than this.
    drained_below: Option<NonZeroU32>,
    phase: Phase,
    write: Write,
    /// The peer's end of stream has been read.
    read_ended: bool,
    paused: bool,
    /// A `Received` record is in the outbox.
    undelivered: bool,
    listed: bool,
    /// The caller owns the socket, and posts each receive.
    borrowed: bool,
}

/// State that a connection needs only while it ends, or once the system had no memory for it.
#[derive(Default)]
struct Rare {
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
    /// The caller has removed the connection: no `Closed` event.
    suppress_closed_event: bool,
    send_backoff: Backoff,
    receive_backoff: Backoff,
}

impl Rare {
    fn backoff(&mut self, direction: Direction) -> &mut Backoff {
        match direction {
            Direction::Send => &mut self.send_backoff,
            Direction::Receive => &mut self.receive_backoff,
        }
    }
}

/// Pauses of one direction. A success in the other direction says nothing about it.
#[derive(Default)]
struct Backoff {
    /// Runs after the system had no memory, until the send or receive is retried.
    timer: Option<Key>,
    /// The last such pause; 0 after a success.
    pause_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Send,
    Receive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Closed by the caller: sends the queue and FIN, and waits for the peer's end. Received bytes are discarded.
    Lingering,
    /// Waiting for its operations to complete before it is freed.
    Closing,
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
    fn is_lingering(&self) -> bool {
        self.phase == Phase::Lingering
    }

    fn is_closing(&self) -> bool {
        self.phase == Phase::Closing
    }

    fn failure(&self) -> Option<Fault> {
        self.rare.as_ref().and_then(|rare| rare.failure)
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Whether the system had no memory for the last send, and the retry pause is running.
    fn send_waits(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.send_backoff.timer.is_some())
    }

    /// The same for receives.
    fn receive_waits(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.receive_backoff.timer.is_some())
    }

    /// The system has memory again for this direction.
    fn forget_retries(&mut self, direction: Direction) {
        if let Some(rare) = &mut self.rare {
            rare.backoff(direction).pause_ns = 0;
        }
    }

    fn queued_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.queued_bytes())
    }
}

/// The public methods.
impl<K: Kernel> Engine<K> {
    pub(crate) fn add(&mut self, stream: K::Stream, token: Token) -> Result<ConnId, AddError<K::Stream>> {
        const ACTION: &str = "add a connection";
        if self.connections.len() >= self.config.max_connections {
            let limit = self.config.max_connections;
            let error = Error::new(ErrorKind::TableFull, ACTION, format_args!("beyond the limit of {limit}"));
            return Err(AddError { error, source: stream });
        }
        let source = self
            .submitter
            .kernel()
            .add_stream(stream)
            .map_err(|(fault, stream)| refused(fault, ACTION, stream))?;
        let conn = self.insert_connection(source, token);
        tracing::debug!(target: "io_reactor", conn = %conn, token = token.0, "connection added");
        Ok(conn)
    }

    fn insert_connection(&mut self, source: K::Source, token: Token) -> ConnId {
        let key = self.connections.insert(Connection {
            source,
            token,
            receive: None,
            send: None,
            queue: None,
            held: None,
            rare: None,
            drained_below: None,
            phase: Phase::Open,
            write: Write::Open,
            read_ended: false,
            paused: false,
            undelivered: false,
            listed: false,
            borrowed: false,
        });
        self.list_connection(key.slot);
        ConnId(key)
    }

    pub(crate) fn send(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), Error> {
        const ACTION: &str = "send to connection";
        let (high, low) = (self.config.high_water_bytes, self.config.low_water_bytes);
        let connection = self.open_connection(conn, ACTION)?;
        if connection.write != Write::Open {
            return Err(Error::new(ErrorKind::SendClosed, ACTION, conn));
        }
        // No send is started for no bytes: its result of zero could be taken for an end [hc17].
        if bytes.is_empty() {
            return Ok(());
        }
        let high = if mutant(Mutant::UnboundedQueue) { usize::MAX } else { high };
        if bytes.len() > high {
            self.stats.sends_refused += 1;
            return Err(Error::new(ErrorKind::TooLarge, ACTION, conn));
        }
        if connection.queued_bytes() + bytes.len() > high {
            // Refused whole, and once `Drained` has been delivered, the same bytes fit [hc35, p09].
            let below = NonZeroU32::MIN.saturating_add(low.min(high - bytes.len()) as u32);
            let earlier = connection.drained_below.unwrap_or(NonZeroU32::MAX);
            connection.drained_below = Some(below.min(earlier));
            self.stats.sends_refused += 1;
            return Err(Error::new(ErrorKind::QueueFull, ACTION, conn));
        }
        match &mut connection.queue {
            Some(queue) => queue.push(bytes),
            None => {
                let mut queue = self.send_queues.take();
                queue.push(bytes);
                self.connections.get_mut(conn.0).expect("it was found above").queue = Some(queue);
            }
        }
        self.stats.queued_bytes += bytes.len();
        self.list_connection(conn.0.slot);
        Ok(())
    }

    pub(crate) fn queued_bytes(&self, conn: ConnId) -> Result<usize, Error> {
        let connection = self.connections.get(conn.0).filter(|connection| !connection.is_closing());
        let connection = connection.ok_or_else(|| not_found("look up", "connection", conn))?;
        Ok(connection.queued_bytes())
    }

    pub(crate) fn pause(&mut self, conn: ConnId) -> Result<(), Error> {
        let connection = self.open_connection(conn, "pause connection")?;
        connection.paused = connection.failure().is_none() || !mutant(Mutant::ForgetPause);
        Ok(())
    }

    pub(crate) fn resume(&mut self, conn: ConnId) -> Result<(), Error> {
        let connection = self.open_connection(conn, "resume connection")?;
        connection.paused = false;
        if !mutant(Mutant::ForgetResume) {
            self.list_connection(conn.0.slot);
        }
        Ok(())
    }

    pub(crate) fn shutdown_write(&mut self, conn: ConnId) -> Result<(), Error> {
        let connection = self.open_connection(conn, "shut down connection")?;
        if connection.write == Write::Open {
            connection.write = Write::Finishing;
            self.list_connection(conn.0.slot);
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, conn: ConnId) -> Result<(), Error> {
        let linger_ns = saturating_ns(self.config.linger);
        let connection = self.open_connection(conn, "close connection")?;
        connection.phase = Phase::Lingering;
        connection.drained_below = None;
        if connection.write == Write::Open {
            connection.write = Write::Finishing;
        }
        self.drop_undelivered(conn.0);
        self.start_linger(conn.0, linger_ns);
        self.list_connection(conn.0.slot);
        Ok(())
    }

    pub(crate) fn abort(&mut self, conn: ConnId) -> Result<(), Error> {
        // Also while lingering: a caller cuts a slow close short in this way.
        if self.connections.get(conn.0).is_none_or(|connection| connection.is_closing()) {
            return Err(not_found("abort", "connection", conn));
        }
        self.drop_undelivered(conn.0);
        self.begin_close(conn.0, CloseReason::Aborted);
        Ok(())
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> bool {
        if self.connections.has_issued(conn.0) {
            self.origin.removed.mark_conn(conn);
        }
        let Some(connection) = self.connections.get(conn.0) else { return false };
        if connection.rare.as_ref().is_some_and(|rare| rare.suppress_closed_event) {
            return false;
        }
        let known = !connection.is_closing();
        self.drop_undelivered(conn.0);
        if known {
            self.begin_close(conn.0, CloseReason::Finished);
        } else {
            mark(Mark::RemovedWhileClosing);
        }
        self.connections.get_mut(conn.0).expect("it is still closing").rare().suppress_closed_event = true;
        true
    }

    fn open_connection(&mut self, conn: ConnId, action: &'static str) -> Result<&mut Connection<K>, Error> {
        self.connections
            .get_mut(conn.0)
            .filter(|connection| connection.phase == Phase::Open)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, action, conn))
    }
}

/// The run queue.
impl<K: Kernel> Engine<K> {
    fn list_connection(&mut self, slot: u32) {
        if let Some((_, connection)) = self.connections.at_mut(slot) {
            if !std::mem::replace(&mut connection.listed, true) {
                self.run_queue.push_back(SourceRef::Connection(slot));
            }
        }
    }

    /// Does what the connection's state requires.
    pub(super) fn serve_connection(&mut self, slot: u32) {
        let Some((key, connection)) = self.connections.at_mut(slot) else { return };
        connection.listed = false;
        if !connection.is_closing() {
            self.serve_sending(key);
            self.serve_receiving(key);
        }
        self.serve_closing(key);
    }

    fn serve_sending(&mut self, key: Key) {
        loop {
            let connection = self.connections.get_mut(key).expect("the connection is there");
            let busy = connection.send.is_some() || connection.send_waits();
            if busy || matches!(connection.write, Write::Shut | Write::Failed) {
                return;
            }
            let Some((buffer, offset)) = connection.queue.as_mut().and_then(|queue| queue.take_front())
            else {
                break;
            };
            // A large send may find no memory where a smaller one does [hc45].
            let most = self.config.max_send_bytes;
            match self.submitter.send(&connection.source, key.slot, buffer, offset, most) {
                Started::Pending(handle) => connection.send = Some(handle),
                Started::Completed(completion) => self.sent(key, completion),
            }
        }
        let connection = self.connections.get_mut(key).expect("the connection is there");
        if connection.write == Write::Finishing {
            connection.write = Write::Shut;
            if let Err(mut fault) = self.submitter.kernel().shutdown_write(&connection.source) {
                // It was connected, and is not any more: the peer has reset it, and no call has collected the error
                // since [hc44].
                if fault.kind == FaultKind::NotConnected && !mutant(Mutant::ResetIsFailure) {
                    mark(Mark::ShutDownAfterReset);
                    fault.kind = FaultKind::Reset;
                }
                self.sending_failed(key, fault);
            }
        }
    }

    fn serve_receiving(&mut self, key: Key) {
        let connection = self.connections.get_mut(key).expect("the connection is there");
        if connection.is_closing() {
            return;
        }
        if connection.is_lingering() {
            match connection.write {
                Write::Failed => {
                    let reason = connection.failure().map_or(CloseReason::Reset, close_reason);
                    return self.begin_close(key, reason);
                }
                // Not before the peer has closed its side: closing with unread bytes resets the connection, and
                // destroys the output in transit [hc15].
                Write::Shut if connection.read_ended || mutant(Mutant::NoLinger) => {
                    return self.begin_close(key, CloseReason::Finished);
                }
                _ => {}
            }
            if let Some(buffer) = connection.held.take() {
                self.origin.pool.borrow_mut().give_back(buffer);
            }
        }
        let connection = self.connections.get_mut(key).expect("the connection is there");
        // One receive at a time, whatever was paused and resumed meanwhile, and the next one only when the bytes of the
        // last have been delivered [hc13, hc33, p03].
        let busy = connection.receive.is_some() || connection.undelivered || connection.receive_waits();
        if let (false, None, Some(rare)) = (busy, &connection.held, &connection.rare) {
            // After a failed send, once everything received by then has been delivered, whatever comes later [hc43].
            if let (Some(fault), 0) = (rare.failure, rare.receive_limit_bytes) {
                return self.begin_close(key, close_reason(fault));
            }
        }
        if busy || connection.read_ended || (connection.paused && !connection.is_lingering()) {
            return;
        }
        if let Some(buffer) = connection.held.take() {
            connection.undelivered = true;
            let (conn, token) = (ConnId(key), connection.token);
            self.outbox.push_back(Record::Received { conn, token, buffer });
            return;
        }
        match self.submitter.receive(&connection.source, key.slot) {
            Started::Pending(handle) => connection.receive = Some(handle),
            Started::Completed(completion) => self.received(key, completion),
        }
    }

    fn serve_closing(&mut self, key: Key) {
        let connection = self.connections.get_mut(key).expect("the connection is there");
        if !connection.is_closing() {
            return;
        }
        if !std::mem::replace(&mut connection.rare().cancelled, true) {
            // Only a cancel ends a pending receive: a shutdown does not [hc16].
            for handle in [connection.receive, connection.send].into_iter().flatten() {
                self.submitter.cancel(&connection.source, handle);
            }
        }
        // The kernel still owns the memory of these operations, and the socket keeps its number until their packets have
        // come [hc01, hc05].
        if connection.receive.is_some() || connection.send.is_some() {
            mark(Mark::CloseWaited);
            return;
        }
        let Rare { reason, suppress_closed_event, .. } = *connection.rare();
        let reason = reason.unwrap_or(CloseReason::Finished);
        // After `Closed` was delivered, the slot may be reused; without that event, immediately.
        let connection =
            if suppress_closed_event { self.connections.remove(key) } else { self.connections.vacate(key) };
        let connection = connection.expect("the connection is there");
        let how = match reason {
            _ if connection.borrowed => Close::Release,
            CloseReason::Aborted | CloseReason::LingerExpired { .. } => Close::Reset,
            _ => Close::Orderly,
        };
        self.submitter.close(connection.source, how);
        if let Some(queue) = connection.queue {
            self.stats.queued_bytes -= queue.queued_bytes();
            self.send_queues.give_back(queue);
        }
        if let Some(buffer) = connection.held {
            self.origin.pool.borrow_mut().give_back(buffer);
        }
        // Once, and behind all other events of the connection: none of its operations is left [p06].
        if !suppress_closed_event {
            self.outbox.push_back(Record::Closed { conn: ConnId(key), token: connection.token, reason });
        }
        tracing::debug!(target: "io_reactor", conn = %key, %reason, suppress_closed_event, "connection closed");
    }

    /// Begins the two-phase close. Queued and held bytes are lost, so the caller ensures that none of them must still
    /// be sent or delivered.
    fn begin_close(&mut self, key: Key, reason: CloseReason) {
        if self.connections.get(key).is_none_or(|connection| connection.is_closing()) {
            return;
        }
        self.note_if_cut(key);
        let connection = self.connections.get_mut(key).expect("it was found above");
        connection.phase = Phase::Closing;
        let rare = connection.rare();
        rare.reason = Some(reason);
        let timers = [&mut rare.linger, &mut rare.send_backoff.timer, &mut rare.receive_backoff.timer];
        for timer in timers.into_iter().filter_map(Option::take) {
            self.timers.cancel(timer);
        }
        self.list_connection(key.slot);
    }
}

/// Completions.
impl<K: Kernel> Engine<K> {
    pub(super) fn receive_completed(&mut self, completion: Completion<K>) {
        let (key, connection) =
            self.connections.at_mut(completion.owner).expect("a connection outlives its receive");
        assert_eq!(connection.receive.take(), Some(completion.handle), "one receive at a time");
        self.received(key, completion);
    }

    pub(super) fn send_completed(&mut self, completion: Completion<K>) {
        let (key, connection) =
            self.connections.at_mut(completion.owner).expect("a connection outlives its send");
        assert_eq!(connection.send.take(), Some(completion.handle), "one send at a time");
        self.sent(key, completion);
        self.list_connection(key.slot);
    }

    fn received(&mut self, key: Key, completion: Completion<K>) {
        let Completion { result, buffer, .. } = completion;
        let connection = self.connections.get_mut(key).expect("a connection outlives its receive");
        if let Some(rare) = &mut connection.rare {
            rare.stalled = false;
            if let (Ok(Outcome::Bytes(bytes)), false) = (&result, mutant(Mutant::EndlessAfterFailure)) {
                rare.receive_limit_bytes = rare.receive_limit_bytes.saturating_sub(*bytes);
            }
        }
        let (conn, token) = (ConnId(key), connection.token);
        let unwanted = connection.phase != Phase::Open;
        match (result, buffer) {
            (Ok(Outcome::Bytes(bytes)), Some(buffer)) => {
                connection.forget_retries(Direction::Receive);
                self.stats.bytes_received += bytes as u64;
                // Received after a close, or in spite of the cancel [hc04].
                if unwanted {
                    mark(Mark::LingerDiscarded);
                    if !mutant(Mutant::LeakBuffer) {
                        self.origin.pool.borrow_mut().give_back(buffer);
                    }
                    self.list_connection(key.slot);
                } else if connection.paused {
                    // The receive was pending when the caller paused. The bytes are kept for the resume [p10].
                    mark(Mark::HeldWhilePaused);
                    if mutant(Mutant::LoseHeldBytes) {
                        return self.origin.pool.borrow_mut().give_back(buffer);
                    }
                    connection.held = Some(buffer);
                } else {
                    connection.undelivered = true;
                    self.outbox.push_back(Record::Received { conn, token, buffer });
                }
            }
            (Ok(_), _) => {
                // FIN ends one direction only: the connection stays open, and can send [hc14, p08].
                connection.read_ended = true;
                match connection.failure() {
                    _ if unwanted => self.list_connection(key.slot),
                    Some(fault) => self.begin_close(key, close_reason(fault)),
                    None => {
                        self.outbox.push_back(Record::EndOfStream { conn, token });
                        if mutant(Mutant::EndTwice) {
                            self.outbox.push_back(Record::EndOfStream { conn, token });
                        }
                    }
                }
            }
            // The result of a cancel, and not the reason of the end, which is known [hc06].
            (Err(_), _) if connection.is_closing() => self.list_connection(key.slot),
            (Err(fault), _) if is_worth_a_retry(fault) => self.retry_later(key, Direction::Receive, fault),
            (Err(fault), _) => {
                let reason = close_reason(connection.failure().unwrap_or(fault));
                self.begin_close(key, reason);
            }
        }
    }

    fn sent(&mut self, key: Key, completion: Completion<K>) {
        let connection = self.connections.get_mut(key).expect("a connection outlives its send");
        let queue = connection.queue.as_mut().expect("the queue waits for its buffer");
        let buffer = completion.buffer.expect("a send brings its buffer back");
        let (bytes, failure) = match completion.result {
            Ok(Outcome::Bytes(bytes)) => (bytes, None),
            Ok(_) => unreachable!("a send returns a number of bytes"),
            Err(fault) => (0, Some(fault)),
        };
        queue.sent(buffer, bytes);
        let left = queue.queued_bytes();
        self.stats.bytes_sent += bytes as u64;
        self.stats.queued_bytes -= bytes;
        self.report_sends(key, bytes);
        let connection = self.connections.get_mut(key).expect("a connection outlives its send");
        if left == 0 {
            self.send_queues.give_back(connection.queue.take().expect("it was just used"));
        }
        if connection.drained_below.is_some_and(|below| left < below.get() as usize) {
            mark(Mark::DrainedReported);
            connection.drained_below = None;
            let (conn, token) = (ConnId(key), connection.token);
            if !mutant(Mutant::ForgetDrained) {
                self.outbox.push_back(Record::Drained { conn, token });
            }
        }
        match failure {
            None => connection.forget_retries(Direction::Send),
            Some(_) if connection.is_closing() => {}
            Some(fault) if is_worth_a_retry(fault) => self.retry_later(key, Direction::Send, fault),
            Some(fault) => self.sending_failed(key, fault),
        }
    }

    /// The system has no memory for a send or a receive at the moment: the connection pauses, and does not end [hc45].
    fn retry_later(&mut self, key: Key, direction: Direction, fault: Fault) {
        let backoff =
            self.connections.get_mut(key).expect("the connection is there").rare().backoff(direction);
        assert!(backoff.timer.is_none(), "no attempt is made during the pause");
        let retry_ns = next_retry_ns(backoff.pause_ns);
        backoff.pause_ns = retry_ns;
        let timer = self.set_internal_timer(retry_ns, Purpose::TransferAgain(key, direction));
        let connection = self.connections.get_mut(key).expect("the connection is there");
        connection.rare().backoff(direction).timer = Some(timer);
        let error = fault.to_io();
        if let Some(failures) = self.transfer_failures.note(self.submitter.now_ns()) {
            tracing::warn!(
                target: "io_reactor", conn = %key, ?direction, %error, retry_ns, failures,
                "no memory for a send or a receive; others are logged at debug until their number has doubled"
            );
        } else {
            tracing::debug!(target: "io_reactor", conn = %key, ?direction, %error, retry_ns, "no memory");
        }
    }

    pub(super) fn transfer_again(&mut self, key: Key, direction: Direction) {
        if mutant(Mutant::ForgetTransfer) {
            return;
        }
        if let Some(connection) = self.connections.get_mut(key) {
            mark(Mark::TransferRetried);
            connection.rare().backoff(direction).timer = None;
            self.list_connection(key.slot);
        }
    }

    /// No more bytes can be sent. What the system had received before that is still delivered, and then the connection
    /// ends: the reactor does not wait for a peer that continues to send, and a paused connection ends with the linger
    /// time [hc43, p06].
    fn sending_failed(&mut self, key: Key, fault: Fault) {
        let linger_ns = saturating_ns(self.config.linger);
        if self.connections.get(key).is_none_or(|connection| connection.is_closing()) {
            return;
        }
        self.note_if_cut(key);
        let connection = self.connections.get_mut(key).expect("it was found above");
        mark(Mark::SendFailedFirst);
        connection.write = Write::Failed;
        connection.rare().failure = Some(fault);
        connection.drained_below = None;
        if let Some(queue) = connection.queue.take() {
            self.stats.queued_bytes -= queue.queued_bytes();
            self.send_queues.give_back(queue);
        }
        if connection.read_ended {
            return self.begin_close(key, close_reason(fault));
        }
        // A receive that is pending in the kernel may have taken one buffer of bytes already, which the system no
        // longer counts.
        let taken = if connection.receive.is_some() { self.config.buffer_bytes } else { 0 };
        let unread = self.submitter.kernel().unread(&connection.source);
        connection.rare().receive_limit_bytes = unread.saturating_add(taken);
        self.start_linger(key, linger_ns);
        self.list_connection(key.slot);
    }

    fn start_linger(&mut self, key: Key, linger_ns: u64) {
        let until_ns = self.submitter.now_ns().saturating_add(linger_ns);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let rare = connection.rare();
        if rare.linger.is_none() {
            rare.linger_until_ns = until_ns;
            rare.linger = Some(self.timers.insert(until_ns, 0, Purpose::Linger(key)));
        }
    }

    pub(super) fn linger_expired(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.rare().linger = None;
        if let Some(again_ns) = self.extra_linger_ns(key) {
            return self.start_linger(key, again_ns);
        }
        let connection = self.connections.get_mut(key).expect("it was just there");
        let unsent = connection.queued_bytes();
        let reason = match connection.failure() {
            Some(fault) => close_reason(fault),
            // The system has taken all bytes and FIN is sent; a peer that does not close its side has had its time
            // [hc15, p09].
            None if unsent == 0 && connection.write == Write::Shut => {
                mark(Mark::LingerExpiredFinished);
                CloseReason::Finished
            }
            None => {
                mark(Mark::LingerExpiredUnsent);
                CloseReason::LingerExpired { unsent }
            }
        };
        self.begin_close(key, reason);
    }

    /// How much longer than the linger time a connection lasts after a failed send, for bytes received before that.
    fn extra_linger_ns(&mut self, key: Key) -> Option<u64> {
        let linger_ns = saturating_ns(self.config.linger);
        let wait_began_ns = self.wait_began_ns;
        let connection = self.connections.get_mut(key).expect("the connection is there");
        if connection.failure().is_none() || connection.is_lingering() {
            return None;
        }
        // A caller that was not waiting has had no chance to take these bytes, or to resume.
        let was_away = connection.rare().linger_until_ns < wait_began_ns;
        if was_away && !std::mem::replace(&mut connection.rare().has_grace, true) {
            mark(Mark::GraceAfterFailure);
            return Some(linger_ns);
        }
        if connection.paused {
            mark(Mark::PausedAfterFailure);
            return None;
        }
        // They are here, or will be received next: they are delivered with the next waits, and their number is bounded
        // [hc43].
        let may_receive_more = connection.rare().receive_limit_bytes > 0 && !connection.receive_waits();
        if connection.undelivered
            || connection.held.is_some()
            || (connection.receive.is_none() && may_receive_more)
        {
            return Some(linger_ns);
        }
        // The pending receive has found nothing so far; it may have been posted only a moment ago.
        let looked_twice = std::mem::replace(&mut connection.rare().stalled, true);
        (!looked_twice).then_some(linger_ns.min(SECOND_LOOK_NS))
    }

    /// A `Received` record is about to be delivered, so the next receive may be posted. The buffer stays here if the
    /// connection was paused in the meantime [hc13, p10].
    pub(super) fn deliver_received(&mut self, conn: ConnId, buffer: Buffer) -> Option<Buffer> {
        // Gone already: its `Closed` is further back in the outbox.
        let Some(connection) = self.connections.get_mut(conn.0) else { return Some(buffer) };
        connection.undelivered = false;
        if connection.paused && connection.phase == Phase::Open {
            mark(Mark::HeldAtDelivery);
            connection.held = Some(buffer);
            return None;
        }
        connection.paused |= connection.borrowed && !mutant(Mutant::UngatedReceive);
        self.list_connection(conn.0.slot);
        Some(buffer)
    }

    /// Takes back the received bytes that were not delivered: the caller has closed the connection.
    fn drop_undelivered(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.undelivered = false;
        }
        for _ in 0..self.outbox.len() {
            let record = self.outbox.pop_front().expect("it was not empty");
            match &record {
                Record::Received { conn, .. }
                | Record::EndOfStream { conn, .. }
                | Record::Drained { conn, .. }
                | Record::Written { conn, .. }
                    if conn.0 == key =>
                {
                    self.discard(record);
                }
                _ => self.outbox.push_back(record),
            }
        }
    }

    /// Begins to close every connection, without events.
    pub(super) fn remove_all_connections(&mut self) {
        for slot in self.connections.slots().collect::<Vec<_>>() {
            if let Some((key, _)) = self.connections.at_mut(slot) {
                self.remove(ConnId(key));
            }
        }
    }
}

fn is_worth_a_retry(fault: Fault) -> bool {
    fault.kind == FaultKind::Exhausted && !mutant(Mutant::GiveUpTransfer)
}

/// A reset has a reason of its own, which is neither a failed call nor an orderly end [hc14].
fn close_reason(fault: Fault) -> CloseReason {
    match fault.kind {
        FaultKind::Reset => CloseReason::Reset,
        _ => CloseReason::Failed { code: fault.code },
    }
}
