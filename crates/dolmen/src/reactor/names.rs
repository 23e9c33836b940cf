//! The verbs for names.

use std::net::IpAddr;

use super::Reactor;
use crate::error::Error;
use crate::token::{LookupId, Token};

/// Names.
impl Reactor {
    /// Looks up the addresses of a host, as the system does: in its files and its servers, in its order. A
    /// [`Resolved`](crate::Event::Resolved) event with `token` brings them, each with `port`, or the reason why there are
    /// none.
    ///
    /// An address in text (`192.0.2.7`, `2001:db8::7`, with brackets around it or the number of a scope behind it) needs
    /// no look-up: its event comes with the next wait. For names the reactor starts up to two threads when it needs them,
    /// which end after 30 seconds without a look-up. So a name whose servers do not answer delays other names at most,
    /// and nothing else of the reactor.
    ///
    /// The text is a name or an address and nothing else: a port or a scheme in it (`localhost:80`, `http://localhost/`)
    /// makes the look-up fail. Other notations of an address, such as `127.1` or `0x7f000001`, are passed on, and most
    /// systems take them as addresses. A name beyond ASCII is passed on as UTF-8, and not in the form `xn--…`. An address
    /// that the system lists twice is reported twice.
    ///
    /// Not promised: how long a look-up takes, which is the system's setting (set a timer, and
    /// [cancel](Reactor::cancel_lookup)); in which order look-ups end; anything about names that were looked up before, as
    /// the reactor remembers none; whether the system accepts those other notations.
    ///
    /// A look-up cannot be interrupted. If the reactor is dropped while a thread is in one, the drop does not wait: the
    /// thread ends with the look-up, and its result is dropped. After a fork(2) the child begins its look-ups anew. If
    /// another thread was in the C library's resolver at the fork, that library may hold its own lock in the child, and the
    /// child's look-ups then never end: not promised either.
    ///
    /// Manual page: getaddrinfo(3).
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let lookup = reactor.resolve("localhost", 4000, Token(5))?;
    /// reactor.wait(&mut events, None)?;
    /// for event in &mut events {
    ///     if let Event::Resolved { lookup: of, token: Token(5), result, .. } = event {
    ///         assert_eq!(of, lookup);
    ///         assert!(result?.iter().all(|address| address.ip().is_loopback() && address.port() == 4000));
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidName`](crate::ErrorKind::InvalidName) for a text that is empty, is longer than 253 bytes (a dot
    /// at the end does not count), has white space at either end or a NUL in it, or has brackets around anything but an
    /// IPv6 address; [`LookupsFull`](crate::ErrorKind::LookupsFull) while 1,024 look-ups are not reported,
    /// [`Exhausted`](crate::ErrorKind::Exhausted) if no thread can be started. No event follows any of them.
    pub fn resolve(&mut self, host: &str, port: u16, token: Token) -> Result<LookupId, Error> {
        self.engine.resolve(host, port, token)
    }

    /// Looks up the name of an address. A [`Named`](crate::Event::Named) event with `token` brings it, or the reason why
    /// there is none.
    ///
    /// Only a name that leads back to the address is returned: the owner of an address can record any name for it. An
    /// address without such a name is an error of the kind [`NotFound`](std::io::ErrorKind::NotFound); its text is never
    /// returned as a name. The name contains no blanks and no control characters. As for what is not promised, and for
    /// threads, see [`resolve`](Reactor::resolve).
    ///
    /// Manual page: getnameinfo(3). Microsoft Learn: "GetNameInfoW".
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// reactor.lookup_name("127.0.0.1".parse()?, Token(5))?;
    /// reactor.wait(&mut events, None)?;
    /// if let Some(Event::Named { token: Token(5), result, .. }) = events.drain().next() {
    ///     match result {
    ///         Ok(name) => println!("a player from {name}"),
    ///         Err(error) => println!("a player from 127.0.0.1 ({error})"),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`resolve`](Reactor::resolve); any address is valid.
    pub fn lookup_name(&mut self, ip: IpAddr, token: Token) -> Result<LookupId, Error> {
        self.engine.lookup_name(ip, token)
    }

    /// Forgets a look-up: none of its events is delivered from here on, not even one that is already in
    /// [`Events`](crate::Events). Returns false if it was not in progress any more. A thread that is in it stays occupied
    /// until the system has an answer.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let lookup = reactor.resolve("127.0.0.1", 4000, Token(5))?;
    /// reactor.wait(&mut events, None)?;
    /// assert!(!reactor.cancel_lookup(lookup), "it has ended");
    /// assert_eq!(events.drain().count(), 0, "its event is taken back all the same");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel_lookup(&mut self, lookup: LookupId) -> bool {
        self.engine.cancel_lookup(lookup)
    }
}
