//! Connections without a user: their last output is being sent.
//!
//! Their number is bounded, and that of refused newcomers among them to half of it: a flood of those must not take the
//! places of players who leave.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use dolmen::ConnId;

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
    pub conn: ConnId,
    pub peer: SocketAddr,
}

/// All of them, in the order of their arrival, which is roughly the order of their departure.
#[derive(Debug, Default)]
pub(super) struct Departing {
    by_id: BTreeMap<UserId, Leaving>,
    refused: BTreeSet<UserId>,
}

impl Departing {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&UserId, &Leaving)> {
        self.by_id.iter()
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
        self.by_id.insert(id, leaving);
    }

    pub(super) fn insert_refused(&mut self, id: UserId, leaving: Leaving) {
        self.refused.insert(id);
        self.by_id.insert(id, leaving);
    }

    /// One that is closing is that of a newcomer who was refused after all.
    pub(super) fn mark_refused(&mut self, id: UserId) {
        if self.by_id.contains_key(&id) {
            self.refused.insert(id);
        }
    }

    pub(super) fn remove(&mut self, id: UserId) -> Option<Leaving> {
        self.refused.remove(&id);
        self.by_id.remove(&id)
    }

    /// Takes out the connection that has been closing for the longest time.
    pub(super) fn take_oldest(&mut self) -> Option<(UserId, Leaving)> {
        let (&id, _) = self.by_id.first_key_value()?;
        self.remove(id).map(|leaving| (id, leaving))
    }

    /// The same, for the place of a refused newcomer: it is that of another one, if there is one.
    pub(super) fn take_oldest_refused(&mut self) -> Option<(UserId, Leaving)> {
        match self.refused.first() {
            Some(&id) => self.remove(id).map(|leaving| (id, leaving)),
            None => self.take_oldest(),
        }
    }
}
