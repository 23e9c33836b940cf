//! The addresses of the simulated world, and what a connect to each finds.

use std::net::SocketAddr;

use super::{Descriptor, Ended, REFUSED, UNREACHABLE, World};
use crate::kernel::Fault;

/// What is at an address. An address without an entry refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A peer accepts after this time.
    Accepts {
        after_ns: u64,
    },
    Refuses {
        after_ns: u64,
    },
    /// There is no route.
    Unreachable,
    /// No answer comes, ever.
    Silent,
    /// The socket is connected to itself.
    Itself,
    /// A Unix socket's backlog is full, for so many attempts.
    Busy {
        attempts: u32,
    },
}

/// How far a link has come that the reactor's side makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Connected,
    Unconnected,
    /// `since_ns`: when the connect was submitted.
    Connecting {
        to: SocketAddr,
        since_ns: Option<u64>,
    },
    /// Connected, as the system sees it. The socket knows nothing of that before its context is updated.
    Incomplete {
        to: SocketAddr,
    },
    /// The same in readiness style, where the socket knows, and only the reactor has not asked.
    Untold {
        to: SocketAddr,
    },
}

impl World {
    /// Uses up an attempt at an address whose backlog is full.
    pub(in crate::kernel::sim) fn backlog_is_full(&mut self, address: SocketAddr) -> bool {
        match self.answers.get_mut(&address) {
            Some(Answer::Busy { attempts }) if *attempts > 0 => {
                *attempts -= 1;
                true
            }
            _ => false,
        }
    }

    /// The end of a connect, if it has one by now.
    pub(in crate::kernel::sim) fn answer(&mut self, object: Descriptor) -> Option<Result<(), Fault>> {
        let now_ns = self.now_ns;
        let link = self.link_of(object);
        if link.ended == Some(Ended::Reset) {
            return Some(Err(REFUSED));
        }
        let Stage::Connecting { to, since_ns: Some(since_ns) } = link.stage else { return None };
        match self.answers.get(&to) {
            Some(Answer::Accepts { after_ns }) => (now_ns >= since_ns + after_ns).then_some(Ok(())),
            Some(Answer::Refuses { after_ns }) => (now_ns >= since_ns + after_ns).then_some(Err(REFUSED)),
            Some(Answer::Itself | Answer::Busy { .. }) => Some(Ok(())),
            Some(Answer::Unreachable) => Some(Err(UNREACHABLE)),
            Some(Answer::Silent) => None,
            None => Some(Err(REFUSED)),
        }
    }

    /// When a connect that has no answer yet will have one.
    pub(in crate::kernel::sim) fn answer_due_ns(&mut self, object: Descriptor) -> Option<u64> {
        let Stage::Connecting { to, since_ns: Some(since_ns) } = self.link_of(object).stage else {
            return None;
        };
        match self.answers.get(&to) {
            Some(Answer::Accepts { after_ns } | Answer::Refuses { after_ns }) => Some(since_ns + after_ns),
            _ => None,
        }
    }

    /// The address of our end of a link.
    pub(in crate::kernel::sim) fn own_address(&self, object: Descriptor) -> SocketAddr {
        let Descriptor::Link(link) = object else { panic!("{object:?} is not a stream") };
        SocketAddr::from(([127, 0, 0, 2], link as u16))
    }
}
