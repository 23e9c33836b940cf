//! Reads of standard input that never block, and the pipes and sockets that are read in this way.
//!
//! open(2), read(2), poll(2), fifo(7).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::super::decoder::Decoder;
use super::super::redirected::RedirectedInput;
use super::super::{ConsoleMode, Inbox, decoder, leave_decoder};

/// Opens the file of a descriptor once more, for our own use.
pub(super) fn reopen(how: &mut OpenOptions, fd: RawFd) -> Option<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    how.custom_flags(flags).open(format!("/proc/self/fd/{fd}")).ok()
}

/// Reads without ever blocking.
pub(super) struct Reader {
    pub(super) fd: OwnedFd,
    /// The open file is ours alone, and does not block.
    is_private: bool,
}

impl Reader {
    pub(super) fn new(fd: OwnedFd) -> Reader {
        match reopen(OpenOptions::new().read(true), fd.as_raw_fd()) {
            Some(file) => Reader { fd: file.into(), is_private: true },
            None => Reader { fd, is_private: false },
        }
    }

    /// `None`: nothing available now.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            // A read of the shared open file would block where there is nothing to read [hc31].
            if !self.is_private
                && !state_of(self.fd.as_fd())?.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
            {
                return Ok(None);
            }
            match rustix::io::read(&self.fd, &mut *buffer) {
                Ok(count) => return Ok(Some(count)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The state at this moment, by poll(2).
pub(super) fn state_of(fd: BorrowedFd<'_>) -> io::Result<PollFlags> {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(fds[0].revents())
}

/// A pipe or a socket, read when the reactor reports it as ready.
pub(super) struct Readable {
    reader: Reader,
    decoder: Decoder,
    over: bool,
}

impl Readable {
    /// Reads the available input.
    pub(super) fn open(fd: OwnedFd, mode: ConsoleMode, inbox: &Inbox) -> Readable {
        let mut readable = Readable { reader: Reader::new(fd), decoder: decoder(mode, inbox), over: false };
        // If the writers of a pipe were gone before we came, readiness does not report that.
        readable.ready(inbox);
        readable
    }
}

impl RedirectedInput<OwnedFd> for Readable {
    fn watching(&self) -> bool {
        !self.over
    }

    fn handle(&self) -> io::Result<OwnedFd> {
        self.reader.fd.try_clone()
    }

    fn ready(&mut self, inbox: &Inbox) {
        let mut buffer = [0; 8192];
        // Until a read finds the end: a pipe without writers may still hold bytes [hc36].
        while !self.over && inbox.has_room() {
            match self.reader.read(&mut buffer) {
                Ok(None) => return,
                Ok(Some(count)) if count > 0 => {
                    self.decoder.feed(&buffer[..count], |input| inbox.push(input));
                }
                end => {
                    if let Err(error) = end {
                        tracing::debug!(target: "dolmen", %error, "the console input ends with an error");
                    }
                    self.over = true;
                    self.decoder.end(|input| inbox.push(input));
                }
            }
        }
    }

    fn set_mode(&mut self, mode: ConsoleMode, inbox: &Inbox) {
        self.decoder.set_mode(mode, |input| inbox.push(input));
    }

    fn end(&mut self, _inbox: &Inbox) {
        let mode = self.decoder.mode();
        leave_decoder(std::mem::replace(&mut self.decoder, Decoder::new(mode, false)));
    }
}
