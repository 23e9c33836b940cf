//! Connections to hosts, until they are made: what is at each of the addresses determines how they end.

use std::io;
use std::net::SocketAddr;

use super::*;
use crate::kernel::sim::names::addresses_of;
use crate::kernel::sim::world::{Answer, EXHAUSTED, REFUSED, Stage, TIMED_OUT, UNREACHABLE};

/// The first token of a connection to a host.
const FIRST: usize = 7_000;

/// The most addresses of a host.
const MOST_ADDRESSES: u32 = 4;

#[derive(Default)]
pub(super) struct Hosts {
    all: Vec<Host>,
}

struct Host {
    id: ConnId,
    answers: Vec<(SocketAddr, Answer)>,
    begun_ns: u64,
    /// For how long the caller had not waited by then.
    away_ns: u64,
    state: HostState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostState {
    Pending,
    Removed,
    /// Made, or reported as failed.
    Over,
}

impl Hosts {
    /// Whether the connection was begun here and has not been made.
    pub(super) fn holds(&self, conn: ConnId) -> bool {
        self.all.iter().any(|host| host.id == conn && host.state != HostState::Over)
    }

    fn pending(&self) -> usize {
        self.all.iter().filter(|host| host.state == HostState::Pending).count()
    }

    /// At most so many of its look-ups are in progress.
    pub(super) fn looking_up(&self) -> usize {
        self.all.iter().filter(|host| host.state != HostState::Over).count()
    }

    fn by_token(&mut self, conn: ConnId, token: Token) -> Option<&mut Host> {
        let at = token.0.checked_sub(FIRST)?;
        self.all.get_mut(at).filter(|host| host.id == conn)
    }
}

impl Run<'_> {
    /// The engine has made sockets by itself.
    pub(super) fn note_links(&mut self) {
        let links = self.world.borrow().links.len();
        while self.peers.len() < links {
            self.peers.push(Peer::default());
        }
    }

    pub(super) fn connect_host(&mut self, kinds: u32) -> Check {
        if self.peers.len() >= MOST_LINKS || self.hosts.pending() >= 4 {
            return Ok(());
        }
        let (count, number) = ((kinds % (MOST_ADDRESSES + 1)) as u8, self.hosts.all.len());
        let port = 2_000 + number as u16;
        let answer = |at: usize| {
            let kind = kinds >> (3 + 6 * at);
            let after_ns = if kind & 8 == 0 { 0 } else { u64::from(kind >> 4 & 3) * 200_000_000 };
            match kind % 8 {
                0..2 => Answer::Accepts { after_ns },
                2..4 => Answer::Refuses { after_ns },
                4 => Answer::Unreachable,
                5 => Answer::Itself,
                6 => Answer::Busy { attempts: 1 + kind % 4 },
                _ => Answer::Silent,
            }
        };
        let answers: Vec<_> =
            addresses_of(count, port).enumerate().map(|(at, address)| (address, answer(at))).collect();
        self.world.borrow_mut().answers.extend(answers.iter().copied());
        let (begun_ns, away_ns) = (self.now_ns(), self.away_ns);
        match self.engine.connect_host(&format!("c{count}"), port, Token(FIRST + number)) {
            Ok(id) => {
                self.hosts.all.push(Host { id, answers, begun_ns, away_ns, state: HostState::Pending });
                Ok(())
            }
            Err(error) => {
                let right = match error.kind() {
                    ErrorKind::LookupsFull => self.engine.stats().lookups == self.config.most_lookups,
                    ErrorKind::Exhausted => self.world.borrow().threads_exhausted,
                    _ => false,
                };
                self.check(Oracle::Bounds, right, || format!("a connect was refused: {error}"))
            }
        }
    }

    pub(super) fn remove_connecting(&mut self, who: u32) -> Check {
        let pending = self.hosts.all.iter_mut().filter(|host| host.state == HostState::Pending);
        let mut pending: Vec<_> = pending.collect();
        if pending.is_empty() {
            return Ok(());
        }
        let at = who as usize % pending.len();
        pending[at].state = HostState::Removed;
        let id = pending[at].id;
        // False if its end is in the outbox, or in the events, already.
        self.engine.remove(id);
        Ok(())
    }

