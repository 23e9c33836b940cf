//! The caller's [`Token`] and the ids that the reactor issues.

use std::fmt;
use std::num::NonZeroU32;

/// A number that the caller chooses, that belongs to a registration, and that each of its events carries.
///
/// The reactor never looks at it, and any number of registrations may share one.
///
/// ```
/// # use dolmen::Token;
/// const PLAYERS: Token = Token(1);
/// let third = Token::from(3);
/// assert_eq!((PLAYERS.0, usize::from(third)), (1, 3));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub usize);

impl From<usize> for Token {
    fn from(number: usize) -> Token {
        Token(number)
    }
}

impl From<Token> for usize {
    fn from(token: Token) -> usize {
        token.0
    }
}

/// Identifies a registration: a table slot, and how many registrations that slot has held.
///
/// The operating system gives a new socket the number of the one closed last. A slot with a generation cannot be
/// confused in that way [hc05, p07].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) slot: u32,
    pub(crate) generation: NonZeroU32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// It is valid until that registration ends. A later registration of the same reactor (or crew) never gets an equal
        /// id, so an id that has outlived its registration is refused and never names another one.
        ///
        /// Ids belong to the reactor (or crew) that has issued them. Those of two may be equal, also if one is dropped before
        /// the other is made: passed to the wrong one, an id names whatever has an equal id there.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) Key);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    )*};
}

ids! {
    /// Names a connection.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// let mut players: HashMap<dolmen::ConnId, String> = HashMap::new();
    /// ```
    ConnId;
    /// Names a connection of a [`Crew`](crate::Crew), which issues it in place of a reactor.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// let mut players: HashMap<dolmen::LinkId, String> = HashMap::new();
    /// ```
    LinkId;
    /// Names a listener that delivers accepted streams.
    ///
    /// ```
    /// let mut ports: Vec<(dolmen::ListenerId, &str)> = Vec::new();
    /// ```
    ListenerId;
    /// Names a watched handle or a readiness listener.
    ///
    /// ```
    /// let mut child: Option<dolmen::WatchId> = None;
    /// ```
    WatchId;
    /// Names a datagram socket.
    ///
    /// ```
    /// struct Discovery {
    ///     announcements: dolmen::UdpId,
    /// }
    /// ```
    UdpId;
    /// Names a timer.
    ///
    /// ```
    /// struct Player {
    ///     silence: dolmen::TimerId,
    /// }
    /// ```
    TimerId;
    /// Names a look-up of a host's addresses, or of an address's name.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// let mut asked_by: HashMap<dolmen::LookupId, dolmen::ConnId> = HashMap::new();
    /// ```
    LookupId;
    /// Names a read, a write or a send of a file.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// let mut pages_for: HashMap<dolmen::FileOpId, dolmen::ConnId> = HashMap::new();
    /// ```
    FileOpId;
    /// Names a borrowed socket that is polled.
    PollId;
}
