//! What belongs to a process as a whole: signals, the console, descriptors, and the threads for names and files.

use super::*;

/// A signal to this process arrives at the reactor, which has registered for it with token 7.
fn terminated(rig: &mut Rig) {
    // SAFETY: sends a signal to this process.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
    rig.until("SIGTERM", |_, event| match event {
        Event::Console { token: Token(7), input: ConsoleInput::Shutdown { reason, .. }, .. } => {
            assert_eq!(reason, ShutdownReason::Terminate);
            true
        }
        other => panic!("{other:?}"),
    });
}

/// In a process of its own, because signals belong to the process.
#[test]
fn each_process_gets_its_own_signals() {
    if !is_child() {
        return in_child();
    }
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    rig.reactor.add_signals(Token(7)).expect("signals");
    rig.silent();
    fork(|| {
        // Before the first verb, and after it.
        terminated(&mut rig);
        terminated(&mut rig);
        rig.silent();
    })
    .ends_well();
    rig.silent();
    terminated(&mut rig);
    // Another thread may still be in the handler of that signal.
    for _ in 0..50 {
        let Rig { reactor, events } = rig;
        let mut reactor = Some(reactor);
        fork(|| {
            drop(reactor.take());
            let mut rig = Rig::new();
            rig.reactor.add_signals(Token(7)).expect("signals");
            terminated(&mut rig);
        })
        .ends_well();
        rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };
        terminated(&mut rig);
    }
}

fn standard_numbers_are_free() -> bool {
    // SAFETY: asks about numbers, whatever they stand for.
    (0..3).all(|number| unsafe { libc::fcntl(number, libc::F_GETFD) } == -1)
}

/// A daemon closes its standard streams, and may open others or print at any time.
///
/// In a process of its own, because signals belong to the process.
#[test]
fn no_descriptor_of_the_library_takes_the_number_of_a_closed_standard_stream() {
    if !is_child() {
        return in_child();
    }
    let _watchdog = watchdog();
    fork(|| {
        // SAFETY: this process does not use them from here on. A panic can print nothing, and the exit status shows it.
        (0..3).for_each(|number| assert_eq!(unsafe { libc::close(number) }, 0));
        let mut rig = Rig::new();
        rig.reactor.add_signals(Token(7)).expect("signals");
        rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
        assert!(standard_numbers_are_free());
        let copy = fork(|| {
            // The first call of a copy makes everything anew.
            rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
            assert!(standard_numbers_are_free());
        });
        copy.ends_well();
    })
    .ends_well();
}

/// From here on this process opens no descriptor, or may open them again.
fn may_open(may: bool) {
    // SAFETY: all zeroes is a valid value, and the pointers are to it.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = if may { limit.rlim_max.min(1024) } else { 3 };
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
}

/// In a process of its own, because signals belong to the process.
#[test]
fn signals_come_in_a_child_that_had_no_descriptors_for_them_at_first() {
    if !is_child() {
        return in_child();
    }
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    rig.reactor.add_signals(Token(7)).expect("signals");
    rig.silent();
    fork(|| {
        may_open(false);
        rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect_err("it needs descriptors");
        may_open(true);
        terminated(&mut rig);
        rig.silent();
    })
    .ends_well();
}

