//! The line on the screen: the prompt, and what has been typed.
//!
//! [`Screen`] knows what it has drawn and where the cursor is, so a change writes only what has changed: an added character
//! is that character. The line is broken into rows here, and not by the terminal, so that a row ends in the same place
//! on every terminal. A line of more rows than the window is shown in part, around the cursor: a terminal cannot go
//! back above its first row.
//!
//! After a cluster on whose width terminals disagree, the next one is placed by its column. Such a cluster is never
//! placed where its widest form would not fit into the row [hc58].
//!
//! ECMA-48: CUU and CUD (rows up, down), CHA (a column), ED (erase to the end).

use std::fmt::Write as _;

use unicode_segmentation::UnicodeSegmentation as _;

use super::super::width::Cells;

/// What is to be seen of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) prompt: &'a str,
    pub(super) before_cursor: &'a str,
    pub(super) after_cursor: &'a str,
}

/// The size of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Window {
    pub(in super::super) columns: usize,
    pub(in super::super) rows: usize,
}

/// A window whose size is not known.
const USUAL_WINDOW: Window = Window { columns: 80, rows: 24 };

impl Window {
    pub(in super::super) fn new(size: Option<(u16, u16)>) -> Window {
        match size {
            Some((columns, rows)) if columns > 0 && rows > 0 => {
                Window { columns: columns.into(), rows: rows.into() }
            }
            _ => USUAL_WINDOW,
        }
    }
}

/// A row and a column, from the first of the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    row: usize,
    column: usize,
}

/// A cluster, or an escape sequence of the prompt, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Placed {
    text: String,
    at: Position,
    cells: Cells,
}

/// What is on the screen.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    clusters: Vec<Placed>,
    /// Behind the last cluster.
    end: Position,
    cursor: Position,
    /// How many rows of the line are above the image.
    first_row: usize,
}

/// What is known of the row that the cursor is in.
#[derive(Clone, Debug, Default)]
enum Row {
    /// Nothing. What is in it is erased: it may be typed text that the kernel has shown.
    #[default]
    Unknown,
    /// It is empty.
    Empty,
    /// It has text that is not ours, which must stay.
    Foreign,
    Line(Image),
}

/// The row or rows of a screen that the line is in.
#[derive(Clone, Debug)]
pub(in super::super) struct Screen {
    window: Window,
    row: Row,
}

impl Screen {
    pub(super) fn new(window: Window) -> Screen {
        Screen { window, row: Row::default() }
    }

    /// Shows the line as it is now.
    pub(super) fn draw(&mut self, view: View<'_>, screen: &mut String) {
        if !self.has_line() && matches!(view, View { prompt: "", before_cursor: "", after_cursor: "" }) {
            return;
        }
        let old = match std::mem::take(&mut self.row) {
            Row::Unknown => {
                screen.push_str("\r\x1b[J");
                Image::default()
            }
            Row::Foreign => {
                screen.push_str("\r\n");
                Image::default()
            }
            Row::Empty => Image::default(),
            Row::Line(image) => image,
        };
        let new = lay_out(view, self.window, old.first_row);
        change(&old, &new, screen);
        self.row = Row::Line(new);
    }

    /// Removes the line from the screen.
    pub(super) fn erase(&mut self, screen: &mut String) {
        self.erase_row(screen);
        self.row = Row::Empty;
    }

    fn erase_row(&self, screen: &mut String) {
        match &self.row {
            Row::Unknown => screen.push_str("\r\x1b[J"),
            Row::Empty => {}
            Row::Foreign => screen.push_str("\r\n"),
            Row::Line(image) => {
                go(image.cursor, Position::default(), screen);
                screen.push_str("\x1b[J");
            }
        }
    }

    /// Removes the line from the screen, to be shown again as it was.
    pub(super) fn lift(&mut self, screen: &mut String) -> Option<Image> {
        self.erase_row(screen);
        match std::mem::replace(&mut self.row, Row::Empty) {
            Row::Line(image) => Some(image),
            _ => None,
        }
    }

    /// Shows a line again, below what was written meanwhile.
    pub(super) fn put_back(&mut self, image: Image, screen: &mut String) {
        change(&Image::default(), &image, screen);
        self.row = Row::Line(image);
    }

