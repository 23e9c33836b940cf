//! Reads and writes of files: which are in progress, and whose they are.
//!
//! A read that the system can make without waiting is made in the call, and reported with the next wait. Everything else
//! becomes a job for a thread (see [`pool`](crate::kernel::pool)). A turn takes one batch of results out of the pool. A
//! cancelled operation is forgotten: if a thread has begun it, its result is dropped there.

use std::io;
use std::ops::Range;

use crate::error::{AddError, Error, ErrorKind};
use crate::kernel::Kernel;
use crate::kernel::files::{FileAccess, FileDone, FileJob, prepare, was_read};
use crate::kernel::pool::Workers;
use crate::kernel::pool::jobs::Jobs;
use crate::marks::{Mark, mark};
use crate::record::Record;
use crate::token::{ConnId, FileOpId, Key, Token};

use super::Engine;
use super::connection::{MOST_FILES, Piece};
use super::table::Table;

/// The most bytes that a read copies on the reactor's own thread, which delays everything else meanwhile.
const READ_NOW_BYTES: usize = 128 * 1024;

/// Operations on files of a kernel's type.
pub(super) struct Files<F: FileAccess> {
    table: Table<FileOp>,
    /// How many are in the table, or in the outbox.
    unreported: usize,
    jobs: Jobs<FileJob<F>>,
}

struct FileOp {
    token: Token,
    purpose: Purpose,
    /// Of a file that is sent: its end is not reported.
    is_cancelled: bool,
}

#[derive(Clone, Copy)]
enum Purpose {
    Read,
    Write,
    /// To send it on this connection.
    Send {
        conn: Key,
    },
}

impl<F: FileAccess> Files<F> {
    pub(super) fn new(workers: Box<dyn Workers<FileJob<F>>>) -> Files<F> {
        Files { table: Table::new(), unreported: 0, jobs: Jobs::new(workers) }
    }

    /// How many are not reported yet.
    pub(super) fn unreported(&self) -> usize {
        self.unreported
    }

    /// Whether there are results to be collected that the mailbox does not announce any more.
    pub(super) fn has_results(&self) -> bool {
        self.jobs.has_results()
    }

    /// A record of an operation leaves the outbox.
    pub(super) fn note_delivery(&mut self) {
        self.unreported -= 1;
    }

    /// Allows the slot of an operation that was reported to be reused.
    pub(super) fn release(&mut self, slot: u32) {
        self.table.release(slot);
    }

    /// A file has been sent.
    pub(super) fn vacate(&mut self, key: Key) {
        self.table.vacate(key);
    }

    fn insert(&mut self, op: FileOp) -> Key {
        self.unreported += 1;
        self.table.insert(op)
    }

    /// Returns whether it was in progress.
    fn cancel(&mut self, key: Key) -> bool {
        match self.table.get_mut(key) {
            None => return false,
            // The file is sent all the same.
            Some(FileOp { purpose: Purpose::Send { .. }, is_cancelled, .. }) => {
                return !std::mem::replace(is_cancelled, true);
            }
            Some(_) => drop(self.table.remove(key)),
        }
        self.unreported -= 1;
        self.jobs.forget(key);
        true
    }

    /// Called when the reactor is dropped. Calls in progress are waited for, within limits.
    pub(super) fn end(&mut self) {
        self.jobs.end();
    }
}

impl<K: Kernel> Engine<K> {
    /// Begins to read.
    pub(crate) fn read_file(
        &mut self,
        file: K::File,
        offset: u64,
        mut buffer: Vec<u8>,
        token: Token,
    ) -> Result<FileOpId, AddError<Vec<u8>>> {
        const ACTION: &str = "read a file";
        if let Err(error) = self.check_room_for_files(ACTION) {
            return Err(AddError { error, source: buffer });
        }
        let key = self.files.insert(FileOp { token, purpose: Purpose::Read, is_cancelled: false });
        if buffer.capacity() <= READ_NOW_BYTES {
            prepare(&mut buffer);
            if let Some(read) = file.read_now(offset, &mut buffer) {
                mark(Mark::FileReadNow);
                self.file_done(key, was_read(buffer, read, None));
                return Ok(FileOpId(key));
            }
        }
        self.begin_file(key, FileJob::Read { file, offset, buffer, reopen: false }, ACTION)
    }

    /// Begins to write.
    pub(crate) fn write_file(
        &mut self,
        file: K::File,
        offset: u64,
        bytes: Vec<u8>,
        token: Token,
    ) -> Result<FileOpId, AddError<Vec<u8>>> {
        const ACTION: &str = "write a file";
        if let Err(error) = self.check_room_for_files(ACTION) {
            return Err(AddError { error, source: bytes });
        }
        let key = self.files.insert(FileOp { token, purpose: Purpose::Write, is_cancelled: false });
        self.begin_file(key, FileJob::Write { file, offset, bytes }, ACTION)
    }

    fn check_room_for_files(&mut self, action: &'static str) -> Result<(), Error> {
        self.files_after_fork();
        if self.files.unreported < self.cx.config.most_file_ops {
            return Ok(());
        }
        mark(Mark::FilesFull);
        Err(Error::plain(ErrorKind::FilesFull, action).limited(self.cx.config.most_file_ops))
    }

    fn begin_file(
        &mut self,
        key: Key,
        job: FileJob<K::File>,
        action: &'static str,
    ) -> Result<FileOpId, AddError<Vec<u8>>> {
        match self.files.jobs.begin(key, job, &self.mailbox) {
            Ok(()) => Ok(FileOpId(key)),
            Err((os, job)) => {
                self.files.cancel(key);
                // For lack of memory, or at the limit of threads.
                let error = Error::from_io(ErrorKind::Exhausted, action, os);
                Err(AddError { error, source: job.into_buffer() })
            }
        }
    }

