//! The names of players, for the lines of the log.
//!
//! A line is written by the part of the server that knows what happened, and that part knows a user's number, while the
//! world knows the name. So the log keeps the names, and adds one to each line that has the number.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

static NAMES: LazyLock<Mutex<HashMap<u64, Box<str>>>> = LazyLock::new(Mutex::default);

/// A user has this name from now on. False if the user had another one before.
pub(crate) fn set(user: u64, name: &str) -> bool {
    names().insert(user, name.into()).is_none()
}

/// A user's connection has ended, and the last line about it is written.
pub(crate) fn forget(user: u64) {
    names().remove(&user);
}

/// Calls `show` with the name of a user who has one.
pub(crate) fn with<T>(user: u64, show: impl FnOnce(&str) -> T) -> Option<T> {
    names().get(&user).map(|name| show(name))
}

fn names() -> MutexGuard<'static, HashMap<u64, Box<str>>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}
