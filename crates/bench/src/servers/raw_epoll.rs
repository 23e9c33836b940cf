//! The limit on Linux: level-triggered epoll, and nothing around it. Bytes of an echo that a socket does not take are
//! lost, as the load generator never lets that happen: a server for real clients has more to do.

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

/// Posts over an eventfd.
pub fn wake(start: super::StartPosts<'_>) -> io::Result<()> {
    // SAFETY: no pointers.
    let (epoll, bell) = unsafe { (libc::epoll_create1(0), libc::eventfd(0, libc::EFD_NONBLOCK)) };
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    // SAFETY: the event is readable for the length of the call.
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, bell, &mut event) };
    let mut posts = start(Box::new(move || {
        let one = 1_u64;
        // SAFETY: eight bytes are readable there.
        unsafe { libc::write(bell, (&raw const one).cast(), 8) };
    }));
    loop {
        let mut number = 0_u64;
        // SAFETY: there is room for one event, and for eight bytes.
        unsafe {
            libc::epoll_wait(epoll, &mut event, 1, -1);
            libc::read(bell, (&raw mut number).cast(), 8);
        }
        posts.delivered();
    }
}

/// A heap whose first entry determines the timeout.
pub fn timers(mut timers: super::Timers) -> io::Result<()> {
    use std::cmp::Reverse;
    use std::time::{Duration, Instant};
    // SAFETY: no pointers.
    let epoll = unsafe { libc::epoll_create1(0) };
    let mut heap = std::collections::BinaryHeap::new();
    for _ in 0..timers.count {
        heap.push(Reverse(Instant::now() + timers.delay()));
    }
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    loop {
        let Some(Reverse(first)) = heap.peek() else { return Ok(()) };
        let left = first.saturating_duration_since(Instant::now());
        let timeout = libc::timespec {
            tv_sec: left.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(left.subsec_nanos()),
        };
        if left > Duration::ZERO {
            // SAFETY: there is room for one event, and the time is readable; no signal mask is given.
            unsafe {
                libc::syscall(libc::SYS_epoll_pwait2, epoll, &mut event, 1, &timeout, 0_usize, 0_usize)
            };
        }
        let now = Instant::now();
        while let Some(&Reverse(due)) = heap.peek() {
            if due > now {
                break;
            }
            timers.fired(due);
            heap.pop();
            heap.push(Reverse(Instant::now() + timers.delay()));
        }
    }
}
