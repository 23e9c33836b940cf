//! The results: a table on standard output, and JSON.

use std::io;

use serde::Serialize;

use crate::histogram::Histogram;

/// What one contender did in one round.
pub struct Round {
    /// Messages, deliveries or connections a second; bytes a connection for idle-memory.
    pub per_second: f64,
    pub count: u64,
    pub cpu_s: f64,
    pub rss_bytes: u64,
    pub latency: Option<Histogram>,
}

/// All rounds of one contender in one scenario.
pub struct Row {
    pub scenario: &'static str,
    pub contender: String,
    pub rounds: Vec<Round>,
    /// Why there are no figures.
    pub error: Option<String>,
}

impl Row {
    pub fn new(scenario: &'static str, contender: &str) -> Row {
        Row { scenario, contender: contender.to_owned(), rounds: Vec::new(), error: None }
    }

    fn per_second(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.per_second).collect()
    }

    /// Processor time a message, in seconds.
    fn cpu_per_message(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| round.cpu_s / round.count as f64).collect()
    }

    fn latency(&self) -> Option<Histogram> {
        let mut all = Histogram::new();
        for round in &self.rounds {
            all.add(round.latency.as_ref()?);
        }
        Some(all)
    }
}

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
    error: Option<&'a str>,
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

/// The median of the ratios to another contender's figure of the same round.
fn paired(values: &[f64], others: &[f64]) -> Option<f64> {
    median(&values.iter().zip(others).map(|(value, other)| value / other).collect::<Vec<_>>())
}

/// A table of one scenario.
pub fn print(scenario: &str, rows: &[Row]) {
    let limit = rows.iter().find(|row| row.contender == "raw-epoll" && row.error.is_none());
    let memory = scenario == "idle-memory";
    println!("### {scenario}\n");
    if memory {
        println!("| contender | bytes a connection (resident) | spread |\n|---|---|---|");
    } else {
        println!(
            "| contender | per second | spread | to raw-epoll | CPU a message | to raw-epoll | p50 µs | p99 µs | max µs |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
    }
    for row in rows {
        if let Some(error) = &row.error {
            println!("| {} | absent: {} |", row.contender, error.replace('\n', " "));
            continue;
        }
        let rates = row.per_second();
        let Some(rate) = median(&rates) else { continue };
        let spread = rates.iter().fold(0.0_f64, |most, other| most.max((other / rate - 1.0).abs())) * 100.0;
        if memory {
            println!("| {} | {rate:.0} | ±{spread:.1} % |", row.contender);
            continue;
        }
        let cpu = row.cpu_per_message();
        let ratio = |values: &[f64], others: Option<Vec<f64>>| {
            others
                .and_then(|others| paired(values, &others))
                .map_or("–".to_owned(), |ratio| format!("{ratio:.3}"))
        };
        let us = |ns: u64| ns as f64 / 1000.0;
        let latency = row.latency().unwrap_or_else(Histogram::new);
        println!(
            "| {} | {rate:.0} | ±{spread:.1} % | {} | {:.2} µs | {} | {:.1} | {:.1} | {:.0} |",
            row.contender,
            ratio(&rates, limit.map(Row::per_second)),
            median(&cpu).unwrap_or(0.0) * 1e6,
            ratio(&cpu, limit.map(Row::cpu_per_message)),
            us(latency.permille(500)),
            us(latency.permille(990)),
            us(latency.max()),
        );
    }
    println!();
}

/// `bench/results.json` in the target folder.
pub fn write(machine: &str, rows: &[Row]) -> io::Result<()> {
    let list: Vec<Json<'_>> = rows
        .iter()
        .map(|row| {
            let latency = row.latency().filter(|_| !row.rounds.is_empty());
            let us = |ns: u64| ns as f64 / 1000.0;
            Json {
                scenario: row.scenario,
                contender: &row.contender,
                platform: std::env::consts::OS,
                rounds: row.per_second(),
                median: median(&row.per_second()),
                p50_us: latency.as_ref().map(|latency| us(latency.permille(500))),
                p99_us: latency.as_ref().map(|latency| us(latency.permille(990))),
                max_us: latency.as_ref().map(|latency| us(latency.max())),
                server_cpu_s: median(&row.rounds.iter().map(|round| round.cpu_s).collect::<Vec<_>>()),
                rss_bytes: row.rounds.iter().map(|round| round.rss_bytes).max(),
                kernel_calls_per_message: None,
                error: row.error.as_deref(),
            }
        })
        .collect();
    let folder = std::path::PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into()));
    let folder = folder.join("bench");
    std::fs::create_dir_all(&folder)?;
    let place = folder.join("results.json");
    std::fs::write(&place, serde_json::to_string_pretty(&list).map_err(io::Error::other)?)?;
    println!("{machine}\n{}", place.display());
    Ok(())
}
