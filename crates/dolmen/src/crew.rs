//! [`Crew`]: several threads for the connections of one game.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use crate::channel::SendError;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::events::Event;
use crate::kernel::Native;
use crate::kernel::fork::Process;
use crate::kernel::mailbox::Mailbox;
use crate::reactor::Reactor;
use crate::token::{LinkId, Token};

mod announcement;
mod builder;
mod codec;
pub(crate) mod counters;
mod deadlines;
pub(crate) mod dispatcher;
mod entry;
mod event;
mod flushes;
pub(crate) mod happening;
mod ledger;
#[cfg(all(test, loom))]
mod loom_tests;
pub(crate) mod member;
pub(crate) mod notice;
pub(crate) mod remote_members;
mod rounds;
pub(crate) mod thread;
#[cfg(all(test, not(loom)))]
mod thread_tests;
mod turn_end;

pub use builder::CrewBuilder;
pub use codec::{Codec, Link};
pub use counters::MemberStats;
use dispatcher::Dispatcher;
pub use event::CrewEvent;
use happening::Happening;
pub use notice::LeaveReason;
use thread::MemberThread;

/// Threads that serve connections for a game on another one.
///
/// The game's thread accepts, and each connection is given to the *member* with the fewest connections, for life. A member
/// is a thread with a reactor of its own, on which a [`Codec`] for each connection turns bytes into messages for the game
/// and the game's replies into bytes: telnet, compression, TLS. So the game's thread does the game's work only. Without
/// threads, which is the default, the same codecs run on the game's thread, and the program is the same.
///
/// ```
/// use dolmen::{Codec, CrewBuilder, CrewEvent, Event, Events, Link, Reactor, Token};
/// # use std::io::{Read, Write};
/// # use std::net::{Shutdown, TcpListener, TcpStream};
///
/// struct Echo;
///
/// impl Codec for Echo {
///     type Message = Vec<u8>;
///     type Reply = Vec<u8>;
///     type Shared = ();
///
///     fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
///         link.deliver(data.to_vec());
///     }
///
///     fn end_of_stream(&mut self, link: &mut Link<'_, Self>) {
///         link.deliver(Vec::new());
///     }
///
///     fn send(&mut self, reply: Vec<u8>, link: &mut Link<'_, Self>) {
///         link.send(&reply);
///     }
/// }
///
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
/// # peer.write_all(b"hello")?;
/// # peer.shutdown(Shutdown::Write)?;
/// let mut reactor = Reactor::new()?;
/// let mut events = Events::with_capacity(128);
/// let mut crew = CrewBuilder::new(Token(1)).threads(2).build(&reactor)?;
/// reactor.listen(listener, Token(0))?;
/// let mut left = false;
/// while !left {
///     reactor.wait(&mut events, None)?;
///     for event in &mut events {
///         let Some(event) = crew.handle(&mut reactor, event) else { continue };
///         if let Event::Accepted { stream, .. } = event {
///             crew.add(&mut reactor, stream, Echo, Token(2));
///         }
///     }
///     while let Some(event) = crew.next_event(&mut reactor) {
///         match event {
///             CrewEvent::Message { link, message, .. } if message.is_empty() => crew.close(&mut reactor, link)?,
///             CrewEvent::Message { link, message, .. } => crew.send(&mut reactor, link, message)?,
///             CrewEvent::Left { .. } => left = true,
///             _ => {}
///         }
///     }
/// }
/// # assert_eq!(std::io::read_to_string(peer)?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What is promised
///
/// * The messages of a connection come in the order in which its codec has delivered them, and its codec gets the replies in
///   the order in which they were sent.
/// * [`CrewEvent::Left`] comes once for each connection, and nothing of it comes later. After [`close`](Crew::close) and
///   [`abort`](Crew::abort) it is the only event of the connection.
/// * Everything is bounded. While the game does not take its messages, members stop reading, and TCP slows the peers down.
///   While a peer does not read, and while one round sends much to one connection, [`send`](Crew::send) is refused.
/// * A codec that panics ends its member only; see [`CrewEvent::MemberFailed`]. On the game's own thread it panics in the
///   game, out of the call that has called the codec: [`add`](Crew::add), [`handle`](Crew::handle), [`send`](Crew::send),
///   [`broadcast`](Crew::broadcast), [`close`](Crew::close), [`next_event`](Crew::next_event) or
///   [`end_round`](Crew::end_round). If the game catches that, [`CrewEvent::Left`] follows; after
///   [`add`](Crew::add) it does not, as the game has no name for the connection.
/// * Dropping the crew closes the connections of its threads and joins them. That takes as long as the codec calls that are
///   in progress, and some milliseconds; no thread is left behind. Connections on the game's own thread are the reactor's, and
///   end with it, or before by [`end`](Crew::end).
///
/// The order of events of different connections is not promised.
///
/// # Each round
///
/// Pass each event of a wait to [`handle`](Crew::handle), and after the wait's events, and before the next wait, call
/// [`next_event`](Crew::next_event) until it returns `None`: only then is the round complete, and codecs on this thread get
/// their [`flush`](Codec::flush). A game that stops before calls [`end_round`](Crew::end_round): the rest is for its next
/// round, and the next wait returns for it immediately. What the game sends in a round crosses to the members in batches, at
/// the latest at its end; what it sends between two rounds crosses immediately. One reactor is the crew's, from
/// [`CrewBuilder::build`] on: pass the same to each call.
///
/// # Replies that are refused
///
/// A game whose replies follow from what the peer sends, such as an echo, may raise [`CrewBuilder::reply_limit`] as far as it
/// likes: while replies wait for their peer, nothing is read from it. Where others cause replies, the limit protects the
/// memory, and the game keeps what was refused:
///
/// ```
/// use dolmen::{Codec, Crew, Error, LinkId, Reactor};
/// use std::collections::VecDeque;
///
/// /// Sends what waits, after a new reply and after `CrewEvent::Drained`. Until all of it has been sent, nothing is read.
/// fn send_waiting<C: Codec>(
///     crew: &mut Crew<C>,
///     reactor: &mut Reactor,
///     link: LinkId,
///     waiting: &mut VecDeque<C::Reply>,
/// ) -> Result<(), Error> {
///     while let Some(reply) = waiting.pop_front() {
///         if let Err(refused) = crew.send(reactor, link, reply) {
///             waiting.push_front(refused.value);
///             return crew.pause(reactor, link);
///         }
///     }
///     crew.resume(reactor, link)
/// }
/// ```
///
/// # When it pays
///
/// A message that crosses threads costs more than one that does not: 0.3 µs of processor time where many cross together, and
/// 2 to 4 µs where few do, as measured in `docs/benchmarks.md`. With plain lines the crew is slower, at 0.6 to 0.8 of the rate
/// of one thread, so a game of plain lines has the default. It is faster with codecs that work: two members on two processors
/// do 1.84 times what one thread does with 20 µs a message, and 1.96 times with 100 µs, as for encryption and compression of
/// long texts. One member frees the game's thread and does no more than that: 0.94 and 0.99. `cargo xtask bench --only crew`
/// repeats the measurement.
///
/// # Forking
///
/// The threads stay with the parent. In a child, the connections of members are silent, and none of them leaves; drop the crew
/// there, which leaves the threads alone.
pub struct Crew<C: Codec> {
    dispatcher: Dispatcher<TcpStream, C>,
    settings: CrewBuilder,
    /// By the number of the member.
    threads: Vec<Option<MemberThread<C>>>,
    process: Process,
    /// Of the reactor that is the crew's.
    mailbox: Arc<Mailbox>,
}

