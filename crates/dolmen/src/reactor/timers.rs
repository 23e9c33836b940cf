//! The verbs for timers.

use std::time::Duration;

use super::Reactor;
use crate::token::{TimerId, Token};

/// Timers.
impl Reactor {
    /// Adds a timer that goes off once, not before `after` has passed.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # use std::time::Duration;
    /// let timer = reactor.add_timer(Duration::from_millis(1), Token(4));
    /// reactor.wait(&mut events, None)?;
    /// let event = events.drain().next();
    /// assert!(matches!(event, Some(Event::Timer { timer: of, token: Token(4), .. }) if of == timer));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_timer(&mut self, after: Duration, token: Token) -> TimerId {
        self.engine.add_timer(after, token)
    }

    /// Adds a timer that goes off every `period`, without drift: the nth tick is due n periods from now. If several ticks
    /// are due before a wait collects them, one event is delivered, and its `missed` counts the others. A period of zero
    /// counts as one nanosecond: then no wait blocks, and each delivers one event with a large `missed`.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # use std::time::Duration;
    /// let beat = reactor.add_interval(Duration::from_millis(1), Token(4));
    /// let mut beats = 0;
    /// while beats < 3 {
    ///     reactor.wait(&mut events, None)?;
    ///     for event in &mut events {
    ///         let Event::Timer { missed, .. } = event else { panic!("{event:?}") };
    ///         beats += 1 + missed;
    ///     }
    /// }
    /// assert!(reactor.remove_timer(beat));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_interval(&mut self, period: Duration, token: Token) -> TimerId {
        self.engine.add_interval(period, token)
    }

    /// Sets a timer anew: it goes off when `after` has passed from now, instead of at the time that was set before. An
    /// interval keeps its period, and its later ticks are due one period after another from there.
    ///
    /// Returns false, and changes nothing, if there is no such timer (any more). A timer that goes off once is gone as
    /// soon as it has gone off, also while the caller has not handled its event: [`remove_timer`](Reactor::remove_timer)
    /// takes that event back. A timer has gone off when a wait has found it due. Until then it can be set anew, even if
    /// its time has come; an interval's ticks that are due by now and that no wait has found are given up.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # use std::time::Duration;
    /// // Ends a connection that has been silent for five minutes; each command sets it anew.
    /// let silence = reactor.add_timer(Duration::from_secs(300), Token(4));
    /// assert!(reactor.set_timer(silence, Duration::from_secs(300)));
    /// reactor.remove_timer(silence);
    /// assert!(!reactor.set_timer(silence, Duration::from_secs(300)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_timer(&mut self, timer: TimerId, after: Duration) -> bool {
        self.engine.set_timer(timer, after)
    }

    /// Removes a timer. No further event of it is delivered, not even one that is already in [`Events`](crate::Events). Returns false
    /// if the timer no longer existed.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::{Read, Write};
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # use std::time::Duration;
    /// let timer = reactor.add_timer(Duration::ZERO, Token(4));
    /// reactor.wait(&mut events, None)?;
    /// assert!(!reactor.remove_timer(timer), "it has gone off");
    /// assert_eq!(events.drain().count(), 0, "its event is taken back all the same");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_timer(&mut self, timer: TimerId) -> bool {
        self.engine.remove_timer(timer)
    }
}
