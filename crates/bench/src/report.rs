//! The results: comparisons, a table on standard output, and JSON.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::histogram::Histogram;
use crate::load::Outcome;
use crate::server::limit_of;

/// The figures of one contender in one round.
pub struct Round {
    /// Messages, deliveries or connections in a second; bytes of a connection in idle-memory.
    pub per_second: f64,
    pub count: u64,
    pub seconds: f64,
    pub cpu_s: f64,
    /// Of the load generator, where it is reported.
    pub load_cpu_s: f64,
    /// Of everything else on the machine, likewise.
    pub others_cpu_s: f64,
    pub rss_bytes: Option<u64>,
    pub latency: Option<Histogram>,
}

impl Round {
    pub fn new(outcome: Outcome, cpu_s: f64, rss_bytes: Option<u64>) -> Round {
        let Outcome { count, seconds, latency } = outcome;
        Round {
            per_second: count as f64 / seconds,
            count,
            seconds,
            cpu_s,
            load_cpu_s: 0.0,
            others_cpu_s: 0.0,
            rss_bytes,
            latency: Some(latency),
        }
    }

    pub fn memory(bytes: f64, rss_bytes: u64) -> Round {
        Round {
            per_second: bytes,
            count: 1,
            seconds: 1.0,
            cpu_s: 0.0,
            load_cpu_s: 0.0,
            others_cpu_s: 0.0,
            rss_bytes: Some(rss_bytes),
            latency: None,
        }
    }
}

/// All rounds of one contender in one scenario.
pub struct Row {
    pub scenario: &'static str,
    pub contender: String,
    pub platform: &'static str,
    pub rounds: Vec<Round>,
    pub calls_per_message: Option<f64>,
    /// Why there are no figures.
    pub error: Option<String>,
}

/// The figures by which contenders are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Messages in a second; bytes of a connection in idle-memory.
    Rate,
    /// Processor seconds of a message.
    CpuPerMessage,
    /// The load generator's.
    LoadCpuPerMessage,
    /// The part of a processor that other programs had.
    OthersShare,
    P99,
    /// The longest latency as a multiple of the median one.
    MaxToP50,
}

impl Row {
    pub fn new(scenario: &'static str, contender: &str, platform: &'static str) -> Row {
        let contender = contender.to_owned();
        Row { scenario, contender, platform, rounds: Vec::new(), calls_per_message: None, error: None }
    }

    /// A figure of each round.
    pub fn figures(&self, figure: Figure) -> Vec<f64> {
        let of_round = |round: &Round| {
            let latency =
                |permille| round.latency.as_ref().map_or(f64::NAN, |all| all.permille(permille) as f64);
            match figure {
                Figure::Rate => round.per_second,
                Figure::CpuPerMessage => round.cpu_s / round.count as f64,
                Figure::LoadCpuPerMessage => round.load_cpu_s / round.count as f64,
                Figure::OthersShare => round.others_cpu_s / round.seconds,
                Figure::P99 => latency(990),
                Figure::MaxToP50 => {
                    round.latency.as_ref().map_or(f64::NAN, |all| all.max() as f64) / latency(500)
                }
            }
        };
        self.rounds.iter().map(of_round).collect()
    }

    pub fn median(&self, figure: Figure) -> Option<f64> {
        median(&self.figures(figure))
    }

    /// The server's share of a processor.
    pub fn processor_share(&self) -> Option<f64> {
        median(&self.rounds.iter().map(|round| round.cpu_s / round.seconds).collect::<Vec<_>>())
    }

    /// All rounds' latencies together.
    pub fn latency(&self) -> Option<Histogram> {
        let mut all = Histogram::new();
        for round in &self.rounds {
            all.add(round.latency.as_ref()?);
        }
        (!self.rounds.is_empty()).then_some(all)
    }

    pub fn ran(&self) -> bool {
        self.error.is_none() && !self.rounds.is_empty()
    }
}

/// The ratios of one contender's figure to another's of the same round.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    pub median: f64,
    /// The spread of the rounds, to either side.
    pub spread: f64,
}

