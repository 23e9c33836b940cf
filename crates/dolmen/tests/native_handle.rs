//! `Reactor::native_handle`: the reactor inside another event loop.

mod common;

#[cfg(target_os = "linux")]
#[path = "native_handle/nested.rs"]
mod nested;

use std::time::Duration;

use common::{Rig, watchdog};
use dolmen::Token;

#[test]
fn native_handle_the_next_timeout_is_zero_while_something_is_left_to_do() {
    let _watchdog = watchdog();
    let mut rig = Rig::new().capacity(1);
    let (conn, _peer) = rig.connect(Token(0));
    rig.rests();
    assert_eq!(rig.reactor.next_timeout(), None);
    // Queued bytes are sent by the next wait, or by `flush`.
    rig.reactor.send(conn, b"hello").expect("send");
    assert_eq!(rig.reactor.next_timeout(), Some(Duration::ZERO));
    rig.reactor.flush();
    rig.rests();
    assert_eq!(rig.reactor.next_timeout(), None);
    // Posts, of which a wait collects one.
    let poster = rig.reactor.poster();
    for value in 0..10 {
        poster.post(value, Token(1)).expect("post");
    }
    for left in (0..10).rev() {
        assert_eq!(rig.reactor.next_timeout(), Some(Duration::ZERO));
        assert_eq!(rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait"), 1, "{left} left");
    }
    rig.rests();
    assert_eq!(rig.reactor.next_timeout(), None);
}

#[test]
fn native_handle_the_next_timeout_includes_the_timers_of_the_caller_and_of_the_reactor() {
    const SECONDS: Duration = Duration::from_secs(30);
    let _watchdog = watchdog();
    let mut rig = Rig::with(&dolmen::Reactor::builder().linger(SECONDS));
    let timer = rig.reactor.add_timer(3 * SECONDS, Token(0));
    let left = rig.reactor.next_timeout().expect("a timer is set");
    assert!((2 * SECONDS..=3 * SECONDS).contains(&left), "{left:?}");
    // A connection that is closed, and whose peer does not read, ends with its linger time.
    let (conn, _peer) = rig.connect(Token(1));
    rig.fill_until_in_flight(&[conn], 2);
    rig.reactor.close(conn).expect("close");
    rig.rests();
    let left = rig.reactor.next_timeout().expect("a timer is set");
    assert!((SECONDS / 2..=SECONDS).contains(&left), "{left:?}");
    rig.reactor.remove(conn);
    rig.reactor.remove_timer(timer);
    rig.rests();
    assert_eq!(rig.reactor.next_timeout(), None);
    rig.reactor.add_timer(Duration::ZERO, Token(0));
    assert_eq!(rig.reactor.next_timeout(), Some(Duration::ZERO));
}

#[cfg(windows)]
#[test]
fn native_handle_is_the_port_and_a_packet_of_the_program_does_no_harm() {
    use std::os::windows::io::AsRawHandle;

    use windows_sys::Win32::System::IO::PostQueuedCompletionStatus;

    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, mut peer) = rig.connect(Token(0));
    for key in 1..=5 {
        let port = rig.reactor.native_handle().as_raw_handle();
        // SAFETY: the port is open, and only passes the values on.
        let posted = unsafe { PostQueuedCompletionStatus(port, 7, key, std::ptr::null_mut()) };
        assert_ne!(posted, 0, "{}", std::io::Error::last_os_error());
    }
    rig.silent();
    assert_eq!(rig.reactor.stats().foreign_completions, 5);
    assert_eq!(rig.reactor.stats().unknown_completions, 0);
    std::io::Write::write_all(&mut peer, b"hello").expect("write");
    assert_eq!(rig.receive(conn, 5), b"hello");
    assert_eq!(rig.reactor.native_handle_generation(), 0);
}
