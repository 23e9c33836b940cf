//! [`Announcement`]: ends the game's next wait, because the codecs on its thread have something for a round and none is under
//! way.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::kernel::mailbox::{Channel, Mailbox, Taken};
use crate::token::Token;

/// A channel of one value, to the thread that puts it in.
pub(super) struct Announcement {
    channel: Arc<Channel<()>>,
    is_made: bool,
    taken: Taken<()>,
}

impl Announcement {
    /// Reported with this token.
    pub(super) fn new(mailbox: Arc<Mailbox>, token: Token) -> Announcement {
        Announcement { channel: Channel::new(mailbox, 1, token), is_made: false, taken: Taken::default() }
    }

    /// The next wait returns, however long it was to be.
    pub(super) fn make(&mut self) {
        if !std::mem::replace(&mut self.is_made, true) {
            self.channel.put(&mut VecDeque::from([()]), false);
        }
    }

    /// The same, also if it has been reported already, and not answered.
    pub(super) fn make_anew(&mut self) {
        self.answer();
        self.make();
    }

    /// The round that was asked for is here.
    pub(super) fn answer(&mut self) {
        if std::mem::take(&mut self.is_made) {
            self.channel.take(&mut self.taken);
            self.taken.drain().for_each(drop);
        }
    }

    /// Nothing is reported any more.
    pub(super) fn close(&self) {
        self.channel.close();
    }
}