    pub(super) fn has_line(&self) -> bool {
        matches!(self.row, Row::Line(_))
    }

    pub(super) fn columns(&self) -> usize {
        self.window.columns
    }

    /// Leaves the line where it is, with a mark at its end, and begins a row below it.
    pub(super) fn finish(&mut self, mark: &str, screen: &mut String) {
        match &self.row {
            Row::Line(image) => {
                go(image.cursor, image.end, screen);
                screen.push_str(mark);
                // The last row is full, and the cursor already below it.
                if image.end.row == 0 || image.end.column > 0 || !mark.is_empty() {
                    screen.push_str("\r\n");
                }
            }
            _ => {
                screen.push_str(mark);
                screen.push_str("\r\n");
            }
        }
        self.row = Row::Empty;
    }

    /// Clears the window. The line is drawn in its first row.
    pub(super) fn clear(&mut self, screen: &mut String) {
        screen.push_str("\x1b[H\x1b[2J");
        self.row = Row::Empty;
    }

    /// A text that is not ours was written at the cursor.
    pub(super) fn written(&mut self, text: &str) {
        match text.chars().next_back() {
            None => {}
            Some('\n') => self.row = Row::Empty,
            Some(_) => self.row = Row::Foreign,
        }
    }

    /// The cursor may be anywhere, in a row whose text must stay (a shell has used the terminal), or need not.
    pub(super) fn forget(&mut self, keep_row: bool) {
        self.row = if keep_row { Row::Foreign } else { Row::Unknown };
    }

    /// The window has another size. A line that is on the screen is removed from it, as it is broken into other rows
    /// now. The terminal may have made more rows of those that were drawn, and never fewer, because each of them was
    /// ended here. So a part of the line may stay, but nothing above it is erased. A screen that is not ours is left alone.
    pub(super) fn resize(&mut self, window: Window, is_ours: bool, screen: &mut String) {
        if window == self.window {
            return;
        }
        self.window = window;
        match self.row {
            Row::Line(_) if is_ours => self.erase(screen),
            Row::Line(_) => self.row = Row::Foreign,
            _ => {}
        }
    }
}

/// Makes the new image of the old one.
fn change(old: &Image, new: &Image, screen: &mut String) {
    let pairs = old.clusters.iter().zip(&new.clusters);
    let same = pairs.take_while(|(old, new)| old == new).count();
    let mut at = old.cursor;
    if same < old.clusters.len() || same < new.clusters.len() {
        // Where the old image or the new one goes on: both are in rows that exist.
        at = go(at, old.place(same).min(new.place(same)), screen);
        if same < old.clusters.len() {
            screen.push_str("\x1b[J");
        }
        for cluster in &new.clusters[same..] {
            if cluster.at.row > at.row {
                screen.push_str("\r\n");
            } else if cluster.at.column != at.column {
                let _ = write!(screen, "\x1b[{}G", cluster.at.column + 1);
            }
            screen.push_str(&cluster.text);
            at = Position { row: cluster.at.row, column: cluster.at.column + cluster.cells.count };
            if cluster.cells.is_disputed {
                // Unequal to every column: the next one is placed.
                at.column = usize::MAX;
            }
        }
        if new.end.row > at.row {
            screen.push_str("\r\n");
            at = new.end;
        }
    }
    go(at, new.cursor, screen);
}

/// Moves the cursor.
fn go(from: Position, to: Position, screen: &mut String) -> Position {
    let _ = match (from.row, to.row) {
        (from, to) if from > to => write!(screen, "\x1b[{}A", from - to),
        (from, to) if from < to => write!(screen, "\x1b[{}B", to - from),
        _ => Ok(()),
    };
    if from.column != to.column || from.row != to.row {
        let _ = match to.column {
            0 => write!(screen, "\r"),
            column => write!(screen, "\x1b[{}G", column + 1),
        };
    }
    to
}

