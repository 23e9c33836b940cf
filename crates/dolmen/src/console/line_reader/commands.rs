//! The queue to the thread that reads lines, and when the thread's read must be ended for it.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::console::ConsoleMode;

/// How many bytes may be queued for printing, and how many of answers.
const MOST_BYTES: usize = 4 << 20;

/// The pause between the first two presses of the keys that end a read, and the pause between later ones. A popup of the
/// console's line editor, a console that is held and a full line each take the keys [hc55], and nothing reports that.
const SECOND_PRESS: Duration = Duration::from_millis(250);
const NEXT_PRESS: Duration = Duration::from_secs(1);

/// The thread's work between two reads.
#[derive(Debug)]
pub(crate) enum Command {
    Print(String),
    /// As `Print`, before those that still wait.
    #[cfg_attr(not(any(windows, dolmen_sim)), allow(dead_code))]
    Answer(String),
    /// Report when everything printed so far is on the screen.
    #[cfg_attr(not(windows), allow(dead_code))] // The driver's, which the simulation is not.
    Flush,
    Prompt(String),
    Echo(bool),
    /// The number distinguishes requests.
    Mode(ConsoleMode, u64),
    /// Ctrl-C came: the typed text is discarded.
    Interrupted,
    Quit,
}

/// The queue, and what its two ends and the presser know of the read.
#[derive(Default)]
pub(crate) struct Commands {
    state: Mutex<State>,
    changed: Condvar,
    reported: ReportedSize,
}

/// The window's size as last reported, by the reader of the console at that time.
#[derive(Default)]
struct ReportedSize(AtomicU32);

#[derive(Default)]
struct State {
    queue: VecDeque<Command>,
    /// Queued texts and answers.
    bytes: usize,
    answer_bytes: usize,
    /// The thread is in a read, or about to be: true until the read has returned, however often the keys were pressed,
    /// because a press is a request that may be lost [hc53].
    reading: bool,
    /// When the keys were pressed last to end this read, and how often.
    pressed: Option<(Instant, u32)>,
    /// How often the keys have been pressed in all.
    presses: u64,
    ended: bool,
    /// The thread is left behind.
    abandoned: bool,
}

/// The thread's next step.
pub(super) enum Next {
    Execute(Command),
    Read,
    Wait,
}

/// When the keys that end a read are to be pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Press {
    /// Now. It is recorded as pressed.
    Now,
    At(Instant),
    /// Not before something changes.
    Never,
    /// The thread has ended.
    Ended,
}

impl Commands {
    pub(crate) fn new() -> Arc<Commands> {
        Arc::default()
    }