impl<C: Codec> Crew<C> {
    fn start(settings: &CrewBuilder, reactor: &Reactor) -> Result<Crew<C>, Error> {
        let mut crew = Crew {
            dispatcher: Dispatcher::new(reactor.engine.mailbox(), settings.token, settings.limits),
            settings: settings.clone(),
            threads: Vec::new(),
            process: Process::current(),
            mailbox: reactor.engine.mailbox(),
        };
        crew.set_threads(reactor, settings.threads)?;
        Ok(crew)
    }

    /// Handles an event of the reactor that is the crew's, and returns any other.
    ///
    /// # Panics
    ///
    /// With another reactor than the crew's, as all calls that take one; and with the panic of a codec on this thread.
    #[must_use = "an event that is not the crew's is the caller's"]
    pub fn handle<'a>(&mut self, reactor: &mut Reactor, event: Event<'a>) -> Option<Event<'a>> {
        self.dispatcher.open_round(engine_of(&self.mailbox, reactor));
        if event.token() != Some(self.settings.token) {
            return Some(event);
        }
        let happening = match event {
            // The round takes what waits, whatever has reported it.
            Event::Inbox { .. } => return None,
            Event::Received { conn, data, .. } => Happening::Received(conn, data),
            Event::EndOfStream { conn, .. } => Happening::EndOfStream(conn),
            Event::Drained { conn, .. } => Happening::Drained(conn),
            Event::Closed { conn, reason, .. } => Happening::Closed(conn, reason),
            Event::Timer { .. } => Happening::Timer,
            // It shares the token in spite of the advice.
            event => return Some(event),
        };
        self.dispatcher.handle(engine_of(&self.mailbox, reactor), happening);
        None
    }

    /// The next event of this round; `None` when there is none, which ends the round. Events that come in the meantime are
    /// left for the next one, so a round ends, and the next [`wait`](Reactor::wait) reports them.
    #[must_use = "it is the game's only notice of this"]
    pub fn next_event(&mut self, reactor: &mut Reactor) -> Option<CrewEvent<C>> {
        let event = self.dispatcher.next_event(engine_of(&self.mailbox, reactor));
        self.join_ended();
        event
    }

    /// As [`next_event`](Crew::next_event), but `None` leaves the round open: for a game that sends more before it
    /// [ends](Crew::end_round) it.
    #[must_use = "it is the game's only notice of this"]
    pub fn take_event(&mut self, reactor: &mut Reactor) -> Option<CrewEvent<C>> {
        let event = self.dispatcher.take_event(engine_of(&self.mailbox, reactor));
        self.join_ended();
        event
    }

    /// Ends a round: what was sent in it goes to the members, and the codecs on this thread get their
    /// [`flush`](Codec::flush).
    pub fn end_round(&mut self, reactor: &mut Reactor) {
        self.dispatcher.end_round(engine_of(&self.mailbox, reactor));
    }

    /// Gives a stream to the member with the fewest connections. Its events carry `token`. It is registered on the member's
    /// thread: if that fails, [`CrewEvent::Left`] says so. No other reactor may have it: on Windows a socket belongs to one
    /// for life.
    pub fn add(&mut self, reactor: &mut Reactor, stream: TcpStream, codec: C, token: Token) -> LinkId {
        self.dispatcher.add(engine_of(&self.mailbox, reactor), stream, codec, token, |stream| stream)
    }

    /// Sends a reply to a connection's codec.
    ///
    /// # Errors
    ///
    /// The reply is returned with [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) after
    /// [`close`](Crew::close), [`abort`](Crew::abort) or [`CrewEvent::Left`]; with
    /// [`ErrorKind::QueueFull`](crate::ErrorKind::QueueFull) when too much is on its way to the codec
    /// ([`CrewBuilder::reply_limit`]). A [`CrewEvent::Drained`] event follows when half of that has arrived.
    ///
    /// That does not mean that the peer is slow: one receive may bring more messages than the limit has replies, and a game
    /// that replies to each of them in one round is faster than any member. Such a game keeps the refused reply and those
    /// behind it, and sends them after [`CrewEvent::Drained`]. It sends nothing else before: a reply for which there is room
    /// by then would overtake them.
    pub fn send(
        &mut self,
        reactor: &mut Reactor,
        link: LinkId,
        reply: C::Reply,
    ) -> Result<(), SendError<C::Reply>> {
        self.dispatcher.send(engine_of(&self.mailbox, reactor), link, reply)
    }

    /// Sends a reply to many connections, with one order for each member. The copies are made by the members, so a reply
    /// should be cheap to clone, such as an `Arc<str>`. Returns those that have refused it, in no particular order, with the
    /// reasons of [`send`](Crew::send).
    pub fn broadcast(
        &mut self,
        reactor: &mut Reactor,
        links: impl IntoIterator<Item = LinkId>,
        reply: &C::Reply,
    ) -> Vec<(LinkId, ErrorKind)>
    where
        C::Reply: Clone,
    {
        self.dispatcher.broadcast(engine_of(&self.mailbox, reactor), links, reply)
    }

    /// Stops reading from a connection. Messages that are on their way still come, and so may the end of the stream; a reset
    /// behind bytes that are not read is found after [`resume`](Crew::resume). A codec pauses its link independently, by
    /// [`Link::set_reading`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), as for [`send`](Crew::send).
    pub fn pause(&mut self, reactor: &mut Reactor, link: LinkId) -> Result<(), Error> {
        self.dispatcher.pause(engine_of(&self.mailbox, reactor), link)
    }

    /// Reads again, unless the codec or a limit stops it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), as for [`send`](Crew::send).
    pub fn resume(&mut self, reactor: &mut Reactor, link: LinkId) -> Result<(), Error> {
        self.dispatcher.resume(engine_of(&self.mailbox, reactor), link)
    }

    /// Closes a connection when all replies have been sent. From here on the game gets no message of it, although its codec
    /// goes on while replies wait for a peer that does not read. [`CrewEvent::Left`] follows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), as for [`send`](Crew::send).
    pub fn close(&mut self, reactor: &mut Reactor, link: LinkId) -> Result<(), Error> {
        self.dispatcher.close(engine_of(&self.mailbox, reactor), link)
    }

    /// Resets a connection, also one that is closing. From here on the game gets no message of it. [`CrewEvent::Left`]
    /// follows.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) after [`CrewEvent::Left`].
    pub fn abort(&mut self, reactor: &mut Reactor, link: LinkId) -> Result<(), Error> {
        self.dispatcher.abort(engine_of(&self.mailbox, reactor), link)
    }

    /// How much is on its way to the connection's codec, as counted by [`Codec::weight`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) after [`CrewEvent::Left`].
    pub fn waiting(&self, link: LinkId) -> Result<usize, Error> {
        self.dispatcher.waiting(link).map(|weight| usize::try_from(weight).unwrap_or(usize::MAX))
    }

    /// How many connections there are, those that are closing included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dispatcher.len()
    }

    /// Whether there is no connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many threads newcomers are given to.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.dispatcher.active()
    }

    /// Gives newcomers to so many threads from now on. A connection stays where it is: members that are too many end with
    /// their last one.
    ///
    /// # Errors
    ///
    /// As for [`CrewBuilder::build`]. Threads that were started before the error stay.
    pub fn set_threads(&mut self, reactor: &Reactor, count: usize) -> Result<(), Error> {
        if self.process.is_copy() {
            const FORK_ADVICE: &str = "drop it, and build a crew of this process";
            let why = io::Error::other("its threads are in the process that has forked");
            return Err(Error::from_io(ErrorKind::Os, "set the threads of a crew", why).advised(FORK_ADVICE));
        }
        assert!(reactor.engine.has(&self.mailbox), "{OTHER_REACTOR}");
        self.join_ended();
        let CrewBuilder { token, limits, reactors, .. } = &self.settings;
        for _ in 0..self.dispatcher.set_active(count) {
            let number = self.dispatcher.next_member();
            let game = Arc::clone(&self.mailbox);
            let (handle, thread) = thread::start(number, reactors, *limits, game, *token)?;
            self.dispatcher.add_member(handle);
            if self.threads.len() <= number {
                self.threads.resize_with(number + 1, || None);
            }
            self.threads[number] = Some(thread);
        }
        self.settings.threads = count;
        Ok(())
    }

    /// What the members have done. The game's own thread is in it while it has connections, or there is no other member.
    pub fn members(&self) -> impl Iterator<Item = MemberStats> {
        self.dispatcher.members()
    }

    /// Drops the crew, and removes its connections on this thread from the reactor, which a drop alone cannot reach. Bytes
    /// that are queued are lost, as with [`Reactor::remove`]: for an orderly end, [`close`](Crew::close) the connections first,
    /// and wait for their [`CrewEvent::Left`].
    pub fn end(mut self, reactor: &mut Reactor) {
        self.dispatcher.remove_local(engine_of(&self.mailbox, reactor));
    }

    fn join_ended(&mut self) {
        while let Some(number) = self.dispatcher.take_ended() {
            match self.threads[number].take() {
                // The parent's.
                Some(thread) if self.process.is_copy() => std::mem::forget(thread),
                // It does nothing any more but to end.
                Some(thread) => thread.join(),
                None => {}
            }
        }
    }
}

const OTHER_REACTOR: &str =
    "a crew belongs to the reactor that it was built with, and was passed another one";

/// The engine of the game's reactor. Another one may have other connections with the same ids.
#[track_caller]
fn engine_of<'a>(mailbox: &Arc<Mailbox>, reactor: &'a mut Reactor) -> &'a mut Engine<Native> {
    assert!(reactor.engine.has(mailbox), "{OTHER_REACTOR}");
    &mut reactor.engine
}

impl<C: Codec> Drop for Crew<C> {
    fn drop(&mut self) {
        if self.process.is_copy() {
            // The threads are the parent's.
            self.threads.drain(..).flatten().for_each(std::mem::forget);
            return;
        }
        // All of them first: they end side by side.
        self.dispatcher.stop_all();
        self.threads.drain(..).flatten().for_each(MemberThread::join);
    }
}

impl<C: Codec> fmt::Debug for Crew<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew")
            .field("threads", &self.threads())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
