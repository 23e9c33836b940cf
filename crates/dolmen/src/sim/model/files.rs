//! Reads and writes of files: each is reported once, with its token, its own buffer and the right bytes, unless it was
//! cancelled.

use super::super::program::FileStep;
use super::*;
use crate::error::AddError;
use crate::kernel::files::FailedWrite;
use crate::kernel::sim::files::SimFile;
use crate::token::FileOpId;

/// The first token of an operation.
const FIRST: usize = 6_000;

/// How many bytes each file has at first.
const AT_FIRST: usize = 200;

/// Bytes of the files are those of streams that have no link.
const STREAMS: usize = 1 << 20;

pub(super) struct Files {
    /// Decides what handlers do, so that other seeds keep their decisions.
    rng: Rng,
    files: Vec<Known>,
    ops: Vec<Op>,
    /// How many files were sent.
    sent: usize,
}

struct Known {
    file: SimFile,
    /// Which bytes are there for certain: those of writes that have been reported.
    certain: Vec<bool>,
    /// Where the next write begins.
    end: usize,
}

struct Op {
    id: FileOpId,
    file: usize,
    offset: usize,
    /// Of the bytes of the file from there on, which were certain when a read was begun.
    certain: Vec<bool>,
    /// Of a write.
    count: Option<usize>,
    /// Where the caller's buffer is, and its capacity.
    buffer: (*const u8, usize),
    state: OpState,
    /// It was done in the call.
    immediate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpState {
    Pending,
    Reported,
    Cancelled,
    /// Cancelled after it was done.
    TakenBack,
}

fn content(file: usize, from: usize, count: usize) -> Vec<u8> {
    bytes(STREAMS + file, false, from as u64, count)
}

/// A file that is to be sent.
pub(super) struct QueuedFile {
    id: FileOpId,
    token: Token,
    /// How many bytes it has.
    count: u64,
    failing: bool,
    cancelled: bool,
}

impl Conn {
    /// Whether a file may have ended the connection.
    pub(super) fn may_fail_by_file(&self) -> bool {
        self.file_failed || self.files.iter().any(|file| file.failing)
    }
}

impl Files {
    pub(super) fn new(seed: u64) -> Files {
        let mut rng = Rng::new(seed ^ 0x0F11_E5EE_D0FF_11E5);
        let faults = [rng.below(40), rng.below(30), rng.below(80)].map(|rate| rate as u8);
        let files = (0..2).map(|at| {
            let file = SimFile::new(content(at, 0, AT_FIRST), rng.next());
            file.set_faults(faults[0], faults[1], faults[2]);
            Known { file, certain: vec![true; AT_FIRST], end: AT_FIRST }
        });
        let files = files.collect();
        Files { rng, files, ops: Vec::new(), sent: 0 }
    }

    fn count(&self, state: OpState) -> usize {
        self.ops.iter().filter(|op| op.state == state).count()
    }

