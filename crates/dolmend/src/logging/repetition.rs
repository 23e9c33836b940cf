//! Bounds the lines that say the same: a flood of connections must not become a flood of log lines, nor fill the disk.
//!
//! Each place in the code that logs has a budget of its own, so that the lines of a flood do not displace those of
//! others. Lines beyond it are counted, and a line with their number follows when the place has a budget again, or at
//! the end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::callsite::Identifier;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::limits::{Bucket, Rate};

/// How many lines of one place may come in a second, and in one moment.
const RATE: Rate = Rate::new(5, 200);

static PLACES: LazyLock<Mutex<HashMap<Identifier, Place>>> = LazyLock::new(Mutex::default);
/// Off while the log is to have everything: a developer who asks for details wants all of them.
static IS_BOUNDED: AtomicBool = AtomicBool::new(true);

/// One place in the code.
struct Place {
    /// Where it is, for the report.
    metadata: &'static Metadata<'static>,
    budget: Budget,
}

/// The lines that one place may write.
struct Budget {
    bucket: Bucket,
    left_out: u64,
}

impl Budget {
    fn full(now: Instant) -> Budget {
        Budget { bucket: Bucket::full(now), left_out: 0 }
    }

    /// Takes one line from the budget, unless it is spent.
    fn admit(&mut self, now: Instant) -> bool {
        let admitted = self.bucket.take(RATE, now, 1);
        self.left_out += u64::from(!admitted);
        admitted
    }
}

/// The layer that leaves lines out.
pub(super) struct Bounded;

impl<S: Subscriber> Layer<S> for Bounded {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if !IS_BOUNDED.load(Ordering::Relaxed) {
            return true;
        }
        let metadata = event.metadata();
        let now = Instant::now();
        let mut places = places();
        let place = places.entry(metadata.callsite());
        place.or_insert_with(|| Place { metadata, budget: Budget::full(now) }).budget.admit(now)
    }
}

/// Whether lines are left out at all.
pub(super) fn set_bounded(bounded: bool) {
    IS_BOUNDED.store(bounded, Ordering::Relaxed);
}

/// How many lines of this place were left out since the last call.
pub(super) fn left_out(metadata: &Metadata<'_>) -> u64 {
    places().get_mut(&metadata.callsite()).map_or(0, |place| std::mem::take(&mut place.budget.left_out))
}

/// All places with lines that were left out, for the end.
pub(super) fn take_all() -> Vec<(&'static Metadata<'static>, u64)> {
    let mut places = places();
    let left_out = places.values_mut().filter(|place| place.budget.left_out > 0);
    left_out.map(|place| (place.metadata, std::mem::take(&mut place.budget.left_out))).collect()
}

fn places() -> MutexGuard<'static, HashMap<Identifier, Place>> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flood_is_bounded_and_a_quiet_place_has_its_budget_again() {
        let start = Instant::now();
        let mut budget = Budget::full(start);
        let lines = |budget: &mut Budget, now| (0..1000).filter(|_| budget.admit(now)).count();
        assert_eq!(lines(&mut budget, start), RATE.burst as usize);
        assert_eq!(lines(&mut budget, start + Duration::from_secs(1)), 5);
        assert_eq!(budget.left_out, 2000 - u64::from(RATE.burst) - 5);
        assert_eq!(lines(&mut budget, start + Duration::from_secs(3600)), RATE.burst as usize);
    }
}
