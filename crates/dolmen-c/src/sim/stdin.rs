//! Simulated standard input: on POSIX a descriptor that is polled, or a file; on Windows a console's handle, a pipe for
//! which a thread waits, or a file. State that a system does not report is not reported here either.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use dolmen::raw::{BorrowedSocket, PollId, ReactorApi, Readiness};
use dolmen::sim::{Found, Machine, Object, Rng, SimReactor, stream_bytes};
use dolmen::{Waker, WatchId};

use super::platform::{Posix, Windows};
use crate::boundary::Failure;
use crate::console::{Read, State, Stdin};
use crate::reactor::CONSOLE;
use crate::sockets::events;
use crate::types::console_type_t;

/// The kind of standard input. Each kind exists on both systems, except two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    None,
    Terminal,
    Pipe,
    /// POSIX: a socket. Windows: a pipe that cannot be peeked at.
    Other,
    File,
    Null,
}

impl Kind {
    pub(super) fn of_seed(rng: &mut Rng) -> Kind {
        match rng.below(12) {
            0 => Kind::None,
            1..4 => Kind::Terminal,
            4..7 => Kind::Pipe,
            7 => Kind::Other,
            8..11 => Kind::File,
            _ => Kind::Null,
        }
    }

    pub(super) fn console_type(self) -> console_type_t {
        match self {
            Kind::None => console_type_t::CONSOLE_TYPE_NONE,
            Kind::Terminal => console_type_t::CONSOLE_TYPE_REAL,
            Kind::Pipe | Kind::Other => console_type_t::CONSOLE_TYPE_PIPE,
            Kind::File | Kind::Null => console_type_t::CONSOLE_TYPE_FILE,
        }
    }

    /// What `async_runtime.h` has for it.
    pub(super) fn described_type(self, completion: bool) -> console_type_t {
        match self {
            Kind::Null => console_type_t::CONSOLE_TYPE_NONE,
            Kind::Other if !completion => console_type_t::CONSOLE_TYPE_NONE,
            kind => kind.console_type(),
        }
    }
}

/// The stream of standard input, among those of the links.
pub(super) const STDIN_STREAM: usize = 0x7F_FFFF;

pub(super) type SharedInput = Rc<RefCell<Input>>;

/// Both ends of standard input.
pub(super) struct Input {
    pub(super) kind: Kind,
    rng: Rng,
    /// Of a terminal, pipe or socket on POSIX: its number, and its link.
    descriptor: Option<(u32, usize)>,
    /// Of all others: the bytes written and not read.
    bytes: VecDeque<u8>,
    written: u64,
    /// Nothing more will be written.
    ended: bool,
    /// Records of a console that are not keys.
    other_records: bool,
    /// The handle of a console.
    handle: Option<usize>,
    /// Of a pipe: the thread that waits for it.
    thread: Thread,
    /// Chunks that a thread has read ahead; an empty one is the end.
    ahead: VecDeque<Vec<u8>>,
}

#[derive(Default)]
struct Thread {
    waker: Option<Waker>,
    /// It waits for bytes or the end.
    waiting: bool,
    /// It reads ahead.
    reading: bool,
}

/// How many chunks a thread reads ahead at most, and their size.
const AHEAD: usize = 2;
const AHEAD_BYTES: usize = 32;

impl Input {
    pub(super) fn new(machine: &Machine, kind: Kind, completion: bool, mut rng: Rng) -> SharedInput {
        let polled = !completion && matches!(kind, Kind::Terminal | Kind::Pipe | Kind::Other);
        let descriptor = polled.then(|| {
            let fd = machine.connect(64 + rng.below(100) as usize);
            let Some(Object::Link(link)) = machine.object(fd) else { unreachable!("it was just opened") };
            (fd, link)
        });
        let mut content = Vec::new();
        if kind == Kind::File {
            let most = if cfg!(miri) { 60 } else { 400 };
            content = stream_bytes(STDIN_STREAM, false, 0, rng.below(most) as usize);
        }
        Rc::new(RefCell::new(Input {
            kind,
            rng,
            descriptor,
            written: content.len() as u64,
            bytes: content.into(),
            ended: matches!(kind, Kind::File | Kind::Null),
            other_records: false,
            handle: None,
            thread: Thread::default(),
            ahead: VecDeque::new(),
        }))
    }

    /// How many descriptors are open for it.
    pub(super) fn descriptors(&self) -> usize {
        usize::from(self.descriptor.is_some())
    }

    /// How many bytes were ever written.
    pub(super) fn written(&self, machine: &Machine) -> u64 {
        self.descriptor.map_or(self.written, |(_, link)| machine.link(link).written)
    }

    /// How many bytes were ever read, also by a thread of the library.
    pub(super) fn read(&self, machine: &Machine) -> u64 {
        let waiting = self.bytes.len() as u64;
        self.descriptor.map_or(self.written - waiting, |(_, link)| machine.link(link).read)
    }

