//! The waits of both headers.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::time::Duration;

use crate::boundary::{Failure, guard};
use crate::entry::{Inner, enter_or};
use crate::instance::io_reactor_t;
use crate::names::Resolved;
use crate::reactor::Settings;
use crate::room::Room;
use crate::types::*;

/// Waits for events, for up to `timeout`, and puts up to `max_events` events into `events`. The wait asks all sources.
/// Events that did not fit are not lost: later waits report them, and sources take turns; on POSIX a socket that is no
/// longer ready by then is not reported. A timeout is rounded up to what the system can measure. NULL, or a negative
/// time, means no timeout; zero means not to wait.
/// `tv_usec` may be a million or more, or negative: the sum of both counts.
///
/// POSIX: the wait blocks once. If that one call ends without an event, the wait returns 0. The cause may be a signal
/// handler that ran in this thread while it was blocked (with SA_RESTART or without), io_reactor_wakeup(), or a
/// spurious wake-up. So a driver whose handlers only set a flag checks its flags after each wait. A handler that runs
/// just before the wait blocks does not end it: for a signal that comes once, and not repeatedly like a heart beat's,
/// let the handler call io_reactor_wakeup(). The library's own threads block all signals. Windows: a wait without
/// events that io_reactor_wakeup() does not end lasts for the whole timeout.
///
/// Returns the number of events. 0: the time is up, or one of the above. -1: NULL reactor or events, max_events below
/// 1, another thread is inside the reactor, a function of io_reactor_resolve() has called this one, or the system's wait
/// has failed before there was an event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_wait(
    reactor: *mut io_reactor_t,
    events: *mut io_event_t,
    max_events: c_int,
    timeout: *mut timeval,
) -> c_int {
    // SAFETY: the caller guarantees valid pointers.
    unsafe { wait("io_reactor_wait", reactor, (events, max_events), timeout, Room::Plain) }
}

/// Waits as io_reactor_wait() does, with events that also have the socket. It reports two things that io_reactor_wait()
/// has no place for: the connections of io_reactor_add_listener() with EVENT_ACCEPT, and on Windows the packets that
/// others post, with EVENT_COMPLETION, see io_reactor_native_handle().
///
/// Returns what io_reactor_wait() returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_wait_ex(
    reactor: *mut io_reactor_t,
    events: *mut io_event_ex_t,
    max_events: c_int,
    timeout: *mut timeval,
) -> c_int {
    // SAFETY: the caller guarantees valid pointers.
    unsafe { wait("io_reactor_wait_ex", reactor, (events, max_events), timeout, Room::Extended) }
}

/// Waits for events in the form `T`, and calls the functions that are due.
///
/// They are called while there are no events: before the wait, or instead of returning none. Otherwise a function could
/// remove a socket whose event is in the array already, or free the context of one.
///
/// # Safety
///
/// `reactor` is NULL or came from `create` and was not destroyed; the array is NULL or has room for that many events;
/// `timeout` is NULL or valid.
pub(crate) unsafe fn wait<'a, T: 'a>(
    name: &str,
    reactor: *mut io_reactor_t,
    (events, max_events): (*mut T, c_int),
    timeout: *mut timeval,
    room: impl FnOnce(&'a mut [MaybeUninit<T>]) -> Room<'a>,
) -> c_int {
    // SAFETY: the caller guarantees a valid pointer.
    if let Err(failure) = unsafe { io_reactor_t::check_not_calling(reactor) } {
        return guard(name, -1, || Err(failure));
    }
    let (mut room, mut called) = (Some(room), false);
    loop {
        let step = |inner: &mut Inner| {
            // At most as many as a wait returns: a slice of the number that a C program gives could be too large for the
            // system.
            let len = usize::try_from(max_events).unwrap_or(0).min(Settings::MOST_EVENTS);
            if events.is_null() || len == 0 {
                return Err(Failure::new("no room for events"));
            }
            if let Some(resolved) = inner.names.next() {
                return Ok(Step::Call(resolved));
            }
            let Some(room) = room.take() else { return Ok(Step::Return(0)) };
            // SAFETY: the caller guarantees room for at least that many events; they need not be initialised.
            let events = unsafe { std::slice::from_raw_parts_mut(events.cast::<MaybeUninit<T>>(), len) };
            // SAFETY: the caller guarantees a valid pointer or NULL.
            let timeout = unsafe { timeout.as_ref() }.and_then(duration);
            let count = inner.wait(room(events), if called { Some(Duration::ZERO) } else { timeout })?;
            Ok(match count {
                0 if inner.names.is_due() => Step::Again,
                // Results that came with events wait for the next call.
                _ => Step::Return(c_int::try_from(count).expect("no more than max_events")),
            })
        };
        // SAFETY: the caller guarantees a valid pointer.
        match unsafe { enter_or(name, reactor, Step::Return(-1), step) } {
            Step::Return(count) => return count,
            Step::Again => {}
            Step::Call(resolved) => {
                called = true;
                // SAFETY: the reactor lives until `calling` is dropped, as it may not be destroyed before.
                let calling = unsafe { io_reactor_t::begin_call(reactor) };
                // SAFETY: the caller of io_reactor_resolve() has guaranteed that the function may be called. No reference
                // to the inside exists.
                unsafe { resolved.deliver() };
                drop(calling);
            }
        }
    }
}

/// A step of a wait, made inside the reactor; what follows from it is done outside.
enum Step {
    /// Call the caller's function, which may call the library.
    Call(Resolved),
    Again,
    Return(c_int),
}

/// `None` for a negative time, which means no timeout, as in the reference; an overlong time is clamped to the far
/// future.
fn duration(time: &timeval) -> Option<Duration> {
    let micros = i128::from(time.tv_sec) * 1_000_000 + i128::from(time.tv_usec);
    let micros = u128::try_from(micros).ok()?;
    Some(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_time_is_no_timeout_and_an_overlong_one_no_short_one() {
        let time = |tv_sec, tv_usec| duration(&timeval { tv_sec, tv_usec });
        assert_eq!(time(0, 0), Some(Duration::ZERO));
        assert_eq!(time(1, 5), Some(Duration::from_micros(1_000_005)));
        assert_eq!(time(1, -5), Some(Duration::from_micros(999_995)));
        assert_eq!(time(0, -1), None);
        assert_eq!(time(-1, 0), None);
        assert!(time(2_147_000_000, 0) > Some(Duration::from_secs(2_000_000_000)));
    }
}
