//! The caller's array of events, in the form of the header and the function by which it has come.
//!
//! The library has one kind of events, [`Event`]; the forms differ in what they tell of one. `io_event_t` of
//! `io_reactor.h` has no place for a socket, so a wait with it neither accepts connections nor reports packets of others.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::null_mut;

use crate::types::*;

/// What the caller gets an event for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) context: *mut c_void,
    /// [`NO_SOCKET`] for the console and for timers.
    pub(crate) fd: socket_fd_t,
}

impl Origin {
    pub(crate) fn without_socket(context: *mut c_void) -> Origin {
        Origin { context, fd: NO_SOCKET }
    }
}

pub(crate) enum Event {
    /// Of a socket, the console or a timer. `number` counts bytes or ticks, or is the code of an error.
    Source { origin: Origin, event_type: c_int, number: u64, buffer: *mut c_void },
    /// A connection. The origin is the listener's.
    Accepted { origin: Origin, socket: socket_fd_t },
    /// A message: the sender's two values.
    Posted { key: usize, data: usize },
    /// A packet that others have posted to the completion port.
    Foreign { key: usize, bytes: u32, overlapped: usize },
}

/// The caller's array. It need not be initialised.
pub(crate) enum Room<'a> {
    /// Of io_reactor_wait().
    Plain(&'a mut [MaybeUninit<io_event_t>]),
    /// Of io_reactor_wait_ex().
    Extended(&'a mut [MaybeUninit<io_event_ex_t>]),
    /// Of async_runtime_wait().
    Async(&'a mut [MaybeUninit<async_event_t>]),
}

impl Room<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Room::Plain(events) => events.len(),
            Room::Extended(events) => events.len(),
            Room::Async(events) => events.len(),
        }
    }

    /// Whether an event has a place for the socket of a connection, or for the key of a packet.
    pub(crate) fn is_wide(&self) -> bool {
        !matches!(self, Room::Plain(_))
    }

    /// `completes`: the system's contract is that of completions, as on Windows.
    pub(crate) fn put(&mut self, at: usize, event: Event, completes: bool) {
        match self {
            Room::Plain(events) => _ = events[at].write(plain(event)),
            Room::Extended(events) => _ = events[at].write(extended(event)),
            Room::Async(events) => _ = events[at].write(of_runtime(event, completes)),
        }
    }
}

fn plain(event: Event) -> io_event_t {
    extended(event).event
}

fn extended(event: Event) -> io_event_ex_t {
    let of = |context, event_type, number: u64, buffer| {
        let bytes_transferred = c_int::try_from(number).unwrap_or(c_int::MAX);
        io_event_t { context, event_type, bytes_transferred, buffer }
    };
    match event {
        Event::Source { origin, event_type, number, buffer } => io_event_ex_t {
            event: of(origin.context, event_type, number, buffer),
            fd: origin.fd,
            completion_key: 0,
        },
        Event::Accepted { origin, socket } => io_event_ex_t {
            event: of(origin.context, EVENT_ACCEPT, 0, null_mut()),
            fd: socket,
            completion_key: 0,
        },
        Event::Posted { key, data } => io_event_ex_t {
            event: of(pointer(key), EVENT_POST, 0, pointer(data)),
            fd: NO_SOCKET,
            completion_key: 0,
        },
        Event::Foreign { key, bytes, overlapped } => io_event_ex_t {
            event: io_event_t {
                context: null_mut(),
                event_type: EVENT_COMPLETION,
                // Not a count but the sender's 32 bits: all of them.
                bytes_transferred: bytes as c_int,
                buffer: pointer(overlapped),
            },
            fd: NO_SOCKET,
            completion_key: key,
        },
    }
}

fn of_runtime(event: Event, completes: bool) -> async_event_t {
    let source = |fd, event_type: c_int, context: *mut c_void, bytes_transferred, buffer| async_event_t {
        fd,
        #[cfg(windows)]
        handle: null_mut(),
        completion_key: if completes { context.addr() } else { 0 },
        event_type: event_type as u32,
        context,
        bytes_transferred,
        buffer,
    };
    // The program asks first for the context of a port, then for the key, then for the context of a user.
    let completion = |completion_key, data: usize, buffer| async_event_t {
        fd: if completes { data as socket_fd_t } else { NO_SOCKET },
        #[cfg(windows)]
        handle: null_mut(),
        completion_key,
        event_type: EVENT_READ as u32,
        context: if completes { pointer(completion_key) } else { null_mut() },
        bytes_transferred: data,
        buffer,
    };
    match event {
        Event::Source { origin, event_type, number, buffer } => {
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            source(origin.fd, event_type, origin.context, number, buffer)
        }
        Event::Accepted { origin, socket } => source(socket, EVENT_READ, origin.context, 0, null_mut()),
        Event::Posted { key, data } => completion(key, data, null_mut()),
        Event::Foreign { key, bytes, overlapped } => completion(key, bytes as usize, pointer(overlapped)),
    }
}

/// A value that is a pointer to the caller. The library does not dereference it.
fn pointer(value: usize) -> *mut c_void {
    std::ptr::with_exposed_provenance_mut(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_others_keep_all_bits_of_their_count() {
        for bytes in [0, 77, 0x7FFF_FFFF, 0x8000_0000, 0xDEAD_BEEF, u32::MAX] {
            let event = Event::Foreign { key: 5, bytes, overlapped: 9 };
            assert_eq!(extended(event).event.bytes_transferred as u32, bytes);
            let event = Event::Foreign { key: 5, bytes, overlapped: 9 };
            assert_eq!(of_runtime(event, true).bytes_transferred, bytes as usize);
        }
    }

    #[test]
    fn a_count_that_is_too_large_is_clamped() {
        let origin = Origin::without_socket(null_mut());
        let event = Event::Source { origin, event_type: EVENT_TIMER, number: u64::MAX, buffer: null_mut() };
        assert_eq!(plain(event).bytes_transferred, c_int::MAX);
    }
}
