//! Outgoing connections: what is at the address determines how each of them begins.

use std::net::SocketAddr;

use super::*;
use crate::address::Address;
use crate::kernel::sim::world::{Answer, REFUSED, Stage, TIMED_OUT, UNREACHABLE};

pub(super) struct Dialled {
    answer: Answer,
    begun_ns: u64,
    /// `Connected` was reported.
    connected: bool,
}

impl Conn {
    /// A connection that was requested, and not reported yet.
    pub(super) fn dialled(self, answer: Answer, begun_ns: u64) -> Conn {
        Conn { dialled: Some(Dialled { answer, begun_ns, connected: false }), ..self }
    }

    /// Whether it can receive.
    pub(super) fn is_up(&self) -> bool {
        self.dialled.as_ref().is_none_or(|dialled| dialled.connected)
    }
}

impl Run<'_> {
    pub(super) fn dial(&mut self, kind: u32) -> Check {
        if self.peers.len() >= MOST_LINKS || self.conns.len() >= 2 * MOST_LINKS {
            return Ok(());
        }
        let number = self.peers.len();
        let after_ns = if kind & 0x100 == 0 { 0 } else { u64::from(kind >> 9) * 1_000 };
        let answer = match kind % 8 {
            0..4 => Answer::Accepts { after_ns },
            4 => Answer::Refuses { after_ns },
            5 => Answer::Unreachable,
            6 => Answer::Silent,
            _ if kind & 0x80 == 0 => Answer::Itself,
            _ => Answer::Busy { attempts: 1 + (kind >> 9) % 4 },
        };
        let to = SocketAddr::from(([127, 0, 1, 1], 1_000 + number as u16));
        self.world.borrow_mut().answers.insert(to, answer);
        let prepared = (kind & 0x40 != 0).then(|| SimStream::open_unconnected(&self.world));
        let exhausted = prepared.is_none() && self.world.borrow().exhausted;
        let begun_ns = self.now_ns();
        match self.engine.connect(Address::Ip(to), prepared, None, Token(number)) {
            Ok(id) => {
                self.peers.push(Peer::default());
                self.by_id.insert(id, self.conns.len());
                let dialled = Some(Dialled { answer, begun_ns, connected: false });
                self.conns.push(Conn { dialled, ..Conn::new(id, number) });
                self.check(Oracle::Bounds, !exhausted, || "a socket was made without a descriptor".into())
            }
            Err(error) => {
                let right = exhausted && error.kind() == ErrorKind::Exhausted;
                self.check(Oracle::Bounds, right, || format!("a connect was refused: {error}"))
            }
        }
    }

    /// Whether the other end exists.
    pub(super) fn has_peer(&self, link: usize) -> bool {
        let stage = self.world.borrow().links[link].stage;
        matches!(stage, Stage::Connected | Stage::Incomplete { .. } | Stage::Untold { .. })
    }

    pub(super) fn connected(&mut self, conn: ConnId, token: Token) -> Check {
        let Some(at) = self.conn_of(conn, token, "`Connected`")? else { return Ok(()) };
        let known = &mut self.conns[at];
        let link = known.link;
        let Some(dialled) = &mut known.dialled else {
            return self.fail(Oracle::Order, || "`Connected` of a connection that was added".into());
        };
        let again = std::mem::replace(&mut dialled.connected, true);
        let answer = dialled.answer;
        self.check(Oracle::Order, !again, || "a connection was made twice".into())?;
        let accepted = matches!(answer, Answer::Accepts { .. } | Answer::Busy { .. });
        self.check(Oracle::Order, accepted, || format!("connected to {answer:?}"))?;
        let stage = self.world.borrow().links[link].stage;
        self.check(Oracle::Ownership, stage == Stage::Connected, || format!("it is {stage:?}"))?;
        // It may have ended since, or been closed by an earlier handler of this batch.
        let peer = self.engine.peer_addr(conn).map_err(|error| error.kind());
        let known = peer.is_ok() || peer == Err(ErrorKind::NotFound);
        self.check(Oracle::Stream, known, || format!("the peer of a connected stream is {peer:?}"))
    }

    /// The end of a connection that was never reported as made: the reason is what is at its address.
    pub(super) fn not_connected(&self, at: usize, state: State, code: i32) -> Check {
        let conn = &self.conns[at];
        let Some(dialled) = &conn.dialled else { return Ok(()) };
        let (answer, begun_ns) = (dialled.answer, dialled.begun_ns);
        // A connection that was closed early is made without a report, and may be reset later.
        if state != State::Open {
            return Ok(());
        }
        let timeout_ns = self.config.connect_timeout.as_nanos() as u64;
        let timed_out = code == TIMED_OUT.code && self.now_ns() >= begun_ns + timeout_ns;
        let right = match answer {
            Answer::Refuses { .. } | Answer::Itself => code == REFUSED.code || timed_out,
            Answer::Unreachable => code == UNREACHABLE.code || timed_out,
            Answer::Silent => timed_out,
            // These take far less, unless the caller has not waited for long.
            Answer::Accepts { .. } | Answer::Busy { .. } => timed_out && self.away_ns > 0,
        };
        self.check(Oracle::Order, right, || format!("failed with {code} after {answer:?}"))
    }
}
