//! Files that Windows transmits by itself. Client editions are not asked for that, and Wine is one, so the tests ask here.
#![cfg(windows)]

mod common;
#[path = "common/sent_files.rs"]
mod sent_files;

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::windows::fs::OpenOptionsExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Rig, Temp, pattern, watchdog};
use dolmen::{CloseReason, Event, Reactor, Token};
use sent_files::{FILE, read_all, until_closed, until_sent};

/// What is read and sent of each file: its first piece, and a last one.
const COPIED: u64 = 2 * 65_536;

fn transmits(count: usize) -> Rig {
    Rig::with(&Reactor::builder().most_transmits(count))
}

#[test]
fn p09_a_file_is_transmitted_but_for_its_first_piece_and_the_sends_keep_their_places() {
    let _watchdog = watchdog();
    let mut rig = transmits(2);
    let (conn, peer) = rig.connect(Token(1));
    let peer = read_all(peer);
    let bytes = pattern(5_000_000);
    let (_temp, file) = Temp::with(&bytes);
    rig.reactor.send(conn, b"before").expect("send");
    // Far beyond its end.
    let op = rig.reactor.send_file(conn, file.clone(), 1_000..u64::MAX, FILE).expect("send");
    rig.reactor.send(conn, b"between").expect("send");
    let next = rig.reactor.send_file(conn, file, 0..3_000_001, FILE).expect("send");
    rig.reactor.send(conn, b"behind").expect("send");
    assert_eq!(until_sent(&mut rig, op), 4_999_000);
    assert_eq!(until_sent(&mut rig, next), 3_000_001);
    rig.reactor.close(conn).expect("close");
    assert_eq!(until_closed(&mut rig, conn), CloseReason::Finished);
    let expected = [b"before", &bytes[1_000..], b"between", &bytes[..3_000_001], b"behind"].concat();
    assert!(peer.join().expect("no panic").expect("an orderly end") == expected);
    let stats = rig.reactor.stats();
    assert_eq!(stats.bytes_sent, expected.len() as u64);
    let uncopied = stats.bytes_sent_uncopied;
    assert!(uncopied >= 4_999_000 + 3_000_001 - 2 * COPIED, "{uncopied} bytes were transmitted");
}

/// The two transmissions that may be pending are those of peers that read nothing. A third file is read and sent, and the
/// file that all three are sending can be read.
#[test]
fn peers_that_stall_delay_no_file_but_their_own() {
    let _watchdog = watchdog();
    let mut rig = transmits(2);
    let bytes = pattern(30_000_000);
    let (_temp, file) = Temp::with(&bytes);
    let stalled: Vec<_> = (0..2).map(|_| rig.connect(Token(1))).collect();
    for (conn, _) in &stalled {
        rig.reactor.send_file(*conn, file.clone(), 0..u64::MAX, FILE).expect("send");
    }
    rig.until_stats("transmission", |stats| stats.bytes_sent_uncopied > 0);
    for _ in 0..2 {
        let (conn, peer) = rig.connect(Token(2));
        let peer = read_all(peer);
        let op = rig.reactor.send_file(conn, file.clone(), 0..u64::MAX, FILE).expect("send");
        assert_eq!(until_sent(&mut rig, op), 30_000_000);
        rig.reactor.read_file(file.clone(), 9, Vec::with_capacity(4), FILE).expect("read");
        rig.until("read", |_, event| {
            let Event::FileRead { result: Ok(4), buffer, .. } = event else { panic!("{event:?}") };
            assert_eq!(buffer, bytes[9..13]);
            true
        });
        rig.reactor.close(conn).expect("close");
        assert_eq!(until_closed(&mut rig, conn), CloseReason::Finished);
        assert!(peer.join().expect("no panic").expect("an orderly end") == bytes);
    }
    // And they get theirs when they read.
    for (conn, peer) in stalled {
        let peer = read_all(peer);
        rig.until("end of the file", |_, event| {
            matches!(event, Event::FileSent { sent: 30_000_000, result: Ok(()), .. })
        });
        rig.reactor.close(conn).expect("close");
        assert_eq!(until_closed(&mut rig, conn), CloseReason::Finished);
        assert!(peer.join().expect("no panic").expect("an orderly end") == bytes);
    }
}

/// The reader of its first piece could not open it once more.
#[test]
fn a_file_that_may_not_be_opened_once_more_is_read_and_sent() {
    let _watchdog = watchdog();
    let mut rig = transmits(2);
    let bytes = pattern(1_000_000);
    let (temp, file) = Temp::with(&bytes);
    drop(file);
    let file = Arc::new(exclusively(&temp).expect("no one else has it open"));
    let (conn, peer) = rig.connect(Token(1));
    let peer = read_all(peer);
    let op = rig.reactor.send_file(conn, file, 0..u64::MAX, FILE).expect("send");
    assert_eq!(until_sent(&mut rig, op), 1_000_000);
    rig.reactor.close(conn).expect("close");
    assert_eq!(until_closed(&mut rig, conn), CloseReason::Finished);
    assert!(peer.join().expect("no panic").expect("an orderly end") == bytes);
    assert_eq!(rig.reactor.stats().bytes_sent_uncopied, 0);
}

