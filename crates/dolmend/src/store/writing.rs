//! Writing the tables: what has changed, what is being written, and what is on the disk.

use std::path::PathBuf;
use std::sync::Arc;

use super::file::{self, Refused, Replaces, Stamp};
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
    replaces: Replaces,
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
    result: Result<(), Refused>,
    /// Of the new file, if it has its place, whether or not the disk has the name.
    stamp: Option<Stamp>,
}

impl Write {
    /// Replaces the file, unless the operator has edited it. It takes as long as the disk takes.
    pub fn run(self) -> Written {
        let Write { change, path, replaces, rows } = self;
        match file::replace(&path, &rows.to_lines(change.table), replaces) {
            Ok(stamp) => {
                let result = file::sync_folder(&path).map_err(Refused::Disk);
                Written { change, result, stamp: Some(stamp) }
            }
            Err(refused) => Written { change, result: Err(refused), stamp: None },
        }
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
    /// The operator has edited the file, and it was left as it is. The change is in memory; a reload
    /// [takes](Store::replace_bans) the file in its place.
    Edited,
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
    /// What has become of the change if the last write was refused.
    refusal: Option<Safety>,
    /// Of the file, when it was last read or written.
    pub(super) stamp: Option<Stamp>,
}

impl Progress {
    /// The table was read from the file with this stamp. Changes that are not in it are gone.
    pub(super) fn was_read(&mut self, stamp: Option<Stamp>) {
        let changed = self.changed;
        *self = Progress { attempted: changed, saved: changed, refusal: None, stamp, ..*self };
    }
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
            progress.refusal.unwrap_or(Safety::Unsaved)
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
        let stamp = self.progress[table as usize].stamp;
        let replaces = if table.is_editable() { Replaces::Only(stamp) } else { Replaces::Any };
        let rows = self.rows(table);
        let progress = &mut self.progress[table as usize];
        progress.in_flight = true;
        progress.attempted = progress.changed;
        Some(Write { change: Change { table, revision: progress.changed }, path, replaces, rows })
    }

    /// Takes the result of a write.
    ///
    /// # Errors
    ///
    /// A text for the operator: the disk has refused the table, or the operator has edited its file. The next change of
    /// the table writes it again.
    pub fn written(&mut self, written: Written) -> Result<(), String> {
        let Change { table, revision } = written.change;
        let progress = &mut self.progress[table as usize];
        progress.in_flight = false;
        progress.stamp = written.stamp.or(progress.stamp);
        let problem = match written.result {
            Ok(()) => {
                progress.saved = revision;
                progress.refusal = None;
                return Ok(());
            }
            Err(Refused::Edited) => {
                progress.refusal = Some(Safety::Edited);
                format!(
                    "{table}.jsonl was edited since it was read, and is left as it is; 'reload' takes it, and drops \
                     changes that are in memory only"
                )
            }
            Err(Refused::Disk(error)) => {
                progress.refusal = Some(Safety::Unsaved);
                format!("{error}; changes are in memory only")
            }
        };
        Err(format!("cannot write {table} to the state folder: {problem}"))
    }

    /// Whether the last write of any table was refused.
    pub fn has_refused(&self) -> bool {
        self.progress.iter().any(|progress| progress.refusal.is_some())
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
        for table in Table::ALL {
            let progress = &mut self.progress[table as usize];
            if std::mem::take(&mut progress.in_flight) {
                // The result of another thread was lost with it, and the file may be ours.
                progress.stamp = self.folder.as_ref().and_then(|folder| file::stamp(&path_of(folder, table)));
            }
            progress.attempted = progress.saved;
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