    pub(super) fn is_link(&self, link: usize) -> bool {
        self.descriptor.is_some_and(|(_, own)| own == link)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many bytes could be written.
    pub(super) fn room(&self, machine: &Machine) -> usize {
        match self.descriptor {
            _ if self.ended => 0,
            Some((_, link)) => machine.peer_room(link),
            None => 200_usize.saturating_sub(self.bytes.len()),
        }
    }

    pub(super) fn write(&mut self, machine: &Machine, bytes: &[u8]) {
        match self.descriptor {
            Some((_, link)) => machine.peer_write(link, bytes),
            None => {
                self.bytes.extend(bytes);
                self.written += bytes.len() as u64;
            }
        }
        self.act(machine);
    }

    /// The writer closes its end, or the terminal is hung up.
    pub(super) fn end(&mut self, machine: &Machine) {
        // A console of Windows ends with its process.
        if self.kind == Kind::Terminal && self.descriptor.is_none() {
            return;
        }
        self.ended = true;
        match (self.descriptor, self.kind) {
            (Some((_, link)), Kind::Other) => machine.peer_finish(link, false),
            // A poll finds the hang-up when all written bytes have been read.
            (Some((_, link)), _) => machine.peer_reset(link, true),
            (None, _) => {}
        }
        self.act(machine);
    }

    /// Something that is not a key happens at a console.
    pub(super) fn other_record(&mut self, machine: &Machine) {
        if self.kind == Kind::Terminal && self.descriptor.is_none() {
            self.other_records = true;
            self.act(machine);
        }
    }

    /// The caller reads.
    pub(super) fn take(&mut self, machine: &Machine, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.descriptor {
            Some((_, link)) => {
                machine.receive(link, most, &mut bytes);
            }
            None => {
                let count = most.min(self.bytes.len());
                bytes.extend(self.bytes.drain(..count));
            }
        }
        self.act(machine);
        bytes
    }

    pub(super) fn waiting(&self, machine: &Machine) -> usize {
        match self.descriptor {
            Some((_, link)) => match machine.peek(link) {
                Found::Bytes(count) => count,
                _ => 0,
            },
            None => self.bytes.len(),
        }
    }

    /// Updates the handle and the threads after a change.
    fn act(&mut self, machine: &Machine) {
        if let Some(handle) = self.handle {
            machine.signal(handle, self.other_records || !self.bytes.is_empty());
        }
        let something = !self.bytes.is_empty() || self.ended;
        if self.thread.waiting && something {
            self.thread.waiting = false;
            self.wake();
        }
        let before = self.ahead.len();
        while self.thread.reading && something && self.ahead.len() < AHEAD {
            let count = self.bytes.len().min(1 + self.rng.below(AHEAD_BYTES as u64) as usize);
            if count == 0 && !self.ended {
                break;
            }
            self.thread.reading = count > 0;
            let chunk = self.bytes.drain(..count).collect();
            self.ahead.push_back(chunk);
        }
        if self.ahead.len() > before {
            self.wake();
        }
    }

    fn wake(&self) {
        self.thread.waker.iter().for_each(Waker::wake);
    }

    /// The library has closed it: its threads end.
    fn release(&mut self) {
        self.thread = Thread::default();
        self.handle = None;
        self.ahead.clear();
    }
}

fn none() -> Failure {
    Failure::new("there is no standard input")
}

/// POSIX.
pub(super) struct PolledStdin {
    machine: Machine,
    input: SharedInput,
    poll: Option<PollId>,
}

impl PolledStdin {
    pub(super) fn open(
        machine: &Machine,
        input: &SharedInput,
        reactor: &mut SimReactor,
    ) -> Result<PolledStdin, Failure> {
        if input.borrow().kind == Kind::None {
            return Err(none());
        }
        let poll = match input.borrow().descriptor {
            Some((fd, _)) => {
                // SAFETY: it stays open while the machine exists.
                let socket = unsafe { BorrowedSocket::from_raw(fd as _) };
                Some(reactor.add_poll(socket, Readiness::READABLE, false, CONSOLE)?)
            }
            None => None,
        };
        Ok(PolledStdin { machine: machine.clone(), input: Rc::clone(input), poll })
    }
}

impl Stdin<Posix> for PolledStdin {
    fn kind(&self) -> console_type_t {
        self.input.borrow().kind.console_type()
    }

    fn is_due(&self) -> bool {
        self.poll.is_none()
    }

