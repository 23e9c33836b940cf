//! Files between the sends: each is read in pieces when everything before it has been sent.
//!
//! While files are queued, the connection's queue holds what is sent before the first of them, and then the piece of that
//! file that was read last; what is sent behind a file waits in a queue of its own. One piece of one file is in memory at
//! a time, and does not count as queued: otherwise a caller to whom room was reported would find none.
//!
//! A kernel may send a part of a file without a copy, as far as the socket has room. A socket without room is waited for
//! by a small piece that is read and sent as always. Another kind of kernel transmits parts of a file: see
//! [`transmitting`](super::transmitting).
//!
//! A file that cannot be read leaves a hole in the stream, so nothing is sent behind it: the connection fails.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::closing::SECOND_LOOK_NS;
use super::*;
use crate::kernel::files::Reopened;

/// The most bytes that one call sends without a copy: the other connections have their turns.
const MOST_DIRECT_BYTES: usize = 256 * 1024;

/// A piece that is to wait for room in the socket.
const WAITING_PIECE_BYTES: usize = 4 * 1024;

/// How many files may be queued on one connection.
pub(in crate::engine) const MOST_FILES: usize = 1_024;

/// The files of a connection, the first one first.
pub(super) struct FileSends<F> {
    pub(super) queued: VecDeque<FileSend<F>>,
    /// Bytes in the queues behind files.
    behind_bytes: usize,
    /// Where pieces are read to; with the reader while it reads.
    buffer: Vec<u8>,
    reading: bool,
    /// The socket had no room for a part without a copy.
    full: bool,
    /// Everything before the first file has been sent: the connection's queue holds a piece of it.
    begun: bool,
    /// How many bytes of the first file are being transmitted.
    pub(super) transmitting: u32,
    /// The operations that ended with their connection.
    ended: Vec<Key>,
}

pub(super) struct FileSend<F> {
    op: Key,
    token: Token,
    file: F,
    /// What is still to be read.
    pub(super) range: Range<u64>,
    /// How many bytes the system has taken.
    pub(super) sent: u64,
    pub(super) error: Option<io::Error>,
    pub(super) reopened: Reopening<F>,
    behind: Option<Box<SendQueue>>,
}

/// Whether the file was opened once more, to be transmitted.
pub(super) enum Reopening<F> {
    /// Not yet.
    Not,
    /// The thread that reads the first piece was asked for it, and may have refused.
    Asked,
    Open(Reopened<F>),
    /// The rest is read and sent.
    Over,
}

/// A piece to read.
pub(in crate::engine) struct Piece<F> {
    pub(in crate::engine) op: Key,
    pub(in crate::engine) file: F,
    pub(in crate::engine) offset: u64,
    /// To be filled up to its capacity.
    pub(in crate::engine) buffer: Vec<u8>,
    /// The file is to be transmitted from the next piece on.
    pub(in crate::engine) reopen: bool,
}

impl<F> FileSends<F> {
    fn new() -> FileSends<F> {
        FileSends {
            queued: VecDeque::new(),
            behind_bytes: 0,
            buffer: Vec::new(),
            reading: false,
            full: false,
            begun: false,
            transmitting: 0,
            ended: Vec::new(),
        }
    }

    /// What a thread was asked for was not done.
    fn ask_again(&mut self) {
        let first = self.queued.front_mut();
        if let Some(first) = first.filter(|first| matches!(first.reopened, Reopening::Asked)) {
            first.reopened = Reopening::Not;
        }
    }
}

impl<K: Kernel> Connection<K> {
    /// Queues a file.
    pub(in crate::engine) fn send_file(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        (op, token): (Key, Token),
        file: K::File,
        range: Range<u64>,
    ) -> Result<(), ErrorKind> {
        if self.write != Write::Open || self.is_releasing() {
            return Err(ErrorKind::SendClosed);
        }
        let files = self.files.get_or_insert_with(|| Box::new(FileSends::new()));
        if files.queued.len() >= MOST_FILES {
            return Err(ErrorKind::FilesFull);
        }
        let reopened = Reopening::Not;
        let file = FileSend { op, token, file, range, sent: 0, error: None, reopened, behind: None };
        files.queued.push_back(file);
        self.list(cx, key);
        Ok(())
    }

