//! [`Builder`]: the settings of a reactor.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::Reactor;
use crate::engine::{Config, Engine};
use crate::error::Error;
use crate::kernel::names::{Resolver, SharedResolver};

/// Settings for a [`Reactor`]; see [`Reactor::builder`]. Each method states its default.
///
/// ```
/// # use dolmen::Reactor;
/// # use std::time::Duration;
/// let mut reactor = Reactor::builder()
///     .max_connections(2_000)
///     .high_water_mark(64 * 1024)
///     .linger(Duration::from_secs(2))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes no reactor until `build` is called"]
pub struct Builder {
    config: Config,
    /// `None`: a quarter of the high-water mark.
    low_water_bytes: Option<usize>,
    resolver: Option<SharedResolver>,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder { config: Config::DEFAULT, low_water_bytes: None, resolver: None }
    }

    /// Makes the reactor.
    ///
    /// ```
    /// # use dolmen::Reactor;
    /// let builder = Reactor::builder().buffer_size(1024);
    /// let (one, another) = (builder.build()?, builder.build()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted) or another error that the operating system reports.
    pub fn build(&self) -> Result<Reactor, Error> {
        // A raw pointer makes it neither `Send` nor `Sync`: it is the waiter's alone [p01].
        let mut config = self.config;
        let low_water_bytes = self.low_water_bytes.unwrap_or(config.high_water_bytes / 4);
        config.low_water_bytes = low_water_bytes.min(config.high_water_bytes);
        let mut engine = Engine::new(config)?;
        if let Some(resolver) = &self.resolver {
            engine.set_resolver(resolver.clone());
        }
        Ok(Reactor { engine, on_this_thread: PhantomData })
    }

    /// How many completions it takes in one call.
    pub(crate) fn most_events(&self) -> usize {
        self.config.max_events
    }

    /// How many completions the reactor takes from the system in one call. 128; at least 1.
    pub fn max_events(mut self, count: usize) -> Builder {
        // The bound keeps the kernel's array of packets below what Windows and epoll take in one call.
        self.config.max_events = count.clamp(1, 65_536);
        self
    }

    /// How many receive buffers the reactor keeps. 256. It allocates more when a wait needs them, and frees them when
    /// they come back.
    pub fn pool_size(mut self, buffers: usize) -> Builder {
        self.config.pool_size = buffers.min(1 << 20);
        self
    }

    /// The size of a receive buffer, and so the most bytes that one event carries; longer datagrams are cut. 4096; at least
    /// 64.
    pub fn buffer_size(mut self, bytes: usize) -> Builder {
        self.config.buffer_bytes = bytes.clamp(64, 1 << 24);
        self
    }

    /// How many connections may be registered. No limit.
    pub fn max_connections(mut self, count: usize) -> Builder {
        self.config.max_connections = count;
        self
    }

    /// How many bytes a connection's send queue may hold before [`Reactor::send`] refuses, and a datagram socket's before
    /// [`Reactor::send_to`] does. 262 144; at least 1.
    pub fn high_water_mark(mut self, bytes: usize) -> Builder {
        self.config.high_water_bytes = bytes.clamp(1, 1 << 30);
        self
    }

    /// The queued bytes to which a queue that has refused a send must fall before it is reported as
    /// [`Drained`](crate::Event::Drained). A quarter of the high-water mark, and not above it.
    pub fn low_water_mark(mut self, bytes: usize) -> Builder {
        self.low_water_bytes = Some(bytes);
        self
    }

    /// How long [`Reactor::close`] may take, and how long a connection lasts after a failed send, so that the bytes
    /// that the system had received before are delivered. 5 seconds. If that time after a failed send runs out while the
    /// caller is not waiting, it is given as much again, once.
    pub fn linger(mut self, time: Duration) -> Builder {
        self.config.linger = time;
        self
    }

    /// How long [`Reactor::connect`] and [`Reactor::connect_host`] try before the connection ends as timed out.
    /// 20 seconds. The system may give up earlier. [`Duration::MAX`] leaves the limit to the system.
    pub fn connect_timeout(mut self, time: Duration) -> Builder {
        self.config.connect_timeout = time;
        self
    }

    /// How many posts may wait to be collected before [`Poster::post`](crate::Poster::post) refuses. 65 536; at least 1.
    pub fn post_capacity(mut self, posts: usize) -> Builder {
        self.config.post_capacity = posts.max(1);
        self
    }

    /// What looks names up instead of the system, on the same threads. For tests.
    #[doc(hidden)]
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Builder {
        self.resolver = Some(SharedResolver(resolver));
        self
    }

    /// Windows: whether an operation that succeeds immediately omits its packet. On; off only for tests of the other
    /// path, which systems with layered socket providers take. Nothing else depends on it.
    #[doc(hidden)]
    pub fn skip_on_success(mut self, skip: bool) -> Builder {
        self.config.skip_on_success = skip;
        self
    }

    /// Windows: how many files the system may be asked to transmit at a time, instead of what its edition allows. Only for
    /// tests: Wine is a client edition, which is not asked.
    #[doc(hidden)]
    pub fn most_transmits(mut self, count: usize) -> Builder {
        self.config.most_transmits = Some(count);
        self
    }
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}
