//! Output: what the server wants an endpoint to send. The [endpoint](crate::endpoint) decides what becomes of it when it is
//! not read.

use std::sync::Arc;

use dolmen::ErrorKind;

use super::{LogKind, Server};
use crate::endpoint::{Order, Share};
use crate::user::about;
use crate::world::{Departure, UserId, World};

impl<W: World> Server<W> {
    /// Shows a text to a user. The world may keep it for further use, or show it to others.
    pub(super) fn send(&mut self, id: UserId, text: Arc<str>) {
        let is_shared = Arc::strong_count(&text) > 1;
        let (call, share) = (self.call, self.share_of(id));
        self.order(id, Order::Text { text, call, share, is_shared });
    }

    /// Sends a message of GMCP.
    pub(super) fn send_gmcp(&mut self, id: UserId, package: Arc<str>, data: Arc<str>) {
        let (call, share) = (self.call, self.share_of(id));
        self.order(id, Order::Gmcp { package, data, call, share });
    }

    /// Asks a user for a line.
    pub(super) fn ask(&mut self, id: UserId, prompt: Arc<str>, is_hidden: bool) {
        let (call, share) = (self.call, self.share_of_protocols(id));
        self.order(id, Order::Ask { prompt, is_hidden, call, share });
    }

    /// Whose room the output takes that the world has for a user now.
    pub(super) fn share_of(&self, id: UserId) -> Share {
        if self.answering == Some(id) {
            return Share::Answer;
        }
        let is_release = self.users.get(id).is_some_and(|user| user.released_in == self.call);
        if is_release { Share::Release } else { Share::Others }
    }

    /// The same, of what is not left out.
    pub(super) fn share_of_protocols(&self, id: UserId) -> Share {
        if self.answering == Some(id) { Share::Answer } else { Share::Others }
    }

    /// Sends an order to a user's endpoint. One whose orders wait for a thread that is too busy is treated like one who
    /// does not read.
    pub(super) fn order(&mut self, id: UserId, order: Order) {
        let Some(user) = self.users.get(id) else { return };
        match self.crew.send(&mut self.reactor, user.link, order) {
            Err(refused) if refused.error.kind() == ErrorKind::QueueFull => match refused.value {
                Order::Text { share: Share::Others, .. } => {
                    self.traffic.left_out();
                    if let Some(user) = self.users.get_mut(id) {
                        user.unsent_texts += 1;
                    }
                }
                Order::Gmcp { share: Share::Others, .. } => {}
                _ => self.too_slow(id),
            },
            // Otherwise the connection has ended, and that is reported.
            Ok(()) | Err(_) => {}
        }
    }

    /// There is room for orders again, after some were refused: texts that are missing, or other limits.
    pub(super) fn has_room(&mut self, id: UserId) {
        let Some(user) = self.users.get_mut(id) else { return };
        let texts = std::mem::take(&mut user.unsent_texts);
        self.order(id, Order::Rules(Arc::clone(&self.rules)));
        if texts > 0 {
            self.order(id, Order::Missing(texts));
        }
    }

    pub(super) fn too_slow(&mut self, id: UserId) {
        if self.users.get(id).is_none() {
            return;
        }
        self.status.too_slow += 1;
        self.log_limited(LogKind::TooSlow, id, |user, left_out| {
            about!(warn, user, unlogged = left_out, "output limit reached");
        });
        self.depart(id, Departure::TooSlow);
    }
}