    /// Where the next bytes to send are queued: behind the last file.
    pub(super) fn last_queue(&mut self, cx: &mut Context<K>, bytes: usize) -> &mut SendQueue {
        let is_behind_file = self.files.as_ref().is_some_and(|files| !files.queued.is_empty());
        if !is_behind_file {
            return self.queue(cx);
        }
        let files = self.files.as_mut().expect("there is a file");
        files.behind_bytes += bytes;
        let last = files.queued.back_mut().expect("there is a file");
        last.behind.get_or_insert_with(|| cx.send_queues.take())
    }

    /// Whether a piece of a file is in the connection's queue, or is to be.
    fn is_in_file(&self) -> bool {
        self.files.as_ref().is_some_and(|files| files.begun)
    }

    /// Bytes that callers have sent and that the system has not taken yet.
    pub(in crate::engine) fn queued_bytes(&self) -> usize {
        let first = match self.is_in_file() {
            true => 0,
            false => self.queue.as_ref().map_or(0, |queue| queue.queued_bytes()),
        };
        let shared = self.shared.as_ref().map_or(0, |bytes| bytes.len());
        shared + first + self.files.as_ref().map_or(0, |files| files.behind_bytes)
    }

    /// The same, and the piece of a file that has been read.
    pub(super) fn unsent_bytes(&self) -> usize {
        let queue = self.queue.as_ref().map_or(0, |queue| queue.queued_bytes());
        let shared = self.shared.as_ref().map_or(0, |bytes| bytes.len());
        shared + queue + self.files.as_ref().map_or(0, |files| files.behind_bytes)
    }

    /// The system has taken this many bytes. Returns whether they were a file's.
    pub(super) fn count_for_file(&mut self, bytes: usize) -> bool {
        let Some(files) = self.files.as_mut().filter(|files| files.begun) else { return false };
        files.queued.front_mut().expect("it has begun").sent += bytes as u64;
        true
    }

    /// Called when the queue is empty. Returns whether something else is to be sent now, because a file has ended.
    pub(super) fn go_on_with_files(&mut self, cx: &mut Context<K>, key: Key) -> bool {
        let lingering = self.lingering;
        let Some(files) = self.files.as_mut() else { return false };
        let Some(first) = files.queued.front() else { return false };
        files.begun = true;
        if files.reading || (!first.range.is_empty() && first.error.is_none()) {
            return false;
        }
        let FileSend { op, token, sent, error, behind, .. } =
            files.queued.pop_front().expect("it was looked at");
        files.begun = false;
        let fault = error.as_ref().map(crate::kernel::io_fault);
        let (op, conn) = (FileOpId(op), ConnId(key));
        cx.outbox.push_back(Record::FileSent { op, conn, token, sent, error, silent: lingering });
        if let Some(queue) = &behind {
            files.behind_bytes -= queue.queued_bytes();
        }
        if files.queued.is_empty() {
            self.files = None;
        }
        self.queue = behind;
        match fault {
            None => true,
            Some(fault) => {
                mark(Mark::FileSendFailed);
                // The peer must not take what it has for all of it.
                self.rare().resets = true;
                // What was received before has arrived by then: the peer is still there, and may never end its stream.
                self.start_linger(cx, key, cx.config.linger_ns().min(SECOND_LOOK_NS));
                self.sending_failed(cx, key, Fault { kind: FaultKind::Other, ..fault });
                false
            }
        }
    }

    /// Whether the next piece of a file is to be read.
    pub(super) fn wants_piece(&self) -> bool {
        let is_waiting = |files: &FileSends<K::File>| files.begun && !files.reading;
        self.files.as_ref().is_some_and(|files| is_waiting(files))
            && self.queue.is_none()
            && self.send.is_none()
            && !self.send_waits()
            && !matches!(self.write, Write::Shut | Write::Failed)
    }

