//! The verbs that end a connection, or give it back.

use super::Reactor;
use crate::error::Error;
use crate::token::ConnId;

/// The ends of connections.
impl Reactor {
    /// Half-closes the connection: sends what is queued, then FIN, and continues to receive.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// reactor.send(conn, b"that is all")?;
    /// reactor.shutdown_write(conn)?;
    /// reactor.flush();
    /// assert_eq!(std::io::read_to_string(&peer)?, "that is all");
    /// peer.write_all(b"thanks")?;     // The other direction is still open.
    /// reactor.wait(&mut events, None)?;
    /// assert!(matches!(events.drain().next(), Some(Event::Received { data: b"thanks", .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn shutdown_write(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.shutdown_write(conn)
    }

    /// Ends a connection in good order: sends what is queued, then FIN, discards the bytes that still arrive (closing a
    /// socket with unread bytes would destroy the last output in transit), and closes the socket when the peer has
    /// closed its side, or after [`Builder::linger`](crate::Builder::linger). Then [`Closed`](crate::Event::Closed) is delivered, and no other
    /// event of the connection before it, except those that the last wait has already put into [`Events`](crate::Events):
    /// a handler of one of these finds that a [`send`](Reactor::send) to the connection fails.
    /// [`remove`](Reactor::remove) drops them as well.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// reactor.send(conn, b"Good-bye!\n")?;
    /// reactor.close(conn)?;
    /// reactor.flush();
    /// assert_eq!(std::io::read_to_string(&peer)?, "Good-bye!\n");
    /// drop(peer);
    /// reactor.wait(&mut events, None)?;
    /// let event = events.drain().next();
    /// assert!(matches!(event, Some(Event::Closed { reason: dolmen::CloseReason::Finished, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn close(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.close(conn)
    }

    /// Asks for the stream of a connection: for a TLS library that takes over, another thread, or another process.
    ///
    /// This is a request. The queued bytes are sent first, and everything that the reactor has received is delivered.
    /// Then a [`Released`](crate::Event::Released) event with the stream ends the connection, instead of
    /// [`Closed`](crate::Event::Closed). Bytes that the reactor has not received are in the stream. If the connection
    /// fails before that, such as by a reset while bytes are queued, it ends with `Closed` as always.
    ///
    /// [`Received`](crate::Event::Received) events may come after this call, until `Released`: pass their bytes on before
    /// those of the stream. [`flush`](Reactor::flush) may end the release as well as a wait; from then on the id is not
    /// found.
    /// Until then sends are refused; a connection that is [paused](Reactor::pause) with received bytes waits for
    /// `resume`, and one whose peer does not read waits for the peer (on Windows also where a provider cannot cancel a
    /// receive, until the peer sends or closes), unless [`close`](Reactor::close),
    /// [`abort`](Reactor::abort) or [`remove`](Reactor::remove) comes first.
    ///
    /// The stream is in the state in which it was added, except for options that were set, and its sending side is closed
    /// after [`shutdown_write`](Reactor::shutdown_write). On Windows a socket belongs
    /// to one completion port for life: it can be used with the blocking calls of the standard library, and cannot be
    /// added to another reactor, nor to this one again.
    ///
    /// A connection to a Unix socket (`Target::unix`) is released in the same type, which is then only the owner of
    /// its descriptor. The standard library converts it:
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// # use dolmen::{Event, Events, Reactor, Target, Token};
    /// use std::os::fd::OwnedFd;
    /// use std::os::unix::net::UnixStream;
    /// # use std::os::unix::net::UnixListener;
    ///
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let path = std::env::temp_dir().join(format!("dolmen-release-{}", std::process::id()));
    /// # let listener = UnixListener::bind(&path)?;
    /// let conn = reactor.connect(Target::unix(&path)?, Token(0))?;
    /// reactor.release(conn)?;
    /// let mut released = None;
    /// while released.is_none() {
    ///     reactor.wait(&mut events, None)?;
    ///     for event in &mut events {
    ///         if let Event::Released { stream, .. } = event {
    ///             released = Some(UnixStream::from(OwnedFd::from(stream)));
    ///         }
    /// #       else if let Event::Closed { reason, .. } = event { panic!("{reason}") }
    ///     }
    /// }
    /// # assert_eq!(released.unwrap().peer_addr()?.as_pathname(), Some(path.as_path()));
    /// # drop(listener);
    /// # std::fs::remove_file(&path)?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// reactor.send(conn, b"ready for TLS\n")?;
    /// reactor.release(conn)?;
    /// reactor.wait(&mut events, None)?;
    /// let Some(Event::Released { mut stream, .. }) = events.drain().next() else { panic!() };
    /// stream.write_all(b"...")?;      // From here on without the reactor.
    /// drop(stream);
    /// assert_eq!(std::io::read_to_string(&peer)?, "ready for TLS\n...");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn release(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.release(conn)
    }

    /// Resets a connection (RST): bytes that are queued or in transit are lost. [`Closed`](crate::Event::Closed)
    /// follows. Also cuts a `close` short.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// reactor.abort(conn)?;
    /// reactor.wait(&mut events, None)?;
    /// let event = events.drain().next();
    /// assert!(matches!(event, Some(Event::Closed { reason: dolmen::CloseReason::Aborted, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    pub fn abort(&mut self, conn: ConnId) -> Result<(), Error> {
        self.engine.abort(conn)
    }

    /// Forgets a connection: from here on none of its events is delivered, not even one that is already in [`Events`](crate::Events).
    /// Queued bytes are lost, and the reactor closes the socket as soon as the system has completed its operations.
    /// Returns false if the id is not (or no longer) a connection's; its remaining events, if any, are left out all the
    /// same.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// # use std::time::Duration;
    /// assert!(reactor.remove(conn));
    /// assert_eq!(reactor.wait(&mut events, Some(Duration::ZERO))?, 0, "no `Closed` event");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&mut self, conn: ConnId) -> bool {
        self.engine.remove(conn)
    }
}