    /// Queues a file on a connection.
    pub(crate) fn send_file(
        &mut self,
        conn: ConnId,
        file: K::File,
        range: Range<u64>,
        token: Token,
    ) -> Result<FileOpId, Error> {
        const ACTION: &str = "send a file to connection";
        self.files_after_fork();
        // No file goes further.
        let most = i64::MAX as u64;
        let range = range.start.min(most)..range.end.min(most);
        // Not counted: a connection bounds its files itself.
        let purpose = Purpose::Send { conn: conn.0 };
        let op = self.files.table.insert(FileOp { token, purpose, is_cancelled: false });
        let queued = self.with_open(conn, ACTION, |connection, cx| {
            connection.send_file(cx, conn.0, (op, token), file, range)
        });
        let error = match queued {
            Ok(Ok(())) => return Ok(FileOpId(op)),
            Ok(Err(kind @ ErrorKind::FilesFull)) => Error::new(kind, ACTION, conn)
                .limited(MOST_FILES)
                .advised("wait for `FileSent` events of this connection"),
            Ok(Err(kind)) => Error::new(kind, ACTION, conn),
            Err(error) => error,
        };
        self.files.table.remove(op);
        Err(error)
    }

    /// Reads what a connection sends next of a file.
    pub(super) fn read_piece(&mut self, conn: Key) {
        // A signal handler may have forked in the wait: then what was begun before is lost, and not this piece.
        self.files_after_fork();
        let most = self.cx.config.max_send_bytes.clamp(1, READ_NOW_BYTES);
        let connection = self.connections.get_mut(conn).expect("it has just been served");
        if connection.send_directly(&mut self.cx, conn) || connection.transmit(&mut self.cx, conn, most) {
            return;
        }
        let transmits = self.cx.submitter.transmits();
        let Some(piece) = connection.take_piece(most, transmits) else { return };
        let Piece { op, file, offset, mut buffer, reopen } = piece;
        prepare(&mut buffer);
        if let Some(read) = file.read_now(offset, &mut buffer) {
            return self.piece_done(conn, was_read(buffer, read, None));
        }
        let job = FileJob::Read { file, offset, buffer, reopen };
        if let Err((error, _)) = self.files.jobs.begin(op, job, &self.mailbox) {
            let connection = self.connections.get_mut(conn).expect("it has a piece to send");
            connection.piece_refused(&mut self.cx, conn, &error);
        }
    }

    fn piece_done(&mut self, conn: Key, done: FileDone<K::File>) {
        let FileDone::Read { buffer, error, reopened } = done else { unreachable!("a piece is read") };
        // It may have ended, and then so have its operations.
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.piece_read(&mut self.cx, conn, buffer, error, reopened);
        }
    }

    /// A connection has ended with these files unsent.
    pub(super) fn remove_file_sends(&mut self, ops: &[Key]) {
        for &op in ops {
            self.files.table.remove(op);
            self.files.jobs.forget(op);
        }
    }

    pub(crate) fn cancel_file(&mut self, op: FileOpId) -> bool {
        self.files_after_fork();
        if self.files.table.has_issued(op.0) {
            self.cx.removed.mark_file(op);
        }
        self.files.cancel(op.0)
    }

    /// Takes a batch of results.
    pub(super) fn collect_files(&mut self, batch: usize) {
        // Most reactors have no operations in progress, and do not take the lock.
        if self.files.table.len() == 0 {
            self.files.jobs.note_none();
            return;
        }
        // Pieces of files that are sent are no events, and do not count: they would leave those behind that are.
        let mut records = 0;
        while records < batch {
            let Some((key, done)) = self.files.jobs.pop_done() else { return };
            records += usize::from(self.file_done(key, done));
        }
        if self.files.jobs.note_left() {
            mark(Mark::FilesLeft);
        }
    }

    /// Returns whether that is an event.
    fn file_done(&mut self, key: Key, done: FileDone<K::File>) -> bool {
        // Its slot is not reused before the record was delivered.
        match self.files.table.get(key).map(|op| op.purpose) {
            Some(Purpose::Send { conn }) => {
                self.piece_done(conn, done);
                return false;
            }
            Some(Purpose::Read | Purpose::Write) => {}
            None => return false,
        }
        let FileOp { token, .. } = self.files.table.vacate(key).expect("it is there");
        let op = FileOpId(key);
        self.cx.outbox.push_back(match done {
            FileDone::Read { buffer, error, .. } => {
                Record::FileRead { op, token, error, buffer: Some(buffer) }
            }
            FileDone::Written { bytes, failed } => {
                Record::FileWritten { op, token, failed, buffer: Some(bytes) }
            }
        });
        true
    }

    /// In a forked process, which has neither the threads nor what they were given: everything that has no result yet has
    /// failed here.
    #[inline]
    pub(super) fn files_after_fork(&mut self) {
        if self.files.jobs.after_fork() {
            self.fail_files();
        }
    }

    #[cold]
    fn fail_files(&mut self) {
        for key in self.files.table.keys() {
            let purpose = self.files.table.get(key).expect("the key is one of the table's").purpose;
            if let Purpose::Send { conn } = purpose {
                let connection = self.connections.get_mut(conn);
                connection.into_iter().for_each(|connection| connection.piece_lost(&mut self.cx, conn));
                continue;
            }
            let is_read = matches!(purpose, Purpose::Read);
            let error = io::Error::new(io::ErrorKind::Interrupted, "the process has forked meanwhile");
            self.file_done(key, FileJob::<K::File>::failed(is_read, error));
        }
    }
}
