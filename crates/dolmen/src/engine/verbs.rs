//! The engine's methods for its callers: each checks the id and hands on to the source.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::error::{AddError, Error, ErrorKind};
use crate::kernel::options::StreamOptions;
use crate::kernel::{Fault, FaultKind, Kernel, io_fault};
use crate::shared_bytes::SharedBytes;
use crate::token::{ConnId, ListenerId, PollId, TimerId, Token, WatchId};

use super::config::saturating_ns;
use super::connection::Connection;
use super::listener::Listener;
use super::registration::Served;
use super::timers::Purpose;
use super::watch::Watch;
use super::{Engine, not_found, refused};

/// Connections.
impl<K: Kernel> Engine<K> {
    pub(crate) fn add(&mut self, stream: K::Stream, token: Token) -> Result<ConnId, AddError<K::Stream>> {
        const ACTION: &str = "add a connection";
        if let Err(error) = self.check_room(ACTION) {
            return Err(AddError { error, source: stream });
        }
        let source = self.cx.submitter.kernel().add_stream(stream);
        let source = source.map_err(|(fault, stream)| refused(fault, ACTION, stream))?;
        let conn = self.insert_connection(Connection::new(source, token));
        tracing::debug!(target: "dolmen", conn = %conn, token = token.0, "connection added");
        Ok(conn)
    }

    pub(super) fn insert_connection(&mut self, connection: Connection<K>) -> ConnId {
        let key = self.connections.insert(connection);
        self.connections.get_mut(key).expect("it was just inserted").list(&mut self.cx, key);
        ConnId(key)
    }

    /// Calls a method of a connection that is open.
    pub(super) fn with_open<T>(
        &mut self,
        conn: ConnId,
        action: &'static str,
        act: impl FnOnce(&mut Connection<K>, &mut super::Context<K>) -> T,
    ) -> Result<T, Error> {
        match self.connections.get_mut(conn.0).filter(|connection| connection.is_open()) {
            Some(connection) => Ok(act(connection, &mut self.cx)),
            None => Err(Error::new(ErrorKind::NotFound, action, conn)),
        }
    }

    pub(crate) fn send(&mut self, conn: ConnId, bytes: &[u8]) -> Result<(), Error> {
        let high = self.cx.config.high_water_bytes;
        self.with_open(conn, "send to connection", |connection, cx| connection.send(cx, conn.0, bytes))?
            .map_err(|error| error.limited(high))
    }

    pub(crate) fn send_shared(&mut self, conn: ConnId, bytes: &SharedBytes) -> Result<(), Error> {
        const ACTION: &str = "send to connection";
        let sent =
            self.with_open(conn, ACTION, |connection, cx| connection.send_shared(cx, conn.0, bytes))?;
        sent.map_err(|kind| Error::new(kind, ACTION, conn).limited(self.cx.config.high_water_bytes))
    }

    /// Returns those that have refused the bytes.
    pub(crate) fn broadcast(
        &mut self,
        conns: impl IntoIterator<Item = ConnId>,
        bytes: &SharedBytes,
    ) -> Vec<(ConnId, ErrorKind)> {
        let mut refused = Vec::new();
        for conn in conns {
            let connection = self.connections.get_mut(conn.0).filter(|connection| connection.is_open());
            let sent = match connection {
                Some(connection) => connection.send_shared(&mut self.cx, conn.0, bytes),
                None => Err(ErrorKind::NotFound),
            };
            if let Err(kind) = sent {
                refused.push((conn, kind));
            }
        }
        refused
    }

    pub(crate) fn queued_bytes(&self, conn: ConnId) -> Result<usize, Error> {
        let connection = self.connections.get(conn.0).filter(|connection| !connection.is_closing());
        let connection = connection.ok_or_else(|| not_found("look up", "connection", conn))?;
        Ok(connection.queued_bytes())
    }

    /// How many bytes a send would take now.
    pub(crate) fn capacity(&self, conn: ConnId) -> Result<usize, Error> {
        let connection = self.connections.get(conn.0).filter(|connection| connection.is_open());
        let connection = connection.ok_or_else(|| not_found("look up", "connection", conn))?;
        Ok(connection.capacity(&self.cx.config))
    }

    pub(crate) fn peer_addr(&mut self, conn: ConnId) -> Result<SocketAddr, Error> {
        self.with_stream(conn, "look up the peer of connection", StreamOptions::peer_addr)
    }

    pub(crate) fn local_addr(&mut self, conn: ConnId) -> Result<SocketAddr, Error> {
        self.with_stream(conn, "look up the local address of connection", StreamOptions::local_addr)
    }

