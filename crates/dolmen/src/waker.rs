//! The two handles that cross threads: [`Waker`] and [`Poster`].

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::kernel::mailbox::Mailbox;
use crate::token::Token;

/// Makes a [`wait`](crate::Reactor::wait) return, from any thread.
///
/// A wake is sticky: one that comes while no wait is in progress ends the next wait. Wakes are coalesced: any number of
/// them before the next wait returns is one [`Woken`](crate::Event::Woken) event. Waking a reactor that is gone does
/// nothing.
///
/// ```
/// # use dolmen::{Event, Events, Reactor, Token};
/// # use std::io::{Read, Write};
/// # use std::net::{TcpListener, TcpStream};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// let waker = reactor.waker();
/// waker.wake();
/// waker.wake();
/// assert_eq!(reactor.wait(&mut events, None)?, 1, "both are one event");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Waker {
    mailbox: Arc<Mailbox>,
}

/// Sends small messages into a reactor, from any thread.
///
/// Each post arrives as one [`Posted`](crate::Event::Posted) event; none is merged or lost, and those of one poster
/// (and of one thread) arrive in order.
///
/// ```
/// # use dolmen::{Event, Events, Reactor, Token};
/// # use std::io::{Read, Write};
/// # use std::net::{TcpListener, TcpStream};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// const RESULT: Token = Token(1);
/// let poster = reactor.poster();
/// let worker = std::thread::spawn(move || {
///     let sum = (1..=100).sum();
///     poster.post(sum, RESULT)
/// });
/// reactor.wait(&mut events, None)?;
/// assert!(matches!(events.drain().next(), Some(Event::Posted { token: RESULT, value: 5050, .. })));
/// worker.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Poster {
    mailbox: Arc<Mailbox>,
}

impl Waker {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Waker {
        Waker { mailbox }
    }

    /// Ends the wait that is in progress, or else the next one.
    ///
    /// A system that is out of memory may be unable to end the wait that is in progress. The waker tries a hundred
    /// times, and [`Stats::signals_failed`](crate::Stats::signals_failed) counts the failures; after that the wake is
    /// delivered when the wait ends for another reason, such as the next wake or post.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let waker = reactor.waker();
    /// let thread = std::thread::spawn(move || waker.wake());
    /// reactor.wait(&mut events, None)?;
    /// # thread.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wake(&self) {
        self.mailbox.wake();
    }
}

impl Poster {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Poster {
        Poster { mailbox }
    }

    /// Sends `value` and `token`.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # use dolmen::ErrorKind;
    /// let poster = reactor.poster();
    /// drop(reactor);
    /// let refused = poster.post(1, Token(0)).unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::ReactorGone);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::PostsFull`](crate::ErrorKind::PostsFull) while [`post_capacity`](crate::Builder::post_capacity) posts wait to be collected;
    /// * [`ErrorKind::ReactorGone`](crate::ErrorKind::ReactorGone) once the reactor has been dropped;
    /// * [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted), or [`ErrorKind::Os`](crate::ErrorKind::Os) with another reason, when the system cannot wake the reactor.
    ///
    /// Never otherwise. In each case the post was not taken, and the caller may send it again.
    pub fn post(&self, value: u64, token: Token) -> Result<(), Error> {
        const ACTION: &str = "post to the reactor";
        let refused = |refused| Error::from_refused(refused, ACTION, None, self.mailbox.capacity());
        self.mailbox.post(value, token).map_err(refused)
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").finish_non_exhaustive()
    }
}
