//! `docs/benchmarks.md`: the measurements, the machine, and where the reactor loses.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::plots::{self, Lines};
use crate::report::{Figure, Row, ratio, table};
use crate::scenarios::{Kind, SCENARIOS};
use crate::server::{libuv, limit_of};
use crate::servers::crew;
use crate::turn::{self, Turn};

const FOLDER: &str = "docs/benchmarks";
const PAGE: &str = "docs/benchmarks.md";
const OURS: &str = "dolmen";
const HAND_WRITTEN: [&str; 4] = ["raw-epoll", "raw-uring", "raw-iocp", "seed-loop"];

pub fn write(machine: &str, wine: &str, quick: bool, rows: &[Row], turns: &[Turn]) -> io::Result<()> {
    std::fs::create_dir_all(FOLDER)?;
    let plots = draw(rows).map_err(|error| io::Error::other(error.to_string()))?;
    let text = page(machine, wine, quick, rows, turns, &plots);
    std::fs::write(PAGE, text)?;
    println!("{PAGE}");
    Ok(())
}

fn page(
    machine: &str,
    wine: &str,
    quick: bool,
    rows: &[Row],
    turns: &[Turn],
    plots: &[(&str, String)],
) -> String {
    let mut text = String::new();
    let mut add = |part: &str| {
        text.push_str(part.trim_end());
        text.push_str("\n\n");
    };
    add("<!-- Written by `cargo xtask bench --report`. -->\n# Benchmarks");
    add(INTRODUCTION);
    add(&format!("**Machine**: {machine}."));
    add(&versions(wine));
    if quick {
        add("**This was a short run**, with `--quick`: repeat it without that before a figure is believed.");
    }
    add(
        "## The bars\n\nThe project's own goals. *Ahead* means that the median of the paired ratios is better.",
    );
    add(&bars(rows));
    add(&counted());
    add(UNMET);
    add(&cost_of_a_turn(rows, turns));
    add(
        "## Where dolmen loses\n\nEach figure that is worse than another contender's by more than the spread of the rounds.",
    );
    add(&losses(rows));
    for (name, caption) in plots {
        add(&format!("![{caption}](benchmarks/{name}.svg)"));
    }
    for platform in ["linux", "windows"] {
        if !rows.iter().any(|row| row.platform == platform) {
            continue;
        }
        add(&format!("## {}", if platform == "linux" { "Linux" } else { "Windows, under Wine" }));
        if platform == "windows" {
            add(WINE);
        }
        for scenario in SCENARIOS {
            let of_scenario: Vec<&Row> =
                rows.iter().filter(|row| row.platform == platform && row.scenario == scenario.name).collect();
            if !of_scenario.is_empty() {
                if scenario.name == "crew-lines" {
                    add(CREW);
                }
                add(&format!("### {}\n\n{}\n\n{}", scenario.name, scenario.about, table(&of_scenario)));
            }
        }
    }
    text.trim_end().to_owned() + "\n"
}

/// The figures that `cargo xtask guard` enforces.
fn counted() -> String {
    let mut text = "## Counted, not timed\n\nA busy machine does not change these figures, and `cargo xtask guard` fails when \
                    one moves. Instructions are those outside the kernel.\n\n| | |\n|---|---|"
        .to_owned();
    let lines = include_str!("../baselines.tsv").lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let mut fields = line.split('\t');
        if let (Some(name), Some(figure)) = (fields.next(), fields.next()) {
            let _ = write!(text, "\n| {name} | {figure} |");
        }
    }
    text
}

/// Bars that no round will meet, and the reasons.
const UNMET: &str = "\
## Bars that are not met, and why

* *Instructions of an echoed message ≤ 1.3 of raw-epoll's.* The raw loop executes three system calls and a branch: it has no
  connections to look up, no queues, no fairness, no ids that outlive a connection. Ours are spread evenly over the code for
  the promises, with no single hot spot; they take well under a microsecond of a message's processor time, and the kernel
  takes the rest. The bar on CPU covers the effect; the guard on instructions keeps this figure from growing.
