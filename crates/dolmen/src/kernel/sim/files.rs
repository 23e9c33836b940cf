//! Files of the simulated world. A call may be short, and fail.

use std::cell::RefCell;
use std::io;
use std::rc::{Rc, Weak};

use super::rng::Rng;
use super::workers::SimJob;
use super::world::World;
use crate::kernel::files::{FileAccess, FileJob, Reopened};
use crate::marks::{Mark, mark};

/// A handle of a file. Its faults strike as often as the file's own numbers say.
#[derive(Clone)]
pub(crate) struct SimFile {
    state: Rc<RefCell<State>>,
    /// Closed with its last copy.
    handle: Rc<()>,
}

/// The number of a handle, which the system was given for a transmission.
#[derive(Clone)]
pub(super) struct Lent {
    state: Rc<RefCell<State>>,
    handle: Weak<()>,
}

struct State {
    bytes: Vec<u8>,
    rng: Rng,
    /// In percent: calls that take or bring only a part, and calls that fail.
    short: u8,
    failing: u8,
    /// In percent: reads that need no thread.
    cached: u8,
    /// In percent: attempts to open it once more that fail, and those after which it becomes shorter.
    unopened: u8,
    shrinks: u8,
    /// In percent: transmissions that are refused.
    refused: u8,
    /// In percent: reads of a transmission that fail.
    broken: u8,
    read_now: u64,
    /// It is read to be sent: a result is no event.
    is_sent: bool,
}

impl SimFile {
    /// A file with these bytes.
    pub(crate) fn new(bytes: Vec<u8>, seed: u64) -> SimFile {
        let rng = Rng::new(seed);
        let state = State {
            bytes,
            rng,
            short: 0,
            failing: 0,
            cached: 0,
            unopened: 0,
            shrinks: 0,
            refused: 0,
            broken: 0,
            read_now: 0,
            is_sent: false,
        };
        SimFile { state: Rc::new(RefCell::new(state)), handle: Rc::default() }
    }

    /// How often its faults strike, in percent.
    pub(crate) fn set_faults(&self, short: u8, failing: u8, cached: u8) {
        let mut state = self.state.borrow_mut();
        (state.short, state.failing, state.cached) = (short, failing, cached);
    }

    /// How often it cannot be opened once more, is shorter than it was then, and cannot be transmitted, in percent.
    pub(crate) fn set_transmits(&self, unopened: u8, shrinks: u8, refused: u8) {
        let mut state = self.state.borrow_mut();
        (state.unopened, state.shrinks, state.refused) = (unopened, shrinks, refused);
    }

    /// How often a read fails that the system makes for a transmission, in percent.
    pub(crate) fn set_broken(&self, broken: u8) {
        self.state.borrow_mut().broken = broken;
    }

    /// For a transmission, unless that is refused.
    pub(super) fn lend(&self) -> Option<Lent> {
        let mut state = self.state.borrow_mut();
        let refused = state.refused;
        (!state.rng.percent(refused))
            .then(|| Lent { state: Rc::clone(&self.state), handle: Rc::downgrade(&self.handle) })
    }

    /// Whether the handle is open, even when this copy is not any more.
    #[cfg(test)]
    pub(crate) fn is_open(&self) -> impl Fn() -> bool + use<> {
        let handle = Rc::downgrade(&self.handle);
        move || handle.upgrade().is_some()
    }

    /// Its results are no events.
    pub(crate) fn set_sent(&self) {
        self.state.borrow_mut().is_sent = true;
    }

    /// Some of what is there, and `None` for nothing.
    pub(super) fn read_directly(&self, offset: u64, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count.min(300)];
        let read = self.state.borrow_mut().read(offset, &mut bytes).ok()?;
        bytes.truncate(read);
        (read > 0).then_some(bytes)
    }

    /// How many reads needed no thread.
    pub(crate) fn reads_now(&self) -> u64 {
        self.state.borrow().read_now
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state.borrow().bytes.clone()
    }
}

impl Lent {
    /// Reads, for the system.
    pub(super) fn read(&self, offset: u64, count: usize) -> io::Result<Vec<u8>> {
        assert!(self.handle.upgrade().is_some(), "a file was closed while it was being transmitted");
        let mut state = self.state.borrow_mut();
        let broken = state.broken;
        if state.rng.percent(broken) {
            mark(Mark::FileFailed);
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; count];
        let read = state.read(offset, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

impl State {
    /// How many of so many bytes a call takes.
    fn part_of(&mut self, most: usize) -> io::Result<usize> {
        if self.rng.percent(self.failing) {
            mark(Mark::FileFailed);
            return Err(io::ErrorKind::InvalidData.into());
        }
        if most > 1 && self.rng.percent(self.short) {
            mark(Mark::FilePartial);
            return Ok(1 + self.rng.below(most as u64 - 1) as usize);
        }
        Ok(most)
    }

    fn read(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let from = self.bytes.len().min(offset as usize);
        let count = self.part_of(into.len().min(self.bytes.len() - from))?;
        into[..count].copy_from_slice(&self.bytes[from..from + count]);
        Ok(count)
    }
}

impl FileAccess for SimFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.state.borrow_mut().read(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        let count = state.part_of(bytes.len())?;
        let (from, to) = (offset as usize, offset as usize + count);
        if state.bytes.len() < to {
            state.bytes.resize(to, 0);
        }
        state.bytes[from..to].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn reopen(&self) -> Option<Reopened<SimFile>> {
        let mut state = self.state.borrow_mut();
        let (unopened, shrinks) = (state.unopened, state.shrinks);
        if state.rng.percent(unopened) {
            mark(Mark::ReopenRefused);
            return None;
        }
        let shrunk = if state.rng.percent(shrinks) { state.rng.below(50) } else { 0 };
        let len = state.bytes.len() as u64 + shrunk;
        Some(Reopened { file: SimFile { state: Rc::clone(&self.state), handle: Rc::default() }, len })
    }

    fn read_now(&self, offset: u64, into: &mut [u8]) -> Option<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        let cached = state.cached;
        if !state.rng.percent(cached) {
            return None;
        }
        state.read_now += 1;
        Some(state.read(offset, into))
    }
}

impl SimJob for FileJob<SimFile> {
    const LONGEST_NS: [u64; 2] = [1_000_000, 20_000_000];

    type Note = SimFile;

    fn rng(world: &mut World) -> &mut Rng {
        &mut world.files
    }

    fn is_refused(world: &World) -> bool {
        world.no_file_threads
    }

    fn begin(&self, _: &mut World) -> SimFile {
        let (FileJob::Read { file, .. } | FileJob::Write { file, .. }) = self;
        file.clone()
    }

    fn end(file: SimFile, world: &mut World, wanted: bool) {
        if wanted && !file.state.borrow().is_sent {
            world.file_done_ns.get_or_insert(world.now_ns);
        }
    }
}