    pub(crate) fn set_nodelay(&mut self, conn: ConnId, nodelay: bool) -> Result<(), Error> {
        self.with_stream(conn, "set TCP_NODELAY of connection", |stream| stream.set_nodelay(nodelay))
    }

    pub(crate) fn set_keepalive(&mut self, conn: ConnId, after: Option<Duration>) -> Result<(), Error> {
        self.with_stream(conn, "set the keep-alive time of connection", |stream| stream.set_keepalive(after))
    }

    /// Makes a call on the socket of a connection whose socket is not about to be closed.
    fn with_stream<T>(
        &mut self,
        conn: ConnId,
        action: &'static str,
        call: impl FnOnce(&K::Stream) -> io::Result<T>,
    ) -> Result<T, Error> {
        call(self.stream_for(conn, action)?).map_err(|error| {
            // A socket that is not connected any more is the peer's doing here, and not a wrong handle.
            let fault = Fault { kind: FaultKind::Other, ..io_fault(&error) };
            Error::from_fault(fault, action, Some(conn.to_string()))
        })
    }

    pub(crate) fn stream(&mut self, conn: ConnId) -> Result<&K::Stream, Error> {
        self.stream_for(conn, "look up the socket of connection")
    }

    fn stream_for(&mut self, conn: ConnId, action: &'static str) -> Result<&K::Stream, Error> {
        let connection = self.connections.get(conn.0).filter(|connection| !connection.is_closing());
        let connection = connection.ok_or_else(|| Error::new(ErrorKind::NotFound, action, conn))?;
        let stream = connection.stream(&mut self.cx);
        stream.ok_or_else(|| Error::new(ErrorKind::NotConnected, action, conn))
    }

    pub(crate) fn release(&mut self, conn: ConnId) -> Result<(), Error> {
        self.with_open(conn, "release connection", |connection, cx| connection.release(cx, conn.0))
    }

    pub(crate) fn pause(&mut self, conn: ConnId) -> Result<(), Error> {
        self.with_open(conn, "pause connection", |connection, _| connection.pause())
    }

    pub(crate) fn resume(&mut self, conn: ConnId) -> Result<(), Error> {
        self.with_open(conn, "resume connection", |connection, cx| connection.resume(cx, conn.0))
    }

    pub(crate) fn shutdown_write(&mut self, conn: ConnId) -> Result<(), Error> {
        self.with_open(conn, "shut down connection", |connection, cx| connection.shutdown_write(cx, conn.0))
    }

    pub(crate) fn close(&mut self, conn: ConnId) -> Result<(), Error> {
        self.close_within(conn, self.cx.config.linger)
    }

    /// As [`Engine::close`], with a linger time of its own.
    pub(crate) fn close_within(&mut self, conn: ConnId, linger: Duration) -> Result<(), Error> {
        let linger_ns = saturating_ns(linger);
        self.with_open(conn, "close connection", |connection, cx| connection.close(cx, conn.0, linger_ns))
    }

    pub(crate) fn abort(&mut self, conn: ConnId) -> Result<(), Error> {
        // Also while lingering: a caller cuts a slow close short in this way.
        let connection = self.connections.get_mut(conn.0).filter(|connection| !connection.is_closing());
        let connection = connection.ok_or_else(|| not_found("abort", "connection", conn))?;
        connection.abort(&mut self.cx, conn.0);
        Ok(())
    }

    pub(crate) fn remove(&mut self, conn: ConnId) -> bool {
        if self.connections.has_issued(conn.0) {
            self.cx.removed.mark_conn(conn);
        }
        let connection = self.connections.get_mut(conn.0);
        connection.is_some_and(|connection| connection.remove(&mut self.cx, conn.0))
    }
}

/// Listeners.
impl<K: Kernel> Engine<K> {
    pub(crate) fn listen(
        &mut self,
        listener: K::Listener,
        token: Token,
    ) -> Result<ListenerId, AddError<K::Listener>> {
        let source = self.cx.submitter.kernel().add_listener(listener);
        let source = source.map_err(|(fault, listener)| refused(fault, "add a listener", listener))?;
        let key = self.listeners.insert(Listener::new(source, token));
        self.listeners.get_mut(key).expect("it was just inserted").list(&mut self.cx, key);
        tracing::debug!(target: "dolmen", listener = %key, token = token.0, "listener added");
        Ok(ListenerId(key))
    }

    pub(crate) fn remove_listener(&mut self, id: ListenerId) -> bool {
        if self.listeners.has_issued(id.0) {
            self.cx.removed.mark_listener(id);
        }
        self.listeners.get_mut(id.0).is_some_and(|listener| listener.remove(&mut self.cx, id.0))
    }
}

