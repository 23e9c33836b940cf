//! The reader of lines over a simulated console: an operator who types, a reactor that prints, and a clock.
//!
//! The reader's thread is the only thread here. Where it would block (in a read, in a write to a console that is held,
//! while it waits for a command) it takes turns of the world instead: the next step of the program happens.

mod host;
mod oracle;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::program::{Action, editing_key, key, popup_key};
use super::{BACKSPACE, CR, CTRL_S, Console, Edition, End, Ended, Key, LF, vk};
use crate::console::line_reader::{
    Command, Commands, Host, LineReader, Press, PressedKey, Step, WAKE, read_ends,
};
use crate::console::{ConsoleMode, Inbox, Input, Notice};
use crate::kernel::mailbox::{Mailbox, NullSignal};
use crate::marks::marks;
use crate::sim::{Failure, Oracle, Report, Rng, catch, shrink_program};
use oracle::{Expected, decoded};

marks! {
    /// A rare branch of the console host's programs.
    Mark {
        /// A command waited while a popup was open.
        PopupInTheWay,
        /// A command waited while the line was full.
        FullLineInTheWay,
        /// A key that ends a read has released a held console.
        HoldReleased,
        /// The reader's write waited for the operator.
        WriteHeld,
        /// A key of ours has answered a popup's question.
        Answered,
        /// The keys that end a read were pressed again.
        PressedAgain,
        /// They came with the cursor in the line.
        CursorInLine,
        /// They ended a later read than the one they were meant for.
        Late,
        /// A read was ended by Ctrl-C before its command came.
        InterruptedRead,
        /// Ctrl-C came while no read was pending, or with a popup.
        InterruptWithoutRead,
        /// A popup has ended a read, with the line lost.
        Emptied,
        /// Another process took the keys.
        Shared,
        /// A line came in more than one piece.
        Pieces,
        /// The line in progress became raw input.
        LineBecameBytes,
    }
}

/// The oracles of these programs.
pub const ORACLES: &[Oracle] = &[Oracle::Ownership, Oracle::Stream, Oracle::Order, Oracle::Liveness];

/// How long a print may take once nothing is in its way: the longest pause between two presses, and some.
const PRINT_TIMEOUT: Duration = Duration::from_millis(1300);

/// Runs the actions on the console of `seed`. Only the listed oracles apply.
///
/// # Errors
///
/// The finding of the first oracle that detects one.
pub fn run(seed: u64, actions: &[Action], oracles: &[Oracle]) -> Result<Report, Failure> {
    catch(oracles, || World::new(seed, actions).run(actions, oracles))
}

impl World {
    fn run(self: Rc<World>, actions: &[Action], oracles: &[Oracle]) -> Result<Report, Failure> {
        let world = self;
        let mut reader = LineReader::new(Rc::clone(&world), &world.commands, &world.inbox, ConsoleMode::Line);
        while world.found(oracles).is_none() {
            match reader.step() {
                Step::Read => reader.read(),
                Step::Wait => world.turn(),
                Step::End => break,
            }
        }
        if world.found(oracles).is_none() {
            world.check_end();
        }
        match world.found(oracles) {
            Some(failure) => Err(failure),
            None => Ok(Report { actions: actions.len(), events: world.state.borrow().events }),
        }
    }
}

/// A shorter program that fails by the same oracle.
pub fn shrink(seed: u64, actions: Vec<Action>, oracles: &[Oracle], failure: &Failure) -> Vec<Action> {
    shrink_program(actions, |candidate| {
        run(seed, candidate, oracles).is_err_and(|found| found.oracle == failure.oracle)
    })
}

/// How often this thread has hit each mark.
pub fn marks() -> Vec<(Mark, u64)> {
    counts::hits()
}

struct World {
    console: RefCell<Console>,
    commands: Arc<Commands>,
    inbox: Arc<Inbox>,
    start: Instant,
    state: RefCell<State>,
}

