//! The other limit on Linux: io_uring, one receive and one send in flight for each connection, one buffer for each.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types::Fd};

use super::{BUFFER_BYTES, Mode};

const ACCEPT: u64 = u64::MAX;
const SEND: u64 = 1 << 63;

struct Connection {
    fd: RawFd,
    received: Box<[u8; BUFFER_BYTES]>,
    sending: Vec<u8>,
    queued: Vec<u8>,
    in_flight: bool,
    open: bool,
}

pub fn serve(listener: TcpListener, mode: Mode) -> io::Result<()> {
    let mut ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_defer_taskrun()
        .setup_cqsize(16_384)
        .build(4096)?;
    let mut connections: Vec<Connection> = Vec::new();
    let mut todo: VecDeque<Entry> = VecDeque::new();
    todo.push_back(opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build().user_data(ACCEPT));
    loop {
        loop {
            let mut queue = ring.submission();
            while let Some(entry) = todo.front() {
                // SAFETY: buffers live in their connection, which is never moved out of its box or dropped, and are not
                // touched until the completion; `connections` may grow, which moves only the pointers of the boxes and
                // vectors.
                if unsafe { queue.push(entry) }.is_err() {
                    break;
                }
                todo.pop_front();
            }
            drop(queue);
            if todo.is_empty() {
                break;
            }
            ring.submit()?;
        }
        ring.submit_and_wait(1)?;
        let done: Vec<(u64, i32)> =
            ring.completion().map(|entry| (entry.user_data(), entry.result())).collect();
        for (data, result) in done {
            if data == ACCEPT {
                if result >= 0 {
                    let at = connections.len();
                    connections.push(Connection::new(result));
                    todo.push_back(connections[at].receive(at));
                }
            } else if data & SEND != 0 {
                let at = (data & !SEND) as usize;
                let connection = &mut connections[at];
                connection.in_flight = false;
                let sent = usize::try_from(result).unwrap_or(usize::MAX).min(connection.sending.len());
                connection.sending.drain(..sent);
                todo.extend(connection.send(at));
            } else {
                let at = data as usize;
                if result <= 0 {
                    connections[at].open = false;
                    // SAFETY: the descriptor is ours, and not used again.
                    unsafe { libc::close(connections[at].fd) };
                    continue;
                }
                let len = result as usize;
                if mode == Mode::Echo {
                    let Connection { received, queued, .. } = &mut connections[at];
                    queued.extend_from_slice(&received[..len]);
                    todo.extend(connections[at].send(at));
                } else {
                    let bytes = connections[at].received[..len].to_vec();
                    for (at, connection) in connections.iter_mut().enumerate() {
                        connection.queued.extend_from_slice(&bytes);
                        todo.extend(connection.send(at));
                    }
                }
                todo.push_back(connections[at].receive(at));
            }
        }
    }
}

impl Connection {
    fn new(fd: RawFd) -> Connection {
        no_delay(fd);
        let received = Box::new([0; BUFFER_BYTES]);
        Connection { fd, received, sending: Vec::new(), queued: Vec::new(), in_flight: false, open: true }
    }

    fn receive(&mut self, at: usize) -> Entry {
        let (start, len) = (self.received.as_mut_ptr(), BUFFER_BYTES as u32);
        opcode::Recv::new(Fd(self.fd), start, len).build().user_data(at as u64)
    }

    /// The next send, if there are bytes to send and no send is in flight.
    fn send(&mut self, at: usize) -> Option<Entry> {
        if self.in_flight || !self.open {
            return None;
        }
        if self.sending.is_empty() {
            std::mem::swap(&mut self.sending, &mut self.queued);
        }
        if self.sending.is_empty() {
            return None;
        }
        self.in_flight = true;
        let (start, len) = (self.sending.as_ptr(), self.sending.len() as u32);
        Some(opcode::Send::new(Fd(self.fd), start, len).build().user_data(at as u64 | SEND))
    }
}

fn no_delay(fd: RawFd) {
    let one: libc::c_int = 1;
    // SAFETY: the value is readable for the length given.
    unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const one).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
}
