//! The files of bans and mutes, which the operator may edit.

use super::file::{self, Stamp};
use super::{Ban, Bans, Store, Table, UnixSeconds, path_of, unix_now};

/// What an operator should have written.
const A_BAN: &str = "a line is such as {\"target\":{\"network\":\"192.0.2.0/24\"},\"reason\":\"no robots\"}, \
                         or has \"name\" in place of \"network\"";

/// How many dropped bans are named.
const MAX_NAMED: usize = 10;

/// The bans and mutes of the files; `None` where the table has changes that are not in its file, and nobody has edited that.
#[derive(Debug)]
pub struct BansRead {
    bans: Option<(Bans, Option<Stamp>)>,
    mutes: Option<(Bans, Option<Stamp>)>,
}

/// Editing.
impl Store {
    /// Reads the files of bans and mutes again, which the operator may have written, and changes nothing yet.
    ///
    /// # Errors
    ///
    /// A text for the operator: a file cannot be read, or a line of it, whose place the text has.
    pub fn read_bans_again(&self) -> Result<BansRead, String> {
        Ok(BansRead { bans: self.read_again(Table::Bans)?, mutes: self.read_again(Table::Mutes)? })
    }

    /// The bans and mutes of the files are in force from now on.
    ///
    /// Where the operator has edited a file while the table had changes that were not on the disk, the file is what counts,
    /// and the changes are dropped. For each such table there is a text for the operator.
    #[must_use]
    pub fn replace_bans(&mut self, read: BansRead) -> Vec<String> {
        let mut dropped = Vec::new();
        if let Some((bans, stamp)) = read.bans {
            dropped.extend(self.dropped(Table::Bans, &self.bans, &bans));
            let list = std::mem::take(self.bans.list_mut());
            self.bans = bans;
            self.bans.set_list(list);
            self.progress[Table::Bans as usize].was_read(stamp);
        }
        if let Some((mutes, stamp)) = read.mutes {
            dropped.extend(self.dropped(Table::Mutes, &self.mutes, &mutes));
            self.mutes = mutes;
            self.progress[Table::Mutes as usize].was_read(stamp);
        }
        dropped
    }

    /// What the table loses by the file in its place, if it has changes that are not on the disk.
    fn dropped(&self, table: Table, old: &Bans, new: &Bans) -> Option<String> {
        let progress = &self.progress[table as usize];
        if progress.saved == progress.changed {
            return None;
        }
        let now = unix_now();
        let gone = || old.iter().filter(|ban| !ban.has_expired(now) && !new.contains(ban));
        let named: Vec<String> = gone().take(MAX_NAMED).map(|ban| ban.target.to_string()).collect();
        let gone = match (gone().count(), named.join(", ")) {
            (0, _) => String::new(),
            (count, named) if count <= MAX_NAMED => format!("; these entries are not in it: {named}"),
            (count, named) => {
                format!("; these entries are not in it: {named} and {} more", count - MAX_NAMED)
            }
        };
        Some(format!(
            "{table}.jsonl was edited while the server had changes of {table} that were not on the disk: the file is in \
             force, and the changes are dropped{gone}"
        ))
    }

    /// Whether somebody else has changed the file of a table since it was read or written. The next change of the table
    /// would overwrite that.
    pub fn was_edited(&self, table: Table) -> bool {
        let Some(folder) = &self.folder else { return false };
        let progress = &self.progress[table as usize];
        // One that was removed has nothing to lose. While a write is in flight, the file may be ours.
        let found = file::stamp(&path_of(folder, table));
        !progress.in_flight && found.is_some() && found != progress.stamp
    }

    fn read_again(&self, table: Table) -> Result<Option<(Bans, Option<Stamp>)>, String> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let progress = &self.progress[table as usize];
        if progress.saved < progress.changed && !self.was_edited(table) {
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
