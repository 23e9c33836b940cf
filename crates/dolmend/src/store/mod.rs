//! What outlives the server: bans, mutes, notes and kept names, in the files of the *state folder*.
//!
//! Each is a table in memory, and a file with one line of JSON for each entry below a line that has the version. A change
//! writes the whole table to a new file, which takes the place of the old one in a single step. So after `kill -9` at
//! any moment there is the old file or the new one, never a part, and at most the change in flight is lost. Tables are
//! bounded, so this stays cheap.
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
//! [reads](Store::read_bans_again) them again.
//!
//! | file | has |
//! |---|---|
//! | `mod.rs` | the tables, and what of them is to be written |
//! | `file.rs` | replacing a file in one step, and reading its lines |
//! | `lock.rs` | one server for each folder |
//! | `bans.rs` | bans by network or name, their expiry, and lists of networks |
//! | `networks.rs` | the longest network that contains an address |
//! | `board.rs` | notes |
//! | `accounts.rs` | kept names |

mod accounts;
mod bans;
mod board;
mod file;
mod lock;
mod networks;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use file::Stamp;
use lock::Lock;

pub use accounts::{Account, AccountId, Accounts};
pub use bans::{BadBan, BadListLine, Ban, Bans, NetworkList, Target};
pub use board::{Board, BoardFull, Note};

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
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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

/// What an operator should have written.
const A_BAN: &str = "a line is such as {\"target\":{\"network\":\"192.0.2.0/24\"},\"reason\":\"no robots\"}, \
                         or has \"name\" in place of \"network\"";

/// The bans and mutes of the files; `None` where the table has changes that are not in its file.
#[derive(Debug)]
pub struct BansRead {
    bans: Option<(Bans, Option<Stamp>)>,
    mutes: Option<(Bans, Option<Stamp>)>,
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
struct Progress {
    /// Counts the changes.
    changed: u64,
    /// The change up to which everything was given to the disk.
    attempted: u64,
    /// The change up to which the file has everything.
    saved: u64,
    in_flight: bool,
    /// Of the file, when it was last read or written.
    stamp: Option<Stamp>,
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

    /// Reads the files of bans and mutes again, which the operator may have written, and changes nothing yet.
    ///
    /// # Errors
    ///
    /// A text for the operator: a file cannot be read, or a line of it, whose place the text has.
    pub fn read_bans_again(&self) -> Result<BansRead, String> {
        Ok(BansRead { bans: self.read_again(Table::Bans)?, mutes: self.read_again(Table::Mutes)? })
    }

    /// The bans and mutes of the files are in force from now on.
    pub fn replace_bans(&mut self, read: BansRead) {
        if let Some((bans, stamp)) = read.bans {
            let list = std::mem::take(self.bans.list_mut());
            self.bans = bans;
            self.bans.set_list(list);
            self.progress[Table::Bans as usize].stamp = stamp;
        }
        if let Some((mutes, stamp)) = read.mutes {
            self.mutes = mutes;
            self.progress[Table::Mutes as usize].stamp = stamp;
        }
    }

    /// Whether somebody else has changed the file of a table since it was read or written. The next change of the table
    /// would overwrite that.
    pub fn was_edited(&self, table: Table) -> bool {
        let Some(folder) = &self.folder else { return false };
        let progress = &self.progress[table as usize];
        // Our own file is on its way there, or the disk has refused it.
        let is_settled = progress.saved == progress.changed && !progress.in_flight;
        // One that was removed has nothing to lose.
        let found = file::stamp(&path_of(folder, table));
        is_settled && found.is_some() && found != progress.stamp
    }

    fn read_again(&self, table: Table) -> Result<Option<(Bans, Option<Stamp>)>, String> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let progress = &self.progress[table as usize];
        if progress.saved < progress.changed {
            // The file is older than the table. A disk that refuses to write must not prevent reloads.
            tracing::warn!(%table, "not read again: it has changes that are not on the disk yet");
            return Ok(None);
        }
        let path = path_of(folder, table);
        let (mut bans, now) = (Bans::default(), unix_now());
        // First: what is written while it is read counts as not read.
        let stamp = file::stamp(&path);
        let Some(bytes) = file::read(&path)? else { return Ok(Some((bans, None))) };
        let corrupt = file::from_lines(table.name(), &bytes, |ban| bans.add(ban, now).is_ok())
            .map_err(|problem| format!("{}: {problem}", path.display()))?;
        match corrupt.first() {
            None => Ok(Some((bans, stamp))),
            Some(bad) => {
                let problem = what_is_wrong(bad.bytes, now);
                Err(format!("{}:{}: this is not a ban: {problem}; {A_BAN}", path.display(), bad.number))
            }
        }
    }

    fn changed(&mut self, table: Table) -> Change {
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

/// Why a line of the file of bans or mutes is refused.
fn what_is_wrong(line: &[u8], now: UnixSeconds) -> String {
    match serde_json::from_slice::<Ban>(line) {
        Ok(ban) => Bans::default().add(ban, now).map_or_else(
            |bad| bad.to_string().trim_end_matches('.').to_owned(),
            |()| "there is no room for it".into(),
        ),
        // Every line is a text of its own for the parser.
        Err(error) => error.to_string().replace("at line 1 column", "at column"),
    }
}

fn path_of(folder: &Path, table: Table) -> PathBuf {
    folder.join(format!("{table}.jsonl"))
}

#[cfg(test)]
mod tests;
