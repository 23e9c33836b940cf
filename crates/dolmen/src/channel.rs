//! Values of any type from other threads: [`Sender`] and [`Inbox`], the two ends of a channel.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::kernel::mailbox::{Channel, Mailbox};
use crate::token::Token;

const FULL_ADVICE: &str = "try again when the inbox was drained, or make the channel with more room";

/// Sends values into a channel of a reactor, from any thread.
///
/// Made by [`Reactor::channel`](crate::Reactor::channel). Clone it for each thread. The values of one sender (and of one
/// thread) arrive in order. When the last clone is dropped, the channel *ends*, and the reactor reports that as well.
///
/// ```
/// # use dolmen::{Event, Events, Reactor, Token};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// let (sender, mut inbox) = reactor.channel::<String>(100, Token(1));
/// for name in ["ada", "grace"] {
///     let sender = sender.clone();
///     std::thread::spawn(move || sender.send(format!("a report by {name}")));
/// }
/// drop(sender);
/// let mut reports = Vec::new();
/// while !inbox.is_closed() {
///     reactor.wait(&mut events, None)?;
///     reports.extend(inbox.drain());
/// }
/// assert_eq!(reports.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Forking
///
/// After a fork(2) a value belongs to the process that sent it, and a child begins with an empty inbox. In the child a
/// sender that another thread of the parent had counts, although no one can use or drop it there: such a channel does not
/// end in the child. An end from before the fork is reported in the parent only; in the child
/// [`is_closed`](Inbox::is_closed) says so.
#[must_use = "the channel ends when its last sender is dropped"]
pub struct Sender<T: Send + 'static> {
    channel: Arc<Channel<T>>,
    /// How many values may wait, for errors.
    capacity: usize,
}

/// Where the values of a channel wait, until the caller takes them out.
///
/// Made by [`Reactor::channel`](crate::Reactor::channel). The caller owns it, and it stays on the reactor's thread, which
/// the compiler enforces. Dropping it drops the values that wait and refuses later ones; no event of it is delivered
/// afterwards, not even one that is already in [`Events`](crate::Events). It may outlive the reactor: what was sent before
/// can still be drained.
///
/// ```
/// # use dolmen::{Event, Events, Reactor, Token};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// let (sender, mut inbox) = reactor.channel(100, Token(1));
/// sender.send(1)?;
/// sender.send(2)?;
/// drop(reactor);
/// assert_eq!(inbox.drain().collect::<Vec<i32>>(), [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail,E0277
/// fn elsewhere<T: Send>(_: T) {}
/// let reactor = dolmen::Reactor::new().unwrap();
/// let (_sender, inbox) = reactor.channel::<u8>(1, dolmen::Token(0));
/// elsewhere(inbox);
/// ```
#[must_use = "values are refused once the inbox is dropped"]
pub struct Inbox<T: Send + 'static> {
    channel: Arc<Channel<T>>,
    /// Neither `Send` nor `Sync`: no other thread may drain it between a report and its handling.
    on_this_thread: PhantomData<*const ()>,
}

/// The two ends of a new channel.
pub(crate) fn channel<T: Send + 'static>(
    mailbox: Arc<Mailbox>,
    capacity: usize,
    token: Token,
) -> (Sender<T>, Inbox<T>) {
    // A channel holds at least one value.
    let capacity = capacity.max(1);
    let channel = Channel::new(mailbox, capacity, token);
    (Sender { channel: Arc::clone(&channel), capacity }, Inbox { channel, on_this_thread: PhantomData })
}

impl<T: Send + 'static> Sender<T> {
    /// Sends a value. It does not block.
    ///
    /// ```
    /// # use dolmen::{ErrorKind, Reactor, Token};
    /// # let reactor = Reactor::new()?;
    /// let (sender, inbox) = reactor.channel(1, Token(1));
    /// sender.send("first")?;
    /// let refused = sender.send("second").unwrap_err();
    /// assert_eq!((refused.error.kind(), refused.value), (ErrorKind::PostsFull, "second"));
    /// drop(inbox);
    /// assert_eq!(sender.send("third").unwrap_err().error.kind(), ErrorKind::InboxGone);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::PostsFull`](crate::ErrorKind::PostsFull) while as many values wait as the channel's capacity allows;
    /// * [`ErrorKind::InboxGone`](crate::ErrorKind::InboxGone) once the inbox has been dropped;
    /// * [`ErrorKind::ReactorGone`](crate::ErrorKind::ReactorGone) once the reactor has been dropped;
    /// * [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted), or [`ErrorKind::Os`](crate::ErrorKind::Os) with another reason, when the system cannot wake the reactor.
    ///
    /// Never otherwise. In each case the value was not taken, and is in the error. A value that was taken is dropped with
    /// the inbox if the caller never drains it.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.channel.send(value).map_err(|(refused, value)| {
            let source = format!("{:?}", self.channel.token());
            let error = Error::from_refused(refused, "send to the inbox of", Some(source), self.capacity);
            let error = match error.kind() {
                ErrorKind::PostsFull => error.advised(FULL_ADVICE),
                _ => error,
            };
            SendError { error, value }
        })
    }
}

