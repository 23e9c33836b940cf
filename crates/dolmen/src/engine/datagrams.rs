//! Datagram sockets: each datagram that arrives becomes a record, and each that is queued is sent whole.
//!
//! A socket keeps a number of receives posted, and has at most sixteen datagrams posted or undelivered. So that is what
//! one wait delivers of it, however many peers flood it [p03].
//!
//! No failure ends the socket. One that an earlier datagram has caused (a peer whose port is closed) is over when it has
//! been reported, and the next receive is posted immediately [hc62]; after many in a row there is a short pause, because
//! each attempt may fail in this way. After any other failure the pauses double. A failure is not reported while the
//! report of an earlier one waits for delivery.
//!
//! A datagram that cannot be sent is tried once more, because the failure may be that of an earlier one, collected by this
//! send. Then it is dropped, and the queue continues.

use std::net::SocketAddr;

use crate::error::{Error, ErrorKind};
use crate::kernel::lent::Lent;
use crate::kernel::operation::OpHandle;
use crate::kernel::submitter::{Completion, Started};
use crate::kernel::{Close, Fault, FaultKind, Kernel, Outcome};
use crate::marks::{Mark, mark};
use crate::record::Record;
use crate::token::{Key, Token, UdpId};

use super::config::{RETRY_FIRST_NS, next_retry_ns};
use super::context::Context;
use super::datagram_queue::{ADDRESS_BYTES, DatagramQueue};
use super::registration::{MOST_UNDELIVERED, Registration, Served, SourceRef};
use super::timers::{Direction, Purpose};

/// How many datagrams of a socket may be posted or undelivered.
pub(crate) const MOST_DATAGRAMS: usize = 16;
const _: () = assert!(MOST_DATAGRAMS <= MOST_UNDELIVERED);

/// After this many failed attempts in a row there is a pause.
const MOST_TRANSIENTS: u32 = 64;

/// The most bytes that a datagram over IPv4 can have: 65,535 without the headers of IP and UDP.
const LARGEST_DATAGRAM_BYTES: usize = 65_507;

const TOO_LARGE_ADVICE: &str = "send several datagrams";
const QUEUE_FULL_ADVICE: &str = "leave it out, or send it again later, or raise `Builder::high_water_mark`";

const SEND: &str = "send a datagram from";

pub(super) struct Datagrams<K: Kernel> {
    source: K::Source,
    token: Token,
    receives: Vec<OpHandle>,
    send: Option<OpHandle>,
    queue: DatagramQueue,
    /// The first datagram of the queue has failed once.
    tried: bool,
    /// A failure waits for delivery.
    failure_undelivered: bool,
    receiving: Pauses,
    sending: Pauses,
    registration: Registration,
}

/// Pauses of one direction.
#[derive(Default)]
struct Pauses {
    /// Runs during a pause.
    timer: Option<Key>,
    /// The last pause; 0 after a success.
    pause_ns: u64,
    /// How many attempts in a row have failed because of earlier datagrams.
    transients: u32,
}

impl Pauses {
    fn forget(&mut self) {
        (self.pause_ns, self.transients) = (0, 0);
    }

    /// How long to wait before the next attempt.
    fn after(&mut self, fault: Fault) -> Option<u64> {
        if matches!(fault.kind, FaultKind::Transient | FaultKind::Reset) {
            self.transients += 1;
            if self.transients < MOST_TRANSIENTS {
                return None;
            }
            self.transients = 0;
            return Some(RETRY_FIRST_NS);
        }
        self.pause_ns = next_retry_ns(self.pause_ns);
        Some(self.pause_ns)
    }
}

