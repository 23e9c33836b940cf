//! The users who are present, in the order of their arrival, and the order in which they get their turns.

use std::collections::{HashMap, VecDeque};

use crate::user::User;
use crate::world::UserId;

/// The users who were let in and have not departed.
#[derive(Debug, Default)]
pub(super) struct Users {
    by_id: HashMap<UserId, User>,
    /// In the order of their arrival, which is the order of their ids.
    roster: Vec<UserId>,
    /// The users that get a turn, in this order.
    queue: VecDeque<UserId>,
}

impl Users {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// How many are logged on, or need no name.
    pub(super) fn logged_on(&self) -> usize {
        self.by_id.values().filter(|user| user.limits.is_logged_on()).count()
    }

    /// In the order of their arrival.
    pub(super) fn roster(&self) -> &[UserId] {
        &self.roster
    }

    pub(super) fn get(&self, id: UserId) -> Option<&User> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: UserId) -> Option<&mut User> {
        self.by_id.get_mut(&id)
    }

    /// Adds the user who has arrived last.
    pub(super) fn insert(&mut self, id: UserId, user: User) {
        self.by_id.insert(id, user);
        self.roster.push(id);
    }

    pub(super) fn remove(&mut self, id: UserId) -> Option<User> {
        let user = self.by_id.remove(&id)?;
        if let Ok(place) = self.roster.binary_search(&id) {
            self.roster.remove(place);
        }
        Some(user)
    }

    /// Puts a user with something to do into the queue, once.
    pub(super) fn enqueue(&mut self, id: UserId) {
        let Some(user) = self.by_id.get_mut(&id) else { return };
        if !user.in_queue && user.wants_turn() {
            user.in_queue = true;
            self.queue.push_back(id);
        }
    }

    /// Puts the first `count` of the queue behind all others.
    pub(super) fn move_back(&mut self, count: usize) {
        self.queue.rotate_left(count);
    }

    /// How many wait for a turn, including those who have departed since.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Takes the next user out of the queue. `None` for one who has departed.
    pub(super) fn next_turn(&mut self) -> Option<(UserId, &mut User)> {
        let id = self.queue.pop_front()?;
        let user = self.by_id.get_mut(&id)?;
        user.in_queue = false;
        Some((id, user))
    }
}