/// In a process of its own, because of its standard input. Threads read and write its console, and a forked process
/// does not have them.
#[test]
fn the_console_stays_with_the_process_that_has_registered_it() {
    let _watchdog = watchdog();
    if !is_child() {
        let file = std::env::temp_dir().join(format!("dolmen-fork-{}", std::process::id()));
        std::fs::write(&file, "line\n".repeat(10_000)).expect("a file");
        let program = std::env::current_exe().expect("this program");
        let name = thread::current().name().expect("a test has its name").to_owned();
        let output = std::process::Command::new(program)
            .args([&name, "--exact", "--test-threads=2", "--nocapture"])
            .env("DOLMEN_TEST_CHILD", "1")
            .stdin(std::fs::File::open(&file).expect("the file"))
            .output()
            .expect("the child runs");
        std::fs::remove_file(file).expect("remove");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let mut rig = Rig::new();
    rig.reactor.add_console(ConsoleMode::Line, Token(0)).expect("a console");
    let mut lines = 0;
    let mut read = |rig: &mut Rig, until: usize| {
        if lines >= until {
            return;
        }
        rig.until("lines", |_, event| {
            lines += usize::from(matches!(event, Event::Console { input: ConsoleInput::Line("line"), .. }));
            lines >= until
        });
    };
    read(&mut rig, 100);
    for round in 0..20 {
        let Rig { reactor, events } = rig;
        let mut reactor = Some(reactor);
        let start = Instant::now();
        fork(|| {
            let mut reactor = reactor.take().expect("it is there");
            if round % 2 == 1 {
                let error = reactor.console().expect_err("it is not ours");
                assert_eq!(error.kind(), ErrorKind::NotFound);
                let mut events = dolmen::Events::with_capacity(8);
                assert_eq!(reactor.wait(&mut events, Some(Duration::ZERO)).expect("wait"), 0);
                assert!(!reactor.remove_console());
            }
            drop(reactor);
        })
        .ends_well();
        assert!(start.elapsed() < Duration::from_secs(1), "no thread is waited for");
        rig = Rig { reactor: reactor.take().expect("the child has dropped its own"), events };
        read(&mut rig, 400 + 400 * round);
    }
    read(&mut rig, 10_000);
    // A forked process may have its own console.
    fork(|| {
        assert!(!rig.reactor.remove_console());
        rig.reactor.add_console(ConsoleMode::Line, Token(0)).expect("a console");
        rig.until("end", |_, event| matches!(event, Event::Console { input: ConsoleInput::EndOfInput, .. }));
    })
    .ends_well();
}

/// A resolver that hangs in the process that has made it, until it is released.
struct HangsInParent {
    parent: u32,
    released: AtomicBool,
}

impl dolmen::internal::Resolver for HangsInParent {
    fn addresses(&self, _: &str, port: u16) -> std::io::Result<Vec<std::net::SocketAddr>> {
        while std::process::id() == self.parent && !self.released.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        Ok(vec![([192, 0, 2, 7], port).into()])
    }

    fn name(&self, _: std::net::IpAddr) -> std::io::Result<String> {
        unreachable!("no name is looked up")
    }
}

#[test]
fn hc47_look_ups_in_progress_end_once_in_each_process() {
    let _watchdog = watchdog();
    let resolver = Arc::new(HangsInParent { parent: std::process::id(), released: AtomicBool::new(false) });
    let mut rig = Rig::with(&dolmen::Reactor::builder().resolver(resolver.clone()));
    // Two in threads, one behind them, and one that is reported with the next wait.
    let mut lookups = Vec::new();
    for host in ["a", "b", "c", "192.0.2.7"] {
        lookups.push(rig.reactor.resolve(host, 23, Token(0)).expect("resolve"));
    }
    let all_end = |rig: &mut Rig, mut left: Vec<dolmen::LookupId>| {
        rig.until("end of each look-up", |_, event| {
            let Event::Resolved { lookup, result: Ok(_), .. } = event else { panic!("{event:?}") };
            let at = left.iter().position(|&other| other == lookup).expect("each ends once");
            left.remove(at);
            left.is_empty()
        });
        assert_eq!(rig.reactor.stats().lookups, 0);
    };
    // One process only drops its copy, the other one goes on with it.
    fork(|| drop(std::mem::replace(&mut rig, Rig::new()))).ends_well();
    fork(|| {
        let mut left = lookups.clone();
        assert!(rig.reactor.cancel_lookup(left.remove(0)));
        left.push(rig.reactor.resolve("d", 23, Token(0)).expect("resolve"));
        all_end(&mut rig, left);
        drop(std::mem::replace(&mut rig, Rig::new()));
    })
    .ends_well();
    resolver.released.store(true, Ordering::Relaxed);
    all_end(&mut rig, lookups);
}

/// Reads and writes in progress end in the parent. In the child, which has no threads, each has failed, and new ones work.
#[test]
fn hc47_operations_on_files_end_once_in_each_process() {
    let _watchdog = watchdog();
    let path = std::env::temp_dir().join(format!("dolmen-fork-{}", std::process::id()));
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    std::fs::remove_file(&path).expect("remove");
    let file = Arc::new(file.expect("a temporary file"));
    let mut rig = Rig::new();
    let mut ops = Vec::new();
    for at in 0..40 {
        let bytes = vec![at as u8; 500_000];
        ops.push(rig.reactor.write_file(file.clone(), at * 500_000, bytes, Token(0)).expect("write"));
    }
    let all_end = |rig: &mut Rig, mut left: Vec<dolmen::FileOpId>, is_child: bool| {
        rig.until("end of each operation", |_, event| {
            let Event::FileWritten { op, result, .. } = event else { panic!("{event:?}") };
            let at = left.iter().position(|&other| other == op).expect("each ends once");
            left.remove(at);
            if let Err(error) = result {
                assert!(is_child && error.kind() == std::io::ErrorKind::Interrupted, "{error}");
            }
            left.is_empty()
        });
        assert_eq!(rig.reactor.stats().file_operations, 0);
    };
    // One process only drops its copy, the other one goes on with it.
    fork(|| drop(std::mem::replace(&mut rig, Rig::new()))).ends_well();
    fork(|| {
        let mut left = ops.clone();
        // It may have ended before the fork; then its event is taken back.
        rig.reactor.cancel_file(left.remove(0));
        left.push(rig.reactor.write_file(file.clone(), 1 << 30, vec![7], Token(0)).expect("write"));
        all_end(&mut rig, left, true);
        drop(std::mem::replace(&mut rig, Rig::new()));
    })
    .ends_well();
    all_end(&mut rig, ops, false);
}
