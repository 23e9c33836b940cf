//! The terminal is restored, however the program ends or stops; and requests to end it. On Linux and (see
//! `console_rig`) under Wine.
#![cfg(target_os = "linux")]

#[path = "console_rig/mod.rs"]
mod rig;

use std::time::{Duration, Instant};

use rig::{Call, Link, Terminal, console, wine};
use rustix::process::{Pid, Signal, kill_process};

/// A probe within a program that reads the console's mode before and after: the connection to that program, and the
/// probe's.
fn around() -> (Terminal, Link, Link) {
    let (outer, inner) = (Call::new(), Call::new());
    let mut command = rig::program("examples", "console_probe");
    let terminal = Terminal::start(command.args(["around", &outer.address(), &inner.address()]));
    let outer = outer.accept();
    let inner = inner.accept();
    inner.expect("ready");
    (terminal, outer, inner)
}

/// Makes the probe change every setting, and then end in a given way; the terminal must be restored.
fn restored_after(end: impl Fn(&Terminal, &Link)) {
    for (mode, echo) in [("raw", "on"), ("line", "off")] {
        let (terminal, outer, inner) = around();
        let before = (outer.next(), terminal.settings());
        inner.send(&format!("console {mode}"));
        inner.expect("console terminal");
        inner.order("prompt > ");
        inner.order(&format!("echo {echo}"));
        inner.send("modes");
        let changed = (inner.next(), terminal.settings());
        assert_ne!(changed.0, before.0, "there is something to put back");
        // Wine manages the mode of a Windows console, and the pseudo-terminal does not reflect it.
        assert!(wine() || changed.1 != before.1);
        end(&terminal, &inner);
        let after = outer.next();
        assert!(after == format!("{} true", before.0) || after == format!("{} false", before.0), "{after}");
        assert_eq!(terminal.settings(), before.1, "{mode}");
    }
}

/// For an exit while the console's thread is alive: waits until that thread has no work left.
///
/// The end of a process ends its threads wherever they are. A thread in one of Wine's own calls keeps Wine's lock, and
/// then the process may never end (1 of 2,500). Windows has no such locks.
fn at_rest(probe: &Link) {
    if wine() {
        probe.send("flush");
        let mut reported = [probe.next(), probe.next()];
        reported.sort();
        assert_eq!(reported, ["drained", "ok flush"]);
    }
}

#[test]
fn hc30_the_terminal_is_as_before_after_a_return() {
    restored_after(|_, probe| probe.order("return 0"));
}

#[test]
fn hc30_the_terminal_is_as_before_after_an_exit() {
    restored_after(|_, probe| {
        at_rest(probe);
        probe.send("exit 3");
    });
}

#[test]
fn hc30_the_terminal_is_as_before_after_a_panic() {
    restored_after(|_, probe| probe.send("panic"));
}

#[test]
fn hc30_the_terminal_is_as_before_after_removal() {
    let (terminal, link) = rig::probe();
    let before = terminal.settings();
    link.send("console raw");
    link.expect("console terminal");
    link.send("remove");
    link.expect("removed true");
    assert_eq!(terminal.settings(), before);
}

/// It has nothing to restore: another thread has the console.
#[test]
fn the_end_of_a_thread_that_once_had_the_console_leaves_its_mode_alone() {
    let (terminal, link) = rig::probe();
    link.order("former begin");
    link.send("console raw");
    link.expect("console terminal");
    link.send("modes");
    let before = (link.next(), terminal.settings());
    link.order("former end");
    link.send("modes");
    assert_eq!((link.next(), terminal.settings()), before);
}

