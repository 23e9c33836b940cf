//! The line that a console is editing.

use super::{Edition, SPACE};

/// A line, its cursor, and in the old edition the buffer around it.
pub(super) struct Line {
    /// Old: as long as the buffer, filled with spaces and with what stood there before. Otherwise as long as the line.
    units: Vec<u16>,
    length: usize,
    cursor: usize,
    inserts: bool,
    /// Old: how many units there may be.
    capacity: Option<usize>,
}

impl Line {
    pub(super) fn new(edition: Edition, initial: &[u16], wanted: usize, capacity: Option<usize>) -> Line {
        // The smallest buffer has 512 bytes.
        let capacity =
            (edition == Edition::Old).then(|| capacity.unwrap_or(wanted.max(256)).max(initial.len()));
        let mut units = initial.to_vec();
        units.resize(capacity.unwrap_or(units.len()), SPACE);
        Line { units, length: initial.len(), cursor: initial.len(), inserts: true, capacity }
    }

    pub(super) fn text(&self) -> &[u16] {
        &self.units[..self.length]
    }

    /// No character is taken any more: there is room for the end of the line only.
    pub(super) fn is_full(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.length + 2 >= capacity)
    }

    /// The read ends without an Enter.
    pub(super) fn is_at_capacity(&self) -> bool {
        self.capacity.is_some_and(|capacity| self.length >= capacity)
    }

    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    pub(super) fn home(&mut self) {
        self.cursor = 0;
    }

    pub(super) fn end(&mut self) {
        self.cursor = self.length;
    }

    pub(super) fn left(&mut self) {
        self.cursor = self.cursor.saturating_sub(1);
    }

    pub(super) fn right(&mut self) {
        self.cursor = (self.cursor + 1).min(self.length);
    }

    pub(super) fn word_left(&mut self) {
        while self.cursor > 0 && self.units[self.cursor - 1] == SPACE {
            self.cursor -= 1;
        }
        while self.cursor > 0 && self.units[self.cursor - 1] != SPACE {
            self.cursor -= 1;
        }
    }

    pub(super) fn word_right(&mut self) {
        while self.cursor < self.length && self.units[self.cursor] != SPACE {
            self.cursor += 1;
        }
        while self.cursor < self.length && self.units[self.cursor] == SPACE {
            self.cursor += 1;
        }
    }

    pub(super) fn toggle_insert(&mut self) {
        self.inserts = !self.inserts;
    }

    pub(super) fn insert(&mut self, unit: u16) {
        if !self.inserts && self.cursor < self.length {
            self.units[self.cursor] = unit;
        } else {
            self.units.insert(self.cursor, unit);
            self.length += 1;
            self.keep_buffer();
        }
        self.cursor += 1;
    }

    /// Puts a unit behind the line, whatever room there is.
    pub(super) fn append(&mut self, unit: u16) {
        self.units.insert(self.length, unit);
        self.length += 1;
        self.cursor = self.length;
        self.keep_buffer();
    }

    /// Old: the buffer keeps its length.
    fn keep_buffer(&mut self) {
        if let Some(capacity) = self.capacity {
            self.units.resize(capacity.max(self.length), SPACE);
        }
    }

    pub(super) fn delete(&mut self) {
        if self.cursor < self.length {
            self.remove(self.cursor, self.cursor + 1);
        }
    }

    pub(super) fn delete_before(&mut self) {
        if self.cursor == 0 {
            return;
        }
        self.cursor -= 1;
        // At the end the deleted unit stays in the buffer behind the line.
        if self.capacity.is_some() && self.cursor + 1 == self.length {
            self.length -= 1;
        } else {
            self.remove(self.cursor, self.cursor + 1);
        }
    }

    pub(super) fn delete_to_start(&mut self) {
        self.remove(0, self.cursor);
        self.cursor = 0;
    }

    pub(super) fn delete_to_end(&mut self) {
        self.remove(self.cursor, self.length);
    }

    pub(super) fn clear(&mut self) {
        self.cursor = 0;
        self.remove(0, self.length);
    }

    fn remove(&mut self, from: usize, to: usize) {
        self.units.drain(from..to);
        self.length -= to - from;
        self.keep_buffer();
    }

    pub(super) fn replace(&mut self, text: &[u16]) {
        self.clear();
        let room = self.capacity.map_or(text.len(), |capacity| text.len().min(capacity.saturating_sub(2)));
        self.units.splice(0..0, text[..room].iter().copied());
        self.length = room;
        self.cursor = room;
        self.keep_buffer();
    }

    /// Puts units over those at the cursor.
    pub(super) fn overwrite(&mut self, text: &[u16]) {
        for &unit in text {
            if self.cursor < self.length {
                self.units[self.cursor] = unit;
            } else if self.is_full() {
                return;
            } else {
                self.units.insert(self.cursor, unit);
                self.length += 1;
                self.keep_buffer();
            }
            self.cursor += 1;
        }
    }

    /// The result of a read that a wake-up key ends. Old: the key is put over the unit at the cursor, and the result is
    /// one unit longer than the line. After the rewrite it is inserted; later everything behind the cursor is cut off.
    pub(super) fn woken(mut self, edition: Edition, unit: u16) -> Vec<u16> {
        match edition {
            Edition::Old => {
                let length = self.length + 1;
                self.units.resize(self.units.len().max(length), SPACE);
                self.units[self.cursor] = unit;
                self.units.truncate(length);
            }
            Edition::Rewritten => self.units.insert(self.cursor, unit),
            Edition::Cutting | Edition::Inline => {
                self.units.truncate(self.cursor);
                self.units.push(unit);
            }
        }
        self.units
    }
}