* *Wineserver requests of an echoed message ≤ 6.* A receive that returns its bytes immediately takes three, and a send three.
  `raw-iocp` takes no more because it does not ask the port while one connection's next message is available, and lets the
  others wait for a second (echo-32 has the longest latencies). Asking each source in each wait costs a dequeue with a timeout
  of zero: the two requests beyond six. 32 connections share it. Where the server sleeps between messages both take 12.
* *CPU with 1,000 connections at a line a second ≤ 1 %.* A line that arrives alone costs a wake of the process and three
  system calls in any loop: the table also shows `raw-epoll`. Lines that arrive together share them.";

/// How little a turn depends on the number of connections.
fn cost_of_a_turn(rows: &[Row], turns: &[Turn]) -> String {
    let mut text = "## The cost of a turn\n\nOne busy connection with idle ones present, on real sockets:\n\n\
                    | idle connections | messages in a second | CPU of a message | p95 µs |\n|---|---|---|---|"
        .to_owned();
    for scenario in SCENARIOS {
        let Kind::Echo { traffic, idle } = scenario.kind else { continue };
        let Some(row) = find(rows, "linux", scenario.name, OURS).filter(|_| traffic.connections == 1) else {
            continue;
        };
        let (Some(rate), Some(cpu_s)) = (row.median(Figure::Rate), row.median(Figure::CpuPerMessage)) else {
            continue;
        };
        let p95 = row.latency().map_or(f64::NAN, |latency| latency.permille(950) as f64 / 1e3);
        let _ = write!(text, "\n| {idle} | {rate:.0} | {:.2} µs | {p95:.1} |", cpu_s * 1e6);
    }
    if !turns.is_empty() {
        text += "\n\nOver the simulated kernel, which allows more connections than a machine has descriptors for. The \
                 figures count the engine and the simulated kernel together:\n\n";
        text += &turn::table(turns);
    }
    text
}

const INTRODUCTION: &str = "\
Each contender is one server program, all with the same behaviour; one load generator, which uses none of the libraries, drives them. A
round runs each contender once, one after the other. A figure is the median of the rounds, and *spread* is the distance of
the furthest round from it. Ratios compare figures of the same round, since a machine's speed changes more between rounds
than between contenders; the number after ± is half the distance between the smallest and the largest ratio. Absolute
figures do not apply to another machine. With two processors, the server has one and the load generator the other. CPU is
the scheduler's account of the server's threads. *Calls of a message* are system calls on Linux, counted in a separate run.

To repeat the measurement, run `cargo xtask bench --report`, and add `--windows` for that part. The contenders' sources are
in [crates/bench/src/servers](../crates/bench/src/servers). `raw-epoll`, `raw-uring` and `raw-iocp` are written by hand and
do nothing that a real server would need beyond the scenario, which makes them the limit.";

const CREW: &str = "\
## Several threads

One server over `dolmen::Crew`, with 0, 1 and 2 members: `crew-0` is the same program on one thread. The threads and the
load generator share both processors and are not pinned, and the load generator has a part of them: its CPU of a message is
in the last column but one. What is left for two members is the rest, so with two processors their gain is below two. The work
of a message is a fixed number of steps in the codec, measured in time on this machine before the first round. A round in which
other programs have used more than a tenth of a processor is repeated up to four times, and the least disturbed one
counts; the last column shows what they used nevertheless.";

const WINE: &str = "\
The Windows builds against the same load generator. Processor time is that of the program and the wineserver together, and
the calls are requests to the wineserver. Wine is not Windows: these figures show how many kernel objects a design touches,
and not how fast it is on Windows. A loop that serves one connection as long as its next message is available immediately
has a good 99th percentile here, because few messages wait: the longest latency shows them. `seed-loop` is the loop from
which the project started, rewritten from its description: WaitForMultipleObjects over the port and the listener's event,
then one dequeue for each completion.";