#[test]
fn hc30_the_terminal_is_as_before_after_ctrl_c_ends_a_program_that_is_stuck() {
    if wine() {
        // The loop receives Ctrl-C, and reacts with an exit.
        restored_after(|_, probe| {
            assert_eq!(probe.order_reporting("press ctrl-c"), ["interrupt"]);
            at_rest(probe);
            probe.send("exit 130");
        });
        return;
    }
    let (mut terminal, link) = rig::probe();
    let before = terminal.settings();
    link.send("console line");
    link.expect("console terminal");
    link.order("echo off");
    assert_ne!(terminal.settings(), before);
    link.send("busy 25000");
    // The third request is not collected: the loop is stuck. A signal that is already pending is not sent again.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let deadline = Instant::now() + rig::DEADLINE;
            while std::fs::read_to_string(format!("/proc/{}/stat", terminal.child.id()))
                .is_ok_and(|stat| !stat.contains(") Z "))
            {
                assert!(Instant::now() < deadline, "Ctrl-C does not end it");
                terminal.type_in("\x03");
                std::thread::yield_now();
            }
        });
    });
    assert_eq!(rig::code(terminal.wait()), Some(128 + 2));
    assert_eq!(terminal.settings(), before);
}

#[test]
fn a_ctrl_c_that_is_looked_at_ends_nothing() {
    let (terminal, link) = console("line");
    for _ in 0..5 {
        if wine() {
            assert_eq!(link.order_reporting("press ctrl-c"), ["interrupt"]);
        } else {
            terminal.type_in("\x03");
            link.expect("interrupt");
        }
    }
    link.order("sync");
}

/// The end of a session on Windows, and the requests before it.
#[test]
fn the_end_of_the_session_is_reported_with_the_time_left() {
    if !wine() {
        // On Linux the session ends with a hang-up.
        let (terminal, link) = console("line");
        kill_process(Pid::from_raw(terminal.child.id() as i32).expect("a process"), Signal::HUP)
            .expect("signalled");
        link.expect("shutdown hang-up None");
        link.order("return 0");
        return;
    }
    for (why, reported) in [
        ("break", "shutdown break None"),
        ("close", "shutdown console closed Some(5s)"),
        ("log-off", "shutdown log-off Some(5s)"),
        ("shutdown", "shutdown system shutdown Some(5s)"),
    ] {
        let (mut terminal, link) = console("line");
        let mut all = link.order_among(&format!("ask-to-end {why}"));
        if all.is_empty() {
            all.push(link.next());
        }
        assert_eq!(all, [reported]);
        // The program has time to end in order, and the system's thread does not delay that.
        link.order("print good-bye");
        link.order("return 7");
        assert_eq!(rig::code(terminal.wait()), Some(7), "{why}");
    }
}

/// The signals of Unix.
mod unix {
    use super::*;

    fn signal(terminal: &Terminal, signal: Signal) {
        kill_process(Pid::from_raw(terminal.child.id() as i32).expect("a process"), signal)
            .expect("signalled");
    }

    /// Wine translates none of these into control events for Windows programs.
    fn linux() -> bool {
        !wine()
    }

    #[test]
    fn requests_to_end_are_events() {
        let (terminal, link) = if linux() { console("line") } else { rig::probe() };
        link.order("signals");
        if linux() {
            for (request, reported) in [
                (Signal::TERM, "signal shutdown terminate None"),
                (Signal::HUP, "signal shutdown hang-up None"),
                (Signal::INT, "signal interrupt"),
            ] {
                signal(&terminal, request);
                link.expect(reported);
            }
        }
        link.order("sync");
    }

    #[test]
    fn requests_to_end_come_under_the_consoles_token_by_default() {
        if linux() {
            let (terminal, link) = console("line");
            signal(&terminal, Signal::TERM);
            link.expect("shutdown terminate None");
            link.order("sync");
        }
    }

