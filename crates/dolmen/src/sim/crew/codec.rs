//! The codec of the simulated crew: it cuts bytes into messages, and does what a seed says of what codecs may do. Its
//! [`Witness`](super::witness::Witness) reports to the model what it has seen, and what of that breaks a promise.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::witness::{SharedWitness, look};
use super::{Mark, environment, mark};
use crate::crew::{Codec, Link};
use crate::sim::model::bytes;
use crate::sim::{Oracle, Rng};

/// How soon a codec whose deadline stays over may be called again.
const SHORTEST_NS: u64 = 10_000_000;

/// How many times a codec sets a deadline.
pub(super) const MOST_TICKS: u64 = 3;

/// What a codec panics with.
pub(super) const PANIC: &str = "the codec of a program";

/// From a codec to the game.
pub(super) enum Message {
    Bytes(Vec<u8>),
    /// A deadline.
    Tick,
    /// The end of the stream.
    End,
}

/// From the game to a codec: so many bytes that only this reply has.
#[derive(Clone, Copy)]
pub(super) struct Reply {
    pub(super) number: u64,
    pub(super) len: usize,
    /// The round of the game in which it was sent.
    pub(super) round: Option<u64>,
}

impl Reply {
    pub(super) fn bytes(self) -> Vec<u8> {
        bytes(self.number as usize, true, 0, self.len)
    }

    pub(super) fn weight(self) -> u64 {
        1 + self.len as u64 / 16
    }
}

/// How a codec ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Close,
    Abort,
    Panic,
}

/// What a codec does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// The longest message.
    pub(super) piece: usize,
    /// Bytes for the peer wait for the flush.
    holds: bool,
    /// The end of the stream becomes a message, and the game closes.
    reports_end: bool,
    /// How it ends, when it has been called so many times.
    ends: Option<(u64, End)>,
    /// The time to each deadline.
    deadline_ns: Option<u64>,
    /// A deadline stays over for a second call.
    dawdles: bool,
}

impl Manner {
    pub(super) fn random(rng: &mut Rng, panics: bool) -> Manner {
        let end = match rng.below(8) {
            0..4 => End::Close,
            4..6 => End::Abort,
            _ if panics => End::Panic,
            _ => End::Close,
        };
        Manner {
            piece: 1 + rng.below(40) as usize,
            holds: rng.percent(30),
            reports_end: rng.percent(30),
            ends: rng.percent(15).then(|| (2 + rng.below(20), end)),
            deadline_ns: rng.percent(25).then(|| rng.below(30_000_000)),
            dawdles: rng.percent(20),
        }
    }
}

pub(super) struct TestCodec {
    witness: SharedWitness,
    manner: Manner,
    /// The most that the reactor queues.
    high_water_bytes: usize,
    /// In which turn its connection got more than there is room for.
    overfilled_at: u64,
    calls: u64,
    ticks: u64,
    /// The round of the reply that it has got last.
    round: Option<u64>,
    held: Vec<u8>,
    deadline: Option<Instant>,
    expired_ns: Option<u64>,
}

impl TestCodec {
    pub(super) fn new(witness: &SharedWitness, manner: Manner, high_water_bytes: usize) -> TestCodec {
        TestCodec {
            witness: Arc::clone(witness),
            manner,
            high_water_bytes,
            overfilled_at: 0,
            calls: 0,
            ticks: 0,
            round: None,
            held: Vec::new(),
            deadline: None,
            expired_ns: None,
        }
    }

    fn fail(&self, oracle: Oracle, message: impl FnOnce() -> String) {
        look(&self.witness).fail(oracle, message);
    }

    /// At the begin of each call.
    fn enter(&mut self, name: &str) {
        let mut witness = look(&self.witness);
        witness.awaits_flush = true;
        let ended = witness.ended;
        drop(witness);
        if ended.is_some() {
            self.fail(Oracle::Order, || format!("`{name}` was called after {ended:?}"));
        }
    }

    /// Of the calls that the peer or the game causes: there are none while the peer does not read, except for what the
    /// same wait has brought.
    fn check_room(&self, name: &str, is_same_wait: bool, link: &Link<'_, Self>) {
        let (queued, most) = (link.queued_bytes(), self.high_water_bytes);
        if queued > most && !is_same_wait {
            self.fail(Oracle::Bounds, || format!("`{name}` was called with {queued} bytes queued of {most}"));
        }
    }

    /// Of a flush: all that the game has for the codec in its round has come, except for what waits for room.
    fn check_round(&self, link: &Link<'_, Self>) {
        let mut witness = look(&self.witness);
        let Some(round) = self.round.filter(|_| !witness.is_ended_by_game) else { return };
        // The game's own thread ends its round and flushes in one call.
        let is_open = environment::is_member() && environment::round() == Some(round);
        let (got, sent) = (witness.replies, witness.sent_by(round));
        if is_open || (got < sent && !witness.is_blocked && !link.is_blocked()) {
            witness.fail(Oracle::Order, || {
                format!(
                    "it was flushed after {got} of {sent} replies by round {round}; that is open: {is_open}"
                )
            });
        }
    }

    /// At the end of each call.
    fn leave(&mut self, link: &mut Link<'_, Self>) {
        self.calls += 1;
        self.note_room(link);
        let Some((_, end)) = self.manner.ends.filter(|&(calls, _)| self.calls == calls) else { return };
        // A panic on its own thread would be the game's.
        if end == End::Panic && !environment::is_member() {
            return;
        }
        self.end(end, link);
    }

    /// After each call that sends.
    fn note_room(&mut self, link: &Link<'_, Self>) {
        look(&self.witness).is_blocked |= link.is_blocked();
        if link.queued_bytes() > self.high_water_bytes {
            self.overfilled_at = environment::waits();
        }
    }

