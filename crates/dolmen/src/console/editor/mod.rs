//! The operator's line editor on a terminal: bytes in; lines, and what to write to the screen, out.
//!
//! It makes no system call and waits for nothing. The driver gives it what the terminal has sent, and writes what it
//! returns, in one piece. So it works beside players, and output can appear above the line at any time.
//!
//! | file | is |
//! |---|---|
//! | `keys.rs` | bytes into keys: broken characters, escape sequences, pasted text |
//! | `bindings.rs` | what each key does |
//! | `line.rs` | the text, and the cursor in it |
//! | `history.rs` | the lines that were typed before |
//! | `search.rs` | the search through them |
//! | `completion.rs` | the completion of a word |
//! | `screen.rs` | the line on the screen |
//!
//! What is typed without echo is not shown, not even later, and neither history nor yank has it. The same is true of
//! a line that was typed ahead, with echo, before the program switched echo off: the history forgets it.
//!
//! # What was rejected
//!
//! Editors in crates. rustyline, reedline and linefeed read the terminal themselves and block in it; rustyline-async
//! needs an executor and crossterm's own reading of events; noline takes bytes, but asks the terminal where the cursor
//! is and waits for the answer, and has neither output above the line nor pasted text. The kernel's editing: it has no
//! history and no cursor keys, and the text that it holds must be taken out of it for each line of output.

mod bindings;
mod completion;
mod history;
mod keys;
mod line;
mod screen;
mod search;

use super::{Completer, Input, LONGEST_LINE_BYTES};
pub(super) use bindings::SpecialKeys;
use bindings::{Action, action};
use completion::Completed;
use history::History;
pub(super) use history::{MOST_BYTES as MOST_HISTORY_BYTES, MOST_LINES as MOST_HISTORY_LINES};
use keys::KeyDecoder;
use line::Line;
use screen::View;
pub(super) use screen::{Screen, Window};
use search::Search;

/// The editor of one terminal.
pub(super) struct Editor {
    special: SpecialKeys,
    keys: KeyDecoder,
    line: Line,
    /// Typed text that is not in the line yet: a run of characters is inserted in one piece.
    typed: String,
    /// The line was cut, and the rest of it is being discarded.
    cutting: bool,
    /// What was removed last by a key that removes more than a character.
    killed: String,
    /// The last key was the completion key, and found several candidates.
    has_choices: bool,
    completer: Option<Completer>,
    history: History,
    search: Option<Search>,
    prompt: String,
    echo: bool,
    /// It draws. Not while the terminal is another process's, and not in raw mode.
    is_shown: bool,
    screen: Screen,
    /// A change could not be written, so the screen may not show the line as it is.
    is_stale: bool,
}

impl Editor {
    pub(super) fn new(special: SpecialKeys, window: Window) -> Editor {
        Editor {
            special,
            keys: KeyDecoder::default(),
            line: Line::default(),
            typed: String::new(),
            cutting: false,
            killed: String::new(),
            has_choices: false,
            completer: None,
            history: History::default(),
            search: None,
            prompt: String::new(),
            echo: true,
            is_shown: false,
            screen: Screen::new(window),
            is_stale: false,
        }
    }

    /// What is on the screen, to be restored with [`Editor::set_screen`] if a change of it could not be written.
    pub(super) fn screen(&self) -> Screen {
        self.screen.clone()
    }

    pub(super) fn set_screen(&mut self, screen: Screen) {
        self.screen = screen;
        self.is_stale = true;
    }

    pub(super) fn set_completer(&mut self, completer: Completer) {
        self.completer = Some(completer);
    }

    /// Adds the lines of a file to the history. Those of a second file replace it.
    pub(super) fn read_history(&mut self, lines: &[String]) {
        self.stop_browsing();
        self.history.read(lines);
    }

    /// The engine has taken a turn. `collected`: it has every line. Returns lines for the history's file.
    pub(super) fn settle_lines(&mut self, collected: bool) -> Vec<String> {
        self.history.settle(collected)
    }

    /// Returns the last lines for the history's file.
    pub(super) fn settle_last_lines(&mut self) -> Vec<String> {
        self.history.settle_last()
    }

    /// The prompt. A change is drawn with the next [`Editor::draw`].
    pub(super) fn prompt_mut(&mut self) -> &mut String {
        &mut self.prompt
    }

    /// Shows the line from here on, or leaves it where it is.
    pub(super) fn set_shown(&mut self, is_shown: bool) {
        self.is_shown = is_shown;
    }

