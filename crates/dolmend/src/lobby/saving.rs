//! Work off the game's thread: passwords, and writing to the disk; and the players who wait for the disk.

use std::time::Duration;

use dolmen::{Inbox, Sender};

use super::Lobby;
use super::passwords::{self, Hasher, Job, Whose};
use crate::store::{Change, Safety, Write, Written};
use crate::worker::Worker;
use crate::world::{Channels, Turn, UserId};

/// Results that may wait. There are never more jobs.
const MAX_RESULTS: usize = 2 * passwords::MAX_WAITING;

/// The longest time until the disk is asked again.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

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
    /// `None` is the operator.
    user: Option<UserId>,
    text: String,
}

/// When the disk is asked again after it has refused.
#[derive(Debug, Default)]
pub(super) struct Retries {
    /// How often it has refused since it last had everything.
    refused: u32,
    is_waiting: bool,
}

impl Retries {
    fn delay(&self) -> Duration {
        Duration::from_secs(1 << self.refused.saturating_sub(1).min(6)).min(LONGEST_RETRY)
    }
}

impl Lobby {
    /// Takes the results that wait.
    pub(super) fn take_results(&mut self, turn: &mut Turn<'_>) {
        let results = self.threads.as_mut().map(Threads::take_results).unwrap_or_default();
        for done in results {
            match done {
                Done::Verified { user, is_right } => self.verified(turn, user, is_right),
                Done::Hashed { whose, hash } => self.hashed(turn, whose, hash),
                Done::Written(written) => self.written(turn, written),
            }
        }
        self.save(turn);
    }

    /// The disk is asked again for what it has refused.
    pub(super) fn retry_writes(&mut self, turn: &mut Turn<'_>) {
        self.retries.is_waiting = false;
        self.forget_refusals();
        self.store.retry();
        self.save(turn);
    }

    /// Takes the result of a write, and has it tried again later if the disk has refused it.
    fn written(&mut self, turn: &mut Turn<'_>, written: Written) {
        let result = self.store.written(written);
        if result.is_ok() {
            self.forget_refusals();
        } else if !self.retries.is_waiting {
            self.retries.refused += 1;
            turn.set_timer(self.retries.delay());
            self.retries.is_waiting = true;
        }
        report(result);
    }

    /// The next refusal is the first again, unless the disk still refuses a table: it may take others, which are smaller.
    fn forget_refusals(&mut self) {
        if !self.store.has_refused() {
            self.retries.refused = 0;
        }
    }

    /// Shows an answer to the operator as soon as a change is on the disk, or the disk has refused it.
    pub(super) fn console_when_saved(&mut self, turn: &mut Turn<'_>, change: Change, text: String) {
        self.waiting.push(Waiting { change, user: None, text });
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
        self.waiting.push(Waiting { change, user: Some(user), text });
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
                self.written(turn, write.run());
            }
        }
        let store = &self.store;
        self.waiting.retain(|Waiting { change, user, text }| {
            let text = match store.safety(*change) {
                Safety::Pending => return true,
                Safety::Saved => text.clone(),
                Safety::Unsaved => format!("{text}{}", unsaved(user.is_none())),
                // Players change no file that the operator may edit.
                Safety::Edited => format!("{text}{EDITED}"),
            };
            match *user {
                Some(user) => {
                    turn.send(user, text);
                    turn.release(user);
                }
                None => turn.console(text),
            }
            false
        });
    }

    /// Writes what is not written, and waits for the disk: at the end.
    pub(super) fn save_all(&mut self) -> Result<(), String> {
        if let Some(Threads { disk, mut inbox, .. }) = self.threads.take() {
            if let Some(disk) = disk {
                disk.finish();
            }
            for done in inbox.drain() {
                if let Done::Written(written) = done {
                    // What was refused is tried once more below.
                    let _ = self.store.written(written);
                }
            }
        }
        self.store.save().map_err(|problems| {
            format!("{problems}\nwhat changed there since it was last written is lost with this server")
        })
    }
}

impl Drop for Lobby {
    fn drop(&mut self) {
        if !self.has_finished {
            report(self.save_all());
        }
    }
}

/// What follows an answer whose change would have overwritten what the operator has written.
const EDITED: &str = "It is in memory only: somebody has changed the file in the meantime. 'reload' takes that file as it is, \
                      and this has to be repeated then.\n";

/// What follows an answer whose change the disk has refused.
fn unsaved(is_operator: bool) -> &'static str {
    if is_operator {
        "It is in memory only: the disk has refused it, as the log says, and is asked again until it takes it.\n"
    } else {
        "It could not be saved on the disk, and may be forgotten when the server ends.\n"
    }
}

fn report(result: Result<(), String>) {
    if let Err(problem) = result {
        tracing::error!("{problem}");
    }
}