impl<K: Kernel> Datagrams<K> {
    pub(super) fn new(source: K::Source, token: Token) -> Datagrams<K> {
        Datagrams {
            source,
            token,
            receives: Vec::with_capacity(K::DATAGRAMS),
            send: None,
            queue: DatagramQueue::new(),
            tried: false,
            failure_undelivered: false,
            receiving: Pauses::default(),
            sending: Pauses::default(),
            registration: Registration::default(),
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.registration.is_closing()
    }

    pub(super) fn socket<'a>(&'a self, cx: &'a mut Context<K>) -> &'a K::Udp {
        cx.submitter.kernel().udp(&self.source)
    }

    pub(super) fn list(&mut self, cx: &mut Context<K>, key: Key) {
        cx.list(&mut self.registration, SourceRef::Udp(key.slot));
    }

    /// Queues a datagram, or refuses it.
    pub(super) fn send_to(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Result<(), Error> {
        let high = cx.config.high_water_bytes;
        let room = high.saturating_sub(ADDRESS_BYTES);
        let largest = room.min(LARGEST_DATAGRAM_BYTES);
        let (kind, limit, advice) = if bytes.len() > largest {
            (ErrorKind::TooLarge, largest, TOO_LARGE_ADVICE)
        } else if self.queue.taken_bytes() + ADDRESS_BYTES + bytes.len() > high {
            (ErrorKind::QueueFull, high, QUEUE_FULL_ADVICE)
        } else {
            self.queue.push(bytes, to);
            cx.stats.queued_bytes += bytes.len();
            self.list(cx, key);
            return Ok(());
        };
        cx.stats.sends_refused += 1;
        Err(Error::new(kind, SEND, format_args!("socket {key}")).limited(limit).advised(advice))
    }

    /// Returns false if it was removed before.
    pub(super) fn remove(&mut self, cx: &mut Context<K>, key: Key) -> bool {
        if !self.registration.close() {
            return false;
        }
        for pauses in [&mut self.receiving, &mut self.sending] {
            if let Some(timer) = pauses.timer.take() {
                cx.timers.cancel(timer);
            }
        }
        for &operation in self.receives.iter().chain(&self.send) {
            cx.submitter.cancel(&self.source, operation);
        }
        cx.stats.queued_bytes -= self.queue.queued_bytes();
        self.list(cx, key);
        true
    }

    pub(super) fn serve(&mut self, cx: &mut Context<K>, key: Key) -> Served {
        self.registration.unlist();
        if self.is_closing() {
            if self.receives.is_empty() && self.send.is_none() {
                return Served::Ended { silent: true };
            }
            mark(Mark::UdpCloseWaited);
            return Served::Alive;
        }
        self.serve_sending(cx, key);
        self.serve_receiving(cx, key);
        Served::Alive
    }

    fn serve_receiving(&mut self, cx: &mut Context<K>, key: Key) {
        // A kernel may complete each receive immediately, with a datagram or a failure.
        for _ in 0..MOST_DATAGRAMS {
            let busy = self.receives.len() + self.registration.undelivered() >= MOST_DATAGRAMS;
            if busy || self.receives.len() >= K::DATAGRAMS || self.receiving.timer.is_some() {
                break;
            }
            match cx.submitter.receive_from(&self.source, key.slot) {
                Started::Pending(handle) => self.receives.push(handle),
                Started::Completed(completion) => self.received(cx, key, completion),
            }
        }
    }

    fn serve_sending(&mut self, cx: &mut Context<K>, key: Key) {
        while self.send.is_none() && self.sending.timer.is_none() {
            let Some((buffer, part, to)) = self.queue.take_front() else { return };
            match cx.submitter.send_to(&self.source, key.slot, buffer, part, to) {
                Started::Pending(handle) => self.send = Some(handle),
                Started::Completed(completion) => self.sent(cx, key, completion),
            }
        }
    }

    /// The socket has left the table.
    pub(super) fn finish(self, cx: &mut Context<K>, key: Key) {
        cx.submitter.close(self.source, Close::Orderly);
        tracing::debug!(target: "dolmen", udp = %key, "datagram socket removed");
    }

    pub(super) fn receive_completed(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) {
        let at = self.receives.iter().position(|&receive| receive == completion.handle);
        self.receives.swap_remove(at.expect("the receive was posted"));
        self.received(cx, key, completion);
    }

    fn received(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) {
        match completion.result {
            Ok(Outcome::Datagram { buffer, from, truncated }) => {
                cx.stats.datagrams_received += 1;
                cx.stats.bytes_received += buffer.len() as u64;
                self.receiving.forget();
                if self.is_closing() {
                    // In spite of the cancel [hc04].
                    drop(buffer);
                } else {
                    self.registration.record_added();
                    let (udp, token) = (UdpId(key), self.token);
                    cx.outbox.push_back(Record::Datagram { udp, token, from, buffer, truncated });
                }
            }
            Ok(_) => unreachable!("a receive brings a datagram"),
            Err(_) if self.is_closing() => {}
            Err(fault) => self.failed(cx, key, Direction::Receive, fault),
        }
        self.list(cx, key);
    }

    pub(super) fn send_completed(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) {
        assert_eq!(self.send.take(), Some(completion.handle), "one send at a time");
        self.sent(cx, key, completion);
        self.list(cx, key);
    }

    fn sent(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) {
        let buffer = completion.returned.and_then(Lent::into_buffer).expect("a send brings its buffer back");
        let result = completion.result;
        if self.is_closing() {
            // What is left in the queue is not counted any more.
            return self.queue.kept(buffer);
        }
        match result {
            Ok(Outcome::Sent(_)) => {
                cx.stats.datagrams_sent += 1;
                cx.stats.bytes_sent += self.sent_or_dropped(cx, buffer) as u64;
                self.sending.forget();
            }
            Ok(_) => unreachable!("a send returns a number of bytes"),
            // Nothing is wrong with the datagram.
            Err(fault) if fault.kind == FaultKind::Exhausted => {
                self.queue.kept(buffer);
                self.failed(cx, key, Direction::Send, fault);
            }
            Err(fault) => {
                if std::mem::replace(&mut self.tried, true) {
                    mark(Mark::DatagramDropped);
                    self.sent_or_dropped(cx, buffer);
                } else {
                    mark(Mark::DatagramRetried);
                    self.queue.kept(buffer);
                }
                self.report(cx, key, fault);
            }
        }
    }

    /// The first datagram leaves the queue. Returns how many bytes it had.
    fn sent_or_dropped(&mut self, cx: &mut Context<K>, buffer: crate::kernel::buffer::Buffer) -> usize {
        self.tried = false;
        let bytes = self.queue.sent(buffer);
        cx.stats.queued_bytes -= bytes;
        bytes
    }

    /// Reports a failure, and tries again, if need be after a pause. A lack of memory is only logged.
    fn failed(&mut self, cx: &mut Context<K>, key: Key, direction: Direction, fault: Fault) {
        if fault.kind == FaultKind::Exhausted {
            let error = fault.to_io();
            if let Some(failures) = cx.transfer_failures.note(cx.submitter.now_ns()) {
                tracing::warn!(target: "dolmen", udp = %key, ?direction, %error, failures, "no memory for datagrams");
            }
        } else {
            self.report(cx, key, fault);
        }
        let pauses = self.pauses(direction);
        if pauses.timer.is_some() {
            return; // Another receive of the same batch.
        }
        if let Some(pause_ns) = pauses.after(fault) {
            mark(Mark::DatagramsPaused);
            pauses.timer = Some(cx.set_internal_timer(pause_ns, Purpose::DatagramsAgain(key, direction)));
        }
    }

    fn report(&mut self, cx: &mut Context<K>, key: Key, fault: Fault) {
        tracing::debug!(target: "dolmen", udp = %key, error = %fault.to_io(), "a datagram socket failed");
        if std::mem::replace(&mut self.failure_undelivered, true) {
            mark(Mark::UdpFailureUnreported);
            return;
        }
        let (udp, token, code) = (UdpId(key), self.token, fault.code);
        cx.outbox.push_back(Record::UdpFailed { udp, token, code });
    }

    fn pauses(&mut self, direction: Direction) -> &mut Pauses {
        match direction {
            Direction::Send => &mut self.sending,
            Direction::Receive => &mut self.receiving,
        }
    }

    pub(super) fn transfer_again(&mut self, cx: &mut Context<K>, key: Key, direction: Direction) {
        self.pauses(direction).timer = None;
        self.list(cx, key);
    }

    /// A `Datagram` record is about to be delivered: another receive may be posted.
    pub(super) fn delivered(&mut self, cx: &mut Context<K>, key: Key) {
        self.registration.record_delivered();
        self.list(cx, key);
    }

    /// An `UdpFailed` record is about to be delivered: the next failure may be reported.
    pub(super) fn failure_delivered(&mut self) {
        self.failure_undelivered = false;
    }
}
