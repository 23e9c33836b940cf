//! Latencies, in buckets of about 1 %.

/// Buckets for each doubling.
const FINE: u64 = 64;

#[derive(Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_ns: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { buckets: vec![0; (64 * FINE) as usize], count: 0, max_ns: 0 }
    }

    pub fn record(&mut self, ns: u64) {
        self.record_times(ns, 1);
    }

    fn bucket(ns: u64) -> usize {
        let ns = ns.max(FINE);
        let doubling = u64::from(ns.ilog2()) - u64::from(FINE.ilog2());
        (doubling * FINE + (ns >> doubling) - FINE) as usize
    }

    fn lower_bound(bucket: usize) -> u64 {
        let (doubling, rest) = (bucket as u64 / FINE, bucket as u64 % FINE);
        (rest + FINE) << doubling
    }

    /// The latency below which `permille` of a thousand lie.
    pub fn permille(&self, permille: u64) -> u64 {
        let wanted = self.count * permille / 1000;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen > wanted {
                return Self::lower_bound(bucket);
            }
        }
        self.max_ns
    }

    /// The recorded latencies, and how often each occurred.
    pub fn counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let counted = self.buckets.iter().enumerate().filter(|&(_, &count)| count > 0);
        let counted = counted.map(|(bucket, &count)| (Self::lower_bound(bucket), count));
        // The largest one is exact.
        counted.map(|(ns, count)| {
            (if Self::bucket(ns) == Self::bucket(self.max_ns) { self.max_ns } else { ns }, count)
        })
    }

    pub fn record_times(&mut self, ns: u64, times: u64) {
        self.buckets[Self::bucket(ns)] += times;
        self.count += times;
        self.max_ns = self.max_ns.max(ns);
    }

    /// All latencies together.
    pub fn sum_ns(&self) -> u64 {
        self.counts().map(|(ns, count)| ns * count).sum()
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max(&self) -> u64 {
        self.max_ns
    }

    pub fn add(&mut self, other: &Histogram) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(mine, theirs)| *mine += theirs);
        self.count += other.count;
        self.max_ns = self.max_ns.max(other.max_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_two_percent() {
        let mut histogram = Histogram::new();
        (1..=100_000).for_each(|us| histogram.record(us * 1_000));
        for permille in [1, 500, 990, 999] {
            let (found, exact) = (histogram.permille(permille) as f64, permille as f64 * 100_000.0);
            assert!((found / exact - 1.0).abs() < 0.02, "{permille}: {found} and not {exact}");
        }
        assert_eq!(histogram.max(), 100_000_000);
    }
}
