//! Files that are sent on connections, between the other sends.

mod common;
#[path = "common/sent_files.rs"]
mod sent_files;

use std::fs::OpenOptions;
use std::io::{Read, Write};
#[cfg(target_os = "linux")]
use std::net::TcpStream;
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::thread;
use std::time::Duration;

use common::{DEADLINE, Rig, Temp, pattern, watchdog};
#[cfg(target_os = "linux")]
use dolmen::ConnId;
use dolmen::{Builder, CloseReason, ErrorKind, Event, Reactor, Token};
use sent_files::{FILE, read_all, until_closed, until_sent};

/// The ways in which this system sends files: on Windows also by transmissions, two at a time.
fn ways() -> Vec<Builder> {
    let mut ways = vec![Reactor::builder()];
    if cfg!(windows) {
        ways.push(Reactor::builder().most_transmits(2));
    }
    ways
}

#[test]
fn p09_files_are_sent_in_the_order_of_the_sends_and_reported_in_that_order() {
    let _watchdog = watchdog();
    for way in ways() {
        let mut rig = Rig::with(&way);
        let (conn, peer) = rig.connect(Token(1));
        let peer = read_all(peer);
        let bytes = pattern(1_000_000);
        let (_temp, file) = Temp::with(&bytes);
        let send =
            |rig: &mut Rig, range| rig.reactor.send_file(conn, file.clone(), range, FILE).expect("send");
        rig.reactor.send(conn, b"before ").expect("send");
        let first = send(&mut rig, 10..700_000);
        rig.reactor.send(conn, b"between ").expect("send");
        rig.reactor.send(conn, b"them ").expect("send");
        // Two in a row, one of which is empty; and one that the file does not reach.
        let (empty, second, beyond) =
            (send(&mut rig, 7..7), send(&mut rig, 0..5), send(&mut rig, 999_990..u64::MAX));
        let far = send(&mut rig, i64::MAX as u64..u64::MAX);
        rig.reactor.send(conn, b"behind").expect("send");
        assert_eq!(rig.reactor.queued_bytes(conn).expect("open"), 7 + 13 + 6, "files do not count");
        let mut sent = Vec::new();
        rig.until("five files", |_, event| {
            let Event::FileSent { op, sent: count, result: Ok(()), .. } = event else { panic!("{event:?}") };
            sent.push((op, count));
            sent.len() == 5
        });
        assert_eq!(sent, [(first, 699_990), (empty, 0), (second, 5), (beyond, 10), (far, 0)]);
        rig.reactor.close(conn).expect("close");
        assert_eq!(until_closed(&mut rig, conn), CloseReason::Finished);
        let expected =
            [b"before ", &bytes[10..700_000], b"between them ", &bytes[..5], &bytes[999_990..], b"behind"];
        assert!(peer.join().expect("no panic").expect("an orderly end") == expected.concat());
        let stats = rig.reactor.stats();
        assert_eq!((stats.queued_bytes, stats.connections), (0, 0));
    }
}

/// A close sends the files that are queued, and then FIN. Their events do not come any more.
#[test]
fn a_close_or_the_end_of_the_sending_side_comes_behind_the_files() {
    let _watchdog = watchdog();
    for way in ways() {
        let mut rig = Rig::with(&way);
        let bytes = pattern(800_000);
        let (_temp, file) = Temp::with(&bytes);
        for shut_down in [false, true] {
            let (conn, peer) = rig.connect(Token(1));
            let peer = read_all(peer);
            let op = rig.reactor.send_file(conn, file.clone(), 0..u64::MAX, FILE).expect("send");
            if shut_down {
                rig.reactor.shutdown_write(conn).expect("shut down");
                let refused = rig.reactor.send_file(conn, file.clone(), 0..1, FILE).expect_err("closed");
                assert_eq!(refused.kind(), ErrorKind::SendClosed);
                assert_eq!(until_sent(&mut rig, op), 800_000);
            }
            rig.reactor.close(conn).expect("close");
            assert_eq!(until_closed(&mut rig, conn), CloseReason::Finished);
            assert!(peer.join().expect("no panic").expect("an orderly end") == bytes);
            assert!(!rig.reactor.cancel_file(op));
        }
    }
}

