//! The reader of lines over a simulated console: an operator who types, a reactor that prints, and a clock.
//!
//! The reader's thread is the only thread here. Where it would block (in a read, in a write to a console that is held,
//! while it waits for a command) it takes turns of the world instead: the next step of the program happens.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Console, Edition, End, Ended, Key, vk};
use crate::console::line_reader::{
    Command, Commands, Host, LineReader, Press, PressedKey, Step, WAKE, read_ends,
};
use crate::console::{ConsoleMode, Inbox, Input, Notice};
use crate::kernel::mailbox::{Mailbox, NullSignal};
use crate::marks::marks;
use crate::sim::{Failure, Oracle, Report, Rng, catch, shrink_program};

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

/// A step of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    /// The operator types so many characters.
    Type(u8),
    /// Presses keys that edit: which.
    Edit(u8),
    Enter,
    /// Many characters in one piece, and Enter.
    Paste(u16),
    CtrlC,
    CtrlBreak,
    /// Ctrl-S, or Pause.
    Hold(bool),
    /// Opens a popup (F2, F4, F7, F9).
    Popup(u8),
    /// A key for a popup.
    PopupKey(u8),
    Print,
    /// Printed before what waits.
    Answer,
    Prompt,
    Echo(bool),
    Raw(bool),
    /// The reactor takes input out.
    Collect(u8),
    /// The reactor takes signals out.
    CollectSignals,
    /// Milliseconds pass.
    Pass(u16),
    /// Another process reads the same console.
    Share(bool),
}

/// The oracles of these programs.
pub const ORACLES: &[Oracle] = &[Oracle::Ownership, Oracle::Stream, Oracle::Order, Oracle::Liveness];

/// How long a print may take once nothing is in its way: the longest pause between two presses, and some.
const PRINT_TIMEOUT: Duration = Duration::from_millis(1300);

/// The program of a seed.
pub fn program(seed: u64) -> Vec<Action> {
    let mut rng = Rng::new(seed ^ 0xC0_2501_E405);
    let steps = 20 + rng.below(100);
    // Which rare things happen to this operator at all.
    let [popups, holds, interrupts, modes, shares] = [50, 40, 40, 30, 10].map(|percent| rng.percent(percent));
    (0..steps).map(|_| step(&mut rng, popups, holds, interrupts, modes, shares)).collect()
}

fn step(rng: &mut Rng, popups: bool, holds: bool, interrupts: bool, modes: bool, shares: bool) -> Action {
    loop {
        return match rng.below(100) {
            0..25 => Action::Type(1 + rng.below(12) as u8),
            25..37 => Action::Edit(rng.below(14) as u8),
            37..44 => Action::Enter,
            44..45 => Action::Paste(if rng.percent(3) { 9_000 } else { 1 + rng.below(100) as u16 }),
            45..49 if interrupts => match rng.percent(70) {
                true => Action::CtrlC,
                false => Action::CtrlBreak,
            },
            49..52 if holds => Action::Hold(rng.percent(50)),
            52..56 if popups => Action::Popup(rng.below(4) as u8),
            56..60 if popups => Action::PopupKey(rng.below(8) as u8),
            60..73 => Action::Print,
            73..75 => Action::Answer,
            75..77 => Action::Prompt,
            77..79 if modes => Action::Echo(rng.percent(50)),
            79..81 if modes => Action::Raw(rng.percent(40)),
            81..88 => Action::Collect(rng.below(20) as u8),
            88..91 => Action::CollectSignals,
            91..99 => Action::Pass(rng.below(1500) as u16),
            99 if shares => Action::Share(rng.percent(50)),
            _ => continue,
        };
    }
}

/// Runs the actions on the console of `seed`. Only the listed oracles apply.
///
/// # Errors
///
/// The finding of the first oracle that detects one.
pub fn run(seed: u64, actions: &[Action], oracles: &[Oracle]) -> Result<Report, Failure> {
    catch(oracles, || World::new(seed, actions).run(actions, oracles))
}

