//! A terminal with the few commands that the editor uses. Other emulators have one opinion about the width of a cluster;
//! this one takes it as a parameter.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How the emulator draws 👩‍🚀.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Draws {
    TwoCells,
    FourCells,
}

pub(in super::super) struct Emulator {
    draws: Draws,
    columns: usize,
    rows: Vec<Vec<String>>,
    /// Row and column.
    pub(in super::super) cursor: (usize, usize),
    /// Rows that have left the window at its top.
    pub(in super::super) scrolled: Vec<String>,
}

impl Emulator {
    pub(in super::super) fn new(columns: usize, rows: usize, draws: Draws) -> Emulator {
        Emulator {
            draws,
            columns,
            rows: vec![vec![" ".into(); columns]; rows],
            cursor: (0, 0),
            scrolled: Vec::new(),
        }
    }

    /// The rows with text, without the spaces at their ends.
    pub(in super::super) fn rows(&self) -> Vec<String> {
        let mut rows: Vec<String> = self.rows.iter().map(|row| row.concat().trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }

    /// As xterm does it: rows are cut or get spaces, and none is broken anew.
    pub(in super::super) fn resize(&mut self, columns: usize) {
        self.columns = columns;
        self.rows.iter_mut().for_each(|row| row.resize(columns, " ".into()));
        self.cursor.1 = self.cursor.1.min(columns - 1);
    }

    pub(in super::super) fn write(&mut self, mut text: &str) {
        while !text.is_empty() {
            let length = match text.strip_prefix("\x1b[") {
                Some(command) => {
                    let last = command.find(|c: char| c.is_ascii_alphabetic()).expect("a whole command");
                    self.command(&command[..last], command.as_bytes()[last]);
                    last + 3
                }
                None => self.character(text),
            };
            text = &text[length..];
        }
    }

    fn command(&mut self, parameter: &str, command: u8) {
        let number: usize = parameter.parse().unwrap_or(1);
        let (row, column) = &mut self.cursor;
        match command {
            b'A' => *row = row.saturating_sub(number),
            b'B' => *row = (*row + number).min(self.rows.len() - 1),
            b'G' => *column = (number - 1).min(self.columns - 1),
            b'H' => self.cursor = (0, 0),
            b'J' => {
                if parameter == "2" {
                    self.rows.iter_mut().flatten().for_each(|cell| *cell = " ".into());
                    return;
                }
                let (row, column) = (*row, (*column).min(self.columns - 1));
                self.rows[row][column..].iter_mut().for_each(|cell| *cell = " ".into());
                self.rows[row + 1..].iter_mut().flatten().for_each(|cell| *cell = " ".into());
            }
            // Colours.
            b'm' => {}
            _ => panic!("the command {} is not known", char::from(command)),
        }
    }

    /// Draws what the text begins with. Returns its length.
    fn character(&mut self, text: &str) -> usize {
        let first = text.chars().next().expect("a text");
        let cluster = match self.draws {
            Draws::TwoCells => text.graphemes(true).next().expect("a text"),
            Draws::FourCells => &text[..first.len_utf8()],
        };
        match first {
            '\r' => self.cursor.1 = 0,
            '\n' => self.line_feed(),
            _ if first.is_control() => panic!("a control character: {first:?}"),
            _ if cluster.len() > first.len_utf8() => {
                self.put(cluster, cluster.width());
                return cluster.len();
            }
            _ => self.put(cluster, first.width().unwrap_or(0)),
        }
        first.len_utf8()
    }

    fn put(&mut self, cluster: &str, cells: usize) {
        if cells == 0 {
            let (row, column) = self.cursor;
            let before =
                (0..column.min(self.columns)).rev().find(|&column| !self.rows[row][column].is_empty());
            if let Some(column) = before {
                self.rows[row][column].push_str(cluster);
            }
            return;
        }
        if self.cursor.1 + cells > self.columns {
            self.cursor.1 = 0;
            self.line_feed();
        }
        let (row, column) = self.cursor;
        // What is left of a wide character that is half overwritten is a space.
        if self.rows[row][column].is_empty() {
            self.rows[row][column - 1] = " ".into();
        }
        self.rows[row][column] = cluster.to_owned();
        (1..cells).for_each(|cell| self.rows[row][column + cell] = String::new());
        if let Some(next) = self.rows[row].get_mut(column + cells).filter(|next| next.is_empty()) {
            *next = " ".into();
        }
        self.cursor.1 += cells;
    }

    fn line_feed(&mut self) {
        self.cursor.0 += 1;
        if self.cursor.0 == self.rows.len() {
            let top = self.rows.remove(0);
            self.scrolled.push(top.concat().trim_end().to_owned());
            self.rows.push(vec![" ".into(); self.columns]);
            self.cursor.0 -= 1;
        }
    }
}
