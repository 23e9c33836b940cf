//! What the C library builds on: sockets that the reactor waits for and does not own. Not a public interface.

use std::mem::size_of;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::engine::Engine;
use crate::error::Error;
use crate::events::Events;
use crate::kernel::Native;
use crate::reactor::Reactor;
use crate::token::{ConnId, Key, TimerId, Token};

pub use crate::kernel::readiness::{BorrowedSocket, Readiness};
pub use crate::token::PollId;

/// The verbs for borrowed sockets.
pub struct Raw<'a> {
    engine: &'a mut Engine<Native>,
}

impl Reactor {
    /// The verbs for borrowed sockets.
    pub fn raw(&mut self) -> Raw<'_> {
        Raw { engine: &mut self.engine }
    }
}

impl Raw<'_> {
    /// Tells by `Polled` events when a socket is ready. With `once`, the interest ends with each event.
    pub fn add_poll(
        &mut self,
        socket: BorrowedSocket,
        interest: Readiness,
        once: bool,
        token: Token,
    ) -> Result<PollId, Error> {
        self.engine.add_poll(socket, interest, once, token)
    }

    /// Changes what a poll is for, at once.
    pub fn set_interest(&mut self, poll: PollId, interest: Readiness) -> Result<(), Error> {
        self.engine.set_interest(poll, interest)
    }

    /// Ends a poll. When this returns, the socket may be closed.
    pub fn remove_poll(&mut self, poll: PollId) -> bool {
        self.engine.remove_poll(poll)
    }

    /// Registers a connected socket that is never closed; see `engine/connection/borrowed.rs`.
    pub fn adopt(
        &mut self,
        socket: BorrowedSocket,
        again: bool,
        receive: bool,
        token: Token,
    ) -> Result<ConnId, Error> {
        self.engine.adopt(socket, again, receive, token)
    }

    /// Asks for the next bytes of an adopted connection.
    pub fn post_receive(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.post_receive(conn)
    }

    /// Sends on an adopted connection; a `Written` event follows.
    pub fn post_send(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), Error> {
        self.engine.post_send(conn, bytes)
    }

    /// A timer with a first delay of its own.
    pub fn interval_after(&mut self, token: Token, delay: Duration, period: Duration) -> TimerId {
        self.engine.interval_after(token, delay, period)
    }

    /// Lets go of an adopted connection. When this returns, the socket may be closed.
    pub fn release(&mut self, conn: ConnId) -> bool {
        self.engine.release(conn)
    }
}

impl Events {
    /// Changes how many events the next wait may bring.
    pub fn limit(&mut self, capacity: usize) {
        self.set_capacity(capacity);
    }
}

impl TimerId {
    /// The id as a number, which is never 0.
    pub fn to_bits(self) -> u64 {
        u64::from(self.0.generation.get()) << u32::BITS | u64::from(self.0.slot)
    }

    /// The id that a number stands for.
    pub fn from_bits(bits: u64) -> Option<TimerId> {
        const { assert!(size_of::<Key>() == size_of::<u64>()) };
        let generation = NonZeroU32::new((bits >> u32::BITS) as u32)?;
        Some(TimerId(Key { slot: bits as u32, generation }))
    }
}