    fn check(&mut self, reported: Option<Readiness>) -> State {
        let ends = Readiness::HANGUP | Readiness::ERROR;
        let input = self.input.borrow();
        let waiting = input.waiting(&self.machine);
        match (input.kind, input.descriptor) {
            (Kind::Terminal, _) => match reported {
                Some(ready) if !(ready & ends).is_empty() => State::HungUp(events(ready)),
                _ => State::Input,
            },
            (Kind::Pipe, _) => match (waiting, reported) {
                (0, Some(ready)) if ready.contains(Readiness::HANGUP) => State::End,
                (0, _) => State::Nothing,
                _ => State::Input,
            },
            (_, Some((_, link))) => match self.machine.peek(link) {
                Found::Nothing => State::Nothing,
                Found::Bytes(_) => State::Input,
                Found::End | Found::Reset => State::End,
            },
            _ if waiting > 0 => State::Input,
            _ => State::End,
        }
    }

    fn read(&mut self, buffer: &mut Vec<u8>) -> Read {
        let mut input = self.input.borrow_mut();
        let most = 1 + input.rng.below(64) as usize;
        let found = match input.descriptor {
            Some((_, link)) => self.machine.receive(link, most, buffer),
            None => {
                buffer.extend(input.take(&self.machine, most));
                if buffer.is_empty() { Found::End } else { Found::Bytes(buffer.len()) }
            }
        };
        match found {
            Found::Nothing => Read::Nothing,
            Found::Bytes(_) => Read::Bytes,
            Found::End | Found::Reset => Read::End,
        }
    }

    fn arm(&mut self, _reactor: &mut SimReactor) -> Result<(), Failure> {
        Ok(())
    }

    fn stop(&mut self, reactor: &mut SimReactor) {
        self.poll.take().map(|poll| reactor.remove_poll(poll));
    }

    fn close(mut self, reactor: &mut SimReactor) {
        Stdin::<Posix>::stop(&mut self, reactor);
    }
}

/// Windows.
pub(super) struct WatchedStdin {
    machine: Machine,
    input: SharedInput,
    watch: Option<WatchId>,
    buffered: bool,
    waker: Waker,
}

impl WatchedStdin {
    pub(super) fn open(
        machine: &Machine,
        input: &SharedInput,
        reactor: &mut SimReactor,
        buffered: bool,
    ) -> Result<WatchedStdin, Failure> {
        let kind = input.borrow().kind;
        if kind == Kind::None {
            return Err(none());
        }
        let watch = if kind == Kind::Terminal {
            let (watch, handle) = reactor.watch(machine, CONSOLE)?;
            input.borrow_mut().handle = Some(handle);
            Some(watch)
        } else {
            None
        };
        let waker = reactor.waker();
        let buffered = buffered && kind != Kind::Terminal;
        if buffered {
            input.borrow_mut().thread = Thread { waker: Some(waker.clone()), waiting: false, reading: true };
        }
        input.borrow_mut().act(machine);
        Ok(WatchedStdin { machine: machine.clone(), input: Rc::clone(input), watch, buffered, waker })
    }
}

impl Stdin<Windows> for WatchedStdin {
    fn kind(&self) -> console_type_t {
        self.input.borrow().kind.console_type()
    }

    fn is_due(&self) -> bool {
        let input = self.input.borrow();
        match input.kind {
            Kind::Terminal => false,
            _ if self.buffered => !input.ahead.is_empty(),
            Kind::Pipe => !input.thread.waiting,
            _ => true,
        }
    }

    fn check(&mut self, _reported: Option<Readiness>) -> State {
        let mut input = self.input.borrow_mut();
        match input.kind {
            // Other records in front of the keys are discarded.
            Kind::Terminal => {
                input.other_records = false;
                input.act(&self.machine);
                if input.bytes.is_empty() { State::Nothing } else { State::Input }
            }
            Kind::Other => State::Input,
            _ if !input.bytes.is_empty() => State::Input,
            _ if input.ended => State::End,
            _ => State::Nothing,
        }
    }

    fn read(&mut self, buffer: &mut Vec<u8>) -> Read {
        let mut input = self.input.borrow_mut();
        let Some(chunk) = input.ahead.pop_front() else { return Read::Nothing };
        buffer.extend_from_slice(&chunk);
        input.act(&self.machine);
        if chunk.is_empty() { Read::End } else { Read::Bytes }
    }

    fn arm(&mut self, _reactor: &mut SimReactor) -> Result<(), Failure> {
        let mut input = self.input.borrow_mut();
        if input.kind == Kind::Pipe && !self.buffered {
            input.thread = Thread { waker: Some(self.waker.clone()), waiting: true, reading: false };
            // Input may have arrived since the last check.
            input.act(&self.machine);
        }
        Ok(())
    }

    fn stop(&mut self, reactor: &mut SimReactor) {
        self.watch.take().map(|watch| reactor.remove_watch(watch));
    }

    fn close(mut self, reactor: &mut SimReactor) {
        Stdin::<Windows>::stop(&mut self, reactor);
        self.input.borrow_mut().release();
    }
}
