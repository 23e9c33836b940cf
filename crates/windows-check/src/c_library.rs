//! The functions of the C library, as this program calls them: for what only they promise, such as a socket that is removed
//! and added again, or a standard input that the caller reads.

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::net::TcpStream;
use std::os::windows::io::{AsRawSocket as _, RawSocket};
use std::time::Duration;

use io_reactor::{
    EVENT_READ, io_event_t, io_reactor_add, io_reactor_add_console, io_reactor_create, io_reactor_destroy,
    io_reactor_last_error, io_reactor_post_read, io_reactor_post_write, io_reactor_remove, io_reactor_stats,
    io_reactor_stats_t, io_reactor_t, io_reactor_wait, timeval,
};

/// A reactor of the C library.
pub struct CReactor(*mut io_reactor_t);

/// One event, with a copy of its bytes.
#[derive(Debug)]
pub struct CEvent {
    /// As it was given at the registration.
    pub context: usize,
    /// The `EVENT_…` flags.
    pub flags: c_int,
    pub bytes: Vec<u8>,
}

impl CReactor {
    pub fn new() -> io::Result<CReactor> {
        let reactor = io_reactor_create();
        if reactor.is_null() { Err(last_error()) } else { Ok(CReactor(reactor)) }
    }

    /// Registers a stream, and asks for its first bytes.
    pub fn add(&self, stream: &TcpStream, context: usize) -> io::Result<()> {
        let context = context as *mut c_void;
        // SAFETY: the reactor lives as long as `self`; it does not dereference the context.
        check(unsafe { io_reactor_add(self.0, socket(stream), context, EVENT_READ) })
    }

    pub fn remove(&self, stream: &TcpStream) -> io::Result<()> {
        // SAFETY: the reactor lives as long as `self`.
        check(unsafe { io_reactor_remove(self.0, socket(stream)) })
    }

    /// Asks for the next bytes, in one of the library's buffers.
    pub fn post_read(&self, stream: &TcpStream) -> io::Result<()> {
        // SAFETY: the reactor lives as long as `self`; a null buffer asks for one of the library's.
        check(unsafe { io_reactor_post_read(self.0, socket(stream), std::ptr::null_mut(), 0) })
    }

    pub fn post_write(&self, stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        let buffer = bytes.as_ptr().cast_mut().cast();
        // SAFETY: the reactor lives as long as `self`; the bytes are copied in the call, and not written to.
        check(unsafe { io_reactor_post_write(self.0, socket(stream), buffer, bytes.len()) })
    }

    /// Registers standard input, which the caller reads.
    pub fn add_console(&self, context: usize) -> io::Result<()> {
        // SAFETY: the reactor lives as long as `self`; it does not dereference the context.
        check(unsafe { io_reactor_add_console(self.0, context as *mut c_void) })
    }

    /// Waits for events for up to `timeout`.
    pub fn wait(&self, timeout: Duration) -> io::Result<Vec<CEvent>> {
        const MOST: usize = 64;
        let nothing = io_event_t {
            context: std::ptr::null_mut(),
            event_type: 0,
            bytes_transferred: 0,
            buffer: std::ptr::null_mut(),
        };
        let mut events = [nothing; MOST];
        let mut timeout = timeval { tv_sec: timeout.as_secs() as _, tv_usec: timeout.subsec_micros() as _ };
        // SAFETY: the array has room for so many events, and both pointers are valid in the call.
        let count = unsafe { io_reactor_wait(self.0, events.as_mut_ptr(), MOST as c_int, &mut timeout) };
        let count = usize::try_from(count).map_err(|_| last_error())?;
        let copied = events[..count].iter().map(|event| CEvent {
            context: event.context as usize,
            flags: event.event_type,
            bytes: match usize::try_from(event.bytes_transferred) {
                // SAFETY: the buffer has so many bytes, which stay unchanged until the next wait.
                Ok(length) if !event.buffer.is_null() => unsafe {
                    std::slice::from_raw_parts(event.buffer.cast::<u8>(), length).to_vec()
                },
                _ => Vec::new(),
            },
        });
        Ok(copied.collect())
    }

    pub fn stats(&self) -> io::Result<io_reactor_stats_t> {
        let mut stats = io_reactor_stats_t::default();
        // SAFETY: the structure has the size that is given with it.
        check(unsafe { io_reactor_stats(self.0, &mut stats, size_of::<io_reactor_stats_t>()) })?;
        Ok(stats)
    }
}

impl Drop for CReactor {
    fn drop(&mut self) {
        // SAFETY: it came from `io_reactor_create`, and nothing uses it after this.
        unsafe { io_reactor_destroy(self.0) };
    }
}

fn socket(stream: &TcpStream) -> usize {
    let raw: RawSocket = stream.as_raw_socket();
    raw as usize
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> io::Error {
    // SAFETY: the text ends with a zero, and stays valid until this thread's next call of the library.
    let text = unsafe { CStr::from_ptr(io_reactor_last_error()) };
    io::Error::other(text.to_string_lossy().into_owned())
}
