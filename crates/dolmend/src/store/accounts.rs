//! Kept names.

use serde::{Deserialize, Serialize};

use super::UnixSeconds;
use crate::names::{Name, Registry};

/// How many names can be kept.
const MAX_ACCOUNTS: usize = 20_000;

/// Longer than any hash of ours.
const MAX_HASH_BYTES: usize = 300;

/// A kept name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The name, as it is shown.
    pub name: String,
    /// The hash of its password: a PHC string, which has the salt and the parameters.
    pub hash: String,
    /// Since when it is kept.
    pub since: UnixSeconds,
}

/// The kept names.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    registry: Registry<Account>,
}

impl Accounts {
    /// Keeps a name, or sets another password for it. False if there is no room.
    pub fn keep(&mut self, name: &Name, hash: String, now: UnixSeconds) -> bool {
        let since = self.get(name.key()).map(|account| account.since);
        if since.is_none() && self.registry.len() >= MAX_ACCOUNTS {
            return false;
        }
        let account = Account { name: name.shown().to_string(), hash, since: since.unwrap_or(now) };
        self.registry.insert(name.clone(), account);
        true
    }

    /// The account of a name, by the name's [key](crate::names::key).
    pub fn get(&self, key: &str) -> Option<&Account> {
        self.registry.get(key)
    }

    /// The kept name to which a name is equal or similar.
    pub fn similar(&self, name: &Name) -> Option<&Account> {
        self.registry.similar(name).map(|(_, account)| account)
    }

    /// Keeps a name no longer.
    pub fn remove(&mut self, key: &str) -> Option<Account> {
        self.registry.remove(key)
    }

    /// How many names are kept.
    pub fn len(&self) -> usize {
        self.registry.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.registry.is_empty()
    }

    /// The kept names, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.registry.iter().map(|(_, account)| account)
    }

    /// Adds an account that was read from disk. False if it cannot be one of ours.
    pub(super) fn restore(&mut self, account: Account) -> bool {
        let Ok(name) = Name::check(&account.name) else { return false };
        let fits = name.shown() == account.name
            && account.hash.starts_with("$argon2")
            && account.hash.len() <= MAX_HASH_BYTES
            && self.get(name.key()).is_none()
            && self.registry.len() < MAX_ACCOUNTS;
        if fits {
            self.registry.insert(name, account);
        }
        fits
    }
}
