//! [`Codec`]: one connection's protocol, and [`Link`]: what it can do.

use std::fmt;
use std::net::TcpStream;
use std::time::Instant;

use super::notice::{Notice, Outgoing};
use crate::shared_bytes::SharedBytes;
use crate::token::LinkId;

/// One connection's side of a protocol: bytes in and out on the thread of a member, messages and replies on the game's.
///
/// A codec is made on the game's thread, moves to its member with its connection, and stays there until it is dropped. It
/// never blocks: while it works, the other connections of its member wait.
///
/// Everything it does goes through the [`Link`] that it is given: [`send`](Link::send) bytes to the peer,
/// [`deliver`](Link::deliver) messages to the game, [`close`](Link::close) the connection.
///
/// A codec that panics ends its member, and with it all connections of that member; see
/// [`CrewEvent::MemberFailed`](crate::CrewEvent::MemberFailed).
///
/// ```
/// use dolmen::{Codec, Link};
///
/// /// Lines in capitals.
/// #[derive(Default)]
/// struct Capitals {
///     line: Vec<u8>,
/// }
///
/// impl Codec for Capitals {
///     type Message = String;
///     type Reply = String;
///     type Shared = ();
///
///     fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
///         for &byte in data {
///             match byte {
///                 b'\n' => link.deliver(String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned()),
///                 _ if self.line.len() == 1024 => return link.close(),
///                 _ => self.line.push(byte.to_ascii_uppercase()),
///             }
///         }
///     }
///
///     fn send(&mut self, reply: String, link: &mut Link<'_, Self>) {
///         link.send(reply.as_bytes());
///         link.send(b"\n");
///     }
/// }
/// ```
pub trait Codec: Sized + Send + 'static {
    /// What the game gets from this connection.
    type Message: Send + 'static;

    /// What the game sends to this connection.
    type Reply: Send + 'static;

    /// What all codecs of one member share, such as texts that are encoded once for many. Each member makes its own, on its
    /// own thread. `()` for nothing.
    type Shared: Default + 'static;

    /// The connection is registered.
    fn opened(&mut self, link: &mut Link<'_, Self>) {
        let _ = link;
    }

    /// Bytes have arrived, in their order. They are divided in any way.
    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>);

    /// The peer will send nothing more. By default the connection is closed, after everything that it has sent; a codec that
    /// does not close it here goes on sending.
    fn end_of_stream(&mut self, link: &mut Link<'_, Self>) {
        link.close();
    }

    /// What had found no room (see [`Link::send`]) has been sent, and no reply waits. For a codec that sends by itself.
    fn drained(&mut self, link: &mut Link<'_, Self>) {
        let _ = link;
    }

    /// The connection has ended, and not because this codec or the game has closed it. What has arrived and was not
    /// delivered may be delivered now; bytes are sent no more.
    fn closed(&mut self, link: &mut Link<'_, Self>) {
        let _ = link;
    }

    /// The game sends this. Replies come in the order in which they were sent.
    fn send(&mut self, reply: Self::Reply, link: &mut Link<'_, Self>);

    /// The member has handled all that it has found, of this connection some, and all replies of the game's round have come; or
    /// another call has closed the connection. For what is to be sent once, after several replies: a prompt, or what a
    /// compressor holds back.
    fn flush(&mut self, link: &mut Link<'_, Self>) {
        let _ = link;
    }

    /// When [`expired`](Codec::expired) is to be called: not earlier, and as soon as the member can. Asked after each of the
    /// other calls; a change in between counts from the next one.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline has passed. If there is still one that has, this is called again after 10 ms.
    fn expired(&mut self, link: &mut Link<'_, Self>) {
        let _ = link;
    }

    /// How much a reply counts towards [`CrewBuilder::reply_limit`](crate::CrewBuilder::reply_limit): 1, or for example its
    /// length. Asked once, on the game's thread; 0 counts as 1.
    fn weight(reply: &Self::Reply) -> usize {
        let _ = reply;
        1
    }
}

/// What a connection is to do next, as its codec wishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wish {
    #[default]
    Stay,
    Close,
    Abort,
}