struct State {
    actions: VecDeque<Action>,
    /// Steps since the end of the program.
    settling: u32,
    rng: Rng,
    now: Duration,
    /// The last moment at which something stood in the way of prints.
    obstacle_at: Duration,
    /// Texts that are not on the screen yet, and when they were printed.
    prints: VecDeque<(u32, Duration)>,
    printed: u32,
    answers: VecDeque<(u32, Duration)>,
    answered: u32,
    typed: u32,
    echo: bool,
    mode: ConsoleMode,
    requests: u64,
    /// The reactor reads the keys.
    raw: bool,
    lines: Expected,
    events: u64,
    failures: Vec<Failure>,
}

impl World {
    /// A seed determines the console, and everything that happens between two steps.
    fn new(seed: u64, actions: &[Action]) -> Rc<World> {
        let mut rng = Rng::new(seed);
        let edition = match seed % 6 {
            0..=2 => Edition::Old,
            3 => Edition::Rewritten,
            4 => Edition::Cutting,
            _ => Edition::Inline,
        };
        let capacity = rng.percent(50).then(|| 24 + rng.below(40) as usize);
        let console = Console::new(edition, rng.percent(70), capacity);
        World::with(console, rng, actions)
    }

    fn with(console: Console, rng: Rng, actions: &[Action]) -> Rc<World> {
        let console = RefCell::new(console);
        let inbox = Inbox::new(Mailbox::new(Box::new(NullSignal), 1));
        let lines =
            Expected { beginnings: vec![Vec::new()], bytes: vec![String::new()], ..Expected::default() };
        let state = State {
            actions: actions.iter().copied().collect(),
            settling: 0,
            rng,
            now: Duration::ZERO,
            obstacle_at: Duration::ZERO,
            prints: VecDeque::new(),
            printed: 0,
            answers: VecDeque::new(),
            answered: 0,
            typed: 0,
            echo: true,
            mode: ConsoleMode::Line,
            requests: 0,
            raw: false,
            lines,
            events: 0,
            failures: Vec::new(),
        };
        let (commands, start, state) = (Commands::new(), Instant::now(), RefCell::new(state));
        Rc::new(World { console, commands, inbox, start, state })
    }

    fn found(&self, oracles: &[Oracle]) -> Option<Failure> {
        self.state.borrow().failures.iter().find(|failure| oracles.contains(&failure.oracle)).cloned()
    }

    fn fail(&self, oracle: Oracle, mut message: String) {
        // Lines may be long.
        if let Some((end, _)) = message.char_indices().nth(2_000) {
            message.truncate(end);
        }
        self.state.borrow_mut().failures.push(Failure { oracle, message });
    }

    fn has_failed(&self) -> bool {
        !self.state.borrow().failures.is_empty()
    }

    /// The next step of the program, and the thread that presses keys may have its turn.
    fn turn(&self) {
        let next = self.state.borrow_mut().actions.pop_front();
        match next {
            Some(action) => self.act(action),
            None => self.settle(),
        }
        let prompt = self.state.borrow_mut().rng.percent(70);
        if prompt {
            self.press_if_due();
        }
        self.check_witness();
    }

    /// A thread may be interrupted by others anywhere.
    fn be_interrupted(&self) {
        while self.state.borrow_mut().rng.percent(15) && !self.state.borrow().actions.is_empty() {
            self.turn();
        }
    }

