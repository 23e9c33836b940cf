//! The library's threads leave signals to the program's own.

mod common;

use std::path::{Path, PathBuf};

/// One function starts all threads of the shipped crates, and sets the signal mask.
#[test]
fn no_thread_is_started_but_by_the_helper() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the folder of the crates");
    let mut files = Vec::new();
    for name in ["dolmen", "dolmen-c", "dolmend"] {
        collect(&crates.join(name).join("src"), &mut files);
    }
    assert!(files.len() > 60, "only {} files in {}", files.len(), crates.display());
    let mut starts = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        // Unit tests are at the end of a file.
        let product = text.split("#[cfg(test)]\nmod tests {").next().expect("there is a first part");
        let found = product.lines().enumerate().filter(|(_, line)| starts_a_thread(line));
        let name = file.display().to_string().replace('\\', "/");
        starts.extend(found.map(|(at, line)| format!("{name}:{}: {}", at + 1, line.trim())));
    }
    let allowed =
        starts.iter().position(|start| start.contains("kernel/thread.rs") && start.contains("Builder"));
    starts.remove(allowed.expect("the helper itself is found"));
    assert_eq!(starts, Vec::<String>::new(), "use kernel::thread::spawn");
}

fn starts_a_thread(line: &str) -> bool {
    let line = line.split("//").next().unwrap_or_default();
    ["std::thread::spawn", "thread::Builder", "Builder::new().name(", "thread::scope", "CreateThread", "pthread_create"]
        .iter()
        .any(|start| line.contains(start))
        // Imported with `use std::thread`.
        || (line.contains("thread::spawn(move") || line.contains("thread::spawn(||"))
}

/// The source files below a folder, without those for Windows only: there are no signals there.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with("windows") || name == "iocp" || name.ends_with("tests.rs") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::collections::BTreeMap;
    use std::fs::File;
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::common::{Rig, is_child, watchdog};
    use dolmen::{ConsoleMode, Token};

    /// The signals that a thread's own fault raises: SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS.
    const OWN_FAULTS: [u32; 6] = [4, 5, 7, 8, 11, 31];
    /// No thread can block SIGKILL and SIGSTOP, and 32 and 33 belong to the C library.
    const NOT_BLOCKED: [u32; 4] = [9, 19, 32, 33];

    /// A thread's name, and the signals that it blocks.
    fn mask_of(task: &Path) -> Option<(String, u64)> {
        let status = std::fs::read_to_string(task.join("status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect("a field of /proc").trim().to_owned()
        };
        Some((field("Name:"), u64::from_str_radix(&field("SigBlk:"), 16).expect("a mask")))
    }

    /// Those of all threads of this process.
    fn masks() -> BTreeMap<String, u64> {
        let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
        tasks.filter_map(|task| mask_of(&task.ok()?.path())).collect()
    }

    /// In a process of its own, because of its standard input: a file longer than what the console reads ahead.
    #[test]
    fn hc49_the_threads_of_the_library_block_all_signals() {
        let _watchdog = watchdog();
        if !is_child() {
            let file = std::env::temp_dir().join(format!("dolmen-threads-{}", std::process::id()));
            let mut input = File::create(&file).expect("a file");
            input.write_all(&b"line\n".repeat(100_000)).expect("write");
            let program = std::env::current_exe().expect("this program");
            let output = Command::new(program)
                .args([
                    "unix::hc49_the_threads_of_the_library_block_all_signals",
                    "--exact",
                    "--test-threads=2",
                ])
                .env("DOLMEN_TEST_CHILD", "1")
                .stdin(Stdio::from(File::open(&file).expect("the file")))
                .output()
                .expect("the child runs");
            std::fs::remove_file(file).expect("remove");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let ours = Path::new("/proc/thread-self");
        let before = mask_of(ours);
        let mut rig = Rig::new();
        rig.reactor.add_console(ConsoleMode::Line, Token(0)).expect("a console");
        // A new thread sets its name after a moment.
        let names = ["console input", "console output"];
        while !names.iter().all(|&name| masks().contains_key(name)) {
            std::thread::yield_now();
        }
        let now = masks();
        let open = OWN_FAULTS.into_iter().chain(NOT_BLOCKED).fold(0, |set, signal| set | 1 << (signal - 1));
        for name in names {
            assert_eq!(now[name], !open, "{name} blocks {:016x}", now[name]);
        }
        assert_eq!(mask_of(ours), before, "the thread that started them is as it was");
    }
}