/// Breaks a line into rows, and takes the part of it that fits into the window. `first_row`: the first row of the part
/// that was shown before.
fn lay_out(view: View<'_>, window: Window, first_row: usize) -> Image {
    let mut layout = Layout {
        columns: window.columns,
        clusters: Vec::new(),
        at: Position::default(),
        is_below_full_row: false,
    };
    layout.prompt(view.prompt);
    let text = shown(view.before_cursor);
    let cursor = text.len();
    let text = text + &shown(view.after_cursor);
    let cursor = layout.text(&text, cursor);
    let Layout { clusters, at: end, .. } = layout;
    let mut image = Image { clusters, end, cursor: cursor.unwrap_or(end), first_row: 0 };
    // A row is left for what was printed above.
    let most = window.rows.max(2) - 1;
    if image.end.row >= most {
        let last = image.end.row + 1 - most;
        let first =
            first_row.min(image.cursor.row).max((image.cursor.row + 1).saturating_sub(most)).min(last);
        image.scroll(first, most);
    }
    image
}

impl Image {
    /// The place of a cluster, or behind the last one.
    fn place(&self, cluster: usize) -> Position {
        self.clusters.get(cluster).map_or(self.end, |cluster| cluster.at)
    }

    /// Keeps this many rows from this one on.
    fn scroll(&mut self, first: usize, most: usize) {
        self.clusters.retain(|cluster| (first..first + most).contains(&cluster.at.row));
        self.clusters.iter_mut().for_each(|cluster| cluster.at.row -= first);
        self.cursor.row -= first;
        if self.end.row >= first + most {
            let last = self.clusters.last();
            let column = last.map_or(0, |last| last.at.column + last.cells.count);
            self.end = Position { row: most - 1, column };
        } else {
            self.end.row -= first;
        }
        self.first_row = first;
    }
}

/// Clusters in their places, so far.
struct Layout {
    columns: usize,
    clusters: Vec<Placed>,
    at: Position,
    /// The last cluster has filled its row, so a line feed behind it adds none.
    is_below_full_row: bool,
}

impl Layout {
    /// A prompt may have several lines, and escape sequences for colours.
    fn prompt(&mut self, prompt: &str) {
        let mut rest = prompt;
        while let Some(start) = rest.find(['\x1b', '\n']) {
            self.text(&shown(&rest[..start]), usize::MAX);
            rest = &rest[start..];
            let length = if rest.starts_with('\n') { 1 } else { sequence_length(rest) };
            let cells = Cells { count: 0, most: 0, is_disputed: false };
            if rest.starts_with('\n') && !std::mem::take(&mut self.is_below_full_row) {
                self.at = Position { row: self.at.row + 1, column: 0 };
            }
            let text = rest[..length].trim_matches('\n').to_owned();
            self.clusters.push(Placed { text, at: self.at, cells });
            rest = &rest[length..];
        }
        self.text(&shown(rest), usize::MAX);
    }

    /// Adds a text. Returns the position of the cluster at `cursor`, in bytes.
    fn text(&mut self, text: &str, cursor: usize) -> Option<Position> {
        let mut found = None;
        for (start, cluster) in text.grapheme_indices(true) {
            let cells = Cells::of(cluster);
            if self.at.column + cells.most > self.columns && self.at.column > 0 {
                self.at = Position { row: self.at.row + 1, column: 0 };
            }
            if start >= cursor && found.is_none() {
                found = Some(self.at);
            }
            self.clusters.push(Placed { text: cluster.to_owned(), at: self.at, cells });
            self.at.column += cells.count;
            self.is_below_full_row = self.at.column >= self.columns;
            if self.is_below_full_row {
                self.at = Position { row: self.at.row + 1, column: 0 };
            }
        }
        found
    }
}

/// The bytes of the escape sequence that a text begins with.
fn sequence_length(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else { return 1 };
    let last = parameters.bytes().position(|byte| (0x40..0x7F).contains(&byte));
    last.map_or(1, |last| last + 3)
}

/// A text as it is shown: control characters as `^X`, so that none of them reaches the terminal.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(' '),
            c if c.is_ascii_control() => shown.extend(['^', char::from(c as u8 ^ 0x40)]),
            // Commands of eight-bit terminals.
            c if c.is_control() => shown.push(char::REPLACEMENT_CHARACTER),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
pub(super) mod emulator;
#[cfg(test)]
mod tests;
