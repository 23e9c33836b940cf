//! A reactor as C programs hold it: one thread at a time is inside; the fields that any thread may use are outside.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
#[cfg(unix)]
use std::sync::atomic::AtomicI32;
use std::sync::atomic::{AtomicBool, Ordering};

use dolmen::raw::ReactorApi;
use dolmen::{Poster, Waker};

use crate::boundary::Failure;
use crate::console::StdinFacts;
use crate::platform::Native;
use crate::reactor::{Inner, Settings};
use crate::types::io_reactor_handle_t;

/// A reactor. Written into the header by hand, with the reference's tag.
#[allow(non_camel_case_types)]
pub struct io_reactor_t {
    waker: Waker,
    /// io_reactor_wakeup() was called.
    wakeup: Arc<AtomicBool>,
    poster: Poster,
    stdin_facts: Arc<StdinFacts>,
    /// The completion port.
    #[cfg(windows)]
    port: io_reactor_handle_t,
    /// The epoll instance, as the last thread inside has left it: it changes after a fork.
    #[cfg(unix)]
    epoll: AtomicI32,
    /// A write to it ends a wait. Only runtimes have one.
    #[cfg(unix)]
    bell: Option<std::ffi::c_int>,
    /// A thread is inside `inner`.
    entered: AtomicBool,
    /// A wait is calling a function of the caller's, and no thread is inside.
    calling: AtomicBool,
    inner: UnsafeCell<Inner<Native>>,
}

/// A wait is calling a function of the caller's, until dropped.
pub(crate) struct Calling<'a> {
    reactor: &'a io_reactor_t,
}

/// Sole access to the inside of a reactor, until dropped.
pub(crate) struct Entered<'a> {
    reactor: &'a io_reactor_t,
}

impl io_reactor_t {
    pub(crate) fn new(settings: Settings) -> Result<io_reactor_t, Failure> {
        let builder =
            dolmen::Reactor::builder().max_events(settings.max_events).pool_size(settings.pool_size);
        // No send of the caller is refused below this limit, which only bounds a runaway queue.
        let mut reactor = builder.high_water_mark(1 << 30).post_capacity(settings.posts).build()?;
        reactor.report_foreign();
        #[cfg(unix)]
        let bell = settings.bell.then(|| dolmen::raw::open_bell(&mut reactor)).transpose()?;
        let (waker, poster) = (ReactorApi::waker(&reactor), ReactorApi::poster(&reactor));
        let inner = Inner::new(Native, reactor, settings);
        let wakeup = inner.wakeup();
        Ok(io_reactor_t {
            stdin_facts: Arc::clone(&inner.stdin_facts),
            #[cfg(windows)]
            port: native_handle(&inner.reactor),
            #[cfg(unix)]
            epoll: AtomicI32::new(native_handle(&inner.reactor)),
            #[cfg(unix)]
            bell,
            waker,
            wakeup,
            poster,
            entered: AtomicBool::new(false),
            calling: AtomicBool::new(false),
            inner: UnsafeCell::new(inner),
        })
    }

    /// # Safety
    ///
    /// `reactor` is NULL or points to a live reactor. The same holds for the following functions.
    pub(crate) unsafe fn wake(reactor: *const io_reactor_t) -> Option<()> {
        if reactor.is_null() {
            return None;
        }
        // SAFETY: the caller guarantees a valid pointer, and any thread may use these two fields.
        let (waker, wakeup) = unsafe { (&(*reactor).waker, &(*reactor).wakeup) };
        wakeup.store(true, Ordering::Release);
        waker.wake();
        Some(())
    }

    /// # Safety
    ///
    /// See [`io_reactor_t::wake`].
    pub(crate) unsafe fn poster<'a>(reactor: *const io_reactor_t) -> Option<&'a Poster> {
        // SAFETY: the caller guarantees a valid pointer, and the poster never changes.
        unsafe { (!reactor.is_null()).then(|| &(*reactor).poster) }
    }

