//! The engine's methods for datagram sockets.

use std::net::SocketAddr;

use crate::error::{AddError, Error};
use crate::kernel::options::DatagramOptions as _;
use crate::kernel::{Fault, FaultKind, Kernel, io_fault};
use crate::token::{Token, UdpId};

use super::datagrams::Datagrams;
use super::{Engine, not_found, refused};

const WHAT: &str = "socket";

impl<K: Kernel> Engine<K> {
    pub(crate) fn udp(&mut self, socket: K::Udp, token: Token) -> Result<UdpId, AddError<K::Udp>> {
        let source = self.cx.submitter.kernel().add_udp(socket);
        let source = source.map_err(|(fault, socket)| refused(fault, "add a datagram socket", socket))?;
        let key = self.udps.insert(Datagrams::new(source, token));
        self.udps.get_mut(key).expect("it was just inserted").list(&mut self.cx, key);
        tracing::debug!(target: "dolmen", udp = %key, token = token.0, "datagram socket added");
        Ok(UdpId(key))
    }

    pub(crate) fn send_to(&mut self, id: UdpId, bytes: &[u8], to: SocketAddr) -> Result<(), Error> {
        let datagrams = self.udps.get_mut(id.0).filter(|datagrams| !datagrams.is_closing());
        let datagrams = datagrams.ok_or_else(|| not_found("send a datagram from", WHAT, id))?;
        datagrams.send_to(&mut self.cx, id.0, bytes, to)
    }

    pub(crate) fn udp_local_addr(&mut self, id: UdpId) -> Result<SocketAddr, Error> {
        const ACTION: &str = "look up the local address of";
        let datagrams = self.udps.get(id.0).filter(|datagrams| !datagrams.is_closing());
        let datagrams = datagrams.ok_or_else(|| not_found(ACTION, WHAT, id))?;
        datagrams.socket(&mut self.cx).local_addr().map_err(|error| {
            let fault = Fault { kind: FaultKind::Other, ..io_fault(&error) };
            Error::from_fault(fault, ACTION, Some(format!("{WHAT} {id}")))
        })
    }

    pub(crate) fn remove_udp(&mut self, id: UdpId) -> bool {
        if self.udps.has_issued(id.0) {
            self.cx.removed.mark_udp(id);
        }
        self.udps.get_mut(id.0).is_some_and(|datagrams| datagrams.remove(&mut self.cx, id.0))
    }
}
