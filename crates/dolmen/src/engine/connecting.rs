//! Outgoing connections: the engine's methods between the table of connections and that of dials.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::address::Address;
use crate::error::{Error, ErrorKind};
use crate::kernel::Kernel;
#[cfg(any(feature = "c-api", dolmen_sim))]
use crate::kernel::readiness::BorrowedSocket;
use crate::token::{ConnId, Key, Token};

use super::Engine;
use super::config::saturating_ns;
use super::connection::Connection;
use super::dial::{Dial, Dialled};
use super::lookups::{checked, literal};

const ACTION: &str = "connect to";

impl<K: Kernel> Engine<K> {
    /// Begins to connect. The id is good from here on.
    pub(crate) fn connect(
        &mut self,
        address: Address,
        prepared: Option<K::Stream>,
        timeout: Option<Duration>,
        token: Token,
    ) -> Result<ConnId, Error> {
        self.check_room(ACTION).map_err(|error| error.about(&address))?;
        let source = self.cx.submitter.kernel().add_dial(&address, prepared);
        let source = source.map_err(|fault| Error::from_fault(fault, ACTION, Some(address.to_string())))?;
        tracing::debug!(target: "dolmen", %address, token = token.0, "connecting");
        let conn = self.insert_connection(Connection::connecting(token));
        let connection = self.connections.get_mut(conn.0).expect("it was just inserted");
        let timeout = timeout.unwrap_or(self.cx.config.connect_timeout);
        connection.limit_connecting(&mut self.cx, conn.0, saturating_ns(timeout));
        self.insert_dial(Dial::new(source, address, conn.0));
        Ok(conn)
    }

    /// Begins to connect to a host, whose addresses are looked up first. The time for connecting covers both.
    pub(crate) fn connect_host(&mut self, host: &str, port: u16, token: Token) -> Result<ConnId, Error> {
        let host = checked(host, ACTION)?;
        if let Some(address) = literal(host, port) {
            return self.connect(Address::Ip(address), None, None, token);
        }
        self.check_room(ACTION).map_err(|error| error.about(host))?;
        let conn = self.insert_connection(Connection::connecting(token));
        let lookup = self.resolve_for(conn.0, host, port, ACTION).inspect_err(|_| {
            self.connections.remove(conn.0);
        })?;
        let timeout_ns = saturating_ns(self.cx.config.connect_timeout);
        let connection = self.connections.get_mut(conn.0).expect("it was just inserted");
        connection.limit_connecting(&mut self.cx, conn.0, timeout_ns);
        connection.resolving(lookup);
        tracing::debug!(target: "dolmen", %conn, host, port, token = token.0, "connecting");
        Ok(conn)
    }

    /// The addresses of a connection's host have been looked up.
    pub(super) fn host_resolved(&mut self, conn: Key, result: io::Result<Vec<SocketAddr>>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.resolved(&mut self.cx, conn, result);
        // Without delay, because the wait may be one of no time.
        self.serve_connection(conn.slot);
    }

    /// Whether another connection may be added.
    pub(super) fn check_room(&self, action: &'static str) -> Result<(), Error> {
        let limit = self.cx.config.max_connections;
        match self.connections.len() < limit {
            true => Ok(()),
            false => Err(Error::plain(ErrorKind::TableFull, action).limited(limit)),
        }
    }

    /// Connects a socket that the caller owns. Once it is connected, it is as one that was adopted. There is no time
    /// limit but the system's.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(crate) fn connect_adopted(
        &mut self,
        socket: BorrowedSocket,
        address: Address,
        again: bool,
        token: Token,
    ) -> Result<ConnId, Error> {
        let source = self.cx.submitter.kernel().add_borrowed_dial(socket, &address, again);
        let source = source.map_err(|fault| Error::from_fault(fault, ACTION, Some(address.to_string())))?;
        let conn = self.insert_connection(Connection::connecting_adopted(token));
        self.cx.send_reports.begin(conn.0.slot);
        let slot = self.insert_dial(Dial::borrowed(source, address, conn.0));
        // As for a socket that is adopted: the system has it before this returns.
        self.serve_dial(slot);
        Ok(conn)
    }

    /// Returns the slot.
    fn insert_dial(&mut self, dial: Dial<K>) -> u32 {
        let conn = dial.conn();
        let key = self.dials.insert(dial);
        self.dials.get_mut(key).expect("it was just inserted").list(&mut self.cx, key);
        let connection = self.connections.get_mut(conn).expect("a dial is for a connection");
        connection.dial_added(&mut self.cx, conn, key);
        key.slot
    }

    /// A connection tries its next address.
    pub(super) fn dial_next(&mut self, conn: Key) {
        let connection = self.connections.get_mut(conn).expect("it has just been served");
        let Some(address) = connection.next_address() else { return };
        match self.cx.submitter.kernel().add_dial(&address, None) {
            Ok(source) => drop(self.insert_dial(Dial::new(source, address, conn))),
            Err(fault) => {
                let connection = self.connections.get_mut(conn).expect("it has just been served");
                connection.dial_failed(&mut self.cx, conn, None, fault);
            }
        }
    }

    pub(super) fn serve_dial(&mut self, slot: u32) {
        let Some((key, dial)) = self.dials.at_mut(slot) else { return };
        let dialled = dial.serve(&mut self.cx, key);
        self.dialled(key, dialled);
    }

    pub(super) fn dialled(&mut self, key: Key, dialled: Dialled) {
        if matches!(dialled, Dialled::Waiting) {
            return;
        }
        let dial = self.dials.remove(key).expect("it has just been served");
        let conn = dial.conn();
        let wants = |connection: &&mut Connection<K>| connection.is_connecting() && !connection.is_closing();
        let connection = self.connections.get_mut(conn).filter(wants);
        match (dialled, connection) {
            (Dialled::Connected { local, peer }, Some(connection)) => {
                let others =
                    connection.connected(&mut self.cx, conn, (key, dial.into_source()), (local, peer));
                self.remove_dials(others);
            }
            (Dialled::Failed(fault), Some(connection)) => {
                connection.dial_failed(&mut self.cx, conn, Some(key), fault);
                dial.finish(&mut self.cx);
                // Without delay, because the wait may be one of no time.
                self.serve_connection(conn.slot);
            }
            _ => dial.finish(&mut self.cx),
        }
    }

    pub(super) fn remove_dials(&mut self, dials: Vec<Key>) {
        for key in dials {
            if let Some(dial) = self.dials.get_mut(key) {
                dial.remove(&mut self.cx, key);
            }
        }
    }
}
