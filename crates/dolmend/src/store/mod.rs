//! What outlives the server: bans, mutes, notes and kept names, in the files of the *state folder*.
//!
//! Each is a table in memory, and a file with one line of JSON for each entry below a line that has the version. A change
//! writes the whole table to a new file, which takes the place of the old one in a single step. So after `kill -9` at
//! any moment there is the old file or the new one, never a part, and at most those changes are lost that were not
//! reported as saved. Tables are bounded, so this stays cheap.
//!
//! Writing takes as long as the disk takes, and the game must not wait for it. So the store itself writes nothing while
//! a game runs: [`next_write`](Store::next_write) hands out what is to be written, for a [worker](crate::worker), and
//! [`written`](Store::written) takes the result. There is at most one write in flight for each table; changes in the
//! meantime go together into the next. [`safety`](Store::safety) says whether a change has reached the disk.
//!
//! A line that cannot be read is no reason to lose the others. It is reported, and kept in a file beside the table. Where
//! that is more than a megabyte, the start is refused, and no file is touched.
//!
//! The operator of a service has no console, and may write the files of bans and mutes: a reload
//! [reads](Store::read_bans_again) them again, and no write takes the place of a file that was edited since.
//!
//! | file | has |
//! |---|---|
//! | `mod.rs` | the tables, and opening the folder |
//! | `writing.rs` | what has changed, is being written, and is on the disk |
//! | `editing.rs` | the files that the operator may edit |
//! | `file.rs` | replacing a file in one step, and reading its lines |
//! | `lock.rs` | one server for each folder |
//! | `bans.rs` | bans by network or name, their expiry, and lists of networks |
//! | `networks.rs` | the longest network that contains an address |
//! | `board.rs` | notes |
//! | `accounts.rs` | kept names |

mod accounts;
mod bans;
mod board;
mod editing;
mod file;
mod lock;
mod networks;
mod writing;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lock::Lock;
use writing::Progress;

pub use accounts::{Account, AccountId, Accounts};
pub use bans::{BadBan, BadListLine, Ban, Bans, NetworkList, Target};
pub use board::{Board, BoardFull, Note};
pub use editing::BansRead;
pub use writing::{Change, Safety, Write, Written};

/// A moment, in seconds since 1970.
pub type UnixSeconds = u64;

/// The present moment, for the methods that take one.
pub fn unix_now() -> UnixSeconds {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// One of the store's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// Who may not come in.
    Bans,
    /// Who may not speak.
    Mutes,
    /// The note board.
    Notes,
    /// Kept names.
    Names,
}

impl Table {
    const ALL: [Table; 4] = [Table::Bans, Table::Mutes, Table::Notes, Table::Names];

