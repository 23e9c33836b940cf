//! Connections without a user: their last output is being sent.
//!
//! Their number is bounded, and that of refused newcomers among them to half of it: a flood of those must not take the
//! places of players who leave.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use dolmen::LinkId;

use crate::world::UserId;

/// Connections that may be closing at a time while others arrive: those that get the message that the place is full,
/// and those of users who left. When even more connect, the server closes a new connection without care if it is
/// refused. Otherwise it lets the new user in, and resets the connection that has been closing for the longest time.
pub(super) const MAX_CLOSING_CONNECTIONS: usize = 256;

/// Those of refused newcomers.
const MAX_REFUSED_CONNECTIONS: usize = MAX_CLOSING_CONNECTIONS / 2;

/// A connection that is closing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    pub link: LinkId,
    pub peer: SocketAddr,
}

/// All of them, and the order in which they began to close.
#[derive(Debug, Default)]
pub(super) struct Departing {
    by_id: BTreeMap<UserId, (u64, Leaving)>,
    in_order: BTreeMap<u64, UserId>,
    refused: BTreeMap<u64, UserId>,
    /// The number of the next one.
    next: u64,
}

impl Departing {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&UserId, &Leaving)> {
        self.by_id.iter().map(|(id, (_, leaving))| (id, leaving))
    }

    /// Whether another connection has to wait until one has been taken out.
    pub(super) fn is_full(&self) -> bool {
        self.by_id.len() >= MAX_CLOSING_CONNECTIONS
    }

    /// The same, for a refused newcomer.
    pub(super) fn is_full_for_refused(&self) -> bool {
        self.is_full() || self.refused.len() >= MAX_REFUSED_CONNECTIONS
    }

    pub(super) fn insert(&mut self, id: UserId, leaving: Leaving) {
        self.by_id.insert(id, (self.next, leaving));
        self.in_order.insert(self.next, id);
        self.next += 1;
    }

    /// One that is closing is that of a newcomer who was refused. Returns the connection that has to be reset for its
    /// place, if there is none: that of the newcomer who was refused first, which may be the same one. Never that of a
    /// player who leaves.
    pub(super) fn refuse(&mut self, id: UserId) -> Option<(UserId, Leaving)> {
        let &(number, _) = self.by_id.get(&id)?;
        self.refused.insert(number, id);
        let too_many = self.refused.len() > MAX_REFUSED_CONNECTIONS || self.len() > MAX_CLOSING_CONNECTIONS;
        let (_, &oldest) = self.refused.first_key_value().filter(|_| too_many)?;
        self.remove(oldest).map(|leaving| (oldest, leaving))
    }

    pub(super) fn remove(&mut self, id: UserId) -> Option<Leaving> {
        let (number, leaving) = self.by_id.remove(&id)?;
        self.in_order.remove(&number);
        self.refused.remove(&number);
        Some(leaving)
    }

    /// Takes out the connection that has been closing for the longest time.
    pub(super) fn take_oldest(&mut self) -> Option<(UserId, Leaving)> {
        let (_, &id) = self.in_order.first_key_value()?;
        self.remove(id).map(|leaving| (id, leaving))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dolmen::{Codec, Crew, CrewBuilder, Link, Reactor, Token};
    use std::net::{TcpListener, TcpStream};

    struct Silent;

    impl Codec for Silent {
        type Message = ();
        type Reply = ();
        type Shared = ();

        fn received(&mut self, _: &[u8], _: &mut Link<'_, Self>) {}

        fn send(&mut self, (): (), _: &mut Link<'_, Self>) {}
    }

    /// A connection; which one does not matter here.
    fn leaving() -> Leaving {
        let listener = TcpListener::bind("127.0.0.1:0").expect("it opens");
        let peer = listener.local_addr().expect("it is bound");
        let stream = TcpStream::connect(peer).expect("it listens");
        let mut reactor = Reactor::new().expect("a reactor");
        let mut crew: Crew<Silent> = CrewBuilder::new(Token(0)).build(&reactor).expect("no thread");
        Leaving { link: crew.add(&mut reactor, stream, Silent, Token(0)), peer }
    }

    #[test]
    fn who_has_been_closing_for_the_longest_time_is_reset_and_not_who_came_first() {
        let (mut departing, leaving) = (Departing::default(), leaving());
        for id in [7, 3, 9, 1] {
            departing.insert(UserId(id), leaving);
        }
        departing.remove(UserId(3));
        let order: Vec<u64> = std::iter::from_fn(|| departing.take_oldest()).map(|(id, _)| id.0).collect();
        assert_eq!(order, [7, 9, 1]);
        assert!(departing.is_empty() && departing.in_order.is_empty());
    }

    #[test]
    fn a_refused_newcomer_takes_the_place_of_another_or_none() {
        let (mut departing, leaving) = (Departing::default(), leaving());
        let refuse = |departing: &mut Departing, id| {
            departing.insert(UserId(id), leaving);
            departing.refuse(UserId(id)).map(|(reset, _)| reset.0)
        };
        // Numbers in the order of arrival say nothing about that of departure.
        assert_eq!(refuse(&mut departing, 999), None);
        for id in 1..MAX_REFUSED_CONNECTIONS as u64 {
            assert_eq!(refuse(&mut departing, id), None);
        }
        assert!(departing.is_full_for_refused() && !departing.is_full());
        assert_eq!(refuse(&mut departing, 500), Some(999));
        let mut players = Departing::default();
        for id in 0..MAX_CLOSING_CONNECTIONS as u64 {
            players.insert(UserId(id), leaving);
        }
        assert_eq!(refuse(&mut players, 500), Some(500));
        assert_eq!(players.len(), MAX_CLOSING_CONNECTIONS);
        assert_eq!(players.refuse(UserId(501)).map(|(id, _)| id), None, "it has been closed already");
    }
}
