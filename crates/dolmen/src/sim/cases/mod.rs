//! The hard cases that depend on timing, each as a scenario; see `docs/hard-cases.md` for the list of all.
//!
//! Built with `--cfg dolmen_mutants`, `mutants.rs` also shows that scenarios fail when the code that they test is broken.

mod closing;
mod connecting;
mod datagrams;
mod failed_sends;
mod files;
mod listeners;
mod lookups;
mod mailbox;
mod many;
mod memory;
#[cfg(dolmen_mutants)]
mod mutants;
mod operations;
mod outer_loop;
mod receiving;
mod removals;
mod sending;
mod time;
mod transmitting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::fixture::{Fixture, Seen, Style, bytes_of};
use crate::channel::channel;
use crate::close_reason::CloseReason;
use crate::engine::Config;
use crate::error::ErrorKind;
use crate::kernel::operation::OpKind;
use crate::kernel::readiness::Readiness;
use crate::kernel::sim::files::SimFile;
use crate::kernel::sim::world::{self, Ended, SimStream};
use crate::marks::{Mark, counts};
use crate::record::Batch;
use crate::token::{ConnId, FileOpId, Token};
use crate::waker::{Poster, Waker};

const MS: Duration = Duration::from_millis(1);

fn hits(mark: Mark) -> u64 {
    counts::hits()[mark as usize].1
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn closed(seen: &[Seen], conn: ConnId) -> Option<CloseReason> {
    seen.iter().find_map(|seen| match seen {
        Seen::Closed(of, reason) if *of == conn => Some(reason.clone()),
        _ => None,
    })
}

fn file(bytes: usize) -> SimFile {
    SimFile::new(pattern(bytes), 7)
}

fn send_file(fixture: &mut Fixture, conn: ConnId, file: &SimFile, range: std::ops::Range<u64>) -> FileOpId {
    fixture.engine.send_file(conn, file.clone(), range, Token(0)).expect("send")
}

fn sent(seen: &[Seen]) -> Vec<(FileOpId, u64)> {
    let of = |seen: &Seen| match seen {
        Seen::FileSent(op, sent, None) => Some((*op, *sent)),
        _ => None,
    };
    seen.iter().filter_map(of).collect()
}
