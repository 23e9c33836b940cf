//! Output and long lines while an operator edits a line in a real console.
//!
//! The process of each case has a console without a window, and presses keys in it by `WriteConsoleInputW`: to the console
//! they are the same as those of a keyboard.

use std::fs::File;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use dolmen::{ConsoleInput, ConsoleMode, Event, Events, Reactor, Token};
use windows_sys::Win32::System::Console::{ENHANCED_KEY, LEFT_CTRL_PRESSED};

use super::screen::shows_line_below;
use crate::case::{Check, Outcome, Result, fail};
use crate::process::progress;
use crate::sys::{self, Key};

const ENTER: Key = Key(0x0D, 13, 0);
const ESCAPE: Key = Key(0x1B, 27, 0);
const LEFT: Key = Key(0x25, 0, ENHANCED_KEY);
const F2: Key = Key(0x71, 0, 0);
const F4: Key = Key(0x73, 0, 0);
const F7: Key = Key(0x76, 0, 0);
const F9: Key = Key(0x78, 0, 0);
const CTRL_S: Key = Key(0x53, 0x13, LEFT_CTRL_PRESSED);
const PAUSE: Key = Key(0x13, 0, 0);

/// How long a printed text may take, and how long anything else may that the console does.
const PROMPTLY: Duration = Duration::from_secs(5);

const TYPED: &str = "say hello to all";
const PRINTED: &str = "a player has come in";

/// The program and its operator, at one console.
struct Operator {
    reactor: Reactor,
    events: Events,
    keyboard: File,
    screen: File,
    /// The lines that the program has received.
    lines: Vec<String>,
    /// How many times all printed text was reported as written.
    drained: usize,
}

impl Operator {
    fn new() -> Result<Operator> {
        let (keyboard, screen) = sys::use_console()?;
        let mut reactor = Reactor::new()?;
        reactor.add_console(ConsoleMode::Line, Token(0))?.set_prompt("> ")?;
        let events = Events::with_capacity(16);
        Ok(Operator { reactor, events, keyboard, screen, lines: Vec::new(), drained: 0 })
    }

    fn press(&self, keys: &[Key]) -> Result<()> {
        Ok(sys::press(&self.keyboard, keys)?)
    }

    fn type_in(&self, text: &str) -> Result<()> {
        let keys: Vec<Key> = text.encode_utf16().map(|unit| Key(0, unit, 0)).collect();
        self.press(&keys)
    }

    /// Waits in the reactor until something is so. Returns how long it took, or `None` after `most`.
    fn until(
        &mut self,
        most: Duration,
        mut is_so: impl FnMut(&Operator) -> Result<bool>,
    ) -> Result<Option<Duration>> {
        let start = Instant::now();
        loop {
            if is_so(self)? {
                return Ok(Some(start.elapsed()));
            }
            if start.elapsed() > most {
                return Ok(None);
            }
            self.reactor.wait(&mut self.events, Some(Duration::from_millis(10)))?;
            for event in &mut self.events {
                let Event::Console { input, .. } = event else { continue };
                match input {
                    ConsoleInput::Line(line) | ConsoleInput::LineCut(line) => {
                        self.lines.push(line.to_owned())
                    }
                    ConsoleInput::Drained => self.drained += 1,
                    ConsoleInput::Resized { .. } => {}
                    other => return Err(format!("the program received {other:?}").into()),
                }
            }
        }
    }

    /// Waits until the screen shows a text.
    fn until_shown(&mut self, text: &str) -> Result<Option<Duration>> {
        self.until(PROMPTLY, |operator| Ok(sys::screen_text(&operator.screen)?.contains(text)))
    }

    /// Types a line, and waits until the program has it.
    fn enter(&mut self, line: &str) -> Result<()> {
        self.type_in(line)?;
        self.press(&[ENTER])?;
        match self.next_line(PROMPTLY)? {
            Some(received) if received == line => Ok(()),
            other => Err(format!("the line {line:?} was typed, and {other:?} received").into()),
        }
    }

    fn next_line(&mut self, most: Duration) -> Result<Option<String>> {
        let came = self.until(most, |operator| Ok(!operator.lines.is_empty()))?;
        Ok(came.map(|_| self.lines.remove(0)))
    }

    /// Prints a text, and asks for a report when it is written.
    fn print(&mut self, text: &str) -> Result<()> {
        let mut console = self.reactor.console()?;
        console.print(&format!("{text}\n"))?;
        Ok(console.flush()?)
    }

    /// Waits until everything printed is written.
    fn until_written(&mut self, most: Duration) -> Result<Option<Duration>> {
        let written = self.until(most, |operator| Ok(operator.drained > 0))?;
        self.drained = 0;
        Ok(written)
    }

    fn screen(&self) -> String {
        sys::screen_text(&self.screen).unwrap_or_else(|error| error.to_string())
    }

    /// Whether the console keeps its writers waiting. One of them goes on to wait then.
    fn is_held(&self) -> Result<bool> {
        /// How long a console takes, at most, to ring its bell.
        const BELL_TIMEOUT: Duration = Duration::from_millis(500);
        let screen = self.screen.try_clone()?;
        let (sender, written) = mpsc::channel();
        thread::spawn(move || {
            // It leaves the screen as it is, also when it is written at the end of the hold. The receiver may be gone by then.
            let _ = sender.send(sys::write_console(&screen, "\u{7}"));
        });
        match written.recv_timeout(BELL_TIMEOUT) {
            Ok(result) => result.map(|()| false).map_err(Into::into),
            Err(RecvTimeoutError::Timeout) => Ok(true),
            Err(RecvTimeoutError::Disconnected) => Err("the writer panicked".into()),
        }
    }

