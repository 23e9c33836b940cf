//! A handle to watch: an eventfd on Linux, an event on Windows.

use dolmen::{Error, Reactor, Token, WatchId};

/// Signalled from [`Signal::set`] until [`Signal::unset`].
pub struct Signal {
    #[cfg(target_os = "linux")]
    handle: std::os::fd::OwnedFd,
    #[cfg(windows)]
    handle: std::os::windows::io::OwnedHandle,
}

#[cfg(target_os = "linux")]
impl Signal {
    pub fn new() -> Signal {
        use rustix::event::{EventfdFlags, eventfd};
        Signal { handle: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("eventfd") }
    }

    pub fn set(&self) {
        rustix::io::write(&self.handle, &1u64.to_ne_bytes()).expect("write");
    }

    pub fn unset(&self) {
        rustix::io::read(&self.handle, &mut [0; 8]).expect("it was set");
    }
}

#[cfg(windows)]
impl Signal {
    pub fn new() -> Signal {
        Signal { handle: super::windows::event(super::windows::Reset::Manual) }
    }

    pub fn set(&self) {
        super::windows::set(&self.handle);
    }

    pub fn unset(&self) {
        super::windows::unset(&self.handle);
    }
}

impl Signal {
    /// Two handles of the same object.
    pub fn twice() -> (Signal, Signal) {
        let signal = Signal::new();
        let same = Signal { handle: signal.handle.try_clone().expect("a copy") };
        (signal, same)
    }

    pub fn watch(&self, reactor: &mut Reactor, token: Token) -> WatchId {
        self.try_watch(reactor, token).expect("watch")
    }

    pub fn try_watch(&self, reactor: &mut Reactor, token: Token) -> Result<WatchId, Error> {
        reactor.watch(&self.handle, token)
    }
}