    /// # Safety
    ///
    /// See [`io_reactor_t::wake`].
    pub(crate) unsafe fn native_handle(reactor: *const io_reactor_t) -> Option<io_reactor_handle_t> {
        #[cfg(windows)]
        // SAFETY: the caller guarantees a valid pointer, and the field never changes.
        return unsafe { (!reactor.is_null()).then(|| (*reactor).port) };
        #[cfg(unix)]
        // SAFETY: the caller guarantees a valid pointer, and any thread may read the field.
        return unsafe { (!reactor.is_null()).then(|| (*reactor).epoll.load(Ordering::Acquire)) };
    }

    /// # Safety
    ///
    /// See [`io_reactor_t::wake`].
    pub(crate) unsafe fn stdin_facts<'a>(reactor: *const io_reactor_t) -> Option<&'a StdinFacts> {
        // SAFETY: the caller guarantees a valid pointer, and any thread may read the facts.
        unsafe { (!reactor.is_null()).then(|| &*(*reactor).stdin_facts) }
    }

    /// # Safety
    ///
    /// See [`io_reactor_t::wake`].
    #[cfg(unix)]
    pub(crate) unsafe fn bell(reactor: *const io_reactor_t) -> Option<std::ffi::c_int> {
        // SAFETY: the caller guarantees a valid pointer, and the field never changes.
        unsafe { (!reactor.is_null()).then(|| (*reactor).bell).flatten() }
    }

    /// From now on no wait may begin, and the reactor may not be destroyed.
    ///
    /// # Safety
    ///
    /// `reactor` points to a live reactor.
    pub(crate) unsafe fn begin_call<'a>(reactor: *const io_reactor_t) -> Calling<'a> {
        // SAFETY: the caller guarantees a valid pointer, and any thread may use this field.
        let reactor = unsafe { &*reactor };
        reactor.calling.store(true, Ordering::Release);
        Calling { reactor }
    }

    /// Refuses what a function of the caller's may not do while a wait calls it.
    ///
    /// # Safety
    ///
    /// See [`io_reactor_t::wake`].
    pub(crate) unsafe fn check_not_calling(reactor: *const io_reactor_t) -> Result<(), Failure> {
        // SAFETY: the caller guarantees a valid pointer, and any thread may use this field.
        if !reactor.is_null() && unsafe { (*reactor).calling.load(Ordering::Acquire) } {
            return Err(Failure::new(
                "a wait is calling a function of io_reactor_resolve(), and has to return first",
            ));
        }
        Ok(())
    }

    /// `None` while another thread is inside.
    ///
    /// # Safety
    ///
    /// `reactor` points to a live reactor.
    pub(crate) unsafe fn enter<'a>(reactor: *const io_reactor_t) -> Option<Entered<'a>> {
        // SAFETY: the caller guarantees a valid pointer. Threads share only fields that may be shared; see `Entered` for
        // the rest.
        let reactor = unsafe { &*reactor };
        // One thread at a time is inside [p01]. Not `then_some`: it would construct an `Entered` in any case, whose
        // drop would clear the other thread's flag.
        (!reactor.entered.swap(true, Ordering::Acquire)).then(|| Entered { reactor })
    }
}

impl Deref for Entered<'_> {
    type Target = Inner<Native>;

    fn deref(&self) -> &Inner<Native> {
        // SAFETY: `entered` was set by us, so there is no other reference to the inside.
        unsafe { &*self.reactor.inner.get() }
    }
}

impl DerefMut for Entered<'_> {
    fn deref_mut(&mut self) -> &mut Inner<Native> {
        // SAFETY: as above.
        unsafe { &mut *self.reactor.inner.get() }
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        self.reactor.calling.store(false, Ordering::Release);
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        #[cfg(unix)]
        self.reactor.epoll.store(native_handle(&Deref::deref(self).reactor), Ordering::Release);
        self.reactor.entered.store(false, Ordering::Release);
    }
}

#[cfg(unix)]
fn native_handle(reactor: &dolmen::Reactor) -> io_reactor_handle_t {
    std::os::fd::AsRawFd::as_raw_fd(&reactor.native_handle())
}

#[cfg(windows)]
fn native_handle(reactor: &dolmen::Reactor) -> io_reactor_handle_t {
    std::os::windows::io::AsRawHandle::as_raw_handle(&reactor.native_handle())
}