fn versions(wine: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let version = |name: &str| {
        let start = format!("name = \"{name}\"\nversion = \"");
        // The last one, if another package requires an older version.
        let at = lock.rfind(&start).map(|at| at + start.len());
        at.and_then(|at| lock[at..].split('"').next()).unwrap_or("?").to_owned()
    };
    let mut list: Vec<String> = ["dolmen", "io-uring", "mio", "polling", "tokio", "compio", "monoio"]
        .iter()
        .map(|name| format!("{name} {}", version(name)))
        .collect();
    let of_libuv = libuv().map_err(str::to_owned).and_then(|program| {
        let output = std::process::Command::new(program).arg("version").output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .map_err(|e| e.to_string())
    });
    list.push(match of_libuv {
        Ok(version) => format!("libuv {version}"),
        Err(why) => format!("libuv absent: {why}"),
    });
    if !wine.is_empty() {
        list.push(wine.to_owned());
    }
    format!("**Versions**: {}.", list.join(", "))
}

fn find<'a>(rows: &'a [Row], platform: &str, scenario: &str, contender: &str) -> Option<&'a Row> {
    rows.iter().find(|row| {
        row.platform == platform && row.scenario == scenario && row.contender == contender && row.ran()
    })
}

/// Whether a smaller figure is better.
fn less_is_better(scenario: &str, figure: Figure) -> bool {
    figure != Figure::Rate || scenario == "idle-memory"
}

/// The ratio of a figure to another contender's: 1.1 is ten per cent better. With the spread of the rounds.
fn advantage(row: &Row, other: &Row, figure: Figure) -> Option<(f64, f64)> {
    let (better, worse) = if less_is_better(row.scenario, figure) { (other, row) } else { (row, other) };
    ratio(better, worse, figure).map(|ratio| (ratio.median, ratio.spread))
}

