//! Look-ups: each is reported once, with its token and what was found, unless it was cancelled.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};

use super::super::program::NameStep;
use super::*;
use crate::error::Error;
use crate::kernel::names::{Answer, Query};
use crate::token::LookupId;

/// The first token of a look-up.
const FIRST: usize = 5_000;

pub(super) struct Names {
    /// Decides what handlers do, so that other seeds keep their decisions.
    rng: Rng,
    all: Vec<Lookup>,
}

struct Lookup {
    id: LookupId,
    /// What is to be found.
    expected: String,
    state: LookupState,
    /// It needs no worker.
    literal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LookupState {
    Pending,
    Reported,
    Cancelled,
    /// Cancelled after it was answered.
    TakenBack,
}

impl Names {
    pub(super) fn new(seed: u64) -> Names {
        Names { rng: Rng::new(seed ^ 0x0A1D_7E55_0F1D_4057), all: Vec::new() }
    }

    fn count(&self, state: LookupState) -> usize {
        self.all.iter().filter(|lookup| lookup.state == state).count()
    }

    /// An address in text waits to be reported.
    pub(super) fn is_due(&self) -> bool {
        self.all.iter().any(|lookup| lookup.literal && lookup.state == LookupState::Pending)
    }
}

impl Run<'_> {
    pub(super) fn name_step(&mut self, step: NameStep) -> Check {
        let token = Token(FIRST + self.names.all.len());
        match step {
            NameStep::Resolve(who) => {
                let (host, port) = (format!("h{}", who % 12), who as u16);
                let begun = self.engine.resolve(&host, port, token);
                self.begun(begun, &Query::Addresses { host, port }, false)
            }
            NameStep::Literal(who) => {
                let address = std::net::SocketAddr::from(([10, 0, 7, who as u8], who as u16));
                let begun = self.engine.resolve(&address.ip().to_string(), address.port(), token);
                let expected = format!("{:?}", Ok::<_, ()>(vec![address]));
                self.noted(begun, expected, true)
            }
            NameStep::Name(who) => {
                let ip = IpAddr::V4(Ipv4Addr::new(10, 0, (who % 3) as u8, (who % 12) as u8));
                let begun = self.engine.lookup_name(ip, token);
                self.begun(begun, &Query::Name(ip), false)
            }
            NameStep::Cancel(who) => self.cancel_lookup(who),
            NameStep::Connect(kinds) => self.connect_host(kinds),
            NameStep::RemoveConnecting(who) => self.remove_connecting(who),
            NameStep::NoThreads(none) => {
                self.world.borrow_mut().threads_exhausted = none;
                Ok(())
            }
        }
    }

    fn begun(&mut self, begun: Result<LookupId, Error>, query: &Query, literal: bool) -> Check {
        let expected = match query.answer(&SimNames) {
            Answer::Addresses(result) => format!("{result:?}"),
            Answer::Name(result) => format!("{result:?}"),
        };
        self.noted(begun, expected, literal)
    }

    fn noted(&mut self, begun: Result<LookupId, Error>, expected: String, literal: bool) -> Check {
        let held = self.engine.stats().lookups;
        let known = self.names.count(LookupState::Pending)
            + self.names.count(LookupState::TakenBack)
            + self.hosts.looking_up();
        match begun {
            Ok(id) => {
                self.check(Oracle::Bounds, held <= self.config.most_lookups, || format!("{held} look-ups"))?;
                self.names.all.push(Lookup { id, expected, state: LookupState::Pending, literal });
                self.check(Oracle::Bounds, held <= known + 1, || format!("{held} look-ups are held"))
            }
            Err(error) => {
                let right = match error.kind() {
                    ErrorKind::LookupsFull => held == self.config.most_lookups && held <= known,
                    ErrorKind::Exhausted => self.world.borrow().threads_exhausted && !literal,
                    _ => false,
                };
                self.check(Oracle::Bounds, right, || format!("a look-up was refused: {error}"))
            }
        }
    }

    fn cancel_lookup(&mut self, who: u32) -> Check {
        let count = self.names.all.len();
        // The latest ones.
        let recent = count.min(6);
        if recent == 0 {
            return Ok(());
        }
        let at = count - 1 - who as usize % recent;
        let known = self.engine.cancel_lookup(self.names.all[at].id);
        let lookup = &mut self.names.all[at];
        let before = lookup.state;
        if before == LookupState::Pending {
            lookup.state = if known { LookupState::Cancelled } else { LookupState::TakenBack };
        }
        // An address in text is answered immediately.
        let plausible = !known || (before == LookupState::Pending && !lookup.literal);
        self.check(Oracle::Stale, plausible, || format!("a look-up was cancelled that was {before:?}"))
    }

    /// An event.
    pub(super) fn looked_up(&mut self, id: LookupId, token: Token, result: impl Debug) -> Check {
        let at = token.0.checked_sub(FIRST).filter(|&at| at < self.names.all.len());
        let Some(lookup) = at.map(|at| &mut self.names.all[at]).filter(|lookup| lookup.id == id) else {
            return self.fail(Oracle::Stale, || format!("{id:?} is reported with {token:?}"));
        };
        let before = std::mem::replace(&mut lookup.state, LookupState::Reported);
        let (expected, found) = (lookup.expected.clone(), format!("{result:?}"));
        self.check(Oracle::Stale, before == LookupState::Pending, || {
            format!("{id:?} is reported, and was {before:?}")
        })?;
        self.check(Oracle::Stream, found == expected, || format!("{found} instead of {expected}"))?;
        let who = self.names.rng.below(1 << 20) as u32;
        match self.names.rng.below(8) {
            _ if self.calm => Ok(()),
            0 | 1 => self.cancel_lookup(who),
            2 => self.name_step(NameStep::Resolve(who)),
            3 => self.name_step(NameStep::Literal(who)),
            _ => Ok(()),
        }
    }

    /// Answers end the wait immediately, and one without events has left none behind.
    pub(super) fn check_answers(&self, count: usize) -> Check {
        let answered_ns = self.world.borrow_mut().answered_ns.take();
        let Some(answered_ns) = answered_ns else {
            return self.check(Oracle::Posts, count > 0 || !self.names.is_due(), || {
                "a wait without events left a look-up behind".into()
            });
        };
        let now_ns = self.now_ns();
        self.check(Oracle::Posts, count > 0 && now_ns <= answered_ns + 1_000_000, || {
            format!("a look-up was answered at {answered_ns}; the wait ended at {now_ns} with {count} events")
        })
    }

    pub(super) fn check_names_reported(&self) -> Check {
        let left = self.names.count(LookupState::Pending);
        self.check(Oracle::Liveness, left == 0, || format!("{left} look-ups were never reported"))
    }
}