#[test]
fn a_stream_is_released_behind_its_files() {
    let _watchdog = watchdog();
    for way in ways() {
        let mut rig = Rig::with(&way);
        let (conn, peer) = rig.connect(Token(1));
        let peer = read_all(peer);
        let (_temp, file) = Temp::with(&pattern(500_000));
        rig.reactor.send_file(conn, file, 0..u64::MAX, FILE).expect("send");
        rig.reactor.release(conn).expect("release");
        let mut sent = false;
        rig.until("stream", |_, event| match event {
            Event::FileSent { sent: 500_000, .. } => {
                sent = true;
                false
            }
            Event::Released { mut stream, .. } => {
                stream.write_all(b"by hand").expect("write");
                true
            }
            other => panic!("{other:?}"),
        });
        assert!(sent);
        assert!(
            peer.join().expect("no panic").expect("an orderly end")
                == [&pattern(500_000), &b"by hand"[..]].concat()
        );
    }
}

/// A file that cannot be read ends the connection with a reset: the peer sees that it has not got everything.
#[test]
fn a_file_that_cannot_be_read_ends_the_connection() {
    let _watchdog = watchdog();
    for way in ways() {
        let mut rig = Rig::with(&way);
        let (temp, _) = Temp::with(b"bytes");
        let write_only = Arc::new(OpenOptions::new().write(true).open(&temp.0).expect("open"));
        let (conn, peer) = rig.connect(Token(1));
        let peer = read_all(peer);
        rig.reactor.send(conn, b"before").expect("send");
        let op = rig.reactor.send_file(conn, write_only, 0..u64::MAX, FILE).expect("send");
        rig.reactor.send(conn, b"never sent").expect("send");
        let mut failed = false;
        rig.until("end of the connection", |_, event| match event {
            Event::FileSent { op: of, sent: 0, result: Err(_), .. } => {
                failed = of == op;
                false
            }
            Event::Closed { reason: CloseReason::Failed { .. }, .. } => true,
            other => panic!("{other:?}"),
        });
        assert!(failed);
        peer.join().expect("no panic").expect_err("a reset");
        assert_eq!(rig.reactor.stats().queued_bytes, 0);
    }
}

/// A peer that leaves in the middle ends its connection only. A write to it must not raise SIGPIPE: see the next test.
#[test]
fn peers_that_leave_aborts_and_removals_in_the_middle_of_a_file_leave_nothing() {
    let _watchdog = watchdog();
    for way in ways() {
        let mut rig = Rig::with(&way);
        let (_temp, file) = Temp::with(&pattern(30_000_000));
        for way in 0..3 {
            let (conn, mut peer) = rig.connect(Token(1));
            rig.reactor.send_file(conn, file.clone(), 0..u64::MAX, FILE).expect("send");
            rig.reactor.send(conn, b"behind").expect("send");
            let before = rig.reactor.stats().bytes_sent;
            rig.until_stats("the first bytes", |stats| stats.bytes_sent > before);
            peer.set_read_timeout(Some(DEADLINE)).expect("timeout");
            peer.read_exact(&mut [0; 1_000]).expect("the first bytes");
            match way {
                0 => {
                    drop(peer);
                    let reason = until_closed(&mut rig, conn);
                    assert_eq!(reason, CloseReason::Reset);
                }
                1 => {
                    rig.reactor.abort(conn).expect("abort");
                    assert_eq!(until_closed(&mut rig, conn), CloseReason::Aborted);
                }
                _ => {
                    assert!(rig.reactor.remove(conn));
                    rig.until_stats("removal", |stats| stats.connections == 0);
                }
            }
            assert_eq!(rig.reactor.stats().queued_bytes, 0);
            rig.until_stats("end of all operations", |stats| stats.operations_in_flight == 0);
        }
        drop(rig);
        assert_eq!(Arc::strong_count(&file), 1);
    }
}

/// A pause concerns what is received only.
#[test]
fn p10_a_paused_connection_sends_its_file() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, peer) = rig.connect(Token(1));
    rig.reactor.pause(conn).expect("pause");
    let (_temp, file) = Temp::with(&pattern(300_000));
    let op = rig.reactor.send_file(conn, file, 0..u64::MAX, FILE).expect("send");
    let peer = read_all(peer);
    assert_eq!(until_sent(&mut rig, op), 300_000);
    rig.reactor.close(conn).expect("close");
    assert_eq!(until_closed(&mut rig, conn), CloseReason::Finished);
    assert!(peer.join().expect("no panic").expect("an orderly end") == pattern(300_000));
}

