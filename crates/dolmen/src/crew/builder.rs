//! [`CrewBuilder`]: the settings of a crew.

use std::time::Duration;

use super::Crew;
use super::codec::Codec;
use super::ledger::MAX_WEIGHT;
use super::member::Limits;
use crate::error::Error;
use crate::reactor::{Builder, Reactor};
use crate::token::Token;

/// Settings for a [`Crew`]. Each method states its default.
///
/// ```
/// # use dolmen::{Codec, Crew, CrewBuilder, Link, Reactor, Token};
/// # struct Silent;
/// # impl Codec for Silent {
/// #     type Message = ();
/// #     type Reply = ();
/// #     type Shared = ();
/// #     fn received(&mut self, _: &[u8], _: &mut Link<'_, Self>) {}
/// #     fn send(&mut self, _: (), _: &mut Link<'_, Self>) {}
/// # }
/// let reactor = Reactor::new()?;
/// let members = Reactor::builder().high_water_mark(64 * 1024);
/// let crew: Crew<Silent> = CrewBuilder::new(Token(1)).threads(2).reactors(members).build(&reactor)?;
/// assert_eq!(crew.threads(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes no crew until `build` is called"]
pub struct CrewBuilder {
    pub(super) token: Token,
    pub(super) threads: usize,
    pub(super) limits: Limits,
    pub(super) reactors: Builder,
}

impl CrewBuilder {
    /// The default settings. The crew's events of the game's reactor carry `token`: use it for nothing else there.
    pub fn new(token: Token) -> CrewBuilder {
        let limits = Limits { notices: 4096, replies: 1024, linger: Duration::from_secs(5) };
        CrewBuilder { token, threads: 0, limits, reactors: Reactor::builder() }
    }

    /// How many threads serve connections. 0: none, and the codecs run on the game's thread.
    pub fn threads(mut self, count: usize) -> CrewBuilder {
        self.threads = count;
        self
    }

    /// How many messages of one member may wait for the game. Beyond it, connections that deliver more are not read. 4096; at
    /// least 1. Whatever one receive has brought is kept all the same, once for each connection.
    pub fn message_capacity(mut self, messages: usize) -> CrewBuilder {
        self.limits.notices = messages.max(1);
        self
    }

    /// How much may be on its way to the codec of one connection before [`Crew::send`] refuses, as counted by
    /// [`Codec::weight`]. 1024; at least 1. One reply that is heavier is taken when nothing else is on its way.
    pub fn reply_limit(mut self, weight: usize) -> CrewBuilder {
        self.limits.replies = (weight as u64).clamp(1, MAX_WEIGHT);
        self
    }

    /// How long the end of a connection may take whose peer does not read, before it is reset. 5 seconds. It holds for all
    /// connections of the crew, whatever the settings of the [reactors](CrewBuilder::reactors) say.
    pub fn linger(mut self, time: Duration) -> CrewBuilder {
        self.limits.linger = time;
        self.reactors = self.reactors.linger(time);
        self
    }

    /// The settings of the members' reactors. The default settings. A codec on the game's thread has the game's reactor.
    pub fn reactors(mut self, settings: Builder) -> CrewBuilder {
        self.reactors = settings.linger(self.limits.linger);
        self
    }

    /// Makes the crew, for a game that waits with this reactor.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted) or another error that the operating system reports for a thread
    /// or its reactor. Then no thread is left.
    pub fn build<C: Codec>(&self, reactor: &Reactor) -> Result<Crew<C>, Error> {
        Crew::start(self, reactor)
    }
}
