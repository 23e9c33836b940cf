//! The server's resources over time.

use std::fmt;
use std::path::Path;

use crate::process::Result;

/// The server's resources at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Memory in use.
    pub rss_kib: u64,
    /// Descriptors of the process; under Wine also those that wineserver holds for it and for others.
    pub handles: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB, {} handles", self.rss_kib, self.handles)
    }
}

impl Sample {
    /// Of the process with this number.
    pub fn of(process: u32, windows: bool) -> Result<Sample> {
        let status = read(&format!("/proc/{process}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss_kib = rss.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let mut handles = descriptors(process)?;
        if windows {
            handles += wineserver(process).map(descriptors).transpose()?.unwrap_or(0);
        }
        Ok(Sample { rss_kib: rss_kib.ok_or("the server has no memory: it has ended")?, handles })
    }
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

fn descriptors(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/fd");
    Ok(std::fs::read_dir(&path).map_err(|error| format!("{path}: {error}"))?.count() as u64)
}

/// The wineserver of a Windows program: it keeps a handle of every socket.
fn wineserver(process: u32) -> Option<u32> {
    let prefix = |folder: &Path| {
        let environment = std::fs::read(folder.join("environ")).ok()?;
        let found = environment.split(|&byte| byte == 0).find(|entry| entry.starts_with(b"WINEPREFIX="));
        found.map(<[u8]>::to_vec)
    };
    let ours = prefix(Path::new(&format!("/proc/{process}")))?;
    let all = std::fs::read_dir("/proc").ok()?;
    all.flatten().map(|entry| entry.path()).find_map(|folder| {
        let name = std::fs::read_to_string(folder.join("comm")).ok()?;
        let found = name.starts_with("wineserver") && prefix(&folder)? == ours;
        found.then(|| folder.file_name()?.to_str()?.parse().ok()).flatten()
    })
}

/// One sample a second, and the number of messages echoed by then.
#[derive(Default)]
pub struct Series {
    samples: Vec<(Sample, u64)>,
}

const COLUMNS: usize = 72;
const ROWS: usize = 8;

impl Series {
    pub fn push(&mut self, sample: Sample, messages: u64) {
        self.samples.push((sample, messages));
    }

    /// How much more memory there was in the last quarter than in the second one, by their medians.
    pub fn growth_kib(&self) -> Option<u64> {
        let quarter = self.samples.len() / 4;
        if quarter == 0 {
            return None;
        }
        let median = |from: usize| {
            let mut values: Vec<u64> =
                self.samples[from..from + quarter].iter().map(|(sample, _)| sample.rss_kib).collect();
            values.sort_unstable();
            values[quarter / 2]
        };
        Some(median(self.samples.len() - quarter).saturating_sub(median(quarter)))
    }

    /// All three as text.
    pub fn plot(&self) -> String {
        let seconds = self.samples.len();
        let of = |value: fn(&(Sample, u64)) -> u64| self.samples.iter().map(value).collect::<Vec<u64>>();
        let totals = of(|&(_, messages)| messages);
        let rates: Vec<u64> = std::iter::once(0)
            .chain(totals.iter().copied())
            .zip(&totals)
            .map(|(from, to)| to - from)
            .collect();
        let charts = [
            chart("memory of the server, KiB", &of(|(sample, _)| sample.rss_kib)),
            chart("handles of the server", &of(|(sample, _)| sample.handles)),
            chart("messages a second", &rates),
        ];
        format!("\n{}\n{:>10} {:<width$} {seconds} s", charts.join("\n"), "", "0", width = COLUMNS - 4)
    }
}

/// Columns of marks, from 0 to the greatest value.
fn chart(title: &str, values: &[u64]) -> String {
    let most = values.iter().copied().max().unwrap_or(0);
    let least = values.iter().copied().min().unwrap_or(0);
    let columns = COLUMNS.min(values.len());
    // A column shows the greatest of its values, so that no peak is lost.
    let column = |at: usize| {
        let range = at * values.len() / columns..(at + 1) * values.len() / columns;
        values[range].iter().copied().max().unwrap_or(0)
    };
    let heights: Vec<usize> =
        (0..columns).map(|at| (column(at) * ROWS as u64).div_ceil(most.max(1)) as usize).collect();
    let mut lines = vec![format!("{title}: {least} to {most}")];
    for row in (1..=ROWS).rev() {
        let label = if row == ROWS { most.to_string() } else { String::new() };
        let marks: String = heights.iter().map(|&height| if height >= row { '#' } else { ' ' }).collect();
        lines.push(format!("{label:>10} |{}", marks.trim_end()));
    }
    lines.push(format!("{:>10} +{}", 0, "-".repeat(columns)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(rss: impl Iterator<Item = u64>) -> Series {
        Series { samples: rss.map(|rss_kib| (Sample { rss_kib, handles: 1 }, 0)).collect() }
    }

    #[test]
    fn growth_is_measured_after_the_warm_up() {
        assert_eq!(series([10, 500, 500, 500, 500, 500, 500, 500].into_iter()).growth_kib(), Some(0));
        assert_eq!(series((0..100).map(|n| 10 * n)).growth_kib(), Some(500));
        assert_eq!(series(0..3).growth_kib(), None);
    }

    #[test]
    fn a_chart_has_its_peak() {
        let text = chart("t", &[0, 4, 8]);
        assert!(text.starts_with("t: 0 to 8\n         8 |  #\n"), "{text}");
        assert_eq!(text.lines().count(), ROWS + 2);
    }
}
