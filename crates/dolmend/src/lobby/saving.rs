//! Work off the game's thread: passwords, and writing to the disk; and the players who wait for the disk.

use dolmen::{Inbox, Sender};

use super::Lobby;
use super::passwords::{self, Hasher, Job, Whose};
use crate::store::{Change, Safety, Write, Written};
use crate::worker::Worker;
use crate::world::{Channels, Turn, UserId};

/// Results that may wait. There are never more jobs.
const MAX_RESULTS: usize = 2 * passwords::MAX_WAITING;

/// Writes that may wait: one of each table.
const MAX_WRITES: usize = 8;

/// A finished job.
#[derive(Debug)]
pub(super) enum Done {
    /// A password was compared with its hash.
    Verified { user: UserId, is_right: bool },
    /// A new password has a hash, if the system gave us memory for it.
    Hashed { whose: Whose, hash: Option<String> },
    /// A table was written.
    Written(Written),
}

/// The lobby's threads. Each starts with its first job: a lobby without passwords and without a state folder has none.
#[derive(Debug)]
pub(super) struct Threads {
    results: Sender<Done>,
    inbox: Inbox<Done>,
    passwords: Option<Worker<Job>>,
    disk: Option<Worker<Write>>,
}

impl Threads {
    pub fn new(channels: &Channels<'_>) -> Threads {
        let (results, inbox) = channels.open(MAX_RESULTS);
        Threads { results, inbox, passwords: None, disk: None }
    }

    /// Queues a password. False if there is no room.
    pub fn submit_password(&mut self, job: Job) -> bool {
        if self.passwords.is_none() {
            let results = self.results.clone();
            self.passwords = started(Worker::start("passwords", passwords::MAX_WAITING, results, {
                let mut hasher = Hasher::default();
                move |job| hasher.run(job)
            }));
        }
        self.passwords.as_ref().is_some_and(|worker| worker.submit(job).is_ok())
    }

    /// Queues a write. It comes back if there is no thread for it.
    fn submit_write(&mut self, write: Write) -> Result<(), Write> {
        if self.disk.is_none() {
            let results = self.results.clone();
            self.disk = started(Worker::start("state folder", MAX_WRITES, results, |write: Write| {
                Done::Written(write.run())
            }));
        }
        match &self.disk {
            Some(worker) => worker.submit(write),
            None => Err(write),
        }
    }

    fn take_results(&mut self) -> Vec<Done> {
        self.inbox.drain().collect()
    }
}

fn started<J>(worker: std::io::Result<Worker<J>>) -> Option<Worker<J>> {
    worker.inspect_err(|error| tracing::warn!(%error, "cannot start a thread")).ok()
}

/// A user who is told something when a change is on the disk.
#[derive(Debug)]
pub(super) struct Waiting {
    change: Change,
    user: UserId,
    text: String,
}

impl Lobby {
    /// Takes the results that wait.
    pub(super) fn take_results(&mut self, turn: &mut Turn<'_>) {
        let results = self.threads.as_mut().map(Threads::take_results).unwrap_or_default();
        for done in results {
            match done {
                Done::Verified { user, is_right } => self.verified(turn, user, is_right),
                Done::Hashed { whose, hash } => self.hashed(turn, whose, hash),
                Done::Written(written) => report(self.store.written(written)),
            }
        }
        self.save(turn);
    }

    /// Shows a text to a user as soon as a change is on the disk. Until then the user's lines wait.
    pub(super) fn send_when_saved(
        &mut self,
        turn: &mut Turn<'_>,
        user: UserId,
        change: Change,
        text: String,
    ) {
        turn.hold(user);
        self.waiting.push(Waiting { change, user, text });
        self.save(turn);
    }

    /// Has the changes written, and tells those who wait for changes that were.
    pub(super) fn save(&mut self, turn: &mut Turn<'_>) {
        while let Some(write) = self.store.next_write() {
            let refused = match &mut self.threads {
                Some(threads) => threads.submit_write(write).err(),
                None => Some(write),
            };
            if let Some(write) = refused {
                report(self.store.written(write.run()));
            }
        }
        let store = &self.store;
        self.waiting.retain(|Waiting { change, user, text }| {
            match store.safety(*change) {
                Safety::Pending => return true,
                Safety::Saved => turn.send(*user, text.as_str()),
                Safety::Unsaved => turn.send(
                    *user,
                    format!(
                        "{text}It could not be saved on the disk, and is forgotten when the server ends.\n"
                    ),
                ),
            }
            turn.release(*user);
            false
        });
    }

    /// Writes what is not written, and waits for the disk: at the end.
    fn finish(&mut self) {
        let Some(threads) = self.threads.take() else { return report(self.store.save()) };
        let Threads { disk, mut inbox, .. } = threads;
        if let Some(disk) = disk {
            disk.finish();
        }
        for done in inbox.drain() {
            if let Done::Written(written) = done {
                report(self.store.written(written));
            }
        }
        report(self.store.save());
    }
}

impl Drop for Lobby {
    fn drop(&mut self) {
        self.finish();
    }
}

fn report(result: Result<(), String>) {
    if let Err(problem) = result {
        tracing::error!("{problem}");
    }
}