/// Watches.
impl<K: Kernel> Engine<K> {
    pub(crate) fn watch(&mut self, handle: K::Handle, token: Token) -> Result<WatchId, Error> {
        const ACTION: &str = "watch a handle";
        let source = self.cx.submitter.kernel().add_handle(handle);
        let source = source.map_err(|fault| Error::from_fault(fault, ACTION, None))?;
        let key = self.watches.insert(Watch::new(source, token, false));
        let watch = self.watches.get_mut(key).expect("it was just inserted");
        match watch.start(&mut self.cx, key) {
            Ok(Served::Fired) => self.watch_fired(key),
            Ok(_) => {}
            Err(fault) => {
                self.remove_watch(WatchId(key));
                return Err(Error::from_fault(fault, ACTION, None));
            }
        }
        Ok(WatchId(key))
    }

    pub(crate) fn listen_readiness(
        &mut self,
        listener: K::Listener,
        token: Token,
    ) -> Result<WatchId, AddError<K::Listener>> {
        let source = self.cx.submitter.kernel().add_readiness_listener(listener);
        let source = source.map_err(|(fault, listener)| refused(fault, "watch a listener", listener))?;
        let key = self.watches.insert(Watch::new(source, token, true));
        self.list_watch(key);
        Ok(WatchId(key))
    }

    /// Accepts from a readiness listener.
    pub(crate) fn accept(&mut self, id: WatchId) -> Result<Option<(K::Stream, SocketAddr)>, Error> {
        const ACTION: &str = "accept from";
        let watch = self.watches.get_mut(id.0).filter(|watch| watch.is_listener());
        let watch = watch.ok_or_else(|| not_found(ACTION, "readiness listener", id))?;
        watch
            .accept(&mut self.cx)
            .map_err(|fault| Error::from_fault(fault, ACTION, Some(format!("readiness listener {id}"))))
    }

    pub(crate) fn remove_watch(&mut self, id: WatchId) -> bool {
        if self.watches.has_issued(id.0) {
            self.cx.removed.mark_watch(id);
        }
        self.watches.get_mut(id.0).is_some_and(|watch| watch.remove(&mut self.cx, id.0))
    }
}

/// Polls.
impl<K: Kernel> Engine<K> {
    pub(crate) fn remove_poll(&mut self, id: PollId) -> bool {
        if self.polls.has_issued(id.0) {
            self.cx.removed.mark_poll(id);
        }
        let Some(poll) = self.polls.get_mut(id.0) else { return false };
        let removed = poll.remove(&mut self.cx);
        if removed && !poll.is_pending() {
            // The kernel releases the socket now, and not with the next wait.
            self.serve_poll(id.0.slot);
        }
        removed
    }
}

/// Timers, and the queues.
impl<K: Kernel> Engine<K> {
    /// Starts sending whatever is queued, without waiting for anything.
    pub(crate) fn flush(&mut self) {
        self.files_after_fork();
        self.lookups_after_fork();
        self.serve_pending();
    }

    pub(crate) fn add_timer(&mut self, after: Duration, token: Token) -> TimerId {
        self.insert_timer(after, 0, token)
    }

    pub(crate) fn add_interval(&mut self, period: Duration, token: Token) -> TimerId {
        self.add_interval_after(period, period, token)
    }

    pub(crate) fn add_interval_after(&mut self, delay: Duration, period: Duration, token: Token) -> TimerId {
        self.insert_timer(delay, saturating_ns(period).max(1), token)
    }

    fn insert_timer(&mut self, after: Duration, period_ns: u64, token: Token) -> TimerId {
        let deadline_ns = self.cx.now_ns().saturating_add(saturating_ns(after));
        TimerId(self.cx.timers.insert(deadline_ns, period_ns, Purpose::User(token)))
    }

    pub(crate) fn set_timer(&mut self, timer: TimerId, after: Duration) -> bool {
        let deadline_ns = self.cx.now_ns().saturating_add(saturating_ns(after));
        // The engine's own timers are in the same table, and the caller must not touch them.
        self.cx.timers.is_callers(timer.0) && self.cx.timers.set(timer.0, deadline_ns)
    }

    pub(crate) fn remove_timer(&mut self, timer: TimerId) -> bool {
        if self.cx.timers.has_issued(timer.0) {
            self.cx.removed.mark_timer(timer);
        }
        self.cx.timers.is_callers(timer.0) && self.cx.timers.cancel(timer.0)
    }
}
