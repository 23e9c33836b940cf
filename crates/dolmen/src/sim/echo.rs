//! What an echoed message costs: calls into the kernel, exactly, and allocations.

use std::time::Duration;

use super::stage::{Stage, Style};
use crate::events::Event;
use crate::kernel::sim::world::{SimHandle, SimListener};
use crate::token::Token;

/// A server of so many connections, with eight readiness listeners and a console's watch beside them, and its peers.
/// All runs as on a good day: sends succeed at once, and receives are posted before there is something to read.
#[allow(missing_debug_implementations)]
pub struct Echo {
    stage: Stage,
    links: Vec<usize>,
    read: Vec<u8>,
}

/// What so many rounds have cost.
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
    /// `completion`: the kernel lends buffers in advance, as a completion port is given them. Otherwise it is one of
    /// readiness. `pool_size`: with 0, receives are posted without a buffer and made once there is something to read.
    #[must_use]
    pub fn new(connections: usize, completion: bool, pool_size: usize) -> Echo {
        let style = if completion { Style::Completion } else { Style::Readiness };
        let mut stage = Stage::with(style, crate::engine::Config { pool_size, ..Stage::CONFIG });
        stage.faults(|faults| faults.sync = 100);
        for _ in 0..8 {
            let (listener, _) = SimListener::open(&stage.world);
            stage.engine.listen_readiness(listener, Token(0)).expect("nothing stands against it");
        }
        let (console, _) = SimHandle::open(&stage.world);
        stage.engine.watch(console, Token(0)).expect("nothing stands against it");
        let links = (0..connections).map(|_| stage.connect().1).collect();
        let mut echo = Echo { stage, links, read: Vec::with_capacity(MESSAGE.len()) };
        assert!(echo.stage.poll().is_empty());
        // Whatever is made once is made now.
        echo.rounds(20);
        echo
    }

    /// In each round every peer says something and hears it again.
    pub fn rounds(&mut self, count: u64) -> Cost {
        let before = self.stage.stats();
        for _ in 0..count {
            self.round();
        }
        let stats = self.stage.stats();
        Cost {
            messages: count * self.links.len() as u64,
            kernel_calls: stats.kernel_calls - before.kernel_calls,
            waits: stats.waits - before.waits,
        }
    }

    fn round(&mut self) {
        for &link in &self.links {
            self.stage.peer_sends(link, MESSAGE);
        }
        // What was answered to the last round goes out with this wait, as it does in a server's loop.
        let Stage { engine, events, world } = &mut self.stage;
        world.borrow_mut().polls = 0;
        let count = engine.wait(events, Some(Duration::from_secs(1))).expect("wait");
        assert_eq!(count, self.links.len(), "one batch");
        for event in events.drain() {
            let Event::Received { conn, data, .. } = event else { panic!("{event:?}") };
            engine.send(conn, data).expect("send");
        }
        for &link in &self.links {
            self.read.clear();
            self.read.extend(world.borrow_mut().links[link].outbound.bytes.drain(..));
            assert!(self.read.is_empty() || self.read == MESSAGE, "not what was said");
        }
    }
}
