//! How exactly waits and intervals end.

use std::time::{Duration, Instant};

use dolmen::{Event, Events, Reactor, Token};

use crate::case::{Check, Outcome, Result};
use crate::machine::Machine;
use crate::process::progress;

const PERIOD: Duration = Duration::from_millis(10);

/// A Windows without high-resolution timers ends waits with the tick of its clock, which is 15.6 ms: half of that is
/// the median to expect of it. Where the timers exist, the median is well below.
const MOST_MEDIAN: Duration = Duration::from_millis(5);

pub fn interval(check: &Check) -> Result {
    let time = Duration::from_secs(if check.quick { 2 } else { 10 });
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(16);
    let start = Instant::now();
    reactor.add_interval(PERIOD, Token(0));
    // The interval began between the two.
    let begun = Instant::now();
    let (mut late, mut ticks, mut missed_in_all) = (Vec::new(), 0u32, 0);
    let mut next_report = Duration::from_secs(1);
    while start.elapsed() < time {
        reactor.wait(&mut events, None)?;
        let now = Instant::now();
        for event in &mut events {
            let Event::Timer { missed, .. } = event else { continue };
            missed_in_all += missed;
            ticks += 1 + u32::try_from(missed)?;
            let due = PERIOD * ticks;
            if now.duration_since(start) < due {
                let early = due - now.duration_since(start);
                return Ok(Outcome::Fail(format!("tick {ticks} came {} early", ms(early))));
            }
            late.push(now.duration_since(begun).saturating_sub(due));
        }
        if start.elapsed() >= next_report {
            progress(format_args!("{} of {} s", next_report.as_secs(), time.as_secs()));
            next_report += Duration::from_secs(1);
        }
    }
    late.sort_unstable();
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    let (median, high, most) = (at(0.5), at(0.99), at(1.0));
    let figures = format!(
        "{ticks} ticks in {} s, {missed_in_all} missed; late by {} (median), {} (99 %), {} at most",
        time.as_secs(),
        ms(median),
        ms(high),
        ms(most)
    );
    // Under Wine the lateness is Linux's, on a machine that may be busy.
    let is_windows = matches!(Machine::this(), Machine::Windows(_));
    Ok(if is_windows && median > MOST_MEDIAN { Outcome::Fail(figures) } else { Outcome::Pass(figures) })
}

pub fn short_waits(check: &Check) -> Result {
    let times = if check.quick { 20 } else { 100 };
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(16);
    let mut figures = Vec::new();
    for wait_ms in [1, 5, 15] {
        let timeout = Duration::from_millis(wait_ms);
        let mut late = Vec::new();
        for _ in 0..times {
            let start = Instant::now();
            let count = reactor.wait(&mut events, Some(timeout))?;
            let took = start.elapsed();
            if count != 0 {
                return Ok(Outcome::Fail(format!(
                    "a wait of {wait_ms} ms returned {count} events of nothing"
                )));
            }
            if took < timeout {
                return Ok(Outcome::Fail(format!(
                    "a wait of {wait_ms} ms ended {} early",
                    ms(timeout - took)
                )));
            }
            late.push(took - timeout);
        }
        late.sort_unstable();
        figures.push(format!(
            "{wait_ms} ms: {} late (median), {} at most",
            ms(late[times / 2]),
            ms(late[times - 1])
        ));
    }
    Ok(Outcome::Pass(figures.join("; ")))
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
