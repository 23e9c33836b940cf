//! `Reactor::watch`: anything else that can be waited for.

mod common;

use common::{Rig, Seen, Signal, watchdog};
use dolmen::Token;

#[test]
fn watch_reports_with_each_wait_while_the_handle_is_signalled() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let signal = Signal::new();
    let watch = signal.watch(&mut rig.reactor, Token(0));
    rig.silent();
    for _ in 0..3 {
        signal.set();
        for _ in 0..5 {
            assert_eq!(rig.seen_until("readiness", |_| true), [Seen::Ready(watch)]);
        }
        signal.unset();
        // A report that was in flight when the signal was reset.
        let late = rig.seen_for(common::SILENCE);
        assert!(late.len() <= 1, "{late:?}");
        rig.silent();
    }
    rig.rests();
}

#[test]
fn watch_sees_a_signal_that_was_there_before() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let signal = Signal::new();
    signal.set();
    let watch = signal.watch(&mut rig.reactor, Token(0));
    assert_eq!(rig.seen_until("readiness", |_| true), [Seen::Ready(watch)]);
}

#[test]
fn watch_hc20_more_handles_than_a_wait_function_takes() {
    const MANY: usize = 200;
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let signals: Vec<Signal> = (0..MANY).map(|_| Signal::new()).collect();
    let watches: Vec<_> =
        signals.iter().enumerate().map(|(n, signal)| signal.watch(&mut rig.reactor, Token(n))).collect();
    assert_eq!(rig.reactor.stats().watches, MANY);
    rig.silent();
    for (signal, watch) in signals.iter().zip(&watches).rev() {
        signal.set();
        assert_eq!(rig.seen_until("readiness", |_| true), [Seen::Ready(*watch)]);
        signal.unset();
        let late = rig.seen_for(std::time::Duration::ZERO);
        assert!(late.iter().all(|seen| seen == &Seen::Ready(*watch)), "{late:?}");
        rig.reactor.remove_watch(*watch);
    }
    rig.silent();
    assert_eq!(rig.reactor.stats().watches, 0);
}

#[test]
fn watch_keeps_its_own_copy_of_the_handle() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (signal, same) = Signal::twice();
    let watch = signal.watch(&mut rig.reactor, Token(0));
    drop(signal);
    rig.silent();
    same.set();
    assert_eq!(rig.seen_until("readiness", |_| true), [Seen::Ready(watch)]);
}

#[test]
fn watch_the_same_handle_twice_is_two_watches() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let signal = Signal::new();
    let watches = [signal.watch(&mut rig.reactor, Token(0)), signal.watch(&mut rig.reactor, Token(1))];
    assert_ne!(watches[0], watches[1]);
    signal.set();
    for watch in watches {
        rig.until("both", |_, event| Seen::from(event) == Seen::Ready(watch));
    }
}

#[test]
fn a_watch_ends_with_its_removal() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    // Signalled and reported, signalled and not reported, and never signalled.
    let signals = [Signal::new(), Signal::new(), Signal::new()];
    let watches = signals.each_ref().map(|signal| signal.watch(&mut rig.reactor, Token(0)));
    signals[0].set();
    rig.seen_until("readiness", |_| true);
    signals[1].set();
    for watch in watches {
        assert!(rig.reactor.remove_watch(watch));
        assert!(!rig.reactor.remove_watch(watch));
    }
    rig.silent();
    let stats = rig.reactor.stats();
    assert_eq!((stats.watches, stats.operations_in_flight), (0, 0));
}

#[cfg(target_os = "linux")]
#[test]
fn watch_a_pipe_that_is_written_to_and_one_that_is_closed() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (reader, writer) = rustix::pipe::pipe().expect("pipe");
    let watch = rig.reactor.watch(&reader, Token(0)).expect("watch");
    rig.silent();
    rustix::io::write(&writer, b"look").expect("write");
    assert_eq!(rig.seen_until("readiness", |_| true), [Seen::Ready(watch)]);
    let mut read = [0; 10];
    assert_eq!(rustix::io::read(&reader, &mut read), Ok(4));
    rig.seen_for(common::SILENCE);
    rig.silent();
    drop(writer);
    assert_eq!(rig.seen_until("the end", |_| true), [Seen::Ready(watch)]);
    assert_eq!(rustix::io::read(&reader, &mut read), Ok(0));
}

#[cfg(target_os = "linux")]
#[test]
fn watch_refuses_a_regular_file() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let file = std::fs::File::open("/proc/self/exe").expect("a file");
    let error = rig.reactor.watch(&file, Token(0)).expect_err("it is always ready");
    assert_eq!(error.kind(), dolmen::ErrorKind::InvalidHandle, "{error}");
    assert_eq!(rig.reactor.stats().watches, 0);
}

/// Reported once for each time that it is set.
#[cfg(windows)]
#[test]
fn watch_an_event_that_resets_itself() {
    use common::windows::{Reset, event, set};

    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let event = event(Reset::Auto);
    let watch = rig.reactor.watch(&event, Token(0)).expect("watch");
    for _ in 0..50 {
        set(&event);
        assert_eq!(rig.seen_until("readiness", |_| true), [Seen::Ready(watch)]);
    }
    rig.silent();
}

/// A process is signalled when it has ended, and stays signalled.
#[cfg(windows)]
#[test]
fn watch_a_process() {
    use std::process::{Command, Stdio};

    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let program = std::env::current_exe().expect("this program");
    // It ends by itself.
    let mut child =
        Command::new(program).arg("--list").stdout(Stdio::null()).spawn().expect("the child runs");
    let watch = rig.reactor.watch(&child, Token(0)).expect("watch");
    for _ in 0..2 {
        assert_eq!(rig.seen_until("the child's end", |_| true), [Seen::Ready(watch)]);
    }
    assert!(child.try_wait().expect("wait").expect("it has ended").success());
}
