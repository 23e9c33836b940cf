//! The polls that the simulated system knows.

use super::super::readiness::{BorrowedSocket, Readiness};
use super::super::{Fault, FaultKind};
use super::world::{Descriptor, NOT_OPEN};
use super::{OwnedObject, Sim, Source};

/// A poll, as the system records it.
pub(super) struct Polled {
    pub(super) source: u64,
    pub(super) fd: u32,
    pub(super) object: Descriptor,
    pub(super) interest: Readiness,
    /// Its source was released when the number had already been reused for another socket.
    pub(super) stale: bool,
}

impl Sim {
    /// Adds a poll, unless the descriptor has one.
    pub(super) fn add_polled(
        &mut self,
        socket: BorrowedSocket,
        interest: Readiness,
    ) -> Result<Source, Fault> {
        let fd = socket.raw as u32;
        let object = self.world.borrow().object(fd);
        if object == Descriptor::Free {
            return Err(NOT_OPEN);
        }
        let known = |polled: &&Polled| polled.fd == fd && polled.object == object;
        let known = self.polled.borrow().iter().find(known).map(|polled| (polled.source, polled.stale));
        if self.forked {
            let (number, _) = known.ok_or(NOT_OPEN)?;
            return Ok(Source { number, fd, object, owned: OwnedObject::Borrowed });
        }
        match known {
            Some((_, false)) => return Err(Fault { kind: FaultKind::AlreadyRegistered, code: 17 }),
            Some((stale, true)) => {
                self.polled.borrow_mut().retain(|polled| polled.source != stale);
            }
            None => {}
        }
        let source = self.add(fd, OwnedObject::Borrowed);
        let polled = Polled { source: source.number, fd, object, interest, stale: false };
        self.polled.borrow_mut().push(polled);
        Ok(source)
    }

    /// The system forgets a poll. A real one of the readiness style identifies it by the descriptor's number.
    pub(super) fn forget(&mut self, source: &Source) {
        if self.retiring {
            return;
        }
        let world = self.world.borrow();
        let object = if world.completion_style { source.object } else { world.object(source.fd) };
        let mut polled = self.polled.borrow_mut();
        polled.retain(|polled| polled.fd != source.fd || polled.object != object);
        for polled in polled.iter_mut() {
            polled.stale |= polled.source == source.number;
        }
    }

    /// Records the interest of a poll. Returns whether that is new to the system.
    pub(super) fn register(&mut self, source: &Source, interest: Readiness) -> bool {
        if self.forked {
            return false;
        }
        let mut polled = self.polled.borrow_mut();
        let polled = polled.iter_mut().find(|polled| polled.source == source.number);
        // `None`: the caller has closed the socket, or it was removed by its number.
        polled.is_some_and(|polled| std::mem::replace(&mut polled.interest, interest) != interest)
    }
}