/// The peer gets what there was. A system that takes the early end for a failure resets the connection.
#[test]
fn a_file_that_becomes_shorter_ends_there_or_with_its_connection() {
    let _watchdog = watchdog();
    let mut rig = transmits(2);
    let bytes = pattern(30_000_000);
    let (_temp, file) = Temp::with(&bytes);
    let (conn, peer) = rig.connect(Token(1));
    rig.reactor.send_file(conn, file.clone(), 0..u64::MAX, FILE).expect("send");
    rig.reactor.send(conn, b"behind").expect("send");
    rig.until_stats("transmission", |stats| stats.bytes_sent_uncopied > 0);
    file.set_len(20_000_000).expect("shorter");
    let peer = read_all(peer);
    let mut sent = None;
    rig.until("end of the file", |reactor, event| match event {
        Event::FileSent { sent: count, result: Ok(()), .. } => {
            sent = Some(count);
            reactor.close(conn).expect("close");
            false
        }
        Event::FileSent { result: Err(_), .. } => false,
        Event::Closed { .. } => true,
        other => panic!("{other:?}"),
    });
    let got = peer.join().expect("no panic");
    match sent {
        Some(count) => {
            assert_eq!(count, 20_000_000);
            assert!(got.expect("an orderly end") == [&bytes[..20_000_000], b"behind"].concat());
        }
        None => drop(got.expect_err("a reset")),
    }
}

/// When a connection has ended, nothing has its file open any more, not even the handle that the system was reading from.
#[test]
fn p14_a_connection_that_ends_in_a_transmission_closes_its_file() {
    let _watchdog = watchdog();
    let bytes = pattern(30_000_000);
    for way in 0..4 {
        let (temp, file) = Temp::with(&bytes);
        let mut rig = transmits(2);
        let (conn, mut peer) = rig.connect(Token(1));
        rig.reactor.send_file(conn, file.clone(), 0..u64::MAX, FILE).expect("send");
        rig.until_stats("transmission", |stats| stats.bytes_sent_uncopied > 0);
        assert!(exclusively(&temp).is_err(), "it is being read");
        match way {
            0 => {
                rig.reactor.abort(conn).expect("abort");
                assert_eq!(until_closed(&mut rig, conn), CloseReason::Aborted);
            }
            1 => {
                peer.read_exact(&mut [0; 1_000]).expect("the first bytes");
                drop(peer);
                assert_eq!(until_closed(&mut rig, conn), CloseReason::Reset);
            }
            2 => {
                assert!(rig.reactor.remove(conn));
                rig.until_stats("removal", |stats| stats.connections == 0);
            }
            _ => {}
        }
        if way < 3 {
            rig.until_stats("end of all operations", |stats| stats.operations_in_flight == 0);
        } else {
            drop(rig);
        }
        drop(Arc::into_inner(file).expect("the reactor has forgotten it"));
        exclusively(&temp).expect("no handle is open");
    }
}

/// Opens the file if no one else has it open.
fn exclusively(temp: &Temp) -> std::io::Result<File> {
    OpenOptions::new().read(true).share_mode(0).open(&temp.0)
}

/// The processor time of this process.
fn process_time() -> Duration {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessTimes};
    let mut times = [windows_sys::Win32::Foundation::FILETIME::default(); 4];
    let [made, ended, kernel, user] = &mut times;
    // SAFETY: the structures are writable.
    assert_ne!(unsafe { GetProcessTimes(GetCurrentProcess(), made, ended, kernel, user) }, 0);
    let ns = |time: &mut windows_sys::Win32::Foundation::FILETIME| {
        100 * ((u64::from(time.dwHighDateTime) << 32) + u64::from(time.dwLowDateTime))
    };
    Duration::from_nanos(ns(kernel) + ns(user))
}

/// The best of some rounds of 20 MB in each way, with a reader that costs the same in both.
#[test]
fn a_transmitted_file_takes_fewer_calls_than_one_that_is_read_and_sent() {
    const ROUNDS: u32 = 5;
    let _watchdog = watchdog();
    let (_temp, file) = Temp::with(&pattern(20_000_000));
    let mut figures = [(Duration::MAX, Duration::ZERO, 0); 2];
    for round in 0..2 * ROUNDS {
        let way = round as usize % 2;
        let mut rig = transmits([0, 2][way]);
        let (conn, mut peer) = rig.connect(Token(1));
        let reader = thread::spawn(move || std::io::copy(&mut peer, &mut std::io::sink()));
        let (calls, cpu, start) = (rig.reactor.stats().kernel_calls, process_time(), Instant::now());
        let op = rig.reactor.send_file(conn, file.clone(), 0..u64::MAX, FILE).expect("send");
        assert_eq!(until_sent(&mut rig, op), 20_000_000);
        let figure = &mut figures[way];
        figure.0 = figure.0.min(start.elapsed());
        figure.1 += process_time() - cpu;
        figure.2 = rig.reactor.stats().kernel_calls - calls;
        rig.reactor.close(conn).expect("close");
        until_closed(&mut rig, conn);
        assert_eq!(reader.join().expect("no panic").expect("an orderly end"), 20_000_000);
    }
    for (way, (time, cpu, calls)) in ["read and sent", "transmitted"].into_iter().zip(figures) {
        let (cpu, rate) = (cpu / ROUNDS, 20.0 / time.as_secs_f64());
        println!(
            "20 MB {way}: {rate:.0} MB/s, {cpu:?} of the process's time, {calls} calls of the kernel layer"
        );
    }
    let [copied, transmitted] = figures.map(|figure| figure.2);
    assert!(transmitted * 2 < copied, "{transmitted} and {copied} calls");
}
