//! Reads and writes of files: which are in progress, and whose they are.
//!
//! A read that the system can make without waiting is made in the call, and reported with the next wait. Everything else
//! becomes a job for a thread (see [`pool`](crate::kernel::pool)); the first one makes the pool. A turn takes one batch of
//! results out of it. A cancelled operation is forgotten: if a thread has begun it, its result is dropped there.

use std::io;
use std::sync::Arc;

use crate::error::{AddError, Error, ErrorKind};
use crate::kernel::Kernel;
use crate::kernel::files::{FileAccess, FileDone, FileJob, prepare, was_read};
use crate::kernel::fork::Process;
use crate::kernel::mailbox::Mailbox;
use crate::kernel::pool::{Pool, Workers};
use crate::marks::{Mark, mark};
use crate::record::Record;
use crate::token::{FileOpId, Key, Token};

use super::Engine;
use super::table::Table;

/// The most bytes that a read copies on the reactor's own thread, which delays everything else meanwhile.
const READ_NOW_BYTES: usize = 128 * 1024;

/// Operations on files of a kernel's type.
pub(super) struct Files<F: FileAccess> {
    table: Table<FileOp>,
    /// How many are in the table, or in the outbox.
    unreported: usize,
    /// Made for the first job of this process.
    pool: Option<Arc<Pool<FileJob<F>>>>,
    workers: Box<dyn Workers<FileJob<F>>>,
    /// The last collection has left results.
    results_left: bool,
    process: Process,
}

struct FileOp {
    token: Token,
    is_read: bool,
}

impl<F: FileAccess> Files<F> {
    pub(super) fn new(workers: Box<dyn Workers<FileJob<F>>>) -> Files<F> {
        Files {
            table: Table::new(),
            unreported: 0,
            pool: None,
            workers,
            results_left: false,
            process: Process::current(),
        }
    }

    /// How many are not reported yet.
    pub(super) fn unreported(&self) -> usize {
        self.unreported
    }

    /// Whether there are results to be collected that the mailbox does not announce any more.
    pub(super) fn has_results(&self) -> bool {
        self.results_left
    }

    /// A record of an operation leaves the outbox.
    pub(super) fn note_delivery(&mut self) {
        self.unreported -= 1;
    }

    /// Allows the slot of an operation that was reported to be reused.
    pub(super) fn release(&mut self, slot: u32) {
        self.table.release(slot);
    }

    fn insert(&mut self, op: FileOp) -> Key {
        self.unreported += 1;
        self.table.insert(op)
    }

    /// Hands a job to the threads, or returns it.
    fn begin(
        &mut self,
        key: Key,
        job: FileJob<F>,
        mailbox: &Arc<Mailbox>,
    ) -> Result<(), (io::Error, FileJob<F>)> {
        let pool = self.pool.get_or_insert_with(|| Pool::new(Arc::clone(mailbox)));
        let Some(worker) = pool.push(key, job) else { return Ok(()) };
        let Err(error) = self.workers.start(worker, pool) else { return Ok(()) };
        if pool.not_started(worker) {
            // Another one does it later.
            tracing::warn!(target: "dolmen", %error, "cannot start a second thread for files");
            return Ok(());
        }
        let job = pool.forget(key).expect("there is no thread that could have taken it");
        Err((error, job))
    }

    /// Returns whether it was in progress.
    fn cancel(&mut self, key: Key) -> bool {
        if self.table.remove(key).is_none() {
            return false;
        }
        self.unreported -= 1;
        if let Some(pool) = &self.pool {
            drop(pool.forget(key));
        }
        true
    }

    /// Called when the reactor is dropped. Calls in progress are waited for, within limits.
    pub(super) fn end(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        if self.process.is_copy() {
            self.workers.forget();
            std::mem::forget(pool);
            return;
        }
        pool.close();
        self.workers.end(&pool);
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
        let key = self.files.insert(FileOp { token, is_read: true });
        if buffer.capacity() <= READ_NOW_BYTES {
            prepare(&mut buffer);
            if let Some(read) = file.read_now(offset, &mut buffer) {
                mark(Mark::FileReadNow);
                self.file_done(key, was_read(buffer, read));
                return Ok(FileOpId(key));
            }
        }
        self.begin_file(key, FileJob::Read { file, offset, buffer }, ACTION)
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
        let key = self.files.insert(FileOp { token, is_read: false });
        self.begin_file(key, FileJob::Write { file, offset, bytes }, ACTION)
    }

    fn check_room_for_files(&mut self, action: &'static str) -> Result<(), Error> {
        self.files_after_fork();
        if self.files.unreported < self.cx.config.most_file_ops {
            return Ok(());
        }
        mark(Mark::FilesFull);
        Err(Error::plain(ErrorKind::FilesFull, action))
    }

    fn begin_file(
        &mut self,
        key: Key,
        job: FileJob<K::File>,
        action: &'static str,
    ) -> Result<FileOpId, AddError<Vec<u8>>> {
        match self.files.begin(key, job, &self.mailbox) {
            Ok(()) => Ok(FileOpId(key)),
            Err((os, job)) => {
                self.files.cancel(key);
                // For lack of memory, or at the limit of threads.
                let error = Error::from_io(ErrorKind::Exhausted, action, os);
                Err(AddError { error, source: job.into_buffer() })
            }
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
        self.files.results_left = false;
        // Most reactors have no operations in progress, and do not take the lock.
        if self.files.table.len() == 0 {
            return;
        }
        let Some(pool) = self.files.pool.clone() else { return };
        for _ in 0..batch {
            let Some((key, done)) = pool.pop_done() else { return };
            self.file_done(key, done);
        }
        self.files.results_left = pool.has_done();
        if self.files.results_left {
            mark(Mark::FilesLeft);
        }
    }

    fn file_done(&mut self, key: Key, done: FileDone) {
        // Its slot is not reused before the record was delivered.
        let Some(FileOp { token, .. }) = self.files.table.vacate(key) else { return };
        let op = FileOpId(key);
        self.cx.outbox.push_back(match done {
            FileDone::Read { buffer, error } => Record::FileRead { op, token, error, buffer: Some(buffer) },
            FileDone::Written { bytes, failed } => {
                Record::FileWritten { op, token, failed, buffer: Some(bytes) }
            }
        });
    }

    /// In a forked process, which has neither the threads nor what they were given: everything that has no result yet has
    /// failed here.
    pub(super) fn files_after_fork(&mut self) {
        if !self.files.process.is_copy() {
            return;
        }
        self.files.process.settle();
        // A thread that is not in this process may have been changing it.
        std::mem::forget(self.files.pool.take());
        self.files.workers.forget();
        self.files.results_left = false;
        for key in self.files.table.keys() {
            let is_read = self.files.table.get(key).expect("the key is one of the table's").is_read;
            let error = io::Error::new(io::ErrorKind::Interrupted, "the process has forked meanwhile");
            self.file_done(key, FileJob::<K::File>::failed(is_read, error));
        }
    }
}
