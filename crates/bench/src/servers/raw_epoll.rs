//! The limit on Linux: level-triggered epoll, and nothing around it. What a socket does not take of an answer is lost, for
//! the load generator never lets that happen: a server for real clients has more to do.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

use super::{BUFFER_BYTES, Mode};

pub fn serve(listener: TcpListener, mode: Mode) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // SAFETY: no pointers.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    let add = |fd: RawFd| {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd as u64 };
        // SAFETY: the event is readable for the length of the call.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) };
    };
    add(listener.as_raw_fd());
    let mut everyone: Vec<RawFd> = Vec::new();
    let mut buffer = [0_u8; BUFFER_BYTES];
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
    loop {
        // SAFETY: there is room for as many events as are asked for.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as i32, -1) };
        for event in &events[..count.max(0) as usize] {
            let fd = event.u64 as RawFd;
            if fd == listener.as_raw_fd() {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let fd = stream.into_raw_fd();
                    add(fd);
                    everyone.push(fd);
                }
                continue;
            }
            // SAFETY: the buffer has room for that many bytes.
            let read = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            if read <= 0 {
                // SAFETY: the descriptor is ours, and not used again.
                unsafe { libc::close(fd) };
                if mode == Mode::Broadcast {
                    everyone.retain(|&other| other != fd);
                }
                continue;
            }
            let send = |fd: RawFd| {
                // SAFETY: that many bytes were just received into the buffer.
                unsafe { libc::send(fd, buffer.as_ptr().cast(), read as usize, libc::MSG_NOSIGNAL) };
            };
            match mode {
                Mode::Echo => send(fd),
                Mode::Broadcast => everyone.iter().copied().for_each(send),
            }
        }
    }
}
