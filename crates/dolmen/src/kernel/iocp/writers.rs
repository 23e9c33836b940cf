//! The thread that waits until full sockets have room.
//!
//! It is for borrowed streams whose owner's `send` would have blocked: there is no completion for that, and
//! `WSAEventSelect` would make the caller's socket non-blocking and take a call for each change of interest. So the few
//! sockets that are full at a time are passed to this thread, which blocks in `WSAPoll`; the first of them starts it.
//! It posts what it finds to the port, and does nothing else.
//!
//! Microsoft Learn: "WSAPoll".

use std::net::UdpSocket;
use std::os::windows::io::AsRawSocket as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use windows_sys::Win32::Networking::WinSock::{POLLRDNORM, POLLWRNORM, SOCKET, WSAPOLLFD, WSAPoll};

use super::super::arrivals::Key;
use super::super::operation::OpPtr;
use super::super::{Fault, thread};
use super::port::Port;
use super::{Iocp, status};

/// The sockets that are full at the moment.
pub(super) struct Writers {
    port: Arc<Port>,
    thread: Option<WriterThread>,
}

struct WriterThread {
    shared: Arc<Mutex<Waiting>>,
    /// Its own peer: a datagram sent on it ends the `WSAPoll` in progress.
    wake: UdpSocket,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Waiting {
    sockets: Vec<(SOCKET, SendOp)>,
    stop: bool,
}

/// An operation that waits in a list. The thread that takes it out, under the lock, sends its one packet.
#[derive(Clone, Copy, PartialEq, Eq)]
struct SendOp(OpPtr<Iocp>);

// SAFETY: the thread only posts the pointer.
unsafe impl Send for SendOp {}

impl Writers {
    pub(super) fn new(port: &Arc<Port>) -> Writers {
        Writers { port: Arc::clone(port), thread: None }
    }

    pub(super) fn add(&mut self, socket: SOCKET, op: OpPtr<Iocp>) -> Result<(), Fault> {
        if self.thread.is_none() {
            self.thread = Some(WriterThread::start(&self.port).map_err(|error| status::from_io(&error))?);
        }
        let thread = self.thread.as_ref().expect("it was just started");
        unpoisoned(&thread.shared).sockets.push((socket, SendOp(op)));
        thread.wake();
        Ok(())
    }

    pub(super) fn take(&mut self, socket: SOCKET) -> Option<OpPtr<Iocp>> {
        let thread = self.thread.as_ref()?;
        let mut waiting = unpoisoned(&thread.shared);
        let at = waiting.sockets.iter().position(|entry| entry.0 == socket)?;
        let (_, op) = waiting.sockets.swap_remove(at);
        drop(waiting);
        // It must let go of a socket that may be closed next.
        thread.wake();
        Some(op.0)
    }
}

impl WriterThread {
    fn start(port: &Arc<Port>) -> std::io::Result<WriterThread> {
        let wake = UdpSocket::bind(("127.0.0.1", 0))?;
        wake.connect(wake.local_addr()?)?;
        wake.set_nonblocking(true)?;
        let shared = Arc::new(Mutex::new(Waiting::default()));
        let (theirs, woken, port) = (Arc::clone(&shared), wake.try_clone()?, Arc::clone(port));
        let thread = thread::spawn("dolmen writers", move || run(&theirs, &woken, &port))?;
        Ok(WriterThread { shared, wake, thread: Some(thread) })
    }

    fn wake(&self) {
        // A full queue of wakes is a wake as well.
        let _ = self.wake.send(&[0]);
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        unpoisoned(&self.shared).stop = true;
        self.wake();
        if let Some(thread) = self.thread.take() {
            if thread.join().is_err() {
                tracing::error!(target: "dolmen", "the thread that waits for room to write has panicked");
            }
        }
    }
}

/// The thread: waits until one of the sockets has room, or the list has changed.
fn run(shared: &Mutex<Waiting>, wake: &UdpSocket, port: &Port) {
    let mut entries = Vec::new();
    loop {
        entries.clear();
        entries.push(WSAPOLLFD { fd: wake.as_raw_socket() as SOCKET, events: POLLRDNORM, revents: 0 });
        {
            let waiting = unpoisoned(shared);
            if waiting.stop {
                return;
            }
            let sockets = waiting.sockets.iter();
            entries.extend(sockets.map(|entry| WSAPOLLFD { fd: entry.0, events: POLLWRNORM, revents: 0 }));
        }
        // SAFETY: the array is writable and of that length.
        let found = unsafe { WSAPoll(entries.as_mut_ptr(), entries.len() as u32, -1) };
        if found < 0 {
            // A socket among them was closed meanwhile, and the call does not say which: check each by itself.
            entries[1..].iter_mut().for_each(|entry| entry.revents = i16::from(is_writable(entry.fd)));
            std::thread::yield_now();
        }
        while wake.recv(&mut [0; 8]).is_ok() {}
        // Any result counts: the caller's next send reports a socket that has failed.
        for entry in entries[1..].iter().filter(|entry| entry.revents != 0) {
            let mut waiting = unpoisoned(shared);
            let Some(at) = waiting.sockets.iter().position(|waits| waits.0 == entry.fd) else { continue };
            let (_, op) = waiting.sockets.swap_remove(at);
            drop(waiting);
            post(port, op);
        }
    }
}

fn post(port: &Port, SendOp(op): SendOp) {
    // See `bridge`: the packet must be sent.
    while port.post(Key::Ready, op.as_ptr().cast()).is_err() {
        std::thread::yield_now();
    }
}

/// Whether a send would not block. Failed and closed sockets do not block either.
pub(super) fn is_writable(socket: SOCKET) -> bool {
    let mut entry = WSAPOLLFD { fd: socket, events: POLLWRNORM, revents: 0 };
    // SAFETY: one structure, writable, and no waiting.
    let found = unsafe { WSAPoll(&mut entry, 1, 0) };
    found != 0
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No operation under these locks leaves them in an inconsistent state.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