    /// What was typed before echo is switched on again is not shown later either. What was typed ahead when it is switched
    /// off is no longer in the history.
    pub(super) fn set_echo(&mut self, echo: bool) {
        if echo && !self.echo {
            self.line.hide();
        }
        self.stop_browsing();
        if !echo {
            self.history.discard_unsettled();
        }
        self.echo = echo;
    }

    /// The line so far, for the next reader; not if part of it was typed without echo, which nobody may see.
    pub(super) fn unfinished(&self) -> Option<&str> {
        let text = Some(self.line.text());
        text.filter(|text| self.echo && !text.is_empty() && !self.line.has_unseen() && !self.cutting)
    }

    /// The line that the last reader has left. It is text: none of it is a key.
    pub(super) fn set_line(&mut self, text: &str) {
        self.line.set(text);
    }

    /// Takes what the line has so far out, in bytes.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut bytes = self.line.take().into_bytes();
        bytes.append(&mut self.keys.take_unfinished());
        self.cutting = false;
        self.stop_browsing();
        bytes
    }

    fn stop_browsing(&mut self) {
        self.history.stop_browsing();
        self.search = None;
    }

    /// Takes what the terminal has sent.
    pub(super) fn feed(&mut self, bytes: &[u8], screen: &mut String, mut put: impl FnMut(Input)) {
        let mut keys = Vec::new();
        for &byte in bytes {
            self.keys.feed(byte, &mut keys);
            for key in keys.drain(..) {
                let Some(action) = action(key, &self.special) else { continue };
                match action {
                    Action::Finish => self.finish(screen, &mut put),
                    _ if self.cutting => {}
                    action if self.search_goes_on(action) => {}
                    Action::Insert(c) => self.typed.push(c),
                    action => {
                        self.insert_typed(screen, &mut put);
                        self.act(action, screen, &mut put);
                    }
                }
            }
        }
        self.insert_typed(screen, &mut put);
        self.draw(screen);
    }

    /// Shows the line as it is now.
    pub(super) fn draw(&mut self, screen: &mut String) {
        if self.is_shown {
            let (before_cursor, after_cursor) = match self.echo {
                true => (self.line.before_cursor(), self.line.after_cursor()),
                false => ("", ""),
            };
            let search = self.search.as_ref().map(Search::prompt);
            let prompt = search.as_deref().unwrap_or(&self.prompt);
            self.screen.draw(View { prompt, before_cursor, after_cursor }, screen);
            self.is_stale = false;
        }
    }

    /// Shows a text above the line.
    pub(super) fn print(&mut self, text: &str, screen: &mut String) {
        let image = self.screen.lift(screen);
        screen.push_str(text);
        if !text.is_empty() && !text.ends_with('\n') {
            screen.push('\n');
        }
        match image.filter(|_| self.is_shown && !self.is_stale) {
            // A line may have 64 KiB, and what is seen of it is at most a window.
            Some(image) => self.screen.put_back(image, screen),
            None => self.draw(screen),
        }
    }

    /// Removes the line from the screen.
    pub(super) fn erase(&mut self, screen: &mut String) {
        if self.is_shown && self.screen.has_line() {
            self.screen.erase(screen);
        }
    }

    /// A text that is not the line's was written at the cursor.
    pub(super) fn written(&mut self, text: &str) {
        self.screen.written(text);
    }

    /// The cursor may be anywhere. `keep_row`: in a row whose text must stay.
    pub(super) fn forget_screen(&mut self, keep_row: bool) {
        self.keys.end_paste();
        self.screen.forget(keep_row);
    }

    /// The window may have another size.
    pub(super) fn resize(&mut self, window: Window, screen: &mut String) {
        self.screen.resize(window, self.is_shown, screen);
    }

    /// Ctrl-C: the line is discarded, and the next one begins below it.
    pub(super) fn interrupt(&mut self, screen: &mut String) {
        self.take();
        self.has_choices = false;
        if self.is_shown {
            self.screen.finish(if self.echo { "^C" } else { "" }, screen);
            self.draw(screen);
        }
    }

    /// The next line begins below this one.
    fn next_row(&mut self, screen: &mut String) {
        self.draw(screen);
        if self.is_shown {
            self.screen.finish("", screen);
        }
    }

    fn finish(&mut self, screen: &mut String, put: &mut impl FnMut(Input)) {
        self.insert_typed(screen, put);
        self.has_choices = false;
        self.search = None;
        if std::mem::take(&mut self.cutting) {
            return;
        }
        self.next_row(screen);
        let is_secret = !self.echo || self.line.has_unseen();
        let text = self.line.take();
        self.stop_browsing();
        if !is_secret {
            self.history.add(&text);
        }
        put(Input::Line(text));
    }

    fn insert_typed(&mut self, screen: &mut String, put: &mut impl FnMut(Input)) {
        if self.typed.is_empty() {
            return;
        }
        self.has_choices = false;
        self.line.insert(&self.typed);
        self.typed.clear();
        self.cut(screen, put);
    }

    /// Cuts a line that is too long. The rest of it, up to its end, will be discarded.
    fn cut(&mut self, screen: &mut String, put: &mut impl FnMut(Input)) {
        if self.line.text().len() <= LONGEST_LINE_BYTES {
            return;
        }
        self.next_row(screen);
        let mut text = self.line.take();
        let most = (0..=LONGEST_LINE_BYTES).rev().find(|&length| text.is_char_boundary(length));
        text.truncate(most.unwrap_or(0));
        self.cutting = true;
        self.stop_browsing();
        put(Input::LineCut(text));
    }

    fn act(&mut self, action: Action, screen: &mut String, put: &mut impl FnMut(Input)) {
        let had_choices = std::mem::take(&mut self.has_choices);
        match action {
            Action::Left => self.line.go_left(),
            Action::Right => self.line.go_right(),
            Action::Start => self.line.go_to_start(),
            Action::End => self.line.go_to_end(),
            Action::WordLeft => self.line.go_word_left(),
            Action::WordRight => self.line.go_word_right(),
            Action::Erase => self.line.erase(),
            Action::EndOrDelete if self.line.is_empty() => {
                self.next_row(screen);
                put(Input::End);
            }
            Action::Delete | Action::EndOrDelete => self.line.delete(),
            Action::KillToStart | Action::KillToEnd => self.kill(action),
            Action::KillSpacedWord | Action::KillWordLeft | Action::KillWordRight => self.kill(action),
            Action::Yank => {
                self.line.insert(&self.killed);
                self.cut(screen, put);
            }
            Action::NextIsLiteral => self.keys.next_is_literal(),
            Action::Older | Action::Newer | Action::Search => self.browse(action),
            Action::Complete => self.complete(had_choices, screen, put),
            Action::ClearScreen if self.is_shown => self.screen.clear(screen),
            Action::ClearScreen | Action::Cancel | Action::Insert(_) | Action::Finish => {}
        }
    }

    fn kill(&mut self, action: Action) {
        let killed = match action {
            Action::KillToStart => self.line.kill_to_start(),
            Action::KillToEnd => self.line.kill_to_end(),
            Action::KillSpacedWord => self.line.kill_spaced_word(),
            Action::KillWordLeft => self.line.kill_word_left(),
            _ => self.line.kill_word_right(),
        };
        if let Some(killed) = killed.filter(|_| self.echo) {
            self.killed = killed;
        }
    }

    fn browse(&mut self, action: Action) {
        // The rest of the line would be lost, or shown.
        if !self.echo || self.line.has_unseen() {
            return;
        }
        let line = match action {
            Action::Search => return self.search = Some(Search::new(&self.history, &self.line)),
            Action::Older => self.history.older(self.line.text()).map(str::to_owned),
            _ => self.history.newer(),
        };
        if let Some(line) = line {
            self.line.set(&line);
        }
    }

    /// Whether an action belongs to a search, and is done. Any other ends the search with what was found.
    fn search_goes_on(&mut self, action: Action) -> bool {
        let Some(search) = &mut self.search else { return false };
        match action {
            Action::Insert(c) => search.add(c, &self.history, &mut self.line),
            Action::Erase => search.remove(&self.history, &mut self.line),
            Action::Search => search.older(&self.history, &mut self.line),
            Action::Cancel => {
                let draft = self.search.take().map(Search::into_draft);
                self.line.set(&draft.unwrap_or_default());
            }
            _ => {
                self.search = None;
                return false;
            }
        }
        true
    }

    fn complete(&mut self, had_choices: bool, screen: &mut String, put: &mut impl FnMut(Input)) {
        let completer = self.completer.as_mut().filter(|_| self.echo && !self.line.has_unseen());
        let Some(completer) = completer else {
            // As the kernel's editing has it.
            self.line.insert("\t");
            return self.cut(screen, put);
        };
        match completion::complete(completer, self.line.before_cursor()) {
            Completed::Word(word) => {
                self.line.replace_last_word(&word);
                self.cut(screen, put);
            }
            Completed::Choices(choices) if had_choices && self.is_shown => {
                self.screen.erase(screen);
                screen.push_str(&completion::list(&choices, self.screen.columns()));
            }
            Completed::Choices(_) => self.has_choices = true,
            Completed::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests;
