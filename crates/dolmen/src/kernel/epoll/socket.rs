//! The socket calls: each is made once, or again after an interruption, and never waits.
//!
//! Manual pages: recv(2), send(2), accept4(2).

use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use super::super::Fault;
use super::super::operation::OpPtr;
use super::{Epoll, fault};
use crate::engine::buffer_pool::BufferPool;

/// Tries to receive into a buffer from the pool; `None` when there was nothing after all.
///
/// # Safety
///
/// The operation is in the kernel's hands.
pub(super) unsafe fn receive_now(
    fd: &TcpStream,
    op: OpPtr<Epoll>,
    readable: &mut bool,
    hangup: &mut bool,
    pool: &mut BufferPool,
    calls: &mut u64,
) -> Option<Result<usize, Fault>> {
    let mut buffer = pool.take();
    let (target, room) = buffer.as_target();
    let received = loop {
        *calls += 1;
        // SAFETY: the buffer is ours alone until it goes into the operation, and has `room` bytes at `target`. They
        // may be uninitialised, which is why the slice is one of `MaybeUninit`.
        let room =
            unsafe { std::slice::from_raw_parts_mut(target.cast::<std::mem::MaybeUninit<u8>>(), room) };
        match rustix::net::recv(fd, room, RecvFlags::DONTWAIT) {
            Err(Errno::INTR) => {}
            Ok((_, received)) => break Ok(received),
            Err(errno) => break Err(errno),
        }
    };
    match received {
        Ok(bytes) => {
            if bytes > 0 && bytes < room && !*hangup {
                *readable = false;
            }
            // SAFETY: recv has written that many bytes at `target`.
            unsafe { buffer.set_filled(bytes) };
            // SAFETY: the cell is the kernel's (ours) until its packet.
            unsafe { (*op.as_ptr()).buffer = Some(buffer) };
            Some(Ok(bytes))
        }
        Err(Errno::AGAIN) => {
            pool.give_back(buffer);
            *readable = false;
            *hangup = false;
            None
        }
        Err(errno) => {
            pool.give_back(buffer);
            Some(Err(fault(errno)))
        }
    }
}

/// Tries to send what is left of an operation's buffer; `None` when the socket takes nothing now.
///
/// # Safety
///
/// The operation is in the kernel's hands.
pub(super) unsafe fn send_now(
    fd: &TcpStream,
    op: OpPtr<Epoll>,
    writable: &mut bool,
    calls: &mut u64,
) -> Option<Result<usize, Fault>> {
    // SAFETY: the cell is ours until its packet, and nobody changes the buffer meanwhile.
    let (buffer, offset) = unsafe { (&(*op.as_ptr()).buffer, (*op.as_ptr()).offset as usize) };
    let bytes = &buffer.as_ref().expect("a send has a buffer").as_slice()[offset..];
    loop {
        *calls += 1;
        match rustix::net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => {
                // Less than all: the socket is full, and an edge will tell when it is not.
                *writable = sent == bytes.len();
                return Some(Ok(sent));
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                *writable = false;
                return None;
            }
            Err(errno) => return Some(Err(fault(errno))),
        }
    }
}

pub(super) fn accept_one(listener: &TcpListener, calls: &mut u64) -> Result<(TcpStream, SocketAddr), Errno> {
    loop {
        *calls += 1;
        match rustix::net::acceptfrom_with(listener, SocketFlags::CLOEXEC) {
            Ok((fd, Some(address))) => {
                // Only TCP listeners come here, so the family is one of two.
                let peer = SocketAddr::try_from(address).map_err(|_| Errno::AFNOSUPPORT)?;
                return Ok((TcpStream::from(fd), peer));
            }
            Ok((_, None)) => return Err(Errno::CONNABORTED),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
