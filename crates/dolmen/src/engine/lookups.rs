//! Look-ups of names: which are in progress, whose they are, and what is not looked up at all.
//!
//! An address in text needs no look-up, and is reported with the next wait. Everything else becomes a job for a worker
//! (see [`names`](crate::kernel::names) and [`pool`](crate::kernel::pool)). A turn takes one batch of answers out of the
//! pool. A cancelled look-up is forgotten: if it is in a worker already, its answer is dropped there.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::kernel::Kernel;
use crate::kernel::mailbox::Mailbox;
use crate::kernel::names::{self, Answer, Query, SharedResolver};
use crate::kernel::pool::Workers;
use crate::kernel::pool::jobs::Jobs;
use crate::marks::{Mark, mark};
use crate::record::Record;
use crate::token::{Key, LookupId, Token};

use super::Engine;
use super::table::Table;

/// The longest name in the DNS, in the usual notation.
const LONGEST_NAME_BYTES: usize = 253;

/// How much of a refused name an error shows.
const SHOWN_CHARS: usize = 64;

const RESOLVE: &str = "resolve";

pub(super) struct Lookups {
    table: Table<Lookup>,
    /// How many are in the table, or in the outbox.
    unreported: usize,
    jobs: Jobs<names::Lookup>,
    resolver: SharedResolver,
}

struct Lookup {
    owner: Owner,
    /// Kept to be looked up again in a forked process.
    query: Arc<Query>,
}

/// Who gets the answer.
#[derive(Clone, Copy)]
enum Owner {
    Caller(Token),
    /// One that is being made.
    Connection(Key),
}

impl Lookups {
    pub(super) fn new(workers: Box<dyn Workers<names::Lookup>>, resolver: SharedResolver) -> Lookups {
        Lookups { table: Table::new(), unreported: 0, jobs: Jobs::new(workers), resolver }
    }

    /// How many are not reported yet.
    pub(super) fn unreported(&self) -> usize {
        self.unreported
    }

    /// Whether there are answers to be collected that the mailbox does not announce any more.
    pub(super) fn has_answers(&self) -> bool {
        self.jobs.has_results()
    }

    /// A record of a look-up leaves the outbox.
    pub(super) fn note_delivery(&mut self) {
        self.unreported -= 1;
    }

    /// Allows the slot of a look-up that was reported to be reused.
    pub(super) fn release(&mut self, slot: u32) {
        self.table.release(slot);
    }

    fn check_room(
        &self,
        most: usize,
        action: &'static str,
        source: impl std::fmt::Display,
    ) -> Result<(), Error> {
        if self.unreported < most {
            return Ok(());
        }
        mark(Mark::LookupsFull);
        Err(Error::new(ErrorKind::LookupsFull, action, source).limited(most))
    }

    fn insert(&mut self, query: Query, owner: Owner) -> Key {
        self.unreported += 1;
        self.table.insert(Lookup { owner, query: Arc::new(query) })
    }

    /// Hands a look-up to the workers. If that fails, there is none.
    fn begin(&mut self, key: Key, mailbox: &Arc<Mailbox>) -> io::Result<()> {
        let lookup = self.table.get(key).expect("it was just inserted");
        let job = names::Lookup { query: Arc::clone(&lookup.query), resolver: self.resolver.clone() };
        self.jobs.begin(key, job, mailbox).map_err(|(error, _)| error)
    }

    /// Returns whether it was in progress.
    pub(super) fn cancel(&mut self, key: Key) -> bool {
        if self.table.remove(key).is_none() {
            return false;
        }
        self.unreported -= 1;
        self.jobs.forget(key);
        true
    }

    /// Called when the reactor is dropped. A thread that is in a look-up is left behind.
    pub(super) fn end(&mut self) {
        self.jobs.end();
    }
}

impl<K: Kernel> Engine<K> {
    /// Replaces the system's look-up.
    pub(crate) fn set_resolver(&mut self, resolver: SharedResolver) {
        self.lookups.resolver = resolver;
    }

    /// Begins to look up the addresses of a host.
    pub(crate) fn resolve(&mut self, host: &str, port: u16, token: Token) -> Result<LookupId, Error> {
        let host = checked(host, RESOLVE)?;
        self.lookups.check_room(self.cx.config.most_lookups, RESOLVE, host)?;
        self.lookups_after_fork();
        let query = Query::Addresses { host: host.to_owned(), port };
        let key = self.lookups.insert(query, Owner::Caller(token));
        match literal(host, port) {
            Some(address) => self.answered(key, Answer::Addresses(Ok(vec![address]))),
            None => self.begin_lookup(key, RESOLVE, host)?,
        }
        Ok(LookupId(key))
    }

    /// Begins to look up the name of an address.
    pub(crate) fn lookup_name(&mut self, ip: IpAddr, token: Token) -> Result<LookupId, Error> {
        const ACTION: &str = "look up the name of";
        self.lookups.check_room(self.cx.config.most_lookups, ACTION, ip)?;
        self.lookups_after_fork();
        let key = self.lookups.insert(Query::Name(ip), Owner::Caller(token));
        self.begin_lookup(key, ACTION, ip)?;
        Ok(LookupId(key))
    }

    /// Begins to look up the addresses of a connection's host.
    pub(super) fn resolve_for(
        &mut self,
        conn: Key,
        host: &str,
        port: u16,
        action: &'static str,
    ) -> Result<Key, Error> {
        self.lookups.check_room(self.cx.config.most_lookups, action, host)?;
        self.lookups_after_fork();
        let query = Query::Addresses { host: host.to_owned(), port };
        let key = self.lookups.insert(query, Owner::Connection(conn));
        self.begin_lookup(key, action, host)?;
        Ok(key)
    }

