//! Log lines that an attacker could repeat.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The time in which a line is written once.
const PERIOD: Duration = Duration::from_secs(60);

/// Different lines that are kept. Those beyond them are counted together: an attacker with very many addresses gets
/// this many lines a minute.
const MOST_LINES: usize = 256;

/// Decides which log lines are written: one of each kind and source a minute. The next one says how many were left out.
///
/// ```
/// use std::time::{Duration, Instant};
/// use dolmend::limits::Repeats;
///
/// let (mut repeats, now) = (Repeats::default(), Instant::now());
/// assert_eq!(repeats.admit("HTTP", now), Some(0));
/// assert_eq!(repeats.admit("HTTP", now), None);
/// assert_eq!(repeats.admit("TLS", now), Some(0));
/// assert_eq!(repeats.admit("HTTP", now + Duration::from_secs(60)), Some(1));
/// ```
#[derive(Debug)]
pub struct Repeats<K> {
    lines: HashMap<K, Line>,
    /// Lines that were left out because too many different ones came, and those that were never reported.
    unreported: u64,
    last_sweep: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    written: Instant,
    left_out: u64,
}

impl<K> Default for Repeats<K> {
    fn default() -> Repeats<K> {
        Repeats { lines: HashMap::new(), unreported: 0, last_sweep: None }
    }
}

impl<K: Hash + Eq> Repeats<K> {
    /// Whether a line of this kind is written now, and how many were left out since the last one.
    pub fn admit(&mut self, kind: K, now: Instant) -> Option<u64> {
        self.sweep(now);
        let is_full = self.lines.len() >= MOST_LINES;
        match self.lines.get_mut(&kind) {
            Some(line) if now.saturating_duration_since(line.written) < PERIOD => {
                line.left_out += 1;
                None
            }
            Some(line) => {
                line.written = now;
                Some(std::mem::take(&mut line.left_out))
            }
            None if is_full => {
                self.unreported += 1;
                None
            }
            None => {
                self.lines.insert(kind, Line { written: now, left_out: 0 });
                Some(0)
            }
        }
    }

    /// Reports the lines that were left out, each kind and how many.
    pub fn report(&mut self, mut report: impl FnMut(&K, u64)) {
        for (kind, line) in self.lines.iter_mut().filter(|(_, line)| line.left_out > 0) {
            report(kind, std::mem::take(&mut line.left_out));
        }
    }

    /// Lines that were left out and that no line has reported, since the last call.
    pub fn take_unreported(&mut self) -> u64 {
        std::mem::take(&mut self.unreported)
    }

    /// The same, without taking them.
    #[cfg(test)]
    pub(crate) fn unreported(&self) -> u64 {
        self.unreported + self.lines.values().map(|line| line.left_out).sum::<u64>()
    }

    /// Once a period, drops the lines that have not come again in another one.
    fn sweep(&mut self, now: Instant) {
        if self.last_sweep.is_some_and(|last| now.saturating_duration_since(last) < PERIOD) {
            return;
        }
        self.last_sweep = Some(now);
        let unreported = &mut self.unreported;
        self.lines.retain(|_, line| {
            let keeps = now.saturating_duration_since(line.written) < 2 * PERIOD;
            *unreported += if keeps { 0 } else { line.left_out };
            keeps
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_kinds_of_lines_fill_neither_the_log_nor_the_memory() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let written = (0..100_000).filter(|kind| repeats.admit(*kind, now).is_some()).count();
        assert_eq!((written, repeats.lines.len()), (MOST_LINES, MOST_LINES));
        assert_eq!(repeats.take_unreported(), 100_000 - MOST_LINES as u64);
        // They make room for others.
        assert_eq!(repeats.admit(200_000, now + 3 * PERIOD), Some(0));
        assert_eq!(repeats.lines.len(), 1);
    }

    proptest! {
        /// Every line is written, reported as left out by a later one, or counted as unreported.
        #[test]
        fn no_line_is_lost(steps in proptest::collection::vec((0u8..4, 0u64..40), 0..300)) {
            let (mut repeats, mut now) = (Repeats::default(), Instant::now());
            let (mut accounted, all) = (0, steps.len() as u64);
            let mut last = HashMap::new();
            for (kind, seconds) in steps {
                now += Duration::from_secs(seconds);
                if let Some(left_out) = repeats.admit(kind, now) {
                    accounted += 1 + left_out;
                    if let Some(before) = last.insert(kind, now) {
                        prop_assert!(now - before >= PERIOD);
                    }
                }
            }
            accounted += repeats.take_unreported() + repeats.lines.values().map(|line| line.left_out).sum::<u64>();
            prop_assert_eq!(accounted, all);
        }
    }
}