    fn act(&self, action: Action) {
        match action {
            Action::Type(count) => {
                let keys: Vec<Key> = (0..count).flat_map(|_| self.character()).collect();
                // One by one, or as fast as a paste.
                match self.state.borrow_mut().rng.percent(50) {
                    true => keys.into_iter().for_each(|key| self.console.borrow_mut().insert(&[key])),
                    false => self.console.borrow_mut().insert(&keys),
                }
            }
            Action::Edit(which) => self.press(editing_key(which)),
            Action::Enter => self.press(Key { unit: CR, ..key(vk::RETURN) }),
            Action::Paste(count) => {
                let mut keys: Vec<Key> = (0..count).flat_map(|_| self.character()).collect();
                keys.push(Key { unit: CR, ..key(vk::RETURN) });
                self.console.borrow_mut().insert(&keys);
            }
            Action::CtrlC => self.interrupt(false),
            Action::CtrlBreak => self.interrupt(true),
            Action::Hold(true) => self.press(Key { unit: CTRL_S, ctrl: true, ..key(0x53) }),
            Action::Hold(false) => self.press(key(vk::PAUSE)),
            Action::Popup(which) => self.press(key([vk::F2, vk::F4, vk::F7, vk::F9][usize::from(which) % 4])),
            Action::PopupKey(which) => self.press(popup_key(which)),
            Action::Print => {
                let mut state = self.state.borrow_mut();
                let number = state.printed;
                if self.commands.push(Command::Print(format!("@{number}"))).is_ok() {
                    state.printed += 1;
                    let now = state.now;
                    state.prints.push_back((number, now));
                }
            }
            Action::Answer => {
                let mut state = self.state.borrow_mut();
                let number = state.answered;
                self.command(Command::Answer(format!("!{number}")));
                state.answered += 1;
                let now = state.now;
                state.answers.push_back((number, now));
            }
            Action::Prompt => self.command(Command::Prompt("> ".to_owned())),
            Action::Echo(echo) => self.command(Command::Echo(echo)),
            Action::Raw(raw) => self.change_mode(if raw { ConsoleMode::Raw } else { ConsoleMode::Line }),
            Action::Collect(count) => (0..count).for_each(|_| self.collect()),
            Action::CollectSignals => self.collect_signals(),
            Action::Pass(milliseconds) => self.pass(Duration::from_millis(milliseconds.into())),
            Action::Share(on) => self.console.borrow_mut().share(on),
        }
    }