#[test]
fn a_cancelled_file_is_sent_and_not_reported() {
    let _watchdog = watchdog();
    for way in ways() {
        let mut rig = Rig::with(&way);
        let (conn, peer) = rig.connect(Token(1));
        let peer = read_all(peer);
        let (_temp, file) = Temp::with(&pattern(300_000));
        let op = rig.reactor.send_file(conn, file.clone(), 0..u64::MAX, FILE).expect("send");
        assert!(rig.reactor.cancel_file(op));
        assert!(!rig.reactor.cancel_file(op));
        let next = rig.reactor.send_file(conn, file, 0..1, FILE).expect("send");
        assert_eq!(until_sent(&mut rig, next), 1);
        rig.reactor.close(conn).expect("close");
        assert_eq!(until_closed(&mut rig, conn), CloseReason::Finished);
        assert!(peer.join().expect("no panic").expect("an orderly end").len() == 300_001);
    }
}

#[test]
fn p14_a_drop_with_files_in_flight_releases_them() {
    let _watchdog = watchdog();
    let (_temp, file) = Temp::with(&pattern(3_000_000));
    for way in ways().into_iter().cycle().take(10) {
        let mut rig = Rig::with(&way.linger(Duration::from_millis(1)));
        let peers: Vec<_> = (0..20)
            .map(|_| {
                let (conn, peer) = rig.connect(Token(1));
                for _ in 0..3 {
                    rig.reactor.send_file(conn, file.clone(), 0..u64::MAX, FILE).expect("send");
                    rig.reactor.send(conn, b"behind").expect("send");
                }
                peer
            })
            .collect();
        rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
        drop(rig);
        assert_eq!(Arc::strong_count(&file), 1);
        drop(peers);
    }
}

#[test]
fn a_connection_queues_1_024_files() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (conn, peer) = rig.connect(Token(1));
    let peer = read_all(peer);
    let (_temp, file) = Temp::with(b"bytes ");
    for _ in 0..1_024 {
        rig.reactor.send_file(conn, file.clone(), 0..6, FILE).expect("there is room");
    }
    let refused = rig.reactor.send_file(conn, file.clone(), 0..6, FILE).expect_err("there is no room");
    assert_eq!(refused.kind(), ErrorKind::FilesFull);
    assert!(refused.to_string().contains("the limit is 1024"), "{refused}");
    let mut count = 0;
    rig.until("all files", |_, event| {
        assert!(matches!(event, Event::FileSent { sent: 6, .. }), "{event:?}");
        count += 1;
        count == 1_024
    });
    rig.reactor.close(conn).expect("close");
    assert_eq!(until_closed(&mut rig, conn), CloseReason::Finished);
    assert_eq!(peer.join().expect("no panic").expect("an orderly end"), b"bytes ".repeat(1_024));
}