/// The strongest library in a figure.
fn strongest<'a>(rows: &'a [Row], ours: &Row, figure: Figure) -> Option<(&'a Row, f64, f64)> {
    let libraries = rows.iter().filter(|row| {
        row.platform == ours.platform
            && row.scenario == ours.scenario
            && row.ran()
            && row.contender != OURS
            && !HAND_WRITTEN.contains(&row.contender.as_str())
    });
    libraries
        .filter_map(|row| advantage(ours, row, figure).map(|(ratio, spread)| (row, ratio, spread)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
}

fn bars(rows: &[Row]) -> String {
    let mut lines = vec!["| scenario | bar | measured | |".to_owned(), "|---|---|---|---|".to_owned()];
    let mut bar = |scenario: &str, wanted: &str, measured: Option<(String, f64, f64)>| {
        let Some((measured, margin, spread)) = measured else { return };
        let verdict = match margin {
            margin if margin >= 0.0 => "met",
            margin if margin >= -spread => "within the spread",
            _ => "**missed**",
        };
        lines.push(format!("| {scenario} | {wanted} | {measured} | {verdict} |"));
    };
    let ours = |scenario: &str| find(rows, "linux", scenario, OURS);
    let scenarios = ["echo-1", "echo-32", "echo-32-idle-8000", "echo-32-16k", "pipeline-32", "churn"];
    for scenario in scenarios {
        let Some(row) = ours(scenario) else { continue };
        for (figure, word) in [(Figure::Rate, "messages"), (Figure::CpuPerMessage, "CPU of a message")] {
            if figure == Figure::CpuPerMessage
                && !scenario.starts_with("echo-1")
                && !scenario.starts_with("echo-32")
            {
                continue;
            }
            let measured = strongest(rows, row, figure).map(|(other, ratio, spread)| {
                (format!("{ratio:.3} ± {spread:.3} of {}", other.contender), ratio - 1.0, spread)
            });
            bar(scenario, &format!("{word}: ahead of every library"), measured);
        }
    }
    let to_raw = |scenario: &str, figure| {
        let row = ours(scenario)?;
        let limit = find(rows, "linux", scenario, limit_of("linux", scenario))?;
        ratio(row, limit, figure)
    };
    for (scenario, most) in [("echo-1", 1.02), ("echo-32", 1.0), ("echo-32-idle-8000", 1.0)] {
        let measured = to_raw(scenario, Figure::CpuPerMessage).map(|ratio| {
            (format!("{:.3} ± {:.3}", ratio.median, ratio.spread), most - ratio.median, ratio.spread)
        });
        bar(scenario, &format!("CPU of a message ≤ {most:.2} of raw-epoll"), measured);
    }
    for (scenario, least) in [("broadcast-1000", 1.0), ("broadcast-1000-1k", 1.0), ("churn", 0.95)] {
        let measured = to_raw(scenario, Figure::Rate).map(|ratio| {
            (format!("{:.3} ± {:.3}", ratio.median, ratio.spread), ratio.median - least, ratio.spread)
        });
        bar(scenario, &format!("≥ {least:.2} of raw-epoll"), measured);
    }
    let idle = ours("echo-32-idle-8000").zip(ours("echo-32"));
    let idle = idle.and_then(|(idle, none)| {
        Some((idle.median(Figure::Rate)? / none.median(Figure::Rate)?, spread(idle) + spread(none)))
    });
    bar(
        "echo-32-idle-8000",
        "≥ 0.98 of echo-32",
        idle.map(|(ratio, spread)| (format!("{ratio:.3}"), ratio - 0.98, spread)),
    );
    let turn = ours("echo-1-idle-19000").zip(ours("echo-1"));
    let turn = turn.and_then(|(beside, alone)| {
        let [beside_s, alone_s] = [beside, alone].map(|row| row.median(Figure::CpuPerMessage));
        Some((beside_s? / alone_s?, spread(beside) + spread(alone)))
    });
    let turn = turn.map(|(ratio, spread)| (format!("{ratio:.3} ± {spread:.3}"), 1.05 - ratio, spread));
    bar("echo-1-idle-19000", "CPU of a message within 5 % of echo-1's", turn);
    let memory = ours("idle-memory").and_then(|row| row.median(Figure::Rate));
    let memory = memory.map(|bytes| (format!("{bytes:.0} bytes"), 200.0 - bytes, 0.0));
    bar("idle-memory", "an idle connection ≤ 200 bytes, the pool's apart", memory);
    let fairness = to_raw("echo-32", Figure::MaxToP50);
    let fairness = fairness.map(|ratio| {
        (format!("{:.2} ± {:.2} of raw-epoll", ratio.median, ratio.spread), 1.0 - ratio.median, ratio.spread)
    });
    bar("echo-32", "longest to median latency: no worse than raw-epoll", fairness);
    let windows = find(rows, "windows", "echo-32", OURS).and_then(|row| row.median(Figure::MaxToP50));
    bar(
        "echo-32, Wine",
        "longest to median latency ≤ 5",
        windows.map(|ratio| (format!("{ratio:.1}"), 5.0 - ratio, 0.0)),
    );
    let requests = find(rows, "windows", "echo-1", OURS).and_then(|row| row.calls_per_message);
    bar(
        "echo-1, Wine",
        "wineserver requests ≤ 6",
        requests.map(|calls| (format!("{calls:.2}"), 6.0 - calls, 0.0)),
    );
    let members =
        find(rows, "linux", "crew-100us", "crew-2").zip(find(rows, "linux", "crew-100us", "crew-0"));
    let members = members.and_then(|(two, none)| ratio(two, none, Figure::Rate));
    bar(
        "crew-100us",
        "two members: ≥ 1.5 of none",
        members.map(|ratio| {
            (format!("{:.3} ± {:.3}", ratio.median, ratio.spread), ratio.median - 1.5, ratio.spread)
        }),
    );
    let paced = ours("paced-1000");
    let share = paced.and_then(Row::processor_share).map(|share| share * 100.0);
    bar("paced-1000", "CPU ≤ 1 %", share.map(|share| (format!("{share:.2} %"), 1.0 - share, 0.0)));
    let p95 = paced.and_then(Row::latency).map(|latency| latency.permille(950) as f64 / 1e6);
    bar("paced-1000", "p95 of a line < 1 ms", p95.map(|ms| (format!("{ms:.3} ms"), 1.0 - ms, 0.0)));
    lines.join("\n")
}

/// The round furthest from the median, as a share of it.
fn spread(row: &Row) -> f64 {
    let rate = row.median(Figure::Rate).unwrap_or(f64::NAN);
    row.figures(Figure::Rate).iter().fold(0.0, |most, other| most.max((other / rate - 1.0).abs()))
}

fn losses(rows: &[Row]) -> String {
    let mut list = String::new();
    // With members, the crew is compared with itself without them.
    let with_members = |row: &Row| crew::members(&row.contender).is_some_and(|members| members > 0);
    for ours in rows.iter().filter(|row| (row.contender == OURS || with_members(row)) && row.ran()) {
        let name = match with_members(ours) {
            true => format!("{}, {}", ours.scenario, ours.contender),
            false => ours.scenario.to_owned(),
        };
        let figures = [
            (Figure::Rate, if ours.scenario == "idle-memory" { "memory" } else { "rate" }),
            (Figure::CpuPerMessage, "CPU of a message"),
            (Figure::P99, "p99"),
        ];
        for (figure, word) in figures {
            let others = rows.iter().filter(|row| {
                row.scenario == ours.scenario
                    && row.platform == ours.platform
                    && row.ran()
                    && row.contender != OURS
                    && !with_members(row)
            });
            let better: Vec<String> = others
                .filter_map(|other| {
                    advantage(ours, other, figure).map(|(ratio, spread)| (other, ratio, spread))
                })
                .filter(|(_, ratio, spread)| *ratio < 1.0 - spread.max(0.005))
                .map(|(other, ratio, _)| format!("{} ({ratio:.2})", other.contender))
                .collect();
            if !better.is_empty() {
                let system = if ours.platform == "linux" { "" } else { ", Wine" };
                let _ = writeln!(list, "* {name}{system}, {word}: {}", better.join(", "));
            }
        }
    }
    if list.is_empty() { "In none of these measurements.".to_owned() } else { list }
}

/// Draws all plots. Returns their names and captions.
fn draw(rows: &[Row]) -> Result<Vec<(&'static str, String)>, Box<dyn std::error::Error>> {
    let mut drawn = Vec::new();
    let place = |name: &str| Path::new(FOLDER).join(format!("{name}.svg"));
    let group = |scenario: &str, platform: &str, value: &dyn Fn(&Row) -> Option<f64>| {
        let of_scenario =
            rows.iter().filter(|row| row.scenario == scenario && row.platform == platform && row.ran());
        let bars: Vec<_> = of_scenario.filter_map(|row| Some((row.contender.clone(), value(row)?))).collect();
        let name = if platform == "linux" { scenario.to_owned() } else { format!("{scenario}, Wine") };
        (name, bars)
    };
    let rate = |row: &Row| row.median(Figure::Rate);
    let to_limit = |figure| {
        move |row: &Row| {
            let limit = find(rows, row.platform, row.scenario, limit_of(row.platform, row.scenario))?;
            ratio(row, limit, figure).map(|ratio| ratio.median)
        }
    };
    let busy = ["echo-1", "echo-32", "pipeline-32", "echo-32-16k", "churn"];
    let mut bars = |name: &'static str, title: &str, groups: Vec<(String, Vec<(String, f64)>)>| {
        let groups: Vec<_> = groups.into_iter().filter(|(_, bars)| !bars.is_empty()).collect();
        if groups.is_empty() {
            return Ok(());
        }
        drawn.push((name, title.to_owned()));
        plots::bars(&place(name), title, &groups)
    };
    let of = |scenarios: &[&str], value: &dyn Fn(&Row) -> Option<f64>| {
        scenarios.iter().map(|scenario| group(scenario, "linux", value)).collect::<Vec<_>>()
    };
    bars(
        "throughput",
        "Messages in a second, as a multiple of raw-epoll's",
        of(&busy, &to_limit(Figure::Rate)),
    )?;
    bars(
        "cpu",
        "CPU of a message, as a multiple of raw-epoll's",
        of(&busy, &to_limit(Figure::CpuPerMessage)),
    )?;
    let broadcasts = ["broadcast-1000", "broadcast-1000-1k"];
    bars("broadcast", "Deliveries of a broadcast in a second", of(&broadcasts, &rate))?;
    bars("memory", "Resident bytes of an idle connection", of(&["idle-memory"], &rate))?;
    let calls = |row: &Row| row.calls_per_message;
    bars(
        "calls",
        "System calls of a message",
        of(&["echo-1", "echo-32", "pipeline-32", "broadcast-1000"], &calls),
    )?;
    let fairness = |row: &Row| row.median(Figure::MaxToP50);
    let mut groups = of(&["echo-32", "mixed-32"], &fairness);
    groups.extend(["echo-32", "mixed-32"].map(|scenario| group(scenario, "windows", &fairness)));
    bars("fairness", "Longest latency, as a multiple of the median one", groups)?;
    let requests = ["echo-1", "echo-32"].map(|scenario| group(scenario, "windows", &calls));
    bars("wineserver", "Wineserver requests of a message", requests.into())?;

    for (name, platform, scenario) in [
        ("latency", "linux", "echo-32"),
        ("latency-mixed", "linux", "mixed-32"),
        ("latency-wine", "windows", "mixed-32"),
    ] {
        let of_scenario =
            rows.iter().filter(|row| row.scenario == scenario && row.platform == platform && row.ran());
        let series: Vec<_> = of_scenario.filter_map(distribution).collect();
        let title = format!("Latency, {scenario}{}", if platform == "linux" { "" } else { " under Wine" });
        if !series.is_empty() {
            let plot = Lines { title: &title, x: "per cent of the messages", y: "µs", log_y: true, series };
            plots::lines(&place(name), &plot)?;
            drawn.push((name, title));
        }
    }
    let series = against_idle(rows);
    if series.iter().any(|(_, points)| points.len() > 1) {
        let title = "32 busy connections beside idle ones";
        let plot = Lines { title, x: "idle connections", y: "messages in a second", log_y: false, series };
        plots::lines(&place("idle"), &plot)?;
        drawn.push(("idle", title.to_owned()));
    }
    Ok(drawn)
}

fn distribution(row: &Row) -> Option<(String, Vec<(f64, f64)>)> {
    let latency = row.latency()?;
    let points = (1..=99).map(|percent| 10 * percent).chain([992, 994, 996, 998, 999]);
    let points = points.map(|permille| (permille as f64 / 10.0, latency.permille(permille) as f64 / 1000.0));
    Some((row.contender.clone(), points.collect()))
}

/// The rate of each contender with this many idle connections.
fn against_idle(rows: &[Row]) -> Vec<(String, Vec<(f64, f64)>)> {
    let mut series: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for scenario in SCENARIOS {
        let Kind::Echo { traffic, idle } = scenario.kind else { continue };
        let plain = traffic.connections == 32
            && traffic.depth == 1
            && traffic.bulk == 0
            && traffic.message_bytes == 64;
        let of_scenario =
            rows.iter().filter(|row| row.scenario == scenario.name && row.platform == "linux" && row.ran());
        for row in of_scenario.filter(|_| plain) {
            let Some(rate) = row.median(Figure::Rate) else { continue };
            let at = series.iter().position(|(name, _)| *name == row.contender).unwrap_or_else(|| {
                series.push((row.contender.clone(), Vec::new()));
                series.len() - 1
            });
            series[at].1.push((idle as f64, rate));
        }
    }
    series
}