    /// As nohup(1) sets it.
    #[test]
    fn a_request_that_was_ignored_at_the_start_stays_ignored() {
        if linux() {
            let call = rig::Call::new();
            let mut nohup = std::process::Command::new("sh");
            nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
            nohup.arg(rig::program("examples", "console_probe").get_program()).arg(call.address());
            let terminal = Terminal::start(&mut nohup);
            let link = call.accept();
            link.expect("ready");
            link.send("console line");
            link.expect("console terminal");
            signal(&terminal, Signal::HUP);
            signal(&terminal, Signal::TERM);
            link.expect("shutdown terminate None");
            link.order("sync");
        }
    }

    /// However the tests were started, the programs that they start have the signals of a terminal.
    #[test]
    fn programs_of_the_tests_inherit_no_ignored_signal() {
        // SAFETY: this process needs no hang-ups, and its other children also start without them.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
        let mut grep = std::process::Command::new("grep");
        let grep = rig::with_default_signals(grep.args(["-E", "Sig(Ign|Blk)", "/proc/self/status"]));
        let output = String::from_utf8(grep.output().expect("it runs").stdout).expect("text");
        let sets = output.split_whitespace().filter_map(|set| u64::from_str_radix(set, 16).ok());
        // Signals above the first 31 belong to the C library, and nothing resets them.
        assert_eq!(sets.map(|set| set & 0x7FFF_FFFF).collect::<Vec<_>>(), [0, 0], "{output}");
    }