impl Expected {
    /// A line has come to its end. It may be several: see the list of commands of the old edition.
    fn finish(&mut self, beginnings: &[Vec<u16>], line: &[u16]) {
        let wholes: Vec<Vec<u16>> = beginnings.iter().map(|start| [&start[..], line].concat()).collect();
        let pieces: Vec<Vec<&[u16]>> =
            wholes.iter().map(|whole| whole.split_inclusive(|&unit| unit == super::LF).collect()).collect();
        let most = pieces.iter().map(Vec::len).max().unwrap_or(0);
        for from_end in (0..most).rev() {
            let nth = |pieces: &Vec<&[u16]>| pieces.iter().rev().nth(from_end).map(|piece| piece.to_vec());
            self.finished.push_back(pieces.iter().filter_map(nth).collect());
        }
    }
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

/// What the reader is expected to deliver.
#[derive(Default)]
struct Expected {
    /// The line in progress when a read ended early.
    so_far: Option<Vec<u16>>,
    /// The end of it that is still to come: the result was longer than the reader's buffer.
    rest: Option<Vec<u16>>,
    /// What the line may begin with, before `so_far`: the operator cannot edit it any more. More than one possibility after
    /// a Ctrl-C, whose command discards what there is when it is executed.
    beginnings: Vec<Vec<u16>>,
    /// Finished lines, with the possibilities for each.
    finished: VecDeque<Vec<Vec<u16>>>,
    /// Raw text, likewise.
    bytes: Vec<String>,
    /// The echo was switched on since the last read began, so that text typed without it goes to the beginning.
    echo_on: bool,
    /// Requests by Ctrl-C or Ctrl-Break that the reactor has not collected.
    uncollected: u32,
    /// Such a request found no read, so the line may be discarded: in so many further reads.
    may_discard: u32,
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
            Action::Enter => self.press(Key { unit: super::CR, ..key(vk::RETURN) }),
            Action::Paste(count) => {
                let mut keys: Vec<Key> = (0..count).flat_map(|_| self.character()).collect();
                keys.push(Key { unit: super::CR, ..key(vk::RETURN) });
                self.console.borrow_mut().insert(&keys);
            }
            Action::CtrlC => self.interrupt(false),
            Action::CtrlBreak => self.interrupt(true),
            Action::Hold(true) => self.press(Key { unit: super::CTRL_S, ctrl: true, ..key(0x53) }),
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

    /// A character, of one unit or of two. Each is different, and none is in the text of a prompt.
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

    fn note_obstacle(&self) {
        let console = self.console.borrow();
        let mut state = self.state.borrow_mut();
        let waits = !state.prints.is_empty() || !state.answers.is_empty();
        if waits && console.has_popup() {
            mark(Mark::PopupInTheWay);
        }
        if waits && console.is_full() {
            mark(Mark::FullLineInTheWay);
        }
        if waits && console.is_shared() {
            mark(Mark::Shared);
        }
        if console.held
            || console.has_popup()
            || console.is_full()
            || console.is_shared()
            || !console.is_reading()
        {
            state.obstacle_at = state.now;
        }
    }

    fn check_prints(&self) {
        let state = self.state.borrow();
        let Some(&(number, since)) = state.prints.iter().chain(&state.answers).min_by_key(|text| text.1)
        else {
            return;
        };
        let waited = state.now.saturating_sub(since.max(state.obstacle_at));
        drop(state);
        if waited > PRINT_TIMEOUT {
            self.fail(
                Oracle::Liveness,
                format!("print {number} waits for {waited:?} with nothing in its way"),
            );
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
            (0..6).for_each(|_| self.press(Key { unit: super::BACKSPACE, ..key(vk::BACK) }));
        }
    }

