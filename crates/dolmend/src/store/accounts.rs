//! Kept names.

use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::UnixSeconds;
use crate::names::{self, Name, Registry};

/// How many names can be kept.
const MAX_ACCOUNTS: usize = 20_000;

/// Longer than any hash of ours.
const MAX_HASH_BYTES: usize = 300;

const DAY_SECONDS: u64 = 86_400;

/// After how long without its player a name is free again: for those who came back at least once, and for the others.
/// The latter are what a flood of names consists of.
const UNUSED_SECONDS: u64 = 365 * DAY_SECONDS;
const NEVER_USED_SECONDS: u64 = 30 * DAY_SECONDS;

/// The number of an account, which no other account gets as long as something refers to it. 0 is no account.
pub type AccountId = u64;

/// A kept name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The name, as it is shown.
    pub name: String,
    /// What notes refer to: the name may change, or belong to someone else later.
    #[serde(default)]
    pub id: AccountId,
    /// The hash of its password: a PHC string, which has the salt and the parameters.
    pub hash: String,
    /// Since when it is kept.
    pub since: UnixSeconds,
    /// When its player was last here, to the day.
    #[serde(default)]
    pub used: UnixSeconds,
    /// From where the password was last right.
    #[serde(default)]
    pub source: Option<IpNet>,
}

impl Account {
    /// Whether the player has been away for so long that others may have the name.
    pub fn has_expired(&self, now: UnixSeconds) -> bool {
        let used = self.used.max(self.since);
        let allowed = if used > self.since { UNUSED_SECONDS } else { NEVER_USED_SECONDS };
        used.saturating_add(allowed) <= now
    }
}

/// The kept names.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// Shared with the rows of a write, so that a table of thousands is handed out quickly.
    registry: Registry<Arc<Account>>,
    last_id: AccountId,
}

impl Accounts {
    /// Keeps a name, or sets another password for it. `None` if there is no room, although expired names made some.
    pub fn keep(&mut self, name: &Name, hash: String, now: UnixSeconds) -> Option<()> {
        if let Some(account) = self.registry.get_mut(name.key()) {
            Arc::make_mut(account).hash = hash;
            return Some(());
        }
        if self.registry.len() >= MAX_ACCOUNTS {
            self.remove_expired(now);
        }
        if self.registry.len() >= MAX_ACCOUNTS {
            return None;
        }
        self.last_id += 1;
        let (id, shown) = (self.last_id, name.shown().to_string());
        let account = Account { name: shown, id, hash, since: now, used: now, source: None };
        self.registry.insert(name.clone(), Arc::new(account));
        Some(())
    }

    /// The account of a name, by the name's [key](crate::names::key).
    pub fn get(&self, key: &str) -> Option<&Account> {
        self.registry.get(key).map(Arc::as_ref)
    }

    /// The kept name to which a name is equal or similar.
    pub fn similar(&self, name: &Name) -> Option<&Account> {
        self.registry.similar(name).map(|(_, account)| account.as_ref())
    }

    /// The kept name itself, and kept names that are similar to it.
    pub fn all_similar(&self, name: &Name) -> impl Iterator<Item = (&Name, &Account)> {
        self.registry.all_similar(name).map(|(name, account)| (name, account.as_ref()))
    }

    /// Keeps a name no longer.
    pub fn remove(&mut self, key: &str) -> Option<Account> {
        self.registry.remove(key).map(Arc::unwrap_or_clone)
    }

    /// Gives an account another name. The account stays the same. `None` if there is none.
    pub fn rename(&mut self, key: &str, new: &Name) -> Option<()> {
        let account = Account { name: new.shown().to_string(), ..self.remove(key)? };
        self.registry.insert(new.clone(), Arc::new(account));
        Some(())
    }

    /// Whether [`used`](Accounts::used) would change something: once a day, and when the source is another one.
    pub fn is_news(&self, key: &str, source: Option<IpNet>, now: UnixSeconds) -> bool {
        self.get(key).is_some_and(|account| {
            account.used + DAY_SECONDS <= now || source.is_some_and(|source| account.source != Some(source))
        })
    }

    /// The player is here, and has given the password from this source. `None` if the name is not kept.
    pub fn used(&mut self, key: &str, source: Option<IpNet>, now: UnixSeconds) -> Option<()> {
        let account = Arc::make_mut(self.registry.get_mut(key)?);
        // Once it has been used, it never counts as unused again.
        account.used = now.max(account.since + 1);
        account.source = source.or(account.source);
        Some(())
    }

    /// Removes the names whose players have been away for too long.
    fn remove_expired(&mut self, now: UnixSeconds) {
        let expired = self.iter().filter(|account| account.has_expired(now));
        let keys: Vec<String> = expired.map(|account| names::key(&account.name)).collect();
        keys.iter().for_each(|key| drop(self.registry.remove(key)));
    }

    /// The kept names as they are now, for a write.
    pub(super) fn rows(&self) -> Vec<Arc<Account>> {
        self.registry.iter().map(|(_, account)| Arc::clone(account)).collect()
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
        self.registry.iter().map(|(_, account)| account.as_ref())
    }

    /// Adds an account that was read from disk. False if it cannot be one of ours.
    pub(super) fn restore(&mut self, account: Account) -> bool {
        let Ok(name) = Name::check_kept(&account.name) else { return false };
        let fits = name.shown() == account.name
            && account.hash.starts_with("$argon2")
            && account.hash.len() <= MAX_HASH_BYTES
            && account.id < AccountId::MAX
            && self.get(name.key()).is_none()
            && self.registry.len() < MAX_ACCOUNTS;
        if fits {
            self.last_id = self.last_id.max(account.id);
            self.registry.insert(name, Arc::new(account));
        }
        fits
    }

    /// Everything was read: no new account gets a number up to this one, and those without a number get one.
    pub(super) fn number_from(&mut self, last: AccountId) {
        self.last_id = self.last_id.max(last);
        let unnumbered = self.iter().filter(|account| account.id == 0);
        let keys: Vec<String> = unnumbered.map(|account| names::key(&account.name)).collect();
        for key in keys {
            if let Some(account) = self.registry.get_mut(&key) {
                self.last_id += 1;
                Arc::make_mut(account).id = self.last_id;
            }
        }
    }
}