/// The connection, as the engine that has it sees it.
pub(super) trait Wire {
    fn stream(&mut self) -> Option<&TcpStream>;
    /// Returns how many of the bytes found room: all of them where there is no connection any more that would keep the rest.
    fn send(&mut self, bytes: &[u8]) -> usize;
    fn send_shared(&mut self, bytes: &SharedBytes) -> usize;
    fn queued_bytes(&self) -> usize;
}

/// Bytes for which the reactor's queue has no room. They are sent before anything else.
#[derive(Default)]
pub(super) struct Unsent {
    pub(super) bytes: Vec<u8>,
    /// How many of them have been passed on.
    pub(super) passed: usize,
}

impl Unsent {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.passed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A codec's connection, for the time of one call.
pub struct Link<'a, C: Codec> {
    pub(super) id: LinkId,
    pub(super) now: Instant,
    pub(super) wire: &'a mut dyn Wire,
    pub(super) unsent: &'a mut Unsent,
    pub(super) outgoing: &'a mut Outgoing<C>,
    pub(super) shared: &'a mut C::Shared,
    pub(super) wish: &'a mut Wish,
    /// Whether the codec wants to get bytes.
    pub(super) reads: &'a mut bool,
}

impl<C: Codec> Link<'_, C> {
    /// Sends bytes to the peer, after those sent before. What the reactor's queue, up to its
    /// [high-water mark](crate::Builder::high_water_mark), has no room for is kept beside it: the link is
    /// [blocked](Link::is_blocked). Until that has been sent the codec gets no further reply, and nothing more is read from
    /// the peer. What one wait has brought already is still handed over, and other calls come as always: a codec that sends
    /// by itself, such as at a deadline, has to stop while the link is blocked. What it sends all the same is kept without a
    /// limit.
    pub fn send(&mut self, bytes: &[u8]) {
        let passed = if self.unsent.is_empty() { self.wire.send(bytes) } else { 0 };
        self.unsent.bytes.extend_from_slice(&bytes[passed..]);
    }

    /// The same of bytes that are sent to many: they are not copied, unless there is no room for them.
    pub fn send_shared(&mut self, bytes: &SharedBytes) {
        let passed = if self.unsent.is_empty() { self.wire.send_shared(bytes) } else { 0 };
        self.unsent.bytes.extend_from_slice(&bytes[passed..]);
    }

    /// Delivers a message to the game, behind those delivered before. If the game does not take its messages, nothing more
    /// is read from this connection until it does. A codec that delivers without being read from, such as at each deadline,
    /// has no such limit.
    pub fn deliver(&mut self, message: C::Message) {
        self.outgoing.push(Notice::Message(self.id, message));
    }

    /// Closes the connection when everything has been sent. The codec gets no further call, except for a
    /// [`flush`](Codec::flush) of what it holds back. What this call still sends and delivers counts as before.
    pub fn close(&mut self) {
        if *self.wish == Wish::Stay {
            *self.wish = Wish::Close;
        }
    }

    /// Resets the connection. The codec gets no further call.
    pub fn abort(&mut self) {
        *self.wish = Wish::Abort;
    }

    /// Stops reading from the peer, or reads again: for a codec that has enough for now. Bytes that have been read already
    /// still come.
    pub fn set_reading(&mut self, on: bool) {
        *self.reads = on;
    }

    /// The connection's socket, for options that a reactor has no call for; see [`Reactor::stream`](crate::Reactor::stream).
    /// `None` for a connection that has ended.
    pub fn stream(&mut self) -> Option<&TcpStream> {
        self.wire.stream()
    }

    /// Whether bytes wait for which the reactor's queue has no room. [`Codec::drained`] comes when they have been sent.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// How many bytes wait to be sent.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.wire.queued_bytes() + self.unsent.len()
    }

    /// What the codecs of this member share.
    pub fn shared(&mut self) -> &mut C::Shared {
        self.shared
    }

    /// The time at which the member began to handle what it has found.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The connection's name on the game's thread.
    #[must_use]
    pub fn id(&self) -> LinkId {
        self.id
    }
}

impl<C: Codec> fmt::Debug for Link<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("id", &self.id).field("queued_bytes", &self.queued_bytes()).finish()
    }
}