    /// A character, of one unit or of two. Most differ from those before; spaces make words, and `#` is the code of End, by
    /// which a popup of the old edition knows that key.
    fn character(&self) -> Vec<Key> {
        let mut state = self.state.borrow_mut();
        state.typed += 1;
        let c = match state.rng.below(8) {
            0 => ' ',
            1 if state.typed % 16 == 0 => '#',
            1 => char::from_u32(0x2_0000 + state.typed % 0x8000).unwrap_or('x'),
            2 => char::from_u32(0x61 + state.typed % 26).unwrap_or('x'),
            _ => char::from_u32(0x4E00 + state.typed % 0x5000).unwrap_or('x'),
        };
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|&unit| Key { unit, ..key(0) }).collect()
    }

    fn press(&self, key: Key) {
        self.console.borrow_mut().insert(&[key]);
    }

    fn command(&self, command: Command) {
        let _ = self.commands.push(command);
    }

    /// The event goes to a handler, and from there to the reactor; the reads end by themselves.
    fn interrupt(&self, is_break: bool) {
        let was_line = self.console.borrow().line_mode;
        if !was_line && !is_break {
            return;
        }
        let ended = self.console.borrow_mut().interrupt(is_break);
        let lines = &mut self.state.borrow_mut().lines;
        lines.uncollected += 1;
        mark(if ended { Mark::InterruptedRead } else { Mark::InterruptWithoutRead });
        if !ended || lines.may_discard > 0 {
            lines.may_discard = u32::MAX;
        }
    }

    /// As the driver does.
    fn collect_signals(&self) {
        let mut state = self.state.borrow_mut();
        let count = std::mem::take(&mut state.lines.uncollected);
        if count > 0 && state.lines.may_discard > 0 {
            state.lines.may_discard = 2;
        }
        (0..count).for_each(|_| self.command(Command::Interrupted));
    }

    fn change_mode(&self, mode: ConsoleMode) {
        if self.state.borrow().mode == mode {
            return;
        }
        self.read_raw();
        let mut state = self.state.borrow_mut();
        (state.mode, state.raw) = (mode, false);
        state.requests += 1;
        self.command(Command::Mode(mode, state.requests));
    }

    /// The reactor reads the keys.
    fn read_raw(&self) {
        let mut state = self.state.borrow_mut();
        if !state.raw || !self.inbox.has_room() {
            return;
        }
        let units: Vec<u16> =
            self.console.borrow_mut().input.drain(..).filter(|key| !key.ours).map(|key| key.unit).collect();
        let text = String::from_utf16_lossy(&units).replace('\0', "");
        if !text.is_empty() {
            state.lines.bytes.iter_mut().for_each(|bytes| bytes.push_str(&text));
            self.inbox.push(Input::Bytes(text));
        }
    }

    /// Takes one piece out of the inbox, and checks it.
    fn collect(&self) {
        self.read_raw();
        let Some(input) = self.inbox.pop() else { return };
        let mut state = self.state.borrow_mut();
        state.events += 1;
        let requests = state.requests;
        let lines = &mut state.lines;
        let wrong = match input {
            Input::Notice(Notice::RawMode(request)) => {
                state.raw = request == requests;
                return;
            }
            Input::Line(text) => {
                let possible = lines.finished.pop_front().unwrap_or_default();
                let is_one = possible.iter().any(|line| decoded(line) == text);
                (!is_one).then(|| {
                    format!(
                        "the line {text:?}; expected {:?}",
                        possible.iter().map(|line| decoded(line)).collect::<Vec<_>>()
                    )
                })
            }
            Input::Bytes(text) => {
                let before = lines.bytes.clone();
                lines.bytes.retain_mut(|bytes| match bytes.strip_prefix(&text) {
                    Some(rest) => {
                        *bytes = rest.to_owned();
                        true
                    }
                    None => false,
                });
                lines.bytes.is_empty().then(|| format!("the raw text {text:?}; expected {before:?}"))
            }
            Input::Drained | Input::Resized { .. } => None,
            other => Some(format!("{other:?}")),
        };
        drop(state);
        if let Some(message) = wrong {
            self.fail(Oracle::Stream, message);
        }
    }

    fn pass(&self, time: Duration) {
        let step = Duration::from_millis(250);
        let mut left = time;
        while left > Duration::ZERO {
            self.note_obstacle();
            let now = left.min(step);
            left -= now;
            self.state.borrow_mut().now += now;
            self.press_if_due();
            self.note_obstacle();
            self.check_prints();
        }
    }

    /// The thread that presses the keys has its turn.
    fn press_if_due(&self) {
        let now = self.start + self.state.borrow().now;
        if self.commands.press(now) != Press::Now {
            return;
        }
        let mut console = self.console.borrow_mut();
        if console.held {
            mark(Mark::HoldReleased);
        }
        if !console.is_reading() {
            mark(Mark::Late);
        }
        let ours = |pressed: &PressedKey| Key {
            unit: pressed.unit,
            ctrl: pressed.ctrl,
            ours: true,
            ..key(pressed.key)
        };
        let keys: Vec<Key> = read_ends().iter().map(ours).collect();
        console.insert(&keys);
        if console.is_reading() {
            mark(Mark::PressedAgain);
        }
    }

    /// After the program the operator leaves the console as a reader needs it, and the reactor ends.
    fn settle(&self) {
        let steps = {
            let mut state = self.state.borrow_mut();
            state.settling += 1;
            state.settling
        };
        match steps {
            1 => self.console.borrow_mut().share(false),
            2 => {
                self.collect_signals();
                self.command(Command::Quit);
            }
            3..40 => {
                self.attend();
                (0..8).for_each(|_| self.collect());
                self.pass(Duration::from_secs(1));
            }
            40.. => self.fail(Oracle::Liveness, "the reader does not end".to_owned()),
            _ => {}
        }
    }

    /// The operator releases a hold with a key that does nothing else, closes popups, and makes room in a full line.
    fn attend(&self) {
        if self.console.borrow().held {
            self.press(key(0x70));
        }
        if self.console.borrow().has_popup() {
            self.press(key(vk::ESCAPE));
        }
        if self.console.borrow().is_full() {
            self.press(key(vk::END));
            (0..6).for_each(|_| self.press(Key { unit: BACKSPACE, ..key(vk::BACK) }));
        }
    }
}