    fn check_witness(&self) {
        let mut console = self.console.borrow_mut();
        if std::mem::take(&mut console.witness.answered) {
            mark(Mark::Answered);
        }
        if let Some(message) = console.witness.spoilt.take() {
            drop(console);
            self.fail(Oracle::Stream, message);
        }
    }

    /// A read begins with this text.
    fn check_resumed(&self, initial: &[u16]) {
        let mut state = self.state.borrow_mut();
        let lines = &mut state.lines;
        let so_far = lines.so_far.take().unwrap_or_default();
        if initial == so_far && !(initial.is_empty() && lines.may_discard > 0) {
            lines.echo_on = false;
            return;
        }
        let mut possible = Vec::new();
        if initial.is_empty() {
            if so_far.is_empty() || lines.echo_on || so_far.len() >= LONG {
                possible.extend(lines.beginnings.iter().map(|beginning| [&beginning[..], &so_far].concat()));
            }
            if lines.may_discard > 0 {
                possible.push(Vec::new());
            }
        }
        let beginnings = std::mem::replace(&mut lines.beginnings, possible);
        lines.echo_on = false;
        lines.may_discard = lines.may_discard.saturating_sub(u32::from(lines.may_discard < u32::MAX));
        if lines.beginnings.is_empty() {
            let message = format!(
                "a read continues with {:?} after {:?} (beginnings {:?})",
                String::from_utf16_lossy(initial),
                String::from_utf16_lossy(&so_far),
                beginnings.iter().map(|start| decoded(start)).collect::<Vec<_>>()
            );
            drop(state);
            self.fail(Oracle::Stream, message);
        }
    }

    /// A read has ended.
    fn note_end(&self, ended: &Ended) {
        let mut console = self.console.borrow_mut();
        let emptied = std::mem::take(&mut console.witness.emptied);
        let at_end = console.witness.at_end.take();
        drop(console);
        let mut state = self.state.borrow_mut();
        let lines = &mut state.lines;
        match (ended, at_end) {
            (Ended::Interrupted, _) => lines.beginnings = vec![Vec::new()],
            (Ended::Text(_), _) if emptied => {
                mark(Mark::Emptied);
                lines.beginnings = vec![Vec::new()];
            }
            (Ended::Text(text), Some((line, End::Woken))) => {
                if text.iter().position(|&unit| unit == WAKE) != Some(line.len()) {
                    mark(Mark::CursorInLine);
                }
                if text.last() == Some(&WAKE) {
                    lines.so_far = Some(line);
                } else {
                    lines.beginnings.iter_mut().for_each(|start| start.extend(text));
                    lines.rest = line.get(text.len()..).map(<[u16]>::to_vec);
                }
            }
            // A full line may end with a command of the list and its end.
            (Ended::Text(_), Some((line, end))) if end == End::Entered || line.last() == Some(&super::LF) => {
                let beginnings = std::mem::replace(&mut lines.beginnings, vec![Vec::new()]);
                lines.finish(&beginnings, &line);
            }
            (Ended::Text(_), Some((line, _))) => {
                lines.beginnings.iter_mut().for_each(|start| start.extend(&line));
            }
            // The rest of a result that did not fit.
            (Ended::Text(_), None) => {
                mark(Mark::Pieces);
                lines.so_far = lines.rest.take();
            }
        }
    }