/// The file of 30 MB is in memory a piece at a time, also for readers that are slow.
#[cfg(target_os = "linux")]
#[test]
fn thirty_megabytes_for_twenty_slow_readers_stay_below_sixty_megabytes_of_memory() {
    let _watchdog = watchdog();
    let bytes = pattern(30_000_000);
    let (temp, _file) = Temp::with(&bytes);
    let mut example = common::Example::start(&[], "serve_file", &format!("127.0.0.1:0 {}", temp.0.display()));
    let address = example.listening().expect("it listens");
    let readers: Vec<TcpStream> = (0..20)
        .map(|_| {
            let stream = TcpStream::connect(address).expect("connect");
            stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
            stream
        })
        .collect();
    // In small steps, in turns, so that each of them is slow.
    let mut at = vec![0; readers.len()];
    let mut piece = vec![0; 50_000];
    while at.iter().any(|&at| at < bytes.len()) {
        for (reader, at) in readers.iter().zip(&mut at) {
            if *at < bytes.len() {
                let mut reader = reader;
                let count = reader.read(&mut piece).expect("read");
                assert!(count > 0 && bytes[*at..].starts_with(&piece[..count]), "at {at}");
                *at += count;
            }
        }
    }
    for mut reader in readers {
        assert_eq!(reader.read(&mut piece).expect("an orderly end"), 0);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", example.id())).expect("status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    println!("20 slow readers of 30 MB: at most {peak_kib} KiB in memory");
    assert!(peak_kib < 60 * 1024, "{peak_kib} KiB");
}

/// The processor time of this thread.
#[cfg(target_os = "linux")]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Sends 100 MB in each way, and compares the sender's processor time: a copy less is cheaper.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_sent_costs_less_than_one_that_is_read_and_sent() {
    let _watchdog = watchdog();
    let bytes = pattern(20_000_000);
    let (_temp, file) = Temp::with(&bytes);
    let mut rig = Rig::new();
    let mut costs = [Duration::MAX; 2];
    for round in 0..10 {
        let (conn, mut peer) = rig.connect(Token(1));
        let reader = thread::spawn(move || std::io::copy(&mut peer, &mut std::io::sink()));
        let before = thread_time();
        let way = round % 2;
        if way == 0 {
            let op = rig.reactor.send_file(conn, file.clone(), 0..u64::MAX, FILE).expect("send");
            assert_eq!(until_sent(&mut rig, op), 20_000_000);
        } else {
            read_and_send(&mut rig, conn, &file);
        }
        costs[way] = costs[way].min(thread_time() - before);
        rig.reactor.close(conn).expect("close");
        until_closed(&mut rig, conn);
        assert_eq!(reader.join().expect("no panic").expect("an orderly end"), 20_000_000);
    }
    println!("20 MB: {:?} of the sender's time by send_file, {:?} by read_file and send", costs[0], costs[1]);
    assert!(costs[0] < costs[1], "{costs:?}");
}

/// The same by the caller: 64 KiB at a time, one being read.
#[cfg(target_os = "linux")]
fn read_and_send(rig: &mut Rig, conn: ConnId, file: &Arc<std::fs::File>) {
    let mut at = 0;
    rig.reactor.read_file(file.clone(), at, Vec::with_capacity(65_536), FILE).expect("read");
    let mut kept = None;
    rig.until("whole file", |reactor, event| {
        let buffer = match event {
            Event::FileRead { result, buffer, .. } => {
                if result.expect("success") == 0 {
                    return true;
                }
                buffer
            }
            Event::Drained { .. } => kept.take().expect("it waits"),
            other => panic!("{other:?}"),
        };
        match reactor.send(conn, &buffer) {
            Ok(()) => {
                at += buffer.len() as u64;
                reactor.read_file(file.clone(), at, buffer, FILE).expect("read");
            }
            Err(error) if error.kind() == ErrorKind::QueueFull => kept = Some(buffer),
            Err(error) => panic!("{error}"),
        }
        false
    });
}

/// Where SIGPIPE would end the process, a peer that leaves in the middle of a file does not, and neither does a sending side
/// that is shut: sendfile has no flag against the signal, so the file is read and sent.
#[cfg(target_os = "linux")]
#[test]
fn hc64_a_file_to_a_socket_that_takes_nothing_more_does_not_end_a_process_without_a_handler_of_sigpipe() {
    if !common::is_child() {
        return common::in_child();
    }
    // SAFETY: no thread of this process sends anything now.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (_temp, file) = Temp::with(&pattern(30_000_000));
    for round in 0..20 {
        let (ours, mut peer) = common::pair();
        let other = ours.try_clone().expect("clone");
        let conn = rig.reactor.add(ours, Token(1)).expect("add");
        if round % 2 == 0 {
            // The next call on the socket would raise it in any case.
            other.shutdown(std::net::Shutdown::Write).expect("shut down");
        }
        rig.reactor.send_file(conn, file.clone(), 0..u64::MAX, FILE).expect("send");
        rig.reactor.flush();
        rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
        if round % 2 == 1 {
            peer.read_exact(&mut [0; 1_000]).expect("the first bytes");
        }
        drop(peer);
        let mut reason = None;
        rig.until("end of the connection", |_, event| {
            if let Event::Closed { reason: of, .. } = event {
                reason = Some(of);
            }
            reason.is_some()
        });
        assert_eq!(reason, Some(CloseReason::Reset));
    }
}