pub fn ratio(row: &Row, other: &Row, figure: Figure) -> Option<Ratio> {
    let pairs = row.figures(figure).into_iter().zip(other.figures(figure));
    let ratios: Vec<f64> =
        pairs.map(|(value, other)| value / other).filter(|ratio| ratio.is_finite()).collect();
    let most = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    median(&ratios).map(|median| Ratio { median, spread: (most - least) / 2.0 })
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// A table of one scenario, under a heading.
pub fn print(rows: &[Row]) {
    if let Some(row) = rows.first() {
        println!("### {}\n\n{}", row.scenario, table(&rows.iter().collect::<Vec<_>>()));
    }
}

/// A table of one scenario's rows.
pub fn table(rows: &[&Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let limit =
        rows.iter().find(|row| row.contender == limit_of(first.platform, first.scenario) && row.ran());
    let limit_name = limit_of(first.platform, first.scenario);
    let of_crew = first.scenario.starts_with("crew");
    let mut lines = Vec::new();
    match first.scenario {
        "idle-memory" => {
            lines.push("| contender | bytes of a connection | spread |".to_owned());
            lines.push("|---|---|---|".to_owned());
        }
        "paced-1000" => {
            lines.push("| contender | share of a processor | p50 µs | p99 µs | max µs |".to_owned());
            lines.push("|---|---|---|---|---|".to_owned());
        }
        _ => {
            lines.push(format!(
                "| contender | per second | spread | to {limit_name} | CPU of a message | to {limit_name} | p50 µs \
                 | p99 µs | max µs | calls of a message |"
            ));
            lines.push("|---|---|---|---|---|---|---|---|---|---|".to_owned());
            if of_crew {
                lines[0] += " CPU of the load generator | others' share of a processor |";
                lines[1] += "---|---|";
            }
        }
    }
    for row in rows {
        lines.push(match &row.error {
            Some(error) => format!("| {} | absent: {} |", row.contender, error.replace(['\n', '|'], " ")),
            None => line(row, limit.copied()),
        });
    }
    lines.join("\n") + "\n"
}

fn line(row: &Row, limit: Option<&Row>) -> String {
    let rates = row.figures(Figure::Rate);
    let rate = median(&rates).unwrap_or(f64::NAN);
    let spread = rates.iter().fold(0.0_f64, |most, other| most.max((other / rate - 1.0).abs())) * 100.0;
    let name = &row.contender;
    if row.scenario == "idle-memory" {
        return format!("| {name} | {rate:.0} | ±{spread:.1} % |");
    }
    let us = |ns: u64| ns as f64 / 1000.0;
    let latency = row.latency().unwrap_or_else(Histogram::new);
    let latencies = format!(
        "{:.1} | {:.1} | {:.0}",
        us(latency.permille(500)),
        us(latency.permille(990)),
        us(latency.max())
    );
    if row.scenario == "paced-1000" {
        return format!(
            "| {name} | {:.2} % | {latencies} |",
            row.processor_share().unwrap_or(f64::NAN) * 100.0
        );
    }
    let to_limit = |figure| {
        let ratio = limit.and_then(|limit| ratio(row, limit, figure));
        ratio.map_or("–".to_owned(), |ratio| format!("{:.3} ± {:.3}", ratio.median, ratio.spread))
    };
    let of_load = match [Figure::LoadCpuPerMessage, Figure::OthersShare].map(|figure| row.median(figure)) {
        [Some(cpu_s), Some(others)] if row.scenario.starts_with("crew") => {
            format!(" {:.2} µs | {:.0} % |", cpu_s * 1e6, others * 100.0)
        }
        _ => String::new(),
    };
    format!(
        "| {name} | {rate:.0} | ±{spread:.1} % | {} | {:.2} µs | {} | {latencies} | {} |{of_load}",
        to_limit(Figure::Rate),
        row.median(Figure::CpuPerMessage).unwrap_or(f64::NAN) * 1e6,
        to_limit(Figure::CpuPerMessage),
        row.calls_per_message.map_or("–".to_owned(), |calls| format!("{calls:.2}")),
    )
}

/// One entry of `results.json`.
#[derive(Serialize)]
struct Json<'a> {
    scenario: &'a str,
    contender: &'a str,
    platform: &'a str,
    rounds: Vec<f64>,
    median: Option<f64>,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    max_us: Option<f64>,
    server_cpu_s: Option<f64>,
    rss_bytes: Option<u64>,
    kernel_calls_per_message: Option<f64>,
    cpu_us_per_message: Option<f64>,
    load_cpu_us_per_message: Option<f64>,
    error: Option<&'a str>,
}

impl<'a> Json<'a> {
    fn of(row: &'a Row) -> Json<'a> {
        let latency = row.latency();
        let us = |permille| latency.as_ref().map(|latency| latency.permille(permille) as f64 / 1000.0);
        // An idle connection has no messages.
        let timed = latency.is_some();
        Json {
            scenario: row.scenario,
            contender: &row.contender,
            platform: row.platform,
            rounds: row.figures(Figure::Rate),
            median: row.median(Figure::Rate),
            p50_us: us(500),
            p99_us: us(990),
            max_us: latency.as_ref().map(|latency| latency.max() as f64 / 1000.0),
            server_cpu_s: median(&row.rounds.iter().map(|round| round.cpu_s).collect::<Vec<_>>())
                .filter(|_| timed),
            rss_bytes: row.rounds.iter().filter_map(|round| round.rss_bytes).max(),
            kernel_calls_per_message: row.calls_per_message,
            cpu_us_per_message: row.median(Figure::CpuPerMessage).map(|cpu| cpu * 1e6).filter(|_| timed),
            load_cpu_us_per_message: row
                .median(Figure::LoadCpuPerMessage)
                .map(|cpu| cpu * 1e6)
                .filter(|cpu| *cpu > 0.0),
            error: row.error.as_deref(),
        }
    }
}

/// Writes `results.json` and returns its path.
pub fn write(folder: &Path, rows: &[Row]) -> io::Result<PathBuf> {
    let list: Vec<Json<'_>> = rows.iter().map(Json::of).collect();
    std::fs::create_dir_all(folder)?;
    let place = folder.join("results.json");
    std::fs::write(&place, serde_json::to_string_pretty(&list).map_err(io::Error::other)?)?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(contender: &str, rates: &[f64]) -> Row {
        let mut row = Row::new("echo-1", contender, "linux");
        row.rounds = rates.iter().map(|&rate| Round::memory(rate, 0)).collect();
        row
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // The machine was twice as fast in the second round.
        let ratio = ratio(&row("a", &[11.0, 22.0]), &row("b", &[10.0, 20.0]), Figure::Rate).expect("rounds");
        assert!((ratio.median - 1.1).abs() < 1e-9 && ratio.spread < 1e-9, "{ratio:?}");
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_ones() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn an_absent_contender_is_listed_with_its_error() {
        let mut absent = row("b", &[]);
        absent.error = Some("no | such\nthing".to_owned());
        let table = table(&[&row("raw-epoll", &[1.0]), &absent]);
        assert!(table.contains("| b | absent: no   such thing |"), "{table}");
    }
}