    /// Everything was delivered, and nothing twice.
    fn check_end(&self) {
        while !self.inbox.is_empty() && !self.has_failed() {
            self.collect();
        }
        let state = self.state.borrow();
        let missing = state.lines.finished.iter().map(|line| decoded(&line[0])).collect::<Vec<_>>();
        let bytes = !state.lines.bytes.iter().any(String::is_empty);
        let prints = state.prints.len() + state.answers.len();
        drop(state);
        if self.has_failed() {
            return;
        }
        if !missing.is_empty() || bytes {
            self.fail(Oracle::Stream, format!("never delivered: {missing:?}, raw text: {bytes}"));
        }
        if prints > 0 {
            self.fail(Oracle::Order, format!("{prints} prints never appeared"));
        }
    }
}

/// From this length on the line in progress is not given to the next read, which might have no room for more.
const LONG: usize = 8192 - 256;

impl Host for Rc<World> {
    fn read_line(&self, buffer: &mut [u16], kept: usize) -> io::Result<Option<usize>> {
        self.check_resumed(&buffer[..kept]);
        self.be_interrupted();
        self.console.borrow_mut().start_read(&buffer[..kept], buffer.len(), 1 << WAKE);
        loop {
            if self.has_failed() {
                return Err(io::ErrorKind::Other.into());
            }
            let ended = self.console.borrow_mut().take_ended();
            if let Some(ended) = ended {
                self.check_witness();
                self.note_end(&ended);
                self.be_interrupted();
                return Ok(match ended {
                    Ended::Interrupted => None,
                    Ended::Text(text) => {
                        buffer[..text.len()].copy_from_slice(&text);
                        Some(text.len())
                    }
                });
            }
            self.turn();
        }
    }

    fn set_mode(&self, mode: ConsoleMode, echo: bool) -> io::Result<()> {
        self.be_interrupted();
        let mut console = self.console.borrow_mut();
        (console.line_mode, console.echo) = (mode == ConsoleMode::Line, echo);
        drop(console);
        let mut state = self.state.borrow_mut();
        let was_on = std::mem::replace(&mut state.echo, echo);
        let lines = &mut state.lines;
        lines.echo_on |= echo && !was_on;
        if mode == ConsoleMode::Raw {
            // The line in progress becomes raw input.
            let so_far = lines.so_far.take().unwrap_or_default();
            let mut possible = std::mem::replace(&mut lines.beginnings, vec![Vec::new()]);
            possible.iter_mut().for_each(|start| start.extend(&so_far));
            if possible.iter().any(|start| !start.is_empty()) {
                mark(Mark::LineBecameBytes);
            }
            if lines.may_discard > 0 {
                possible.push(Vec::new());
            }
            let bytes = std::mem::take(&mut lines.bytes);
            let joined =
                |bytes: &String, start: &Vec<u16>| format!("{bytes}{}", String::from_utf16_lossy(start));
            lines.bytes = bytes
                .iter()
                .flat_map(|bytes| possible.iter().map(move |start| joined(bytes, start)))
                .collect();
        }
        Ok(())
    }

    fn write(&self, text: &str) -> io::Result<()> {
        self.be_interrupted();
        while self.console.borrow().held && !self.has_failed() {
            mark(Mark::WriteHeld);
            self.turn();
        }
        let (first, number) = match (text.strip_prefix('@'), text.strip_prefix('!')) {
            (Some(number), _) => (self.state.borrow_mut().prints.pop_front(), number),
            (_, Some(number)) => (self.state.borrow_mut().answers.pop_front(), number),
            _ => return Ok(()),
        };
        if first.is_none_or(|(first, _)| first.to_string() != number) {
            self.fail(Oracle::Order, format!("print {number} where {first:?} is the next"));
        }
        Ok(())
    }

    fn erase_back(&self, _cells: usize) -> io::Result<()> {
        self.be_interrupted();
        Ok(())
    }

    fn is_at_line_start(&self) -> bool {
        true
    }