    /// Queues a command. `WouldBlock`: too much text is queued, and this was not.
    pub(crate) fn push(&self, command: Command) -> io::Result<()> {
        let mut state = self.state();
        let (text, queued) = match &command {
            Command::Print(text) => (text.len(), state.bytes - state.answer_bytes),
            Command::Answer(text) => (text.len(), state.answer_bytes),
            _ => (0, 0),
        };
        if text > 0 && queued + text > MOST_BYTES {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.bytes += text;
        let mut place = state.queue.len();
        if let Command::Answer(_) = command {
            state.answer_bytes += text;
            // Texts wait; what changes the line or the mode keeps its place.
            while place > 0 && matches!(state.queue[place - 1], Command::Print(_)) {
                place -= 1;
            }
        }
        state.queue.insert(place, command);
        self.changed.notify_all();
        Ok(())
    }

    /// What the thread does next. `may_read`: it wants to read when there is no command.
    pub(super) fn next(&self, may_read: bool) -> Next {
        let mut state = self.state();
        match state.queue.pop_front() {
            Some(command) => Next::Execute(command),
            None if may_read => {
                state.begin_read();
                Next::Read
            }
            None => Next::Wait,
        }
    }

    /// The thread reads again, whatever is queued.
    pub(super) fn begin_read(&self) {
        let mut state = self.state();
        state.begin_read();
        if !state.queue.is_empty() {
            self.changed.notify_all();
        }
    }

    /// Blocks the thread until there is a command, or `may_read` holds.
    pub(super) fn wait(&self, may_read: impl Fn() -> bool) {
        let mut state = self.state();
        while state.queue.is_empty() && !may_read() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The thread's read has returned.
    pub(super) fn has_read(&self) {
        self.state().reading = false;
        self.changed.notify_all();
    }

    /// The thread has written as much text, of an answer or not.
    pub(super) fn printed(&self, bytes: usize, is_answer: bool) {
        let mut state = self.state();
        state.bytes -= bytes;
        state.answer_bytes -= if is_answer { bytes } else { 0 };
        self.changed.notify_all();
    }

    /// The thread is left behind. It ends when its call does, and sets up nothing before: the console is not ours any more.
    #[cfg_attr(not(windows), allow(dead_code))] // The simulation has no thread.
    pub(crate) fn abandon(&self) {
        self.state().abandoned = true;
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.state().abandoned
    }

    /// The thread has ended, or was not started.
    pub(crate) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Whether the keys that end a read are to be pressed at this time.
    #[cfg(dolmen_sim)] // Which presses by its own clock.
    pub(crate) fn press(&self, now: Instant) -> Press {
        self.state().press(now)
    }

    /// The body of the thread that presses these keys, by `press`. Pressing is a call to the process that has the
    /// console's window, which may hang: the reactor's thread must not make it.
    #[cfg_attr(not(windows), allow(dead_code))] // The simulation has no thread.
    pub(crate) fn press_until_end(&self, mut press: impl FnMut()) {
        let mut state = self.state();
        loop {
            match state.press(Instant::now()) {
                Press::Ended => return,
                Press::Now => {
                    drop(state);
                    press();
                    state = self.state();
                    state.presses += 1;
                    self.changed.notify_all();
                }
                Press::At(time) => {
                    let left = time.saturating_duration_since(Instant::now());
                    state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                Press::Never => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Waits until the keys have been pressed for a command, if the thread is in a read: what is typed from here on comes
    /// behind them. No longer than this time, because the process that has the console's window may hang.
    #[cfg_attr(not(windows), allow(dead_code))] // The simulation has no thread.
    pub(crate) fn wait_for_press(&self, most: Duration) {
        let mut state = self.state();
        let (before, until) = (state.presses, Instant::now() + most);
        while state.reading && !state.ended && state.presses == before {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Records a size of the window that is reported, or known without a report. Returns true when it differs from the
    /// previous one.
    pub(crate) fn size_reported(&self, (columns, rows): (u16, u16)) -> bool {
        let size = u32::from(columns) << 16 | u32::from(rows);
        self.reported.0.swap(size, Ordering::Relaxed) != size
    }

    /// Makes a thread that waits for room in the inbox check whether there is some.
    #[cfg_attr(not(windows), allow(dead_code))] // The simulation has no thread.
    pub(crate) fn recheck_room(&self) {
        let _state = self.state();
        self.changed.notify_all();
    }

    /// Waits for the thread's end, as long as it prints. Returns true when it has ended.
    #[cfg_attr(not(windows), allow(dead_code))] // The simulation has no thread.
    pub(crate) fn wait_for_end(&self, stalled: Duration) -> bool {
        let mut state = self.state();
        let mut last = (state.bytes, Instant::now());
        while !state.ended {
            if state.bytes != last.0 {
                last = (state.bytes, Instant::now());
            }
            if last.1.elapsed() > stalled {
                return false;
            }
            state = self.changed.wait_timeout(state, stalled).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin_read(&mut self) {
        self.reading = true;
        self.pressed = None;
    }

    fn press(&mut self, now: Instant) -> Press {
        if self.ended {
            return Press::Ended;
        }
        if !self.reading || self.queue.is_empty() {
            return Press::Never;
        }
        let times = match self.pressed {
            None => 0,
            Some((last, times)) => {
                let due = last + if times == 1 { SECOND_PRESS } else { NEXT_PRESS };
                if now < due {
                    return Press::At(due);
                }
                times
            }
        };
        self.pressed = Some((now, times + 1));
        Press::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(commands: &Commands) -> String {
        match commands.next(false) {
            Next::Execute(Command::Print(text) | Command::Answer(text) | Command::Prompt(text)) => text,
            _ => panic!("no text"),
        }
    }

    #[test]
    fn an_answer_goes_before_texts_and_behind_answers_and_what_changes_the_line() {
        let commands = Commands::new();
        for command in [
            Command::Print("one".into()),
            Command::Prompt("prompt".into()),
            Command::Print("two".into()),
            Command::Answer("first answer".into()),
            Command::Print("three".into()),
            Command::Answer("second answer".into()),
        ] {
            commands.push(command).expect("there is room");
        }
        let order: Vec<String> = (0..6).map(|_| next(&commands)).collect();
        assert_eq!(order, ["one", "prompt", "first answer", "second answer", "two", "three"]);
    }

    #[test]
    fn texts_that_wait_leave_room_for_an_answer() {
        let commands = Commands::new();
        commands.push(Command::Print("x".repeat(MOST_BYTES))).expect("there is room");
        assert!(commands.push(Command::Print("x".into())).is_err());
        commands.push(Command::Answer("y".into())).expect("there is room");
        assert_eq!(next(&commands), "y");
        commands.printed(1, true);
        assert!(commands.push(Command::Print("x".into())).is_err());
    }
}
