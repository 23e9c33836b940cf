//! Which port each borrowed socket belongs to.
//!
//! A socket belongs to a port for its whole life, so one that is removed and added again cannot be associated again. It
//! may be the same socket, or a new one of another reactor with the old number: then packets would arrive at the wrong
//! port. [`Associations`] records this for all reactors of this process.
//!
//! Microsoft Learn: "CreateIoCompletionPort".

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use windows_sys::Win32::Networking::WinSock::SOCKET;

use super::super::{Fault, FaultKind};

/// The last association of each borrowed socket's number.
static ASSOCIATIONS: Mutex<BTreeMap<SOCKET, Association>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Copy)]
pub(super) struct Association {
    port: u64,
    pub(super) id: SocketId,
    /// A connection of the socket ended with bytes unsent.
    pub(super) cut: bool,
}

/// Distinguishes a socket from others that have had its number. A socket gets it when it is associated, which happens
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketId(u32);

impl SocketId {
    pub(super) fn next() -> SocketId {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        SocketId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One port's part of the record of associations, which its drop removes.
pub(super) struct Associations {
    port: u64,
}

impl Associations {
    pub(super) fn new() -> Associations {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Associations { port: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// A socket that the reactor owns: the socket that had its number before is closed.
    pub(super) fn forget(socket: SOCKET) {
        associations().remove(&socket);
    }

    /// A borrowed socket was just associated with this port.
    pub(super) fn note(&self, socket: SOCKET, id: SocketId) {
        associations().insert(socket, Association { port: self.port, id, cut: false });
    }

    /// Nothing happens if the number has been reused by now: the caller may have closed this socket without removing
    /// it [hc18].
    pub(super) fn note_cut(&self, socket: SOCKET, id: SocketId) {
        let mut associations = associations();
        if let Some(association) = associations.get_mut(&socket).filter(|known| known.id == id) {
            association.cut = true;
        }
    }

    /// The association of the socket with that number, if it is with this port and no other has followed.
    pub(super) fn find(&self, socket: SOCKET) -> Option<Association> {
        associations().get(&socket).copied().filter(|known| known.port == self.port)
    }
}

impl Drop for Associations {
    fn drop(&mut self) {
        associations().retain(|_, known| known.port != self.port);
    }
}

/// The fault of a second registration.
pub(super) fn already_registered(fault: Fault) -> bool {
    fault.kind == FaultKind::AlreadyRegistered
}

fn associations() -> MutexGuard<'static, BTreeMap<SOCKET, Association>> {
    // No operation under this lock leaves the record in an inconsistent state.
    ASSOCIATIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, any(feature = "c-api", dolmen_sim)))]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::windows::io::AsRawSocket as _;
    use std::time::Duration;

    use super::super::super::readiness::BorrowedSocket;
    use super::super::tests::connect_as;
    use crate::error::{Error, ErrorKind};
    use crate::{ConnId, Events, Reactor, Token};

    /// A reactor, and a connected socket that the caller owns.
    struct AdoptedFixture {
        reactor: Reactor,
        events: Events,
        listener: TcpListener,
        ours: TcpStream,
        peer: TcpStream,
    }

    impl AdoptedFixture {
        fn new() -> AdoptedFixture {
            let reactor = Reactor::builder().high_water_mark(1 << 30).build().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (peer, _) = listener.accept().unwrap();
            AdoptedFixture { reactor, events: Events::with_capacity(16), listener, ours, peer }
        }

        fn adopt(&mut self, again: bool) -> Result<ConnId, Error> {
            let socket = BorrowedSocket { raw: self.ours.as_raw_socket() };
            self.reactor.engine.adopt(socket, again, false, Token(0))
        }

        fn wait(&mut self, ms: u64) {
            self.reactor.wait(&mut self.events, Some(Duration::from_millis(ms))).unwrap();
        }

        /// Posts sends until one stays in flight: the peer reads nothing.
        fn fill(&mut self, conn: ConnId) {
            let megabyte = vec![7; 1 << 20];
            let mut posted = 0;
            while self.reactor.queued_bytes(conn).unwrap() == 0 {
                assert!(posted < 256, "{posted} MiB have gone out");
                self.reactor.engine.post_send(conn, &megabyte).unwrap();
                self.wait(50);
                posted += 1;
            }
        }

        /// The caller closes the socket, and another one gets its number. Returns false if it did not.
        fn replace(&mut self) -> bool {
            let number = self.ours.as_raw_socket();
            let spare = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            let _peer = self.listener.accept().unwrap();
            drop(std::mem::replace(&mut self.ours, spare));
            let found = connect_as(number, &self.listener);
            found.map(|pair| (self.ours, self.peer) = pair).is_some()
        }
    }

    #[test]
    fn hc18_a_socket_that_was_released_with_a_send_in_flight_is_not_added_again() {
        let mut fixture = AdoptedFixture::new();
        // When all of it has been sent the socket may be removed and added.
        for _ in 0..2 {
            let conn = fixture.adopt(true).unwrap();
            fixture.reactor.engine.post_send(conn, b"whole").unwrap();
            while fixture.reactor.queued_bytes(conn).unwrap() > 0 {
                fixture.wait(1_000);
            }
            assert!(fixture.reactor.engine.remove_adopted(conn));
            fixture.wait(0);
        }
        let conn = fixture.adopt(true).unwrap();
        fixture.fill(conn);
        assert!(fixture.reactor.engine.remove_adopted(conn));
        assert_eq!(fixture.adopt(true).unwrap_err().kind(), ErrorKind::StreamCut);
        // Also when the send has completed.
        while fixture.reactor.stats().operations_in_flight > 0 {
            fixture.wait(50);
        }
        assert_eq!(fixture.adopt(true).unwrap_err().kind(), ErrorKind::StreamCut);
    }

    /// A new socket may have the number of one that was refused.
    #[test]
    fn hc18_a_socket_with_the_number_of_one_that_was_refused_is_added() {
        let replaced = || {
            let mut fixture = AdoptedFixture::new();
            let conn = fixture.adopt(true).unwrap();
            fixture.fill(conn);
            assert!(fixture.reactor.engine.remove_adopted(conn));
            assert_eq!(fixture.adopt(true).unwrap_err().kind(), ErrorKind::StreamCut);
            if !fixture.replace() {
                return false;
            }
            let conn = fixture.adopt(true).unwrap();
            assert!(fixture.reactor.engine.remove_adopted(conn));
            let conn = fixture.adopt(true).unwrap();
            fixture.reactor.engine.remove_adopted(conn)
        };
        assert!((0..50).any(|_| replaced()), "the number is never given out again");
    }

    /// The old connection is released when the new socket is associated: the note about the first does not apply to the
    /// second.
    #[test]
    fn hc18_a_socket_that_was_closed_with_a_send_in_flight_leaves_its_number_unmarked() {
        let replaced = || {
            let mut fixture = AdoptedFixture::new();
            let old = fixture.adopt(true).unwrap();
            fixture.fill(old);
            if !fixture.replace() {
                return false;
            }
            let new = fixture.adopt(false).unwrap();
            assert!(fixture.reactor.queued_bytes(old).unwrap() > 0);
            assert!(fixture.reactor.engine.remove_adopted(old));
            assert!(fixture.reactor.engine.remove_adopted(new));
            let new = fixture.adopt(true).unwrap();
            fixture.reactor.engine.remove_adopted(new)
        };
        assert!((0..50).any(|_| replaced()), "the number is never given out again");
    }
}
