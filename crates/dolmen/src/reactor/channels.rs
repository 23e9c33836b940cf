//! The verb for channels.

use super::Reactor;
use crate::channel::{self, Inbox, Sender};
use crate::token::Token;

/// Channels.
impl Reactor {
    /// Makes a channel for values of any type from other threads: worker threads, a database, another reactor's thread.
    /// Up to `capacity` values (at least one) wait in the [`Inbox`]; further ones are refused.
    ///
    /// An [`Inbox`](crate::Event::Inbox) event with `token` reports that values wait, once for however many, and not
    /// again before the caller has [drained](Inbox::drain) the inbox. When the last [`Sender`] is dropped, one more event
    /// reports the end, after the last value was taken out; [`Inbox::is_closed`] then returns true.
    ///
    /// A channel has no id and is not removed: drop the inbox. For a number that no one has to wait for, a
    /// [`Poster`](crate::Poster) is enough.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// const REPLIES: Token = Token(3);
    /// let (sender, mut replies) = reactor.channel(1_000, REPLIES);
    /// let worker = std::thread::spawn(move || -> Result<(), dolmen::Error> {
    ///     sender.send(String::from("a long computation"))?;
    ///     sender.send(String::from("and another one"))?;
    ///     Ok(()) // `sender` is dropped here, so the channel ends.
    /// });
    /// let mut lines = Vec::new();
    /// while !replies.is_closed() {
    ///     reactor.wait(&mut events, None)?;
    ///     for event in &mut events {
    ///         if let Event::Inbox { token: REPLIES, .. } = event {
    ///             lines.extend(replies.drain());
    ///         }
    ///     }
    /// }
    /// assert_eq!(lines, ["a long computation", "and another one"]);
    /// worker.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn channel<T: Send + 'static>(&self, capacity: usize, token: Token) -> (Sender<T>, Inbox<T>) {
        channel::channel(self.engine.mailbox(), capacity, token)
    }
}
