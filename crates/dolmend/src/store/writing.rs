//! Writing the tables: what has changed, what is being written, and what is on the disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::file::{self, Stamp};
use super::{Account, Ban, Note, Store, Table, path_of};

/// A change of a table, to ask later whether it is [saved](Store::safety).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    table: Table,
    revision: u64,
}

/// A table to be written: a job for another thread.
#[derive(Debug)]
pub struct Write {
    change: Change,
    path: PathBuf,
    rows: Rows,
}

/// The content of a table, shared with it. The lines are made of it in the other thread, as for thousands of entries that
/// takes longer than a game should wait.
#[derive(Debug)]
enum Rows {
    Bans(Vec<Arc<Ban>>),
    Notes(Vec<Note>),
    Names(Vec<Arc<Account>>),
}

impl Rows {
    fn to_lines(&self, table: Table) -> Vec<u8> {
        let name = table.name();
        match self {
            Rows::Bans(bans) => file::to_lines(name, bans.iter().map(Arc::as_ref)),
            Rows::Notes(notes) => file::to_lines(name, notes.iter()),
            Rows::Names(accounts) => file::to_lines(name, accounts.iter().map(Arc::as_ref)),
        }
    }
}

/// A finished [`Write`].
#[derive(Debug)]
pub struct Written {
    change: Change,
    result: io::Result<()>,
    /// Of the new file.
    stamp: Option<Stamp>,
}

impl Write {
    /// Replaces the file. It takes as long as the disk takes.
    pub fn run(self) -> Written {
        let result = file::replace(&self.path, &self.rows.to_lines(self.change.table));
        Written { change: self.change, result, stamp: file::stamp(&self.path) }
    }
}

/// Where a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
    /// It is still to be written.
    Pending,
    /// It is on the disk. Without a folder, every change is as safe as it will ever be.
    Saved,
    /// The disk refused it. It is in memory; the next change of the table tries again, and so does
    /// [`retry`](Store::retry).
    Unsaved,
}

/// How far a table is written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Counts the changes.
    pub(super) changed: u64,
    /// The change up to which everything was given to the disk.
    attempted: u64,
    /// The change up to which the file has everything.
    pub(super) saved: u64,
    pub(super) in_flight: bool,
    /// Of the file, when it was last read or written.
    pub(super) stamp: Option<Stamp>,
}

/// Writing.
impl Store {
    pub(super) fn changed(&mut self, table: Table) -> Change {
        let progress = &mut self.progress[table as usize];
        progress.changed += 1;
        Change { table, revision: progress.changed }
    }

    /// Where a change is.
    pub fn safety(&self, change: Change) -> Safety {
        let progress = &self.progress[change.table as usize];
        if self.folder.is_none() || progress.saved >= change.revision {
            Safety::Saved
        } else if progress.attempted >= change.revision && !progress.in_flight {
            Safety::Unsaved
        } else {
            Safety::Pending
        }
    }

    /// A table that has changed and is not being written.
    pub fn next_write(&mut self) -> Option<Write> {
        let folder = self.folder.as_ref()?;
        let table = Table::ALL.into_iter().find(|&table| {
            let progress = &self.progress[table as usize];
            progress.changed > progress.attempted && !progress.in_flight
        })?;
        let path = path_of(folder, table);
        let rows = self.rows(table);
        let progress = &mut self.progress[table as usize];
        progress.in_flight = true;
        progress.attempted = progress.changed;
        Some(Write { change: Change { table, revision: progress.changed }, path, rows })
    }

    /// Takes the result of a write.
    ///
    /// # Errors
    ///
    /// A text for the operator: the disk has refused the table. The next change of the table writes it again.
    pub fn written(&mut self, written: Written) -> Result<(), String> {
        let Change { table, revision } = written.change;
        let progress = &mut self.progress[table as usize];
        progress.in_flight = false;
        match written.result {
            Ok(()) => {
                progress.saved = revision;
                progress.stamp = written.stamp;
                Ok(())
            }
            Err(error) => {
                Err(format!("cannot write {table} to the state folder: {error}; changes are in memory only"))
            }
        }
    }

    /// What the disk has refused is to be written again.
    pub fn retry(&mut self) {
        for progress in self.progress.iter_mut().filter(|progress| !progress.in_flight) {
            progress.attempted = progress.saved;
        }
    }

    /// Writes everything that has changed, and waits for the disk. No other thread may be writing any more.
    ///
    /// # Errors
    ///
    /// As for [`written`](Store::written), with a line for each table; the others are written all the same.
    pub fn save(&mut self) -> Result<(), String> {
        let mut problems = Vec::new();
        for progress in &mut self.progress {
            // The result of another thread may have been lost with it.
            *progress = Progress { in_flight: false, attempted: progress.saved, ..*progress };
        }
        while let Some(write) = self.next_write() {
            problems.extend(self.written(write.run()).err());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
    }

    fn rows(&self, table: Table) -> Rows {
        match table {
            Table::Bans => Rows::Bans(self.bans.rows()),
            Table::Mutes => Rows::Bans(self.mutes.rows()),
            Table::Notes => Rows::Notes(self.board.iter().cloned().collect()),
            Table::Names => Rows::Names(self.accounts.rows()),
        }
    }
}
