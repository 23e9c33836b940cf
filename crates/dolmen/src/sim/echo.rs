//! The cost of an echoed message: calls into the kernel, exactly, and allocations.

use std::time::Duration;

use super::fixture::{Fixture, Seen, Style};
use crate::kernel::sim::world::{SimHandle, SimListener};
use crate::record::Record;
use crate::token::Token;

/// A server of a number of connections, and also eight readiness listeners and a console's watch, with its peers. The
/// run has no faults: sends succeed immediately, and receives are posted before there is something to read.
#[allow(missing_debug_implementations)]
pub struct Echo {
    fixture: Fixture,
    links: Vec<usize>,
    read: Vec<u8>,
    ticks: u64,
    /// The peers send while the reactor waits, and not before.
    late: bool,
}

/// The cost of a number of rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Messages echoed.
    pub messages: u64,
    /// Calls into the kernel.
    pub kernel_calls: u64,
    /// Waits of the caller.
    pub waits: u64,
}

const MESSAGE: &[u8] = b"look at the statue in the corner\n";

impl Echo {
    /// `completion`: the kernel lends buffers in advance, as over a completion port. Otherwise it is a readiness
    /// kernel. `pool_size`: with 0, receives are posted without a buffer and made once there is something to read.
    #[must_use]
    pub fn new(connections: usize, completion: bool, pool_size: usize) -> Echo {
        Echo::beside(0, connections, completion, pool_size)
    }

    /// The same with `idle` more connections that never send anything.
    #[must_use]
    pub fn beside(idle: usize, connections: usize, completion: bool, pool_size: usize) -> Echo {
        let style = if completion { Style::Completion } else { Style::Readiness };
        let config = crate::engine::Config { pool_size, max_connections: usize::MAX, ..Fixture::CONFIG };
        let mut fixture = Fixture::with(style, config);
        fixture.faults(|faults| faults.sync = 100);
        for _ in 0..8 {
            let (listener, _) = SimListener::open(&fixture.world);
            fixture.engine.listen_readiness(listener, Token(0)).expect("it must succeed");
        }
        let (console, _) = SimHandle::open(&fixture.world);
        fixture.engine.watch(console, Token(0)).expect("it must succeed");
        let links = (0..connections).map(|_| fixture.connect().1).collect();
        let mut echo =
            Echo { fixture, links, read: Vec::with_capacity(MESSAGE.len()), ticks: 0, late: false };
        echo.idle(idle);
        assert!(echo.fixture.turn().is_empty());
        // One-time work is done now.
        echo.rounds(20);
        echo
    }

    /// Adds this many connections that never send anything.
    pub fn idle(&mut self, count: usize) {
        for _ in 0..count {
            let stream = self.fixture.silent_stream();
            self.fixture.add(stream);
        }
    }

    /// The same with an interval, on a machine whose waits follow the tick of a coarse clock.
    #[must_use]
    pub fn with_interval(connections: usize, period: Duration) -> Echo {
        let mut echo = Echo::new(connections, true, 256);
        echo.fixture.world.borrow_mut().coarse = true;
        echo.late = true;
        echo.fixture.engine.add_interval(period, Token(0));
        echo.rounds(1);
        echo
    }

    /// Lets time pass while the caller does not wait.
    pub fn pass(&mut self, time: Duration) {
        self.fixture.world.borrow_mut().now_ns += time.as_nanos() as u64;
    }

    /// How often the interval has gone off.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// In each round every peer sends a message and receives it back.
    pub fn rounds(&mut self, count: u64) -> Cost {
        let before = self.fixture.stats();
        for _ in 0..count {
            self.round();
        }
        let stats = self.fixture.stats();
        Cost {
            messages: count * self.links.len() as u64,
            kernel_calls: stats.kernel_calls - before.kernel_calls,
            waits: stats.waits - before.waits,
        }
    }

    fn round(&mut self) {
        for &link in &self.links {
            if self.late {
                let world = std::rc::Rc::clone(&self.fixture.world);
                let speak = move |_| world.borrow_mut().links[link].inbound.write(MESSAGE);
                let at_ns = self.fixture.now_ns() + 5_000;
                self.fixture.world.borrow_mut().schedule(at_ns, speak);
            } else {
                self.fixture.peer_sends(link, MESSAGE);
            }
        }
        // The replies of the last round are sent with this wait, as in a server's loop.
        let Fixture { engine, events, world } = &mut self.fixture;
        world.borrow_mut().waits = 0;
        let mut messages = 0;
        while messages == 0 {
            engine.wait(events, Some(Duration::from_secs(1))).expect("wait");
            for record in events.drain() {
                match *record {
                    Record::Received { conn, ref buffer, .. } => {
                        engine.send(conn, buffer.as_slice()).expect("send");
                    }
                    // In a separate wait, in which no peer has sent yet.
                    Record::Timer { .. } => {
                        self.ticks += 1;
                        continue;
                    }
                    _ => panic!("{:?}", Seen::from(record)),
                }
                messages += 1;
            }
        }
        assert_eq!(messages, self.links.len(), "one batch");
        for &link in &self.links {
            self.read.clear();
            self.read.extend(world.borrow_mut().links[link].outbound.bytes.drain(..));
            assert!(self.read.is_empty() || self.read == MESSAGE, "not what was sent");
        }
    }
}
