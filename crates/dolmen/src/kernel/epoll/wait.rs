//! The wait: one call of epoll, which records what is ready.

use std::io;
use std::os::fd::AsRawFd;

use rustix::event::epoll;
use rustix::io::Errno;

use super::super::Fault;
use super::fault::fault;
use super::polled::readiness;
use super::table::Entry;
use super::{BELL, Epoll, SIGNAL};

impl Epoll {
    /// One `epoll_wait`, which returns as soon as the system has an event [p02]; records the edges.
    pub(super) fn take_events(&mut self, max: usize, timeout_ns: Option<u64>) -> Result<(), Fault> {
        self.events.clear();
        self.events.reserve_exact(max);
        self.calls += 1;
        match self.epoll_wait(max, timeout_ns) {
            // After a signal there are no events: the engine returns, or waits for the rest of its time [hc24].
            Ok(()) | Err(Errno::INTR) => {}
            Err(errno) => return Err(fault(errno)),
        }
        let mut stale = 0;
        for at in 0..self.events.len() {
            let event = self.events[at];
            let data = event.data.u64();
            if data == SIGNAL {
                continue;
            }
            if data == BELL {
                self.ring();
                continue;
            }
            let source = self.table.by_event_data(data);
            let source = source.filter(|(_, slot)| slot.entry.as_ref().is_some_and(Entry::is_registered));
            let Some((index, slot)) = source else {
                stale += 1;
                continue;
            };
            // Copied out of the packed struct before use.
            let flags = event.flags;
            if let Some(Entry::Polled(polled)) = &mut slot.entry {
                // With no poll pending it is not recorded: it is level-triggered, and reported again.
                if polled.poll.is_some() {
                    polled.found |= readiness(polled.fd, polled.interest, flags, &mut self.calls);
                    self.ready.push_if_ready(&mut self.table, index);
                }
                continue;
            }
            slot.edges.add(flags);
            self.ready.push_if_ready(&mut self.table, index);
        }
        if stale > 0 {
            self.drop_stale_registrations(stale == self.events.len(), timeout_ns);
        }
        Ok(())
    }

    /// `epoll_pwait2` for timeouts that are not whole milliseconds, `epoll_wait` for all others and where the system
    /// is older than that call (before Linux 5.11); then the timeout is rounded up [hc21, p04].
    fn epoll_wait(&mut self, max: usize, timeout_ns: Option<u64>) -> Result<(), Errno> {
        const MILLISECOND: u64 = 1_000_000;
        let spare = &mut self.events.spare_capacity_mut()[..max];
        if let Some(ns) = timeout_ns.filter(|ns| self.nanoseconds && ns % MILLISECOND != 0) {
            let timeout = KernelTimespec {
                // Clamped far in the future; a wait may return early at any time.
                tv_sec: (ns / 1_000_000_000).min(i32::MAX as u64) as i64,
                tv_nsec: (ns % 1_000_000_000) as i64,
            };
            // SAFETY: the pointers are to live memory for the length of the call, `spare` has room for as many events
            // as we say and rustix's `Event` is the kernel's `epoll_event` (asserted below); no signal mask is passed.
            let count = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    self.epoll.as_raw_fd(),
                    spare.as_mut_ptr(),
                    spare.len() as libc::c_int,
                    &raw const timeout,
                    std::ptr::null::<libc::sigset_t>(),
                    0usize,
                )
            };
            if let Ok(count) = usize::try_from(count) {
                // SAFETY: the kernel has filled in that many.
                unsafe { self.events.set_len(count) };
                return Ok(());
            }
            let errno = Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL);
            if errno != Errno::NOSYS && errno != Errno::PERM {
                return Err(errno);
            }
            self.nanoseconds = false;
            self.calls += 1;
        }
        let timeout = timeout_ns.map(|ns| {
            // 2^31 milliseconds are 24 days: longer waits return early, and are continued [hc23].
            let ms = ns.div_ceil(MILLISECOND).min(i32::MAX as u64 - 1);
            rustix::event::Timespec {
                tv_sec: (ms / 1_000) as i64,
                tv_nsec: (ms % 1_000 * MILLISECOND) as i64,
            }
        });
        let count = epoll::wait(&self.epoll, &mut *spare, timeout.as_ref())?.0.len();
        // SAFETY: the kernel has filled in that many.
        unsafe { self.events.set_len(count) };
        Ok(())
    }
}

/// The kernel's `struct __kernel_timespec`: of the same width everywhere, unlike `libc::timespec`.
#[repr(C)]
struct KernelTimespec {
    tv_sec: i64,
    tv_nsec: i64,
}

// `epoll_pwait2` is passed rustix's events. Their alignment may differ (it does on 32-bit x86): the kernel copies them
// out byte by byte.
const _: () = assert!(size_of::<epoll::Event>() == size_of::<libc::epoll_event>());
