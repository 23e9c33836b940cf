//! What a socket must be to be registered, and its association with the port.

use std::net::TcpListener;
use std::os::windows::io::AsRawSocket;

use windows_sys::Win32::Networking::WinSock::SOCKET;

use super::super::{Fault, FaultKind};
use super::associations::{Associations, SocketId};
use super::socket::{self, SocketKind};
use super::{Iocp, status};

impl Iocp {
    /// Any socket but a stream of bytes violates an assumption of the reactor: a datagram that is larger than the
    /// buffer is both a failure and a success [hc40, p16].
    pub(super) fn check(&mut self, socket: &impl AsRawSocket, wanted: SocketKind) -> Result<(), Fault> {
        self.calls += 2;
        match socket::kind_of(socket)? {
            kind if kind == wanted => Ok(()),
            SocketKind::Other => Err(Fault { kind: FaultKind::Invalid, code: status::WRONG_TYPE }),
            _ => Err(Fault { kind: FaultKind::Invalid, code: status::INVALID }),
        }
    }

    /// The peers of a listener are reported by their IP addresses, so it has one itself.
    pub(super) fn check_listener(&mut self, listener: &TcpListener) -> Result<(), Fault> {
        self.check(listener, SocketKind::Listener)?;
        self.calls += 1;
        let address = listener.local_addr();
        address.map(drop).map_err(|error| Fault { kind: FaultKind::Invalid, ..status::from_io(&error) })
    }

    /// Associates a socket with the port. Returns whether immediate success will send no packet, and an id for the
    /// socket.
    pub(super) fn associate(&mut self, socket: SOCKET) -> Result<(bool, SocketId), Fault> {
        let id = self.associate_with_packets(socket)?;
        Ok((self.skips(socket), id))
    }

    /// The same for a socket on which immediate success sends a packet too.
    pub(super) fn associate_with_packets(&mut self, socket: SOCKET) -> Result<SocketId, Fault> {
        self.calls += 1;
        self.port.associate(socket)?;
        Associations::forget(socket);
        Ok(SocketId::next())
    }

    /// Whether immediate success will send no packet on an associated socket [hc11].
    pub(super) fn skips(&mut self, socket: SOCKET) -> bool {
        if !self.skip_on_success {
            return false;
        }
        self.calls += 2;
        socket::is_installable_file_system(socket) && socket::skip_on_success(socket)
    }

    /// The same for a borrowed socket. With `again`, one may be associated already, if no stream of it was cut.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(super) fn associate_borrowed(
        &mut self,
        socket: SOCKET,
        again: bool,
    ) -> Result<(bool, SocketId), Fault> {
        match self.associate(socket) {
            Ok((skips, id)) => {
                self.associations.note(socket, id);
                Ok((skips, id))
            }
            Err(fault) if again && super::associations::already_registered(fault) => {
                match self.associations.find(socket) {
                    None => Err(fault),
                    Some(known) if known.cut => Err(Fault { kind: FaultKind::Cut, code: 0 }),
                    Some(known) => Ok((self.skips(socket), known.id)),
                }
            }
            Err(fault) => Err(fault),
        }
    }
}
