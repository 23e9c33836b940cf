//! The caller's timers: the functions of the header, and what they do inside the reactor.

use std::ffi::{c_int, c_void};
use std::time::Duration;

use dolmen::raw::ReactorApi;
use dolmen::{TimerId, Token};

use crate::boundary::Failure;
use crate::entry::{enter, enter_or};
use crate::instance::io_reactor_t;
use crate::platform::Platform;
use crate::reactor::Inner;

/// Sets a timer: an event with this context and EVENT_TIMER follows after `delay_us` microseconds, and, if `period_us`
/// is not 0, every `period_us` microseconds after that. It is never early and does not drift. Ticks that no wait
/// collected in time are not repeated but counted, in bytes_transferred.
///
/// Returns the timer's id, or 0: NULL reactor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_timer_add(
    reactor: *mut io_reactor_t,
    context: *mut c_void,
    delay_us: u64,
    period_us: u64,
) -> u64 {
    let (delay, period) = (Duration::from_micros(delay_us), Duration::from_micros(period_us));
    // SAFETY: the caller guarantees a valid pointer; so for the function below.
    unsafe {
        enter_or("io_reactor_timer_add", reactor, 0, |inner| Ok(inner.add_timer(context, delay, period)))
    }
}

/// Cancels a timer; it causes no further event. Ids are not reused, so an old id does no harm; but an id of another
/// reactor may be an id of this one as well.
///
/// Returns 0 (also for a timer that has ended), or -1: NULL reactor, or 0, which is not the id of a timer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_reactor_timer_cancel(reactor: *mut io_reactor_t, timer: u64) -> c_int {
    // SAFETY: as above.
    unsafe { enter("io_reactor_timer_cancel", reactor, |inner| inner.cancel_timer(timer)) }
}

impl<P: Platform> Inner<P> {
    pub(crate) fn add_timer(&mut self, context: *mut c_void, delay: Duration, period: Duration) -> u64 {
        let token = Token(context.expose_provenance());
        let timer = if period.is_zero() {
            self.reactor.add_timer(delay, token)
        } else {
            self.reactor.add_interval_after(delay, period, token)
        };
        timer.to_bits()
    }

    pub(crate) fn cancel_timer(&mut self, timer: u64) -> Result<(), Failure> {
        if timer == 0 {
            return Err(Failure::new("0 is not the id of a timer"));
        }
        // An id that never existed is treated like that of an ended timer.
        TimerId::from_bits(timer).map(|timer| self.reactor.remove_timer(timer));
        Ok(())
    }
}