    /// Prints under whatever the operator has begun. If that keeps the text back, `release` ends it.
    fn print_under(mut self, release: Key) -> Result {
        self.print(PRINTED)?;
        let (when, took) = match self.until_written(PROMPTLY)? {
            Some(took) => ("after the print", took),
            None => {
                progress("the text waits; the operator goes on");
                self.press(&[release])?;
                match self.until_written(PROMPTLY)? {
                    Some(took) => ("after the operator's next key, and not before", took),
                    None => fail!(
                        "the text is not written {} s after the operator's next key",
                        PROMPTLY.as_secs()
                    ),
                }
            }
        };
        if self.until_shown(PRINTED)?.is_none() {
            fail!("the text was written, and is not on the screen: {:?}", self.screen());
        }
        let line = format!("> {TYPED}");
        let is_below = |operator: &Operator| Ok(shows_line_below(&operator.screen(), PRINTED, &line));
        if self.until(PROMPTLY, is_below)?.is_none() {
            fail!("the typed line is not shown below the text, and once: {:?}", self.screen());
        }
        self.press(&[ENTER])?;
        match self.next_line(PROMPTLY)? {
            Some(line) if line == TYPED => {}
            Some(line) => fail!("{TYPED:?} was typed, and {line:?} received"),
            None => fail!("Enter did not finish the line"),
        }
        // The keys that the library presses are part of no line.
        self.enter("who")?;
        Ok(Outcome::Pass(format!(
            "written {:.0} ms {when}; the typed line is whole",
            took.as_secs_f64() * 1000.0
        )))
    }
}

fn print_under_popup(key: Key) -> Result {
    let mut operator = Operator::new()?;
    for line in ["first of the history", "second of the history"] {
        operator.enter(line)?;
    }
    operator.type_in(TYPED)?;
    if operator.until_shown(&format!("> {TYPED}"))?.is_none() {
        fail!("the typed line is not shown: {:?}", operator.screen());
    }
    let before = operator.screen();
    operator.press(&[key])?;
    if operator.until(PROMPTLY, |operator| Ok(operator.screen() != before))?.is_none() {
        return Ok(Outcome::Skip("this console opens nothing at that key".to_owned()));
    }
    operator.print_under(ESCAPE)
}

pub fn print_under_f7(_: &Check) -> Result {
    print_under_popup(F7)
}

pub fn print_under_f9(_: &Check) -> Result {
    print_under_popup(F9)
}

pub fn print_under_f2(_: &Check) -> Result {
    print_under_popup(F2)
}

pub fn print_under_f4(_: &Check) -> Result {
    print_under_popup(F4)
}

/// The key that holds the console is pressed with the cursor in mid-line.
fn print_under_hold(key: Key) -> Result {
    let mut operator = Operator::new()?;
    operator.type_in(TYPED)?;
    if operator.until_shown(&format!("> {TYPED}"))?.is_none() {
        fail!("the typed line is not shown: {:?}", operator.screen());
    }
    operator.press(&[LEFT, LEFT, LEFT, key])?;
    // A console that is not held may have put the key's character into the line. The console ends with this case.
    if !operator.is_held()? {
        return Ok(Outcome::Skip("this console is not held by that key".to_owned()));
    }
    operator.print_under(LEFT)
}

pub fn print_under_ctrl_s(_: &Check) -> Result {
    print_under_hold(CTRL_S)
}

pub fn print_under_pause(_: &Check) -> Result {
    print_under_hold(PAUSE)
}

/// With a text printed when the beginning of the line is there.
pub fn paste(_: &Check) -> Result {
    const LENGTH: usize = 20_000;
    /// What is typed before the print: less than any console takes of a line.
    const FIRST: usize = 5_000;
    /// Consoles before the line editor of 2023 take no more of a line.
    const LEAST: usize = 8_190;
    const PATIENCE: Duration = Duration::from_secs(20);
    let mut operator = Operator::new()?;
    // No two of its words are the same.
    let text: String =
        (0..).flat_map(|n: u32| format!("{n} ").into_bytes()).take(LENGTH).map(char::from).collect();
    let (first, rest) = text.split_at(FIRST);
    operator.type_in(first)?;
    // Spaces at the ends of rows are not shown.
    let without_spaces = |text: &str| text.split_whitespace().collect::<String>();
    let end = without_spaces(&first[FIRST - 40..]);
    if operator.until(PATIENCE, |operator| Ok(without_spaces(&operator.screen()).ends_with(&end)))?.is_none()
    {
        fail!(
            "{FIRST} characters were typed, and the last of them are not on the screen: {:?}",
            operator.screen()
        );
    }
    operator.print(PRINTED)?;
    let before_enter = operator.until_written(PROMPTLY)?;
    operator.type_in(rest)?;
    operator.press(&[ENTER])?;
    let Some(line) = operator.next_line(PATIENCE)? else { fail!("no line was received") };
    if before_enter.is_none() && operator.until_written(PATIENCE)?.is_none() {
        fail!("the text that was printed in mid-line was never written");
    }
    if !text.starts_with(&line) {
        let same = line.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        fail!(
            "{} characters were received, and from character {same} on they are not those typed",
            line.len()
        );
    }
    if line.len() < LEAST {
        fail!("{} characters of {LENGTH} were received", line.len());
    }
    operator.enter("the next line")?;
    let printed = match before_enter {
        Some(took) => {
            format!("a text printed in mid-line was written after {:.0} ms", took.as_secs_f64() * 1000.0)
        }
        None => "a text printed in mid-line was written after Enter".to_owned(),
    };
    Ok(Outcome::Pass(format!("{} of {LENGTH} characters; {printed}", line.len())))
}
