//! Listeners whose connections the library accepts.
//!
//! The reactor reports that connections wait, as it does for every listener, and the wait accepts as many as it has room
//! for: a connection is never accepted before its event is certain, so a removed listener loses none. The rest stays in
//! the backlog, and the next wait reports it.
//!
//! When a process has no descriptor left, an accept fails and the connection keeps waiting. The listener then pauses,
//! because its poll would end each wait [hc10].

use std::ffi::{c_int, c_void};
use std::time::Duration;

use dolmen::raw::ReactorApi;
use dolmen::{TimerId, Token};

use crate::boundary::Failure;
use crate::marks::{Mark, mark};
use crate::platform::Platform;
use crate::reactor::{Inner, Synthetic};
use crate::sink::Sink;
use crate::sockets::Socket as _;
use crate::types::*;

/// How long a listener pauses when no connection could be accepted.
const PAUSE: Duration = Duration::from_millis(250);

/// How many connections in a row may be gone before they are accepted, until the next wait.
const MOST_GONE: u32 = 64;

#[derive(Default)]
pub(crate) struct Accepting {
    calls: u64,
}

impl Accepting {
    /// How many system calls this has taken.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }
}

/// The outcome of one attempt to accept a connection.
pub(crate) enum Accepted {
    /// Non-blocking, and not inherited by programs that this process starts.
    Connection(socket_fd_t),
    /// No connection waits.
    Nothing,
    /// The peer had given up.
    Gone,
}

impl<P: Platform> Inner<P> {
    /// Registers a listening socket whose connections come in the events, accepted.
    pub(crate) fn add_listener(&mut self, fd: socket_fd_t, context: *mut c_void) -> Result<(), Failure> {
        if !self.platform.is_listening(fd) {
            return Err(Failure::new("not a listening socket"));
        }
        self.platform.set_nonblocking(fd)?;
        self.add(fd, context, EVENT_READ)?;
        let slot = self.slots[&fd];
        let registration = self.socket_at_mut(slot).expect("it was just registered");
        registration.accepts = true;
        Ok(())
    }

    /// Registers a socket, in the way of `async_runtime.h`: where events are completions, a listener's bring the accepted
    /// socket.
    pub(crate) fn add_accepting(
        &mut self,
        fd: socket_fd_t,
        context: *mut c_void,
        events: c_int,
    ) -> Result<(), Failure> {
        if P::Socket::COMPLETES && self.platform.is_listening(fd) {
            self.add_listener(fd, context)
        } else {
            self.add(fd, context, events)
        }
    }

    pub(crate) fn accepts(&self, slot: usize) -> bool {
        self.socket_at(slot).is_some_and(|registration| registration.accepts)
    }

    /// Connections wait at a listener: accepted as far as there is room when all other events are in.
    pub(crate) fn note_connections(&mut self, slot: usize) {
        let connections = Synthetic::Connections(slot);
        if !self.synthetic.contains(&connections) {
            self.synthetic.push_back(connections);
        }
    }

    pub(crate) fn has_connections(&self) -> bool {
        self.synthetic.iter().any(|synthetic| matches!(synthetic, Synthetic::Connections(_)))
    }

    /// Accepts connections while there is room for their events. There is room for one.
    pub(crate) fn deliver_connections(&mut self, slot: usize, sink: &mut Sink<'_>) {
        let origin = self.origin(slot);
        // The caller has another form of events since: it accepts, and the next wait reports the listener.
        if !sink.is_wide() {
            return;
        }
        // The caller may have withdrawn its interest since. The simulation hardly reaches this, since a report of a listener
        // leaves its place to a connection; extended.c does.
        if !self.socket_at(slot).is_some_and(|registration| registration.socket.wants_connections()) {
            return;
        }
        let mut gone = 0;
        while sink.left() > 0 && gone < MOST_GONE {
            self.accepting.calls += 1;
            match self.platform.accept(origin.fd) {
                Ok(Accepted::Connection(socket)) => sink.accepted(origin, socket),
                Ok(Accepted::Gone) => gone += 1,
                Ok(Accepted::Nothing) => return,
                Err(error) => {
                    tracing::warn!(target: "io_reactor", fd = origin.fd, %error, "accept failed");
                    return self.pause(slot);
                }
            }
        }
    }

    /// Mutes a listener for a while. What the caller asks for meanwhile holds from the end of the pause on.
    fn pause(&mut self, slot: usize) {
        mark(Mark::AcceptPaused);
        self.mute(slot, true);
        let timer = self.reactor.add_timer(PAUSE, Token(slot));
        let registration = self.socket_at_mut(slot).expect("its connections were just accepted");
        let earlier = registration.pause.replace(timer);
        assert!(earlier.is_none(), "a listener that pauses is not reported");
    }

    /// Ends the pause to which the timer belongs. False: it is the caller's timer.
    pub(crate) fn accept_again(&mut self, timer: TimerId, token: Token) -> bool {
        let slot = token.0;
        // A timer of the caller's may have the same token, but no other has the same id.
        let Some(registration) = self.socket_at_mut(slot).filter(|of| of.pause == Some(timer)) else {
            return false;
        };
        registration.pause = None;
        self.mute(slot, false);
        true
    }

    fn mute(&mut self, slot: usize, muted: bool) {
        let Some((socket, reactor)) = self.socket_and_reactor(slot) else { return };
        if let Err(error) = socket.mute(reactor, muted) {
            tracing::warn!(target: "io_reactor", slot, %error, "cannot change the interest in a listener");
        }
    }
}