    #[test]
    fn the_terminal_is_as_before_while_the_process_is_stopped() {
        if linux() {
            let (terminal, link, probe) = rig::job();
            let before = terminal.settings();
            link.send("console raw");
            link.expect("console terminal");
            let raw = terminal.settings();
            kill_process(probe, Signal::TSTP).expect("signalled");
            rig::stopped(probe);
            assert_eq!(terminal.settings(), before);
            kill_process(probe, Signal::CONT).expect("signalled");
            link.expect("continued");
            assert_eq!(terminal.settings(), raw);
            terminal.type_in("x");
            link.expect(r#"bytes "x""#);
        }
    }

    #[test]
    fn what_was_typed_before_the_process_was_stopped_is_shown_again() {
        if linux() {
            for printed in [false, true] {
                let (terminal, link, probe) = rig::job();
                link.send("console line");
                link.expect("console terminal");
                link.order("prompt > ");
                terminal.type_in("half");
                terminal.shows(&["> half"]);
                if printed {
                    link.order("print above");
                    terminal.shows(&["above", "> half"]);
                }
                kill_process(probe, Signal::TSTP).expect("signalled");
                rig::stopped(probe);
                kill_process(probe, Signal::CONT).expect("signalled");
                link.expect("continued");
                let rows: &[&str] =
                    if printed { &["above", "> half", "> half"] } else { &["> half", "> half"] };
                terminal.shows(rows);
                terminal.type_in(" a line\r");
                link.expect(r#"line "half a line""#);
            }
        }
    }

    #[test]
    fn hc52_ctrl_z_stops_no_process_that_cannot_be_continued() {
        if linux() {
            // The probe leads its session, as under `ssh -t host` and `xterm -e`.
            for set_up in [&["prompt > "][..], &["prompt > ", "echo off"], &["prompt > ", "mode raw"]] {
                let (terminal, link) = console("line");
                set_up.iter().for_each(|order| link.order(order));
                terminal.shows(&["> "]);
                let (probe, settings) = (link.pid(), terminal.settings());
                for _ in 0..3 {
                    kill_process(probe, Signal::TSTP).expect("signalled");
                    rig::goes_on(probe);
                    link.order("sync");
                    terminal.until_settings(&settings);
                }
                if !set_up.contains(&"mode raw") {
                    // In raw mode the key is a character. Here the signal has been sent when the input behind it is
                    // read.
                    terminal.type_in("\x1a");
                }
                terminal.type_in("x\r");
                let reported = link.next();
                assert!(reported.contains('x'), "{reported}");
            }
        }
    }

    #[test]
    fn a_background_process_receives_input_when_it_comes_to_the_foreground() {
        if linux() {
            let call = rig::Call::new();
            let probe = rig::program("examples", "console_probe");
            let mut shell = std::process::Command::new("bash");
            shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "shell: ");
            let terminal = Terminal::start(&mut shell);
            let shows =
                |what: &'static str| terminal.until(what, |rows| rows.iter().any(|row| row.contains(what)));
            shows("shell:");
            terminal.type_in(&format!("{} {} &\r", probe.get_program().display(), call.address()));
            let link = call.accept();
            link.expect("ready");
            link.send("console line");
            link.expect("console terminal");
            // The shell owns its input, and while it is not read, it costs a check now and then.
            let shell = terminal.child.id();
            let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
            let probe = children.expect("a list").trim().parse().expect("one child");
            terminal.type_in("sleep 0.5\recho not for the pro''be\r");
            let before = rig::processor_time(probe);
            shows("not for the probe");
            let used = rig::processor_time(probe) - before;
            assert!(used < Duration::from_millis(20), "{used:?}");
            terminal.type_in("fg\r");
            terminal.until("the command", |rows| {
                rows.iter().any(|row| row.starts_with("shell: fg"))
                    && rows.iter().any(|row| row.starts_with('/'))
            });
            terminal.type_in("hello\r");
            link.expect(r#"line "hello""#);
            link.order("return 0");
            terminal.type_in("exit\r");
        }
    }

    /// A background group whose members have no parent in the session: the kernel does not stop it when it reads the
    /// terminal, but makes the read fail.
    #[test]
    fn a_process_of_an_orphaned_group_in_the_background_leaves_the_terminal_alone() {
        if linux() {
            let call = rig::Call::new();
            let probe = rig::program("examples", "console_probe");
            let mut shell = std::process::Command::new("bash");
            // The shell's line editor would change the terminal as well.
            shell.args(["--norc", "--noprofile", "--noediting", "-i"]).env("PS1", "shell: ");
            let terminal = Terminal::start(&mut shell);
            let shows =
                |what: &'static str| terminal.until(what, |rows| rows.iter().any(|row| row.contains(what)));
            shows("shell:");
            let command = format!("({} {} </dev/tty &)", probe.get_program().display(), call.address());
            terminal.type_in(&format!("{command}\r"));
            let link = call.accept();
            link.expect("ready");
            let settings = terminal.settings();
            link.send("console line");
            link.expect("console terminal");
            link.order("mode raw");
            link.order("mode line");
            assert_eq!(terminal.settings(), settings);
            let probe = link.pid();
            terminal.type_in("sleep 0.5\recho not for the pro''be\r");
            let before = rig::processor_time(probe.as_raw_nonzero().get() as u32);
            shows("not for the probe");
            let used = rig::processor_time(probe.as_raw_nonzero().get() as u32) - before;
            assert!(used < Duration::from_millis(20), "{used:?}");
            link.order("return 0");
            terminal.type_in("exit\r");
        }
    }

    #[test]
    fn signals_do_what_they_always_did_when_the_console_was_given_up() {
        if linux() {
            let (mut terminal, link) = console("line");
            link.send("remove");
            link.expect("removed true");
            signal(&terminal, Signal::TERM);
            assert_eq!(rig::code(terminal.wait()), Some(128 + 15));
        }
    }

    #[test]
    fn a_terminal_that_hangs_up_is_reported_once_and_costs_nothing() {
        if linux() {
            let (terminal, link) = console("line");
            link.order("signals");
            terminal.type_in("half");
            terminal.shows(&["half"]);
            let mut child = terminal.hang_up();
            // The kernel also sends SIGCONT, for stopped processes.
            let mut reported = [link.next(), link.next(), link.next()];
            reported.sort();
            assert_eq!(reported, ["end", "signal continued", "signal shutdown hang-up None"]);
            rig::costs_nothing(&child, &link, Duration::from_millis(500));
            link.order("return 0");
            rig::wait(&mut child);
        }
    }
}
