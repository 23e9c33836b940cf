//! The threads of the crew: as many as are configured, as soon as the system allows.

use std::time::Duration;

use super::{Server, THREADS};
use crate::world::World;

/// How soon a start that the system has refused is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl<W: World> Server<W> {
    /// Has as many threads serve newcomers as are configured. If the system refuses, it is asked again: after a failure there
    /// may be no other thread, and newcomers are disconnected until there is one.
    pub(super) fn set_threads(&mut self) {
        let threads = self.operations.config.io_threads;
        match self.crew.set_threads(&self.reactor, threads) {
            Ok(()) => {
                if let Some(retry) = self.operations.thread_retry.take() {
                    self.reactor.remove_timer(retry);
                    tracing::info!(threads, "all I/O threads run");
                }
            }
            // The first refusal is logged, and the end of them.
            Err(error) if self.operations.thread_retry.is_none() => {
                let running = self.crew.threads();
                tracing::error!(%error, threads, running, "cannot start an I/O thread; trying again every second");
                self.operations.thread_retry = Some(self.reactor.add_interval(RETRY, THREADS));
            }
            Err(_) => {}
        }
    }
}