    fn window_size(&self) -> Option<(u16, u16)> {
        None
    }
}

fn key(vk: u16) -> Key {
    Key { vk, unit: 0, ctrl: false, ours: false }
}

fn editing_key(which: u8) -> Key {
    match which {
        0 => key(vk::HOME),
        1 => key(vk::END),
        2 => key(vk::RIGHT),
        3 => Key { ctrl: true, ..key(vk::LEFT) },
        4 => Key { ctrl: true, ..key(vk::RIGHT) },
        5 => Key { unit: super::BACKSPACE, ..key(vk::BACK) },
        6 => key(vk::DELETE),
        7 => key(vk::ESCAPE),
        8 => key(vk::UP),
        9 => key(vk::INSERT),
        10 => Key { ctrl: true, ..key(vk::END) },
        _ => key(vk::LEFT),
    }
}

fn popup_key(which: u8) -> Key {
    match which {
        0 => key(vk::UP),
        1 => key(vk::LEFT),
        2 => key(vk::DELETE),
        3 => Key { unit: super::CR, ..key(vk::RETURN) },
        4 => Key { unit: u16::from(b'1'), ..key(0x31) },
        5 => key(vk::F9),
        _ => key(vk::ESCAPE),
    }
}

/// A line without its end.
fn decoded(units: &[u16]) -> String {
    String::from_utf16_lossy(units).trim_end_matches(['\r', '\n']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDITIONS: [Edition; 4] = [Edition::Old, Edition::Rewritten, Edition::Cutting, Edition::Inline];

    /// Runs a script on each edition, several times: where threads interrupt each other differs.
    fn run_on_all(capacity: Option<usize>, actions: &[Action]) {
        for edition in EDITIONS {
            for seed in 0..50 {
                let console = Console::new(edition, true, capacity);
                let world = World::with(console, Rng::new(seed), actions);
                let ran = world.run(actions, ORACLES);
                assert!(ran.is_ok(), "{edition:?}, {seed}: {:?}", ran.unwrap_err());
            }
        }
    }

    /// F2, F4, F7 and F9 take the keys that were to end the read [hc53].
    #[test]
    fn hc53_a_print_appears_once_a_popup_is_closed_and_the_line_is_whole() {
        for popup in 0..4 {
            run_on_all(
                None,
                &[
                    Action::Type(5),
                    Action::Enter,
                    Action::Type(9),
                    Action::Popup(popup),
                    Action::Print,
                    Action::Pass(5_000),
                    Action::PopupKey(7),
                    Action::Pass(1_500),
                    Action::Type(3),
                    Action::Print,
                    Action::Pass(1_500),
                    Action::Enter,
                ],
            );
        }
    }

    /// The first key after Ctrl-S or Pause continues the output, and is lost [hc54].
    #[test]
    fn hc54_a_console_that_is_held_loses_no_text_although_it_drops_a_key() {
        for ctrl_s in [true, false] {
            run_on_all(
                None,
                &[
                    Action::Type(9),
                    Action::Edit(11),
                    Action::Edit(11),
                    Action::Hold(ctrl_s),
                    Action::Print,
                    Action::Pass(2_000),
                    Action::Type(3),
                    Action::Hold(ctrl_s),
                    Action::Pass(2_000),
                    Action::Print,
                    Action::Pass(2_000),
                    Action::Enter,
                ],
            );
        }
    }

    /// The old edition takes only Enter and Backspace when the line is full [hc55].
    #[test]
    fn hc55_a_full_line_delays_prints_until_there_is_room_and_loses_nothing() {
        run_on_all(
            Some(24),
            &[
                Action::Type(12),
                Action::Type(12),
                Action::Print,
                Action::Pass(5_000),
                Action::Edit(1),
                Action::Edit(5),
                Action::Edit(5),
                Action::Edit(5),
                Action::Pass(1_500),
                Action::Type(12),
                Action::Type(12),
                Action::Print,
                Action::Pass(3_000),
                Action::Enter,
            ],
        );
    }

    /// While another process reads the console it gets the keys, ours included; afterwards all is as before [hc56].
    #[test]
    fn hc56_another_reader_of_the_console_delays_prints_and_does_not_prevent_them() {
        run_on_all(
            None,
            &[
                Action::Type(5),
                Action::Print,
                Action::Share(true),
                Action::Print,
                Action::Pass(3_000),
                Action::Type(5),
                Action::Enter,
                Action::Share(false),
                Action::Print,
                Action::Pass(1_500),
                Action::Type(5),
                Action::Enter,
            ],
        );
    }
}
