//! A file to a socket without a copy in our memory: sendfile(2).
//!
//! It is the one call here that has no flag for a single non-blocking call, and none against SIGPIPE. So the socket is
//! made non-blocking around it, and is then as the caller has added it. Where SIGPIPE has its default action, which ends the
//! process, the call is not made: Rust programs ignore the signal, and a C program may not [hc64].
//!
//! sendfile also waits for the disk. So the last byte of every 16 KiB is read first, if that needs no waiting, and the span
//! ends at the first one that the page cache does not hold. The system reads ahead by at least as much, so few pages
//! between those can be missing, or have just been given up; for these the call does wait.
//!
//! Manual pages: sendfile(2), fcntl(2), sigaction(2).

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use super::super::Direct;
use crate::kernel::files::FileAccess;

/// Sends what both take now.
pub(super) fn send_file(
    socket: BorrowedFd<'_>,
    file: &Arc<File>,
    offset: u64,
    count: usize,
    calls: &mut u64,
) -> Direct {
    *calls += 1;
    if sigpipe_ends_process() {
        return Direct::No;
    }
    let count = cached(file, offset, count, calls);
    if count == 0 {
        return Direct::No;
    }
    let Ok(mut at) = libc::off64_t::try_from(offset) else { return Direct::No };
    *calls += 4;
    let Some(_nonblocking) = NonBlocking::new(socket) else { return Direct::No };
    // SAFETY: both descriptors are open while they are borrowed, and the offset is a variable of ours.
    let sent = unsafe { libc::sendfile64(socket.as_raw_fd(), file.as_raw_fd(), &raw mut at, count) };
    match usize::try_from(sent) {
        // The file has become shorter since: to be found out by reading.
        Ok(0) => Direct::No,
        Ok(sent) => Direct::Sent(sent),
        Err(_) => match std::io::Error::last_os_error().kind() {
            std::io::ErrorKind::WouldBlock => Direct::Full,
            // Of the file or of the socket: the next read or send has it again, and is one of them.
            _ => Direct::No,
        },
    }
}

/// How much of the span is in the page cache, from its beginning.
fn cached(file: &Arc<File>, offset: u64, count: usize, calls: &mut u64) -> usize {
    const STEP: usize = 16 * 1024;
    let mut cached = 0;
    while cached < count {
        let next = count.min(cached + STEP);
        let last = offset.saturating_add(next as u64 - 1);
        *calls += 1;
        if !matches!(file.read_now(last, &mut [0]), Some(Ok(1))) {
            break;
        }
        cached = next;
    }
    cached
}

/// Whether a send to a peer that has gone would end the process.
fn sigpipe_ends_process() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the call only fills in the variable, which is read only if that has succeeded.
    unsafe {
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr()) != 0
            || action.assume_init().sa_sigaction == libc::SIG_DFL
    }
}

/// The socket does not block until this is dropped.
struct NonBlocking<'a> {
    socket: BorrowedFd<'a>,
    before: libc::c_int,
}

impl<'a> NonBlocking<'a> {
    fn new(socket: BorrowedFd<'a>) -> Option<NonBlocking<'a>> {
        // SAFETY: the descriptor is open, and these commands take and return a number.
        let before = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
        // SAFETY: as above.
        let set = before >= 0
            && unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, before | libc::O_NONBLOCK) } == 0;
        set.then_some(NonBlocking { socket, before })
    }
}

impl Drop for NonBlocking<'_> {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::fcntl(self.socket.as_raw_fd(), libc::F_SETFL, self.before) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    use rustix::fs::{Advice, fadvise};

    use super::*;

    /// The end of a file is read by many programs. That says nothing about the rest.
    #[test]
    fn what_is_sent_ends_where_the_page_cache_does() {
        // Beside the program, which is on a disk: what is in memory only cannot leave the page cache.
        let path = std::env::current_exe().expect("this program");
        let path = path.with_file_name(format!("dolmen-cached-{}", std::process::id()));
        let mut file = File::create_new(&path).expect("a file");
        file.write_all(&vec![7; 1 << 20]).expect("write");
        file.sync_all().expect("on the disk");
        let file = Arc::new(File::open(&path).expect("it was just written"));
        std::fs::remove_file(&path).expect("it is there");
        let mut calls = 0;
        assert_eq!(cached(&file, 0, 256 << 10, &mut calls), 256 << 10, "it was just written");
        assert_eq!(calls, 16);
        fadvise(file.as_fd(), 0, None, Advice::DontNeed).expect("advice");
        if file.read_now(0, &mut [0]).is_some() {
            eprintln!("SKIPPED: this file system keeps what it is told to give up");
            return;
        }
        // The last byte, and whatever the system reads with it. A read that would have to wait makes it begin, too.
        assert_eq!(file.read_at((1 << 20) - 1, &mut [0]).expect("read"), 1);
        let found = cached(&file, 0, 1 << 20, &mut calls);
        assert!(found <= 512 << 10, "{found} bytes");
        assert_eq!(cached(&file, u64::MAX, 10, &mut calls), 0);
    }
}
