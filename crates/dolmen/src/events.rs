//! The result of a wait: [`Events`], and each [`Event`] in it.
//!
//! `event` has the events as the caller sees them, `of_record` makes them of what the engine stores.

use std::fmt;
use std::iter::FusedIterator;
use std::net::TcpStream;

use crate::record::{Batch, Record, Records};

mod event;
mod of_record;

pub use event::Event;

/// The events of one [`wait`](crate::Reactor::wait), with their bytes.
///
/// Make one and pass it to every wait. The bytes of its events stay where they are, unshared, until it is cleared,
/// dropped or passed to the next wait; the borrow checker enforces that. It borrows nothing from the reactor: while
/// going through the events, send, close, add and remove as you like.
///
/// ```compile_fail,E0499
/// # let mut reactor = dolmen::Reactor::new()?;
/// # let mut events = dolmen::Events::with_capacity(128);
/// let event = events.drain().next();
/// reactor.wait(&mut events, None)?; // The event's bytes would be overwritten.
/// println!("{event:?}");
/// # Ok::<(), dolmen::Error>(())
/// ```
pub struct Events {
    batch: Batch<TcpStream>,
}

impl Events {
    /// Room for up to `capacity` events for each wait (at least one, at most 65 536).
    ///
    /// A wait never returns more; what did not fit comes first in the next one.
    ///
    /// ```
    /// # use dolmen::Events;
    /// let events = Events::with_capacity(128);
    /// assert_eq!((events.capacity(), events.len()), (128, 0));
    /// ```
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Events {
        Events { batch: Batch::with_capacity(capacity) }
    }

    /// How many events one wait may return.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.batch.capacity()
    }

    /// How many events the last wait has returned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether the last wait has returned none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Hands out each event, once and in order. `for event in &mut events` does the same.
    ///
    /// Events of a registration that was removed after the wait are left out. Stopping half-way is fine: a later
    /// `drain` continues where this one ended. The bytes stay valid until the events are cleared, dropped or passed to
    /// the next wait.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// reactor.waker().wake();
    /// reactor.wait(&mut events, None)?;
    /// assert!(matches!(events.drain().next(), Some(Event::Woken)));
    /// assert!(events.drain().next().is_none(), "each event is handed out once");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&mut self) -> Drain<'_> {
        Drain { records: self.batch.drain() }
    }

    /// Discards the events and returns their buffers to the reactor. Closes the streams that were not taken.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// reactor.waker().wake();
    /// reactor.wait(&mut events, None)?;
    /// events.clear();
    /// assert!(events.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&mut self) {
        self.batch.clear();
    }

    /// What the engine fills.
    pub(crate) fn batch(&mut self) -> &mut Batch<TcpStream> {
        &mut self.batch
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

impl<'a> IntoIterator for &'a mut Events {
    type Item = Event<'a>;
    type IntoIter = Drain<'a>;

    fn into_iter(self) -> Drain<'a> {
        self.drain()
    }
}

/// Hands out events; see [`Events::drain`].
///
/// ```
/// # use dolmen::{Event, Events, Reactor, Token};
/// # use std::io::{Read, Write};
/// # use std::net::{TcpListener, TcpStream};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// reactor.wait(&mut events, Some(std::time::Duration::ZERO))?;
/// let received = events.drain().filter(|event| matches!(event, Event::Received { .. })).count();
/// assert_eq!(received, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "an event is handed out when the iterator reaches it"]
pub struct Drain<'a> {
    records: Records<'a, TcpStream>,
}

impl<'a> Iterator for Drain<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        // Most events, without the copy that a call would return.
        match self.records.next()? {
            Record::Received { conn, token, buffer } => {
                Some(Event::Received { conn: *conn, token: *token, data: buffer.as_slice() })
            }
            other => Event::of(other).or_else(|| self.records.find_map(Event::of)),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }
}

impl FusedIterator for Drain<'_> {}
