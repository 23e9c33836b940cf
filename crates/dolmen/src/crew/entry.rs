//! [`Entry`]: what a member knows of one connection, and how it reaches the engine.

use std::any::Any;
use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use super::codec::{Codec, Unsent, Wire, Wish};
use super::ledger::Ledger;
use crate::drop_each::drop_each;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::kernel::Kernel;
use crate::shared_bytes::SharedBytes;
use crate::token::{ConnId, LinkId};

/// How many of the bytes that found no room are passed on at a time.
const PIECE_BYTES: usize = 16 * 1024;

/// Why nothing is read from a connection, as bits.
pub(super) mod pause {
    /// The game wants it.
    pub(in crate::crew) const GAME: u8 = 1;
    /// The peer does not read what was sent.
    pub(in crate::crew) const UNSENT: u8 = 2;
    /// The game does not take its messages.
    pub(in crate::crew) const FULL: u8 = 4;
    /// The codec wants it.
    pub(in crate::crew) const CODEC: u8 = 8;
}

/// What waits until the connection has room again.
pub(super) enum Waiting<C: Codec> {
    Reply(C::Reply, u64),
    Close,
}

/// One connection.
pub(super) struct Entry<C: Codec> {
    pub(super) link: LinkId,
    pub(super) conn: ConnId,
    pub(super) codec: C,
    pub(super) ledger: Arc<Ledger>,
    pub(super) unsent: Unsent,
    /// Bytes have found no room, and the codec does not know yet that they have been sent.
    pub(super) owes_drained: bool,
    pub(super) waiting: VecDeque<Waiting<C>>,
    pub(super) wish: Wish,
    /// The reactor is closing it: the codec gets no further call.
    pub(super) is_closing: bool,
    pub(super) pauses: u8,
    /// The number of the last round of the game of which a part has reached it while it was not over.
    pub(super) round: Option<u64>,
    /// The game has closed it.
    pub(super) is_closed_by_game: bool,
    /// It is in a list of those that are flushed.
    pub(super) is_touched: bool,
    /// The codec's deadline, as of its last call.
    pub(super) deadline: Option<Instant>,
    /// The time under which it is in the list of deadlines.
    pub(super) armed: Option<Instant>,
    /// Until then a deadline that has stayed over is not looked at again, whatever other calls the codec gets.
    pub(super) rests_until: Option<Instant>,
    /// When a close is cut short.
    pub(super) close_by: Option<Instant>,
    /// The bytes that were unsent when it was.
    pub(super) forced: Option<usize>,
}

/// The replies that wait may panic when they are dropped, and the codec too.
impl<C: Codec> Drop for Entry<C> {
    fn drop(&mut self) {
        drop_each(self.waiting.drain(..));
    }
}

impl<C: Codec> Entry<C> {
    pub(super) fn new(link: LinkId, conn: ConnId, codec: C, ledger: Arc<Ledger>) -> Entry<C> {
        Entry {
            link,
            conn,
            codec,
            ledger,
            unsent: Unsent::default(),
            owes_drained: false,
            waiting: VecDeque::new(),
            wish: Wish::Stay,
            is_closing: false,
            pauses: 0,
            round: None,
            is_closed_by_game: false,
            is_touched: false,
            deadline: None,
            armed: None,
            rests_until: None,
            close_by: None,
            forced: None,
        }
    }

    pub(super) fn takes_calls(&self) -> bool {
        !self.is_closing && self.wish == Wish::Stay
    }

    /// When the member looks at it again.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let codec = self.deadline.filter(|_| self.takes_calls());
        let codec = codec.map(|deadline| self.rests_until.map_or(deadline, |until| deadline.max(until)));
        [codec, self.close_by].into_iter().flatten().min()
    }
}

/// Passes on what found no room before, as far as there is room now. If some is left, the engine reports when there is.
pub(super) fn push_unsent<K: Kernel, C: Codec>(engine: &mut Engine<K>, entry: &mut Entry<C>) {
    let Unsent { bytes, passed } = &mut entry.unsent;
    *passed += pass_pieces(engine, entry.conn, &bytes[*passed..]);
    if *passed == bytes.len() {
        // A long answer must not hold its memory for good.
        (*bytes, *passed) = (Vec::new(), 0);
    } else if *passed > bytes.len() / 2 {
        // What has been passed on gives its memory back now and then, however slowly the rest is read.
        bytes.drain(..std::mem::take(passed));
    }
}

/// Sends bytes as far as there is room, and returns how many: all of them if the connection has ended, as its end is reported.
fn pass_pieces<K: Kernel>(engine: &mut Engine<K>, conn: ConnId, bytes: &[u8]) -> usize {
    let piece_bytes = PIECE_BYTES.min(engine.high_water_bytes());
    let mut passed = 0;
    for piece in bytes.chunks(piece_bytes) {
        match engine.send(conn, piece) {
            Ok(()) => passed += piece.len(),
            Err(error) if error.kind() == ErrorKind::QueueFull => return passed,
            Err(_) => return bytes.len(),
        }
    }
    passed
}

pub(super) fn set_pause<K: Kernel, C: Codec>(
    engine: &mut Engine<K>,
    entry: &mut Entry<C>,
    why: u8,
    on: bool,
) {
    let before = entry.pauses;
    entry.pauses = if on { before | why } else { before & !why };
    // Neither call fails but for a connection that is closing.
    let _ = match (before == 0, entry.pauses == 0) {
        (true, false) => engine.pause(entry.conn),
        (false, true) => engine.resume(entry.conn),
        _ => return,
    };
}

pub(super) struct EngineWire<'a, K: Kernel> {
    pub(super) engine: &'a mut Engine<K>,
    pub(super) conn: ConnId,
}

impl<K: Kernel> EngineWire<'_, K> {
    /// What there is no room for as a whole is sent in part.
    fn sent(&mut self, sent: Result<(), Error>, bytes: &[u8]) -> usize {
        match sent.map_err(|error| error.kind()) {
            Err(ErrorKind::QueueFull | ErrorKind::TooLarge) => pass_pieces(self.engine, self.conn, bytes),
            _ => bytes.len(),
        }
    }
}

impl<K: Kernel> Wire for EngineWire<'_, K> {
    fn send(&mut self, bytes: &[u8]) -> usize {
        let sent = self.engine.send(self.conn, bytes);
        self.sent(sent, bytes)
    }

    fn send_shared(&mut self, bytes: &SharedBytes) -> usize {
        let sent = self.engine.send_shared(self.conn, bytes);
        self.sent(sent, bytes)
    }

    fn stream(&mut self) -> Option<&TcpStream> {
        let stream: &dyn Any = self.engine.stream(self.conn).ok()?;
        // That of a simulated kernel is none.
        stream.downcast_ref()
    }

    fn queued_bytes(&self) -> usize {
        self.engine.queued_bytes(self.conn).unwrap_or(0)
    }
}