    /// Sends a part of the file without a copy, if the kernel can. Returns whether it has.
    pub(in crate::engine) fn send_directly(&mut self, cx: &mut Context<K>, key: Key) -> bool {
        let (Some(files), Some(source)) = (self.files.as_mut(), self.source.as_ref()) else { return false };
        let Some(first) = files.queued.front_mut() else { return false };
        let rest = usize::try_from(first.range.end - first.range.start).unwrap_or(usize::MAX);
        let count = rest.min(MOST_DIRECT_BYTES);
        match cx.submitter.kernel().send_file_now(source, &first.file, first.range.start, count) {
            Direct::Sent(bytes) => {
                first.range.start += bytes as u64;
                first.sent += bytes as u64;
                cx.stats.bytes_sent += bytes as u64;
                cx.stats.bytes_sent_uncopied += bytes as u64;
                self.list(cx, key);
                true
            }
            Direct::Full => {
                files.full = true;
                false
            }
            Direct::No => false,
        }
    }

    /// The piece to read next, followed by [`Connection::piece_read`]. `transmits`: what is behind it is transmitted, if that
    /// is more than another piece.
    pub(in crate::engine) fn take_piece(&mut self, most: usize, transmits: bool) -> Option<Piece<K::File>> {
        let files = self.files.as_mut()?;
        let first = files.queued.front_mut()?;
        files.reading = true;
        let most = if std::mem::take(&mut files.full) { most.min(WAITING_PIECE_BYTES) } else { most };
        let mut buffer = std::mem::take(&mut files.buffer);
        let rest = usize::try_from(first.range.end - first.range.start).unwrap_or(usize::MAX);
        buffer.clear();
        buffer.reserve_exact(rest.min(most));
        let reopen = transmits && rest > 2 * most && matches!(first.reopened, Reopening::Not);
        if reopen {
            first.reopened = Reopening::Asked;
        }
        Some(Piece { op: first.op, file: first.file.clone(), offset: first.range.start, buffer, reopen })
    }

    /// A piece has been read: none is the end of the file.
    pub(in crate::engine) fn piece_read(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        buffer: Vec<u8>,
        error: Option<io::Error>,
        reopened: Option<Reopened<K::File>>,
    ) {
        let Some(files) = self.files.as_mut() else { return };
        let Some(first) = files.queued.front_mut() else { return };
        files.reading = false;
        if let Some(reopened) = reopened {
            first.reopened = Reopening::Open(reopened);
        }
        let rest = first.range.end - first.range.start;
        // The buffer may have room for more than was asked for.
        let bytes = &buffer[..buffer.len().min(usize::try_from(rest).unwrap_or(usize::MAX))];
        match error {
            None if bytes.is_empty() => {
                mark(Mark::FileEndedEarly);
                first.range.end = first.range.start;
            }
            None => {
                first.range.start += bytes.len() as u64;
                self.queue.get_or_insert_with(|| cx.send_queues.take()).push(bytes);
            }
            error => first.error = error,
        }
        files.buffer = buffer;
        self.list(cx, key);
    }

    /// There is no thread to read a piece: this is tried again later, since the stream must not end for that.
    pub(in crate::engine) fn piece_refused(&mut self, cx: &mut Context<K>, key: Key, error: &io::Error) {
        mark(Mark::PieceRefused);
        if let Some(files) = self.files.as_mut() {
            files.reading = false;
            files.ask_again();
            self.retry_later(cx, key, Direction::Send, crate::kernel::io_fault(error));
        }
    }

    /// The read of a piece is lost, and is to be made again: this is a forked process.
    pub(in crate::engine) fn piece_lost(&mut self, cx: &mut Context<K>, key: Key) {
        if let Some(files) = self.files.as_mut() {
            files.reading = false;
            files.ask_again();
            self.list(cx, key);
        }
    }

    /// What has not been sent is lost.
    pub(super) fn drop_queues(&mut self, cx: &mut Context<K>) {
        cx.stats.queued_bytes -= self.queued_bytes();
        self.shared = None;
        if let Some(queue) = self.queue.take() {
            cx.send_queues.give_back(queue);
        }
        let Some(files) = self.files.as_mut() else { return };
        (files.begun, files.behind_bytes) = (false, 0);
        for file in files.queued.drain(..) {
            files.ended.push(file.op);
            file.behind.into_iter().for_each(|queue| cx.send_queues.give_back(queue));
        }
    }

    /// The operations that have ended with the connection.
    pub(in crate::engine) fn take_ended_files(&mut self) -> Vec<Key> {
        let Some(files) = self.files.as_mut() else { return Vec::new() };
        let mut ended = std::mem::take(&mut files.ended);
        ended.extend(files.queued.iter().map(|file| file.op));
        ended
    }
}