    /// A read that needed no thread waits to be reported.
    pub(super) fn is_due(&self) -> bool {
        self.ops.iter().any(|op| op.immediate && op.state == OpState::Pending)
    }
}

impl Run<'_> {
    pub(super) fn file_step(&mut self, step: FileStep) -> Check {
        let token = Token(FIRST + self.files.ops.len());
        match step {
            FileStep::Read(who, from, count) => {
                let at = who as usize % self.files.files.len();
                let known = &self.files.files[at];
                let (file, offset) = (known.file.clone(), from.into());
                let certain = known.certain.get(offset..).unwrap_or_default().to_vec();
                let buffer = Vec::with_capacity(count.into());
                let kept = (buffer.as_ptr(), buffer.capacity());
                let before = file.reads_now();
                let begun = self.engine.read_file(file.clone(), offset as u64, buffer, token);
                let immediate = file.reads_now() != before;
                self.file_begun(begun, at, offset, certain, None, kept, immediate)
            }
            FileStep::Write(who, count) => {
                let at = who as usize % self.files.files.len();
                let known = &mut self.files.files[at];
                let (file, offset, count) = (known.file.clone(), known.end, usize::from(count));
                known.end += count;
                let buffer = content(at, offset, count);
                let kept = (buffer.as_ptr(), buffer.capacity());
                let begun = self.engine.write_file(file, offset as u64, buffer, token);
                self.file_begun(begun, at, offset, Vec::new(), Some(count), kept, false)
            }
            FileStep::Send(who, count) => self.send_file(who, count.into()),
            FileStep::Cancel(who) => self.cancel_file_op(who),
            FileStep::NoThreads(none) => {
                self.world.borrow_mut().no_file_threads = none;
                Ok(())
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // What is known of an operation.
    fn file_begun(
        &mut self,
        begun: Result<FileOpId, AddError<Vec<u8>>>,
        file: usize,
        offset: usize,
        certain: Vec<bool>,
        count: Option<usize>,
        buffer: (*const u8, usize),
        immediate: bool,
    ) -> Check {
        let held = self.engine.stats().file_operations;
        let known = self.files.count(OpState::Pending) + self.files.count(OpState::TakenBack);
        match begun {
            Ok(id) => {
                let state = OpState::Pending;
                self.files.ops.push(Op { id, file, offset, certain, count, buffer, state, immediate });
                self.check(Oracle::Bounds, held <= self.config.most_file_ops && held <= known + 1, || {
                    format!("{held} operations on files are held")
                })
            }
            Err(AddError { error, source }) => {
                let right = match error.kind() {
                    ErrorKind::FilesFull => held == self.config.most_file_ops && held <= known,
                    ErrorKind::Exhausted => self.world.borrow().no_file_threads && !immediate,
                    _ => false,
                };
                let same = (source.as_ptr(), source.capacity()) == buffer;
                self.check(Oracle::Bounds, right && same, || {
                    format!("an operation on a file was refused: {error}")
                })
            }
        }
    }

    fn cancel_file_op(&mut self, who: u32) -> Check {
        if who % 5 == 0 {
            return self.cancel_sent_file(who / 5);
        }
        let count = self.files.ops.len();
        // The latest ones.
        let recent = count.min(6);
        if recent == 0 {
            return Ok(());
        }
        let at = count - 1 - who as usize % recent;
        let known = self.engine.cancel_file(self.files.ops[at].id);
        let op = &mut self.files.ops[at];
        let before = op.state;
        if before == OpState::Pending {
            op.state = if known { OpState::Cancelled } else { OpState::TakenBack };
        }
        let plausible = !known || (before == OpState::Pending && !op.immediate);
        self.check(Oracle::Stale, plausible, || {
            format!("an operation on a file was cancelled that was {before:?}")
        })
    }

    /// Only its event is cancelled.
    fn cancel_sent_file(&mut self, who: u32) -> Check {
        let Some(at) = self.open_conn(who) else { return Ok(()) };
        let Some(file) = self.conns[at].files.back_mut() else { return Ok(()) };
        let again = std::mem::replace(&mut file.cancelled, true);
        let known = self.engine.cancel_file(file.id);
        // It may have been sent, or have ended with its connection, in an event that is still to come.
        self.check(Oracle::Stale, !(known && again), || "a file was cancelled twice".into())
    }

    fn file_reported(
        &mut self,
        id: FileOpId,
        token: Token,
        buffer: &[u8],
        capacity: usize,
    ) -> Result<Option<usize>, Failure> {
        let at = token.0.checked_sub(FIRST).filter(|&at| at < self.files.ops.len());
        let Some(at) = at.filter(|&at| self.files.ops[at].id == id) else {
            self.fail(Oracle::Stale, || format!("{id:?} is reported with {token:?}"))?;
            return Ok(None);
        };
        let op = &mut self.files.ops[at];
        let before = std::mem::replace(&mut op.state, OpState::Reported);
        let same = op.buffer == (buffer.as_ptr(), capacity);
        self.check(Oracle::Stale, before == OpState::Pending, || {
            format!("{id:?} is reported, and was {before:?}")
        })?;
        self.check(Oracle::Stream, same, || format!("{id:?} returns another buffer"))?;
        Ok(Some(at))
    }

    pub(super) fn file_read(
        &mut self,
        id: FileOpId,
        token: Token,
        error: Option<&std::io::Error>,
        buffer: &Vec<u8>,
    ) -> Check {
        let Some(at) = self.file_reported(id, token, buffer, buffer.capacity())? else { return Ok(()) };
        let op = &self.files.ops[at];
        let expected = content(op.file, op.offset, buffer.len());
        let is_certain = |at: usize| op.certain.get(at) == Some(&true);
        // What a write in progress has not reached yet may be a hole.
        let right =
            (0..buffer.len()).all(|at| buffer[at] == expected[at] || (buffer[at] == 0 && !is_certain(at)));
        let ended = buffer.is_empty() && error.is_none() && op.certain.first() == Some(&true);
        let failed = error.is_some() && !buffer.is_empty();
        self.check(Oracle::Stream, right && !ended && !failed && op.count.is_none(), || {
            format!("{id:?} has read {buffer:?} instead of {expected:?}, {error:?}")
        })?;
        self.after_file_event()
    }

    pub(super) fn file_written(
        &mut self,
        id: FileOpId,
        token: Token,
        failed: Option<&FailedWrite>,
        buffer: &Vec<u8>,
    ) -> Check {
        let Some(at) = self.file_reported(id, token, buffer, buffer.capacity())? else { return Ok(()) };
        let op = &self.files.ops[at];
        let count = op.count.unwrap_or(usize::MAX);
        let written = failed.map_or(count, |failed| failed.written);
        let known = &mut self.files.files[op.file];
        let there = known.file.bytes();
        let expected = content(op.file, op.offset, written.min(count));
        let right = there.get(op.offset..).unwrap_or_default().starts_with(&expected)
            && buffer.len() == count
            && (failed.is_none() || written < count);
        if right {
            known.certain.resize(known.certain.len().max(op.offset + written), false);
            known.certain[op.offset..op.offset + written].fill(true);
        }
        self.check(Oracle::Stream, right, || {
            format!("{id:?} has written {written} of {count} bytes, which are not there")
        })?;
        self.after_file_event()
    }

    /// The bytes are those that the stream has at this place.
    fn send_file(&mut self, who: u32, count: usize) -> Check {
        let Some(at) = self.open_conn(who) else { return Ok(()) };
        let (conn, rng) = (&self.conns[at], &mut self.files.rng);
        let (skipped, kind) = (rng.below(20).min(conn.accepted), rng.below(10));
        // Some are many pieces long.
        let count = if kind > 5 { 5 * count } else { count };
        let there = bytes(conn.link, true, conn.accepted - skipped, count + skipped as usize);
        let there =
            if conn.accepted < skipped { bytes(conn.link, true, conn.accepted, count) } else { there };
        let file = SimFile::new(there, rng.next());
        let (failing, broken) = (kind == 0, kind == 9);
        file.set_sent();
        file.set_faults(30, if failing { 30 } else { 0 }, rng.below(100) as u8);
        file.set_transmits(10, 30, 10);
        file.set_broken(if broken { 20 } else { 0 });
        let failing = failing || broken;
        // Up to the end of the file, or to where the range ends before it.
        let (count, end) = match kind {
            1..4 => (count as u64, u64::MAX),
            4..6 => (count as u64 / 2, skipped + count as u64 / 2),
            _ => (count as u64, skipped + count as u64),
        };
        let token = Token(FIRST / 2 + self.files.sent);
        let queued = self.engine.queued_bytes(conn.id).unwrap_or(0);
        match self.engine.send_file(conn.id, file, skipped..end, token) {
            Ok(id) => {
                self.files.sent += 1;
                let conn = &mut self.conns[at];
                conn.files.push_back(QueuedFile { id, token, count, failing, cancelled: false });
                conn.accepted += count;
                let late = conn.releasing || conn.shut;
                let now = self.engine.queued_bytes(self.conns[at].id).ok();
                self.check(Oracle::Stream, !late, || "a file was taken after the end".into())?;
                self.check(Oracle::Bounds, now == Some(queued), || {
                    format!("a file counts as queued: {queued} were, and {now:?} are")
                })
            }
            // Shut by us, or closing.
            Err(_) => Ok(()),
        }
    }

    pub(super) fn file_sent(
        &mut self,
        id: FileOpId,
        conn: ConnId,
        token: Token,
        sent: u64,
        failed: bool,
    ) -> Check {
        let Some(&at) = self.by_id.get(&conn) else {
            return self.fail(Oracle::Stale, || format!("a file was sent on {conn:?}, which never was"));
        };
        let known = &mut self.conns[at];
        // It may be in the same batch as the event whose handler closed the connection.
        let open = !matches!(known.state, State::Gone | State::Removed);
        // Cancelled ones are not reported.
        while known.files.front().is_some_and(|file| file.cancelled) {
            known.files.pop_front();
        }
        let file = known.files.pop_front();
        known.file_failed |= failed;
        let taken = self.world.borrow().links[known.link].outbound.total;
        self.check(Oracle::Order, open, || format!("{id:?} is reported on {conn:?}, which is gone"))?;
        let Some(file) = file.filter(|file| file.id == id && file.token == token) else {
            return self.fail(Oracle::Order, || format!("{id:?} is reported out of turn"));
        };
        let right = if failed { file.failing && sent <= file.count } else { sent == file.count };
        self.check(Oracle::Stream, right && taken >= sent, || {
            format!("{id:?} has sent {sent} of {} bytes, failed: {failed}", file.count)
        })
    }

    fn after_file_event(&mut self) -> Check {
        let (who, count) = (self.files.rng.below(1 << 20) as u32, self.files.rng.below(100) as u16);
        match self.files.rng.below(8) {
            _ if self.calm => Ok(()),
            0 | 1 => self.cancel_file_op(who),
            2 => self.file_step(FileStep::Read(who, count, 50)),
            3 => self.file_step(FileStep::Write(who, 1 + count)),
            _ => Ok(()),
        }
    }

    /// Results end the wait immediately, and one without events has left none behind.
    pub(super) fn check_files(&self, count: usize) -> Check {
        let done_ns = self.world.borrow_mut().file_done_ns.take();
        self.check(Oracle::Posts, count > 0 || !self.files.is_due(), || {
            "a wait without events left a read behind".into()
        })?;
        let Some(done_ns) = done_ns else { return Ok(()) };
        let now_ns = self.now_ns();
        self.check(Oracle::Posts, count > 0 && now_ns <= done_ns + 1_000_000, || {
            format!("a file was read or written at {done_ns}; the wait ended at {now_ns} with {count} events")
        })
    }

    pub(super) fn check_files_reported(&self) -> Check {
        let left = self.files.count(OpState::Pending);
        self.check(Oracle::Liveness, left == 0, || format!("{left} operations on files were never reported"))
    }
}
