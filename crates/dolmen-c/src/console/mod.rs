//! Standard input, as a C driver wants it.

#[cfg(unix)]
mod posix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use posix::Console;
#[cfg(windows)]
pub(crate) use windows::Console;

/// How much of a pipe or a file comes with one event.
const CHUNK_BYTES: usize = 4096;
