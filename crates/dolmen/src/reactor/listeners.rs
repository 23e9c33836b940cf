//! The reactor's methods for listeners and watched handles.

use std::net::{SocketAddr, TcpListener, TcpStream};

use super::Reactor;
use crate::error::{AddError, Error};
use crate::token::{ListenerId, Token, WatchId};

impl Reactor {
    /// Accepts connections from `listener` and delivers each as an [`Accepted`](crate::Event::Accepted) event.
    ///
    /// The reactor owns the listener from now on.
    ///
    /// When the system has no descriptor left for a connection, the reactor delivers an
    /// [`AcceptFailed`](crate::Event::AcceptFailed) event, once and not again within a second. It accepts again when
    /// descriptors are available.
    ///
    /// On Windows another program can bind to the listener's address unless the socket has `SO_EXCLUSIVEADDRUSE`, which
    /// must be set before the bind: see `dolmen::set_exclusive_address_use`, which exists on Windows.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let id = reactor.listen(listener, Token(1))?;
    /// let client = TcpStream::connect(address)?;
    /// reactor.wait(&mut events, None)?;
    /// for event in &mut events {
    ///     let Event::Accepted { listener, peer, .. } = event else { panic!("{event:?}") };
    ///     assert_eq!((listener, peer), (id, client.local_addr()?));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The listener is returned with [`ErrorKind::AlreadyRegistered`](crate::ErrorKind::AlreadyRegistered),
    /// [`InvalidHandle`](crate::ErrorKind::InvalidHandle) (also for a socket that is not a listening stream socket) or
    /// [`Exhausted`](crate::ErrorKind::Exhausted).
    pub fn listen(
        &mut self,
        listener: TcpListener,
        token: Token,
    ) -> Result<ListenerId, AddError<TcpListener>> {
        self.engine.listen(listener, token)
    }

    /// Stops listening and closes the port. No further event of this listener is delivered, and the reactor closes a
    /// connection that it has accepted and not yet handed out. Returns false if the id is not (or no longer) a
    /// listener's.
    ///
    /// The system has to take the pending accepts back first. On Linux another socket can be bound to the address after
    /// the next [`wait`](Reactor::wait), on Windows after one of the next.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let address = listener.local_addr()?;
    /// let id = reactor.listen(listener, Token(1))?;
    /// assert!(reactor.remove_listener(id));
    /// assert!(!reactor.remove_listener(id));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_listener(&mut self, listener: ListenerId) -> bool {
        self.engine.remove_listener(listener)
    }

    /// Reports by [`Ready`](crate::Event::Ready) events that connections wait at `listener`, and leaves it to the
    /// caller to [`accept`](Reactor::accept) them, one or all, now or later.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let id = reactor.listen_readiness(listener, Token(1))?;
    /// let client = TcpStream::connect(address)?;
    /// reactor.wait(&mut events, None)?;
    /// assert!(matches!(events.drain().next(), Some(Event::Ready { watch, .. }) if watch == id));
    /// // Now, or when there is a place for another player:
    /// while let Some((stream, peer)) = reactor.accept(id)? {
    ///     assert_eq!(peer, client.local_addr()?);
    ///     reactor.add(stream, Token(2))?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Reactor::listen`].
    pub fn listen_readiness(
        &mut self,
        listener: TcpListener,
        token: Token,
    ) -> Result<WatchId, AddError<TcpListener>> {
        self.engine.listen_readiness(listener, token)
    }

    /// Accepts one connection from a readiness listener; returns `None` when no connection waits. Never blocks.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let id = reactor.listen_readiness(listener, Token(1))?;
    /// assert!(reactor.accept(id)?.is_none(), "no one has connected");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if `listener` is not a readiness listener, otherwise the
    /// error of the accept, such as [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted).
    pub fn accept(&mut self, listener: WatchId) -> Result<Option<(TcpStream, SocketAddr)>, Error> {
        self.engine.accept(listener)
    }

    /// Watches any other handle, and reports it while it is readable (on Linux, any pollable descriptor) or signalled (on
    /// Windows, any handle that the wait functions take: an event, a process, a thread, a console).
    ///
    /// The reactor duplicates the handle, so the caller may do anything with its own. Each wait delivers
    /// [`Ready`](crate::Event::Ready) while the handle is signalled. On Windows, the wait that reports the handle also
    /// satisfies it: it resets an auto-reset event, which is reported again only when it is set again.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let (ours, mut other) = std::os::unix::net::UnixStream::pair()?;
    /// let id = reactor.watch(&ours, Token(3))?;
    /// other.write_all(b"!")?;
    /// reactor.wait(&mut events, None)?;
    /// assert!(matches!(events.drain().next(), Some(Event::Ready { watch, .. }) if watch == id));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidHandle`](crate::ErrorKind::InvalidHandle) for a handle that cannot be waited for, such as a
    /// regular file on Linux; [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted).
    #[cfg(unix)]
    pub fn watch(&mut self, handle: impl std::os::fd::AsFd, token: Token) -> Result<WatchId, Error> {
        let handle = handle.as_fd().try_clone_to_owned().map_err(Error::duplicating)?;
        self.engine.watch(handle, token)
    }

    /// Watches any other handle, and reports it while it is readable (on Linux, any pollable descriptor) or signalled (on
    /// Windows, any handle that the wait functions take: an event, a process, a thread, a console).
    ///
    /// The reactor duplicates the handle, so the caller may do anything with its own. Each wait delivers
    /// [`Ready`](crate::Event::Ready) while the handle is signalled. On Windows, the wait that reports the handle also
    /// satisfies it: it resets an auto-reset event, which is reported again only when it is set again.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// let mut child = std::process::Command::new("cmd").args(["/c", "exit"]).spawn()?;
    /// let id = reactor.watch(&child, Token(3))?;
    /// reactor.wait(&mut events, None)?;
    /// assert!(matches!(events.drain().next(), Some(Event::Ready { watch, .. }) if watch == id));
    /// assert!(child.try_wait()?.is_some(), "it has ended");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidHandle`](crate::ErrorKind::InvalidHandle) for a handle that cannot be waited for, such as a
    /// regular file on Linux; [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted).
    #[cfg(windows)]
    pub fn watch(
        &mut self,
        handle: impl std::os::windows::io::AsHandle,
        token: Token,
    ) -> Result<WatchId, Error> {
        let handle = handle.as_handle().try_clone_to_owned().map_err(Error::duplicating)?;
        self.engine.watch(handle, token)
    }

    /// Stops watching a handle or a readiness listener (whose port is closed with it). No further event of it is
    /// delivered. Returns false if the id is not (or no longer) a watch's.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let watch = reactor.listen_readiness(listener, Token(1))?;
    /// assert!(reactor.remove_watch(watch));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_watch(&mut self, watch: WatchId) -> bool {
        self.engine.remove_watch(watch)
    }
}