    fn begin_lookup(
        &mut self,
        key: Key,
        action: &'static str,
        source: impl std::fmt::Display,
    ) -> Result<(), Error> {
        self.lookups.begin(key, &self.mailbox).map_err(|error| {
            self.lookups.cancel(key);
            // For lack of memory, or at the limit of threads.
            Error::from_io(ErrorKind::Exhausted, action, error).about(source)
        })
    }

    pub(crate) fn cancel_lookup(&mut self, lookup: LookupId) -> bool {
        self.lookups_after_fork();
        if self.lookups.table.has_issued(lookup.0) {
            self.cx.removed.mark_lookup(lookup);
        }
        self.lookups.cancel(lookup.0)
    }

    /// Takes a batch of answers.
    pub(super) fn collect_answers(&mut self, batch: usize) {
        // Most reactors have no look-ups in progress, and do not take the lock.
        if self.lookups.table.len() == 0 {
            self.lookups.jobs.note_none();
            return;
        }
        // An answer for a connection brings no record, and does not count towards the batch.
        let full = self.cx.outbox.len() + batch;
        while self.cx.outbox.len() < full {
            let Some((key, answer)) = self.lookups.jobs.pop_done() else { return };
            self.answered(key, answer);
        }
        if self.lookups.jobs.note_left() {
            mark(Mark::AnswersLeft);
        }
    }

    fn answered(&mut self, key: Key, answer: Answer) {
        let Some(&Lookup { owner, .. }) = self.lookups.table.get(key) else { return };
        match (owner, answer) {
            (Owner::Caller(token), answer) => {
                // The slot is not reused before the record was delivered.
                self.lookups.table.vacate(key);
                let lookup = LookupId(key);
                self.cx.outbox.push_back(match answer {
                    Answer::Addresses(result) => Record::Resolved { lookup, token, result: Some(result) },
                    Answer::Name(result) => Record::Named { lookup, token, result: Some(result) },
                });
            }
            (Owner::Connection(conn), Answer::Addresses(result)) => {
                self.lookups.table.remove(key);
                self.lookups.unreported -= 1;
                self.host_resolved(conn, result);
            }
            (Owner::Connection(_), Answer::Name(_)) => unreachable!("a connection looks addresses up"),
        }
    }

    /// In a forked process, which has no workers: begins all look-ups anew that have no answer yet.
    #[inline]
    pub(super) fn lookups_after_fork(&mut self) {
        if self.lookups.jobs.after_fork() {
            self.begin_lookups_anew();
        }
    }

    #[cold]
    fn begin_lookups_anew(&mut self) {
        for key in self.lookups.table.keys() {
            if let Err(error) = self.lookups.begin(key, &self.mailbox) {
                let lookup = self.lookups.table.get(key).expect("the key is one of the table's");
                let failed = lookup.query.failed(error);
                self.answered(key, failed);
            }
        }
    }
}

/// The name to look up, without brackets around an address.
pub(super) fn checked<'a>(host: &'a str, action: &'static str) -> Result<&'a str, Error> {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = bracketed.unwrap_or(host);
    let length = inner.strip_suffix('.').unwrap_or(inner).len();
    let is_valid = (1..=LONGEST_NAME_BYTES).contains(&length)
        && !inner.contains('\0')
        && inner.trim() == inner
        && (bracketed.is_none() || inner.contains(':'));
    match is_valid {
        true => Ok(inner),
        false => {
            let shown: String = host.chars().take(SHOWN_CHARS).collect();
            Err(Error::new(ErrorKind::InvalidName, action, format_args!("{shown:?}")))
        }
    }
}

/// The address, if the text is one. The number of a scope is taken; its name is for the system to look up.
pub(super) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, port));
    }
    if !host.contains('%') {
        return None;
    }
    let mut address: SocketAddrV6 = format!("[{host}]:0").parse().ok()?;
    address.set_port(port);
    Some(address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_text_are_recognized_with_brackets_and_scopes() {
        let address = |host: &str| {
            literal(checked(host, RESOLVE).expect("valid"), 7).map(|address| address.to_string())
        };
        assert_eq!(address("192.0.2.7").as_deref(), Some("192.0.2.7:7"));
        assert_eq!(address("::1").as_deref(), Some("[::1]:7"));
        assert_eq!(address("[::1]").as_deref(), Some("[::1]:7"));
        assert_eq!(address("fe80::1%2").as_deref(), Some("[fe80::1%2]:7"));
        assert_eq!(address("[fe80::1%2]").as_deref(), Some("[fe80::1%2]:7"));
        for host in ["fe80::1%eth0", "localhost", "127.1", "0x7f000001", "1.2.3.4.5", "mud.example."] {
            assert_eq!(address(host), None, "{host}");
        }
    }

    #[test]
    fn what_is_not_a_name_is_refused_and_not_shown_whole() {
        let long = "x".repeat(254);
        let hosts = ["", ".", "[]", "[localhost]", "a\0b", " a", "a ", "a\n", "[ ::1]", long.as_str()];
        for host in hosts {
            let error = checked(host, RESOLVE).expect_err(host);
            assert_eq!(error.kind(), ErrorKind::InvalidName);
            assert!(error.to_string().len() < 300, "{error}");
        }
        let text = checked("", RESOLVE).expect_err("empty").to_string();
        assert!(text.starts_with("cannot resolve \"\": not a valid host name or address: "), "{text}");
        let longest = "x".repeat(253);
        assert!(checked(&longest, RESOLVE).is_ok() && checked(&format!("{longest}."), RESOLVE).is_ok());
        assert!(checked("a b", RESOLVE).is_ok(), "the system says whether there is such a name");
    }
}
