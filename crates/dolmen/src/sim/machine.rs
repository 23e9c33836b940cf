//! A simulated machine for those outside this crate who simulate what is built on the reactor.

use std::cell::RefCell;
use std::rc::Rc;

use crate::engine::{Config, Engine};
use crate::kernel::sim::Sim;
use crate::kernel::sim::world::{SharedWorld, World};

/// The machine: sockets, the peers at their other ends, faults and a clock.
#[allow(missing_debug_implementations)]
pub struct Machine {
    pub(crate) world: SharedWorld,
}

/// A reactor on such a machine; its verbs are those of [`Verbs`](crate::raw::Verbs).
#[allow(missing_debug_implementations)]
pub struct SimReactor {
    pub(crate) engine: Engine<Sim>,
}

impl Machine {
    /// The machine of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Machine {
        Machine { world: Rc::new(RefCell::new(World::new(seed))) }
    }

    /// A reactor of the machine, with the settings that the C library gives its own.
    #[must_use]
    pub fn reactor(&self, max_events: usize, pool_size: usize) -> SimReactor {
        let config = Config { max_events, pool_size, high_water_bytes: 1 << 30, ..Config::DEFAULT };
        SimReactor { engine: Engine::over(Sim::over(&self.world), config) }
    }
}