impl<T: Send + 'static> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.channel.add_sender();
        Sender { channel: Arc::clone(&self.channel), capacity: self.capacity }
    }
}

impl<T: Send + 'static> Drop for Sender<T> {
    fn drop(&mut self) {
        self.channel.remove_sender();
    }
}

impl<T: Send + 'static> Inbox<T> {
    /// Takes out the values that wait, those of each sender in order. Values that are sent while the drain is in progress
    /// are left for the next one, so a drain ends.
    ///
    /// If values are left when the drain is dropped, or have come in the meantime, the next wait reports the inbox again.
    /// (A drain that is leaked, by [`std::mem::forget`], reports nothing until the next one.)
    ///
    /// Inside [another event loop](crate::Reactor::next_timeout) this is a call like those on the reactor: ask for the
    /// timeout afterwards.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let (sender, mut inbox) = reactor.channel(100, Token(1));
    /// for value in 0..100 {
    ///     sender.send(value)?;
    /// }
    /// reactor.wait(&mut events, None)?;
    /// assert!(matches!(events.drain().next(), Some(Event::Inbox { token: Token(1), .. })));
    /// assert_eq!(inbox.drain().take(60).count(), 60);    // the rest later
    /// reactor.wait(&mut events, None)?;
    /// assert_eq!(inbox.drain().next(), Some(60));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&mut self) -> InboxDrain<'_, T> {
        let left = self.channel.len();
        InboxDrain { inbox: self, left, over: false }
    }

    /// How many values wait at this moment.
    ///
    /// ```
    /// # let reactor = dolmen::Reactor::new()?;
    /// let (sender, inbox) = reactor.channel(100, dolmen::Token(1));
    /// sender.send('a')?;
    /// assert_eq!(inbox.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.channel.len()
    }

    /// Whether no value waits at this moment.
    ///
    /// ```
    /// # let reactor = dolmen::Reactor::new()?;
    /// let (sender, inbox) = reactor.channel::<char>(100, dolmen::Token(1));
    /// assert!(inbox.is_empty());
    /// # drop(sender);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the channel has ended: no sender is left and no value waits. Nothing will ever come.
    ///
    /// ```
    /// # let reactor = dolmen::Reactor::new()?;
    /// let (sender, mut inbox) = reactor.channel(100, dolmen::Token(1));
    /// sender.send('a')?;
    /// drop(sender);
    /// assert!(!inbox.is_closed(), "a value waits");
    /// inbox.drain().for_each(drop);
    /// assert!(inbox.is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }
}

impl<T: Send + 'static> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.channel.close();
    }
}

impl<T: Send + 'static> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("token", &self.channel.token()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("token", &self.channel.token())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Takes values out of an inbox; see [`Inbox::drain`].
///
/// ```
/// # let reactor = dolmen::Reactor::new()?;
/// let (sender, mut inbox) = reactor.channel(100, dolmen::Token(1));
/// sender.send(20)?;
/// sender.send(22)?;
/// assert_eq!(inbox.drain().sum::<u32>(), 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a value is taken out when the iterator reaches it"]
pub struct InboxDrain<'a, T: Send + 'static> {
    inbox: &'a mut Inbox<T>,
    /// How many of the values that waited at the beginning are left at most.
    left: usize,
    over: bool,
}

impl<T: Send + 'static> InboxDrain<'_, T> {
    fn end(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.inbox.channel.drained();
        }
    }
}

impl<T: Send + 'static> Iterator for InboxDrain<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.over {
            return None;
        }
        let value = self.left.checked_sub(1).and_then(|left| {
            self.left = left;
            self.inbox.channel.pop()
        });
        if value.is_none() {
            self.end();
        }
        value
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A sender may withdraw a value when the system cannot wake the reactor.
        (0, Some(if self.over { 0 } else { self.left }))
    }
}

impl<T: Send + 'static> FusedIterator for InboxDrain<'_, T> {}

impl<T: Send + 'static> Drop for InboxDrain<'_, T> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<T: Send + 'static> fmt::Debug for InboxDrain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboxDrain").field("left", &self.left).finish_non_exhaustive()
    }
}

/// A value that could not be sent, returned with the reason.
///
/// ```
/// # use dolmen::{ErrorKind, Reactor, Token};
/// # let reactor = Reactor::new()?;
/// let (sender, _inbox) = reactor.channel(100, Token(1));
/// drop(reactor);
/// let refused = sender.send(vec![1, 2, 3]).unwrap_err();
/// assert_eq!(refused.error.kind(), ErrorKind::ReactorGone);
/// assert_eq!(refused.value, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
pub struct SendError<T> {
    /// The reason.
    pub error: Error,
    /// The value.
    pub value: T,
}

/// Shows the reason, so that values of any type can be sent with `?` and `expect`.
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<T> std::error::Error for SendError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

/// Keeps the reason and drops the value.
impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Error {
        error.error
    }
}

impl<T> From<SendError<T>> for io::Error {
    fn from(error: SendError<T>) -> io::Error {
        error.error.into()
    }
}
