//! A fake operator: a console's driver and a source of signals that follow a script.
//!
//! The driver simulates both kinds. In line mode a thread reads: here it does whenever there is room. In raw mode a
//! handle is watched, and typed input is read when the engine calls `ready`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::console::{ConsoleKind, ConsoleMode, Driver, Inbox, Input, Notice, SignalSource};
use crate::kernel::sim::world::{SharedWorld, SimHandle};

pub(super) type SharedConsole = Rc<RefCell<FakeConsole>>;

/// The typed input, and how far it has come.
pub(super) struct FakeConsole {
    world: SharedWorld,
    /// Not read yet.
    pub(super) typed: VecDeque<Input>,
    /// In the inbox, or between the inbox and the caller.
    pub(super) read: VecDeque<Input>,
    pub(super) watching: bool,
    /// The output is not being read.
    pub(super) behind: bool,
    /// The inbox may have been filled by another source since the watch was armed, or before it first was.
    fresh: bool,
    /// How often the engine called `ready` with a full inbox for no such reason.
    pub(super) needless: u32,
    inbox: Option<Arc<Inbox>>,
    handle: Option<usize>,
    signals: Option<Arc<Inbox>>,
}

impl FakeConsole {
    pub(super) fn new(world: &SharedWorld) -> SharedConsole {
        Rc::new(RefCell::new(FakeConsole {
            world: Rc::clone(world),
            typed: VecDeque::new(),
            read: VecDeque::new(),
            watching: false,
            behind: false,
            fresh: false,
            needless: 0,
            inbox: None,
            handle: None,
            signals: None,
        }))
    }

    pub(super) fn type_in(&mut self, input: Input) {
        self.typed.push_back(input);
        self.set_ready();
    }

    /// A reading thread has its turn.
    pub(super) fn thread(&mut self) {
        if !self.watching {
            self.read();
        }
    }

    pub(super) fn set_behind(&mut self, behind: bool) {
        self.behind = behind;
        if let (false, Some(inbox)) = (behind, &self.inbox) {
            inbox.wake();
        }
    }

    /// A request to the process. Returns false if it is not caught.
    pub(super) fn raise(&self, input: Input) -> bool {
        self.signals.as_ref().is_some_and(|inbox| {
            inbox.push(input);
            true
        })
    }

    fn read(&mut self) {
        let Some(inbox) = &self.inbox else { return };
        while inbox.has_room() {
            let Some(input) = self.typed.pop_front() else { return };
            self.read.push_back(input.clone());
            inbox.push(input);
        }
    }

    fn set_ready(&self) {
        if let Some(handle) = self.handle {
            self.world.borrow_mut().signalled[handle] = !self.typed.is_empty();
        }
    }
}

pub(super) struct Scripted(SharedConsole);

impl Scripted {
    pub(super) fn open(console: &SharedConsole, inbox: &Arc<Inbox>, watching: bool) -> Scripted {
        {
            let mut console = console.borrow_mut();
            (console.inbox, console.watching) = (Some(Arc::clone(inbox)), watching);
        }
        Scripted(Rc::clone(console))
    }
}

impl Driver<SimHandle> for Scripted {
    fn kind(&self) -> ConsoleKind {
        ConsoleKind::Terminal
    }

    fn watching(&self) -> bool {
        self.0.borrow().watching
    }

    fn handle(&self) -> io::Result<SimHandle> {
        let mut console = self.0.borrow_mut();
        let (handle, number) = SimHandle::open(&console.world);
        (console.handle, console.fresh) = (Some(number), true);
        console.set_ready();
        Ok(handle)
    }

    fn ready(&mut self) {
        let mut console = self.0.borrow_mut();
        let full = console.inbox.as_ref().is_some_and(|inbox| !inbox.has_room());
        console.needless += u32::from(full && !std::mem::take(&mut console.fresh));
        console.read();
        console.set_ready();
    }

    fn set_mode(&mut self, mode: ConsoleMode) -> io::Result<()> {
        self.0.borrow_mut().watching = mode == ConsoleMode::Raw;
        Ok(())
    }

    fn set_echo(&mut self, _echo: bool) -> io::Result<()> {
        Ok(())
    }

    fn set_prompt(&mut self, _prompt: &str) -> io::Result<()> {
        Ok(())
    }

    fn print(&mut self, _text: &str) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut console = self.0.borrow_mut();
        console.read.push_back(Input::Drained);
        console.fresh = true;
        console.inbox.as_ref().expect("it is open").push(Input::Drained);
        Ok(())
    }

    fn is_behind(&self) -> bool {
        self.0.borrow().behind
    }

    fn room(&mut self) {
        self.0.borrow_mut().thread();
    }

    fn notice(&mut self, _notice: Notice) {}

    fn size(&self) -> Option<(u16, u16)> {
        None
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        let mut console = self.0.borrow_mut();
        (console.inbox, console.handle) = (None, None);
    }
}

pub(super) struct FakeSignals(SharedConsole);

impl FakeSignals {
    pub(super) fn open(console: &SharedConsole, inbox: &Arc<Inbox>) -> FakeSignals {
        console.borrow_mut().signals = Some(Arc::clone(inbox));
        FakeSignals(Rc::clone(console))
    }
}

impl SignalSource<SimHandle> for FakeSignals {
    fn handle(&self) -> io::Result<Option<SimHandle>> {
        Ok(None)
    }

    fn ready(&mut self) {}
}

impl Drop for FakeSignals {
    fn drop(&mut self) {
        self.0.borrow_mut().signals = None;
    }
}