    /// The name of the file, without the extension, and the word in its first line.
    const fn name(self) -> &'static str {
        match self {
            Table::Bans => "bans",
            Table::Mutes => "mutes",
            Table::Notes => "notes",
            Table::Names => "names",
        }
    }

    /// Whether the operator may edit the file while a server runs.
    const fn is_editable(self) -> bool {
        matches!(self, Table::Bans | Table::Mutes)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The tables.
#[derive(Debug, Default)]
pub struct Store {
    /// `None` keeps everything in memory only.
    folder: Option<PathBuf>,
    bans: Bans,
    mutes: Bans,
    board: Board,
    accounts: Accounts,
    progress: [Progress; Table::ALL.len()],
    /// Of the folder. As long as the store lives, no other one has it.
    _lock: Option<Lock>,
}

impl Store {
    /// A store that is forgotten at the end of the process.
    pub fn in_memory() -> Store {
        Store::default()
    }

    /// The store in this folder, which is created if it is not there, and locked until the store is dropped.
    ///
    /// # Errors
    ///
    /// A text for the operator: the folder or a file cannot be used, or another store has the folder. A line that cannot
    /// be read is no error.
    pub fn open(folder: &Path) -> Result<Store, String> {
        file::create_folder(folder).map_err(|error| {
            format!(
                "cannot create the state folder {}: {error}; name a folder that the server may write to",
                folder.display()
            )
        })?;
        let lock = Some(Lock::take(folder)?);
        let mut store = Store { folder: Some(folder.to_path_buf()), _lock: lock, ..Store::default() };
        store.load(folder)?;
        let noted = store.board.iter().map(|note| note.account).max();
        store.accounts.number_from(noted.unwrap_or(0));
        Ok(store)
    }

    /// The store of a configuration: in its `state folder` or in memory, with the networks of its `ban list`.
    ///
    /// # Errors
    ///
    /// A text for the operator, as for [`open`](Store::open).
    pub fn configured(folder: Option<&Path>, ban_list: NetworkList) -> Result<Store, String> {
        let mut store = match folder {
            Some(folder) => Store::open(folder)?,
            None => Store::in_memory(),
        };
        store.set_ban_list(ban_list);
        Ok(store)
    }

    /// What a server would find in this folder, without changing or making anything: a warning for each file with lines
    /// that cannot be read.
    ///
    /// # Errors
    ///
    /// A text for the operator: the server would refuse to start.
    pub fn check(folder: &Path) -> Result<Vec<String>, String> {
        let (mut store, mut warnings) = (Store::default(), Vec::new());
        for table in Table::ALL {
            let path = path_of(folder, table);
            let shown = path.display();
            let Some(bytes) = file::read(&path)? else { continue };
            let corrupt = store.restore(table, &bytes).map_err(|problem| format!("{shown}: {problem}"))?;
            let Some(first) = corrupt.first() else { continue };
            let (aside, _) =
                file::room_aside(&path, &corrupt).map_err(|problem| format!("{shown}: {problem}"))?;
            warnings.push(format!(
                "{shown}:{}: this line cannot be read ({} of them in this file); a start would move them to {}",
                first.number,
                corrupt.len(),
                aside.display()
            ));
        }
        Ok(warnings)
    }

    /// The folder, if the store is on disk.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The bans.
    pub fn bans(&self) -> &Bans {
        &self.bans
    }

    /// The mutes.
    pub fn mutes(&self) -> &Bans {
        &self.mutes
    }

    /// The note board.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The kept names.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Changes the bans. What `change` refuses is not a change, and is not written.
    ///
    /// # Errors
    ///
    /// Those of `change`, which must have changed nothing.
    pub fn change_bans<T, E>(
        &mut self,
        change: impl FnOnce(&mut Bans) -> Result<T, E>,
    ) -> Result<(T, Change), E> {
        let done = change(&mut self.bans)?;
        Ok((done, self.changed(Table::Bans)))
    }

    /// Changes the mutes, as [`change_bans`](Store::change_bans) does.
    ///
    /// # Errors
    ///
    /// Those of `change`, which must have changed nothing.
    pub fn change_mutes<T, E>(
        &mut self,
        change: impl FnOnce(&mut Bans) -> Result<T, E>,
    ) -> Result<(T, Change), E> {
        let done = change(&mut self.mutes)?;
        Ok((done, self.changed(Table::Mutes)))
    }

    /// Changes the note board, as [`change_bans`](Store::change_bans) does.
    ///
    /// # Errors
    ///
    /// Those of `change`, which must have changed nothing.
    pub fn change_board<T, E>(
        &mut self,
        change: impl FnOnce(&mut Board) -> Result<T, E>,
    ) -> Result<(T, Change), E> {
        let done = change(&mut self.board)?;
        Ok((done, self.changed(Table::Notes)))
    }

    /// Changes the kept names. `None` is no change, and nothing is written.
    pub fn change_accounts<T>(
        &mut self,
        change: impl FnOnce(&mut Accounts) -> Option<T>,
    ) -> Option<(T, Change)> {
        let done = change(&mut self.accounts)?;
        Some((done, self.changed(Table::Names)))
    }

    /// The list of banned networks from a file of the operator's. It is not among the store's own files.
    pub fn set_ban_list(&mut self, list: NetworkList) {
        self.bans.set_list(list);
    }

    /// Reads every table before it changes a file: a start that is refused has changed nothing.
    fn load(&mut self, folder: &Path) -> Result<(), String> {
        let mut files = Vec::new();
        for table in Table::ALL {
            let path = path_of(folder, table);
            self.progress[table as usize].stamp = file::stamp(&path);
            files.extend(file::read(&path)?.map(|bytes| (table, path, bytes)));
        }
        let mut damaged = Vec::new();
        for (table, path, bytes) in &files {
            let in_file = |problem| format!("{}: {problem}", path.display());
            let corrupt = self.restore(*table, bytes).map_err(in_file)?;
            if !corrupt.is_empty() {
                file::room_aside(path, &corrupt).map_err(in_file)?;
                damaged.push((*table, path, corrupt));
            }
        }
        for (table, path, corrupt) in damaged {
            let kept = file::keep_aside(path, &corrupt);
            let aside = kept.map_err(|problem| format!("{}: {problem}", path.display()))?;
            tracing::warn!(
                file = %path.display(), lines = corrupt.len(), kept_in = %aside.display(),
                "lines of the state folder cannot be read"
            );
            // From here on they are in the other file only.
            self.changed(table);
            self.save()?;
        }
        Ok(())
    }

    /// Adds the entries of a file to a table, and returns the lines that are none.
    fn restore<'a>(&mut self, table: Table, bytes: &'a [u8]) -> Result<Vec<file::BadLine<'a>>, String> {
        let (now, name) = (unix_now(), table.name());
        match table {
            Table::Bans => file::from_lines(name, bytes, |ban| self.bans.add(ban, now).is_ok()),
            Table::Mutes => file::from_lines(name, bytes, |ban| self.mutes.add(ban, now).is_ok()),
            Table::Notes => file::from_lines(name, bytes, |note| self.board.restore(note)),
            Table::Names => file::from_lines(name, bytes, |account| self.accounts.restore(account)),
        }
    }
}

fn path_of(folder: &Path, table: Table) -> PathBuf {
    folder.join(format!("{table}.jsonl"))
}

#[cfg(test)]
mod tests;