    /// What it holds back is left to the flush that comes before a close.
    fn end(&mut self, end: End, link: &mut Link<'_, Self>) {
        if end == End::Close && !self.held.is_empty() {
            mark(Mark::ClosedHolding);
        }
        let mut witness = look(&self.witness);
        (witness.ended, witness.deadline_ns) = (Some(end), None);
        drop(witness);
        match end {
            End::Close => link.close(),
            End::Abort => link.abort(),
            End::Panic => resume_unwind(Box::new(PANIC)),
        }
    }

    fn release(&mut self, link: &mut Link<'_, Self>) {
        link.send(&self.held);
        self.held.clear();
    }

    fn deliver(&self, message: Message, link: &mut Link<'_, Self>) {
        look(&self.witness).messages += 1;
        link.deliver(message);
    }

    /// `now_ns` is the time of the link.
    fn set_deadline(&mut self, now_ns: u64, link: &Link<'_, Self>) {
        let Some(after_ns) = self.manner.deadline_ns.filter(|_| self.ticks < MOST_TICKS) else { return };
        self.deadline = Some(link.now() + Duration::from_nanos(after_ns));
        look(&self.witness).deadline_ns = Some(now_ns + after_ns);
    }
}

impl Codec for TestCodec {
    type Message = Message;
    type Reply = Reply;
    type Shared = ();

    fn opened(&mut self, link: &mut Link<'_, Self>) {
        self.enter("opened");
        look(&self.witness).opened = true;
        self.set_deadline(environment::known_ns(), link);
        self.leave(link);
    }

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        self.enter("received");
        self.check_room("received", self.overfilled_at == environment::waits(), link);
        look(&self.witness).received_bytes += data.len() as u64;
        for piece in data.chunks(self.manner.piece) {
            self.deliver(Message::Bytes(piece.to_vec()), link);
        }
        self.leave(link);
    }

    fn end_of_stream(&mut self, link: &mut Link<'_, Self>) {
        self.enter("end_of_stream");
        if std::mem::replace(&mut look(&self.witness).end_of_stream, true) {
            self.fail(Oracle::Order, || "the stream has ended twice".into());
        }
        match self.manner.reports_end {
            true => self.deliver(Message::End, link),
            false => self.end(End::Close, link),
        }
    }

    fn send(&mut self, reply: Reply, link: &mut Link<'_, Self>) {
        self.enter("send");
        self.check_room("send", false, link);
        let mut witness = look(&self.witness);
        witness.replies += 1;
        witness.weight += reply.weight();
        witness.sent_bytes += reply.len as u64;
        drop(witness);
        self.round = reply.round;
        let bytes = reply.bytes();
        match (self.manner.holds, reply.number % 3) {
            (true, _) => self.held.extend(bytes),
            (_, 0) => link.send_shared(&bytes.into()),
            _ => link.send(&bytes),
        }
        self.leave(link);
    }

    fn flush(&mut self, link: &mut Link<'_, Self>) {
        // What a codec holds back is flushed before its own close.
        if look(&self.witness).ended != Some(End::Close) {
            self.enter("flush");
            self.check_round(link);
        }
        look(&self.witness).awaits_flush = false;
        self.release(link);
        self.note_room(link);
    }

    fn drained(&mut self, link: &mut Link<'_, Self>) {
        self.enter("drained");
        let was_blocked = std::mem::take(&mut look(&self.witness).is_blocked);
        if !was_blocked || link.is_blocked() {
            self.fail(Oracle::Order, || format!("`drained` was called; it was blocked: {was_blocked}"));
        }
        self.leave(link);
    }

    fn closed(&mut self, _: &mut Link<'_, Self>) {
        self.enter("closed");
        // A member may not know yet what the game wants; the game's own thread does.
        if look(&self.witness).is_ended_by_game && !environment::is_member() {
            self.fail(Oracle::Order, || "`closed` was called, and the game has ended it".into());
        }
        look(&self.witness).closed += 1;
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn expired(&mut self, link: &mut Link<'_, Self>) {
        self.enter("expired");
        let now_ns = environment::now_ns();
        let deadline_ns = look(&self.witness).deadline_ns;
        if deadline_ns.is_none_or(|deadline_ns| now_ns < deadline_ns) {
            self.fail(Oracle::Time, || format!("a deadline of {deadline_ns:?} has expired at {now_ns}"));
        }
        let dawdled_ns = self.expired_ns.take();
        if let Some(too_soon_ns) = dawdled_ns.filter(|&last_ns| now_ns < last_ns + SHORTEST_NS) {
            self.fail(Oracle::Time, || format!("called at {too_soon_ns}, and again at {now_ns}"));
        }
        if dawdled_ns.is_none() && self.manner.dawdles {
            self.expired_ns = Some(now_ns);
            look(&self.witness).deadline_ns = Some(now_ns + SHORTEST_NS);
            return;
        }
        self.ticks += 1;
        (self.deadline, look(&self.witness).deadline_ns) = (None, None);
        self.deliver(Message::Tick, link);
        // The end of a round reads the clock.
        self.set_deadline(now_ns, link);
        self.leave(link);
    }

    fn weight(reply: &Reply) -> usize {
        reply.weight() as usize
    }
}

impl Drop for TestCodec {
    fn drop(&mut self) {
        let mut witness = look(&self.witness);
        witness.dropped = true;
        let held = self.held.len();
        if witness.ended == Some(End::Close) && held > 0 {
            witness.fail(Oracle::Stream, || format!("{held} bytes were not flushed before its own close"));
        }
    }
}
