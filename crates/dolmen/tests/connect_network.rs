//! Connecting over a network that loses everything: in a network namespace of its own, which needs root.
#![cfg(target_os = "linux")]

mod common;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Rig, Seen, watchdog};
use dolmen::{CloseReason, Target, Token};

/// Set in the environment of the process that has the namespace.
const INSIDE: &str = "DOLMEN_TEST_NETWORK";

/// Runs the test once more in a network namespace. Returns whether this is that run.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new("unshare");
    command.arg("--net").arg("--").arg(program).args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            println!("SKIPPED: unshare cannot be run: {error}");
            return false;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    if !text.contains("running 1 test") {
        println!("SKIPPED: no network namespace (it needs root): {}", errors.trim());
        return false;
    }
    assert!(output.status.success() && text.contains("1 passed"), "in the namespace:\n{text}\n{errors}");
    print!("{text}");
    false
}

/// False if the program is missing.
fn ip(arguments: &str) -> bool {
    match Command::new("ip").args(arguments.split(' ')).status() {
        Ok(status) => {
            assert!(status.success(), "ip {arguments}");
            true
        }
        Err(error) => {
            println!("SKIPPED: ip cannot be run: {error}");
            false
        }
    }
}

/// The only event of a connect, and how long it took.
fn attempt(rig: &mut Rig, target: Target) -> (CloseReason, Duration) {
    let started = Instant::now();
    let conn = rig.reactor.connect(target, Token(0)).expect("it begins");
    let seen = rig.seen_until("the end", |seen| matches!(seen, Seen::Closed(..)));
    let [Seen::Closed(of, reason)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(*of, conn);
    rig.silent();
    rig.rests();
    (reason.clone(), started.elapsed())
}

#[test]
fn hc59_no_route_a_black_hole_and_a_silent_neighbour_are_told_apart() {
    if !inside("hc59_no_route_a_black_hole_and_a_silent_neighbour_are_told_apart") {
        return;
    }
    let _watchdog = watchdog();
    let steps = [
        "link set lo up",
        "link add near type veth peer name far",
        "addr add 192.0.2.1/24 dev near",
        "link set near up",
        "link set far up",
        "route add blackhole 203.0.113.0/24",
    ];
    if !steps.iter().all(|step| ip(step)) {
        return;
    }
    let mut rig = Rig::new();
    let kind = |reason: CloseReason| reason.to_io().expect("a failure").kind();
    let address = |ip: [u8; 4]| Target::from(SocketAddr::from((ip, 4000)));

    let (reason, took) = attempt(&mut rig, address([198, 51, 100, 1]));
    assert_eq!(kind(reason), ErrorKind::NetworkUnreachable);
    assert!(took < Duration::from_secs(1), "{took:?}");
    let (reason, took) = attempt(&mut rig, address([203, 0, 113, 1]));
    assert!(matches!(reason, CloseReason::Failed { .. }), "{reason:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    // Nobody answers the question who has this address.
    let timeout = Duration::from_millis(400);
    let (reason, took) = attempt(&mut rig, address([192, 0, 2, 2]).timeout(timeout));
    assert_eq!(kind(reason), ErrorKind::TimedOut);
    assert!(took >= timeout, "{took:?}");
    // With more patience, the system reports what it has found out.
    let (reason, _) = attempt(&mut rig, address([192, 0, 2, 3]));
    assert_eq!(kind(reason), ErrorKind::HostUnreachable);

    let conn = rig.reactor.connect(address([192, 0, 2, 4]), Token(0)).expect("it begins");
    rig.silent();
    assert!(rig.reactor.remove(conn));
    rig.silent();
    rig.rests();
}