    /// `Connected` of a connection to a host: from here on it is a connection like the others.
    pub(super) fn host_connected(
        &mut self,
        conn: ConnId,
        token: Token,
        ends: (SocketAddr, SocketAddr),
    ) -> Check {
        let Some(host) = self.hosts.by_token(conn, token) else {
            return self.fail(Oracle::Stale, || format!("{conn:?} with {token:?} never was"));
        };
        let before = std::mem::replace(&mut host.state, HostState::Over);
        let begun_ns = host.begun_ns;
        let answer = host.answers.iter().find(|&&(address, _)| address == ends.1).map(|&(_, answer)| answer);
        self.check(Oracle::Stale, before == HostState::Pending, || format!("{conn:?} was {before:?}"))?;
        let accepts = matches!(answer, Some(Answer::Accepts { .. } | Answer::Busy { .. }));
        self.check(Oracle::Order, accepts, || format!("connected to {answer:?}"))?;
        let Some(answer) = answer else { return Ok(()) };
        // The simulated world's own addresses have the number of the link as their port.
        let link = usize::from(ends.0.port());
        self.by_id.insert(conn, self.conns.len());
        self.conns.push(Conn { token, ..Conn::new(conn, link) }.dialled(answer, begun_ns));
        self.connected(conn, token)
    }

    /// `Closed` of a connection to a host that was not made.
    pub(super) fn host_failed(&mut self, conn: ConnId, token: Token, reason: &CloseReason) -> Check {
        let now_ns = self.now_ns();
        let timeout_ns = self.config.connect_timeout.as_nanos() as u64;
        let Some(host) = self.hosts.by_token(conn, token) else {
            return self.fail(Oracle::Stale, || format!("{conn:?} with {token:?} never was"));
        };
        let before = std::mem::replace(&mut host.state, HostState::Over);
        let answers = host.answers.clone();
        let (begun_away_ns, ends_ns) = (host.away_ns, now_ns.min(host.begun_ns + timeout_ns));
        let late = now_ns >= host.begun_ns + timeout_ns;
        let codes = answers.iter().map(|(_, answer)| match answer {
            Answer::Refuses { .. } | Answer::Itself => Some(REFUSED.code),
            Answer::Unreachable => Some(UNREACHABLE.code),
            Answer::Silent | Answer::Accepts { .. } | Answer::Busy { .. } => None,
        });
        let codes: Vec<_> = codes.collect();
        let right = match *reason {
            CloseReason::Unresolved { ref error } => {
                answers.is_empty() && error.kind() == io::ErrorKind::NotFound
            }
            CloseReason::Failed { code } if code == TIMED_OUT.code => late,
            // For each attempt the process may be without a descriptor.
            CloseReason::Failed { code } => codes.contains(&Some(code)) || code == EXHAUSTED.code,
            _ => false,
        };
        self.check(Oracle::Stale, before == HostState::Pending, || format!("{conn:?} was {before:?}"))?;
        self.check(Oracle::Order, right, || format!("{reason:?} with {answers:?} (late: {late})"))?;
        // Every address has had its turn.
        let gave_up = matches!(*reason, CloseReason::Failed { code } if code != TIMED_OUT.code);
        let left = gave_up && codes.contains(&None) && !self.was_exhausted;
        self.check(Oracle::Order, !left, || format!("given up as {reason:?} with {answers:?}"))?;
        let on_time = begun_away_ns == self.away_ns && !self.was_exhausted;
        if on_time { self.check_attempts(&answers, ends_ns) } else { Ok(()) }
    }

    /// Of a host that had not been connected to by this time, an address was tried every 250 ms at least.
    fn check_attempts(&self, answers: &[(SocketAddr, Answer)], ends_ns: u64) -> Check {
        let itself = answers.iter().any(|(_, answer)| *answer == Answer::Itself);
        let Some(port) = answers.first().map(|(address, _)| address.port()).filter(|_| !itself) else {
            return Ok(());
        };
        let world = self.world.borrow();
        let Some(&resolved_ns) = world.resolved_ns.get(&port) else { return Ok(()) };
        let to_port = |stage: Stage| match stage {
            Stage::Connecting { to, .. } | Stage::Incomplete { to } | Stage::Untold { to } => {
                to.port() == port
            }
            _ => false,
        };
        let tried = world.links.iter().filter(|link| to_port(link.stage)).count();
        // A coarse clock may make each of the timers late by a tick.
        let due = 1 + ends_ns.saturating_sub(resolved_ns) / 270_000_000;
        self.check(Oracle::Time, tried as u64 >= due.min(answers.len() as u64), || {
            format!("{tried} of {answers:?} were tried between {resolved_ns} and {ends_ns}")
        })
    }

    pub(super) fn check_hosts_reported(&self) -> Check {
        let left = self.hosts.pending();
        self.check(Oracle::Liveness, left == 0, || format!("{left} connections to hosts were not reported"))
    }
}
