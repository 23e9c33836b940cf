//! Connecting to the simulated world's addresses.

use super::super::operation::{OpKind, OpPtr};
use super::super::{Fault, Outcome, Submission};
use super::pending::Pending;
use super::world::{Answer, BACKLOG_FULL, NOT_CONNECTED, SimStream, Stage};
use super::{OwnedObject, Sim, Source};
use crate::address::Address;
use crate::marks::{Mark, mark};

impl Sim {
    pub(super) fn open_dial(
        &mut self,
        address: &Address,
        prepared: Option<SimStream>,
    ) -> Result<Source, Fault> {
        let stream = match prepared {
            Some(stream) => stream,
            None => {
                if self.world.borrow().exhausted {
                    return Err(super::world::EXHAUSTED);
                }
                SimStream::open_unconnected(&self.world)
            }
        };
        let link = stream.link();
        let address = address.ip().expect("the simulated world has no other addresses");
        let mut world = self.world.borrow_mut();
        assert_eq!(world.links[link].stage, Stage::Unconnected, "a connected socket was to be connected");
        world.links[link].stage = Stage::Connecting { to: address, since_ns: None };
        drop(world);
        Ok(self.add(stream.fd, OwnedObject::Stream(stream)))
    }

    /// # Safety
    ///
    /// As for every submission.
    pub(super) unsafe fn begin_connect(&mut self, source: &Source, op: OpPtr<Self>) -> Submission<Self> {
        if !self.is_open(source) {
            return Submission::Failed(super::world::NOT_OPEN);
        }
        {
            let mut world = self.world.borrow_mut();
            let now_ns = world.now_ns;
            let Stage::Connecting { to, since_ns } = world.link_of(source.object).stage else {
                panic!("a socket connects once")
            };
            assert_eq!(since_ns, None, "a socket connects once");
            if world.backlog_is_full(to) {
                return Submission::Failed(BACKLOG_FULL);
            }
            world.link_of(source.object).stage = Stage::Connecting { to, since_ns: Some(now_ns) };
        }
        let pending = self.pending(op, OpKind::Connect, source);
        // SAFETY: passed on.
        unsafe { self.submit(pending, None) }
    }

    /// The result of a connect, once there is one.
    pub(super) fn connected(&self, pending: &Pending) -> Option<Result<Outcome<Sim>, Fault>> {
        let mut world = self.world.borrow_mut();
        match world.answer(pending.object)? {
            Ok(()) => {
                mark(Mark::DialAccepted);
                let completion_style = world.completion_style;
                let link = world.link_of(pending.object);
                let Stage::Connecting { to, .. } = link.stage else { panic!("it is connecting") };
                link.stage = if completion_style { Stage::Incomplete { to } } else { Stage::Untold { to } };
                Some(Ok(Outcome::Connected))
            }
            Err(fault) => {
                mark(Mark::DialRefused);
                Some(Err(fault))
            }
        }
    }

    pub(super) fn end_connect(&mut self, source: &Source) -> Result<(Address, Address), Fault> {
        if !self.is_open(source) {
            return Err(super::world::NOT_OPEN);
        }
        self.calls += 1;
        let mut world = self.world.borrow_mut();
        let own = world.own_address(source.object);
        let link = world.link_of(source.object);
        let (Stage::Incomplete { to } | Stage::Untold { to }) = link.stage else { return Err(NOT_CONNECTED) };
        link.stage = Stage::Connected;
        let itself = world.answers.get(&to) == Some(&Answer::Itself);
        let own = if itself { to } else { own };
        Ok((Address::Ip(own), Address::Ip(to)))
    }
}
