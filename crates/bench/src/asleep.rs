//! Waiting until another program has nothing left to do.
//!
//! A server that is still at work when the next message arrives finds it without a wait, and then the message costs
//! less. How often that happens depends on the machine's load, so a count needs a server that is asleep each time.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A busy machine lets a program wait for a processor, never this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Processes that wait for each other: a program under a tool, and Wine's server.
pub struct Processes(Vec<PathBuf>);

impl Processes {
    /// A process with all that it has started, and all of Wine's servers.
    pub fn of(process: u32) -> io::Result<Self> {
        let mut found = vec![process];
        let mut next = 0;
        while let Some(parent) = found.get(next) {
            found.extend(children(*parent));
            next += 1;
        }
        let mut folders: Vec<PathBuf> =
            found.iter().map(|id| Path::new("/proc").join(id.to_string())).collect();
        for entry in std::fs::read_dir("/proc")? {
            let folder = entry?.path();
            let name = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
            if name.starts_with("wineserver") && !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        Ok(Self(folders))
    }

    /// Waits until every thread of these processes is asleep.
    ///
    /// A message under way between two of them has made one of them runnable, so when all are asleep there is none.
    ///
    /// # Errors
    ///
    /// A thread that is at work for 20 s, with its state; or there is none to look at.
    pub fn wait_until_asleep(&self) -> io::Result<()> {
        self.wait_until_asleep_within(PATIENCE)
    }

    fn wait_until_asleep_within(&self, patience: Duration) -> io::Result<()> {
        let start = Instant::now();
        loop {
            let before = self.threads()?;
            if before.is_empty() {
                return Err(io::Error::other(
                    "no thread to look at: the program has ended, or this system has no /proc/PID/task/TID/schedstat",
                ));
            }
            let awake = before.iter().find(|(_, state)| !state.asleep);
            // They were looked at one after the other: nothing has run in between when nobody's time has grown.
            if awake.is_none() && self.threads()? == before {
                return Ok(());
            }
            if start.elapsed() > patience {
                let who = awake.map_or("one of several threads", |(_, state)| &state.text);
                return Err(io::Error::other(format!("never asleep: {who}")));
            }
            // So as not to take the processor from those that are waited for.
            std::thread::yield_now();
        }
    }

    fn threads(&self) -> io::Result<BTreeMap<PathBuf, State>> {
        let mut states = BTreeMap::new();
        for folder in &self.0 {
            // A process may have ended.
            let Ok(tasks) = std::fs::read_dir(folder.join("task")) else { continue };
            for task in tasks {
                let task = task?.path();
                if let Ok(state) = State::of(&task) {
                    states.insert(task, state);
                }
            }
        }
        Ok(states)
    }
}

fn children(process: u32) -> Vec<u32> {
    let list =
        std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// What a thread does, and how long it has run.
#[derive(PartialEq, Eq)]
struct State {
    asleep: bool,
    text: String,
    ran: String,
}

impl State {
    fn of(task: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(task.join("stat"))?;
        let ran = std::fs::read_to_string(task.join("schedstat"))?;
        Ok(Self { asleep: asleep(&text), text: text.chars().take(60).collect(), ran })
    }
}

/// The state is the word behind the name, which may contain spaces and parentheses.
fn asleep(stat: &str) -> bool {
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('S'))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_state_is_found_behind_any_name() {
        assert!(asleep("7 (a) R (b) S 1 7 7 0"));
        assert!(!asleep("7 (S) R 1 7 7 0"));
        assert!(!asleep("7 (traced) t 1 7 7 0"));
    }

    #[test]
    fn a_program_that_waits_for_its_input_is_asleep() {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
        let processes = Processes(vec![Path::new("/proc").join(cat.id().to_string())]);
        processes.wait_until_asleep().expect("it waits");
        let (mut input, mut output) = (cat.stdin.take().expect("a pipe"), cat.stdout.take().expect("a pipe"));
        input.write_all(b"a").expect("it reads");
        output.read_exact(&mut [0]).expect("it answers");
        processes.wait_until_asleep().expect("it waits again");
        drop(input);
        assert!(cat.wait().expect("it ends").success());
        assert!(processes.wait_until_asleep().is_err(), "it is no more");
    }

    #[test]
    fn a_program_at_work_is_not_asleep() {
        let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("sh");
        let processes = Processes(vec![Path::new("/proc").join(busy.id().to_string())]);
        let waited = processes.wait_until_asleep_within(Duration::from_millis(50));
        busy.kill().expect("it runs");
        busy.wait().expect("it ends");
        let error = waited.expect_err("it never sleeps").to_string();
        assert!(error.starts_with("never asleep: "), "{error}");
    }
}
