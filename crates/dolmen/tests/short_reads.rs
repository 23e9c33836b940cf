//! Promise 2, where a receive ends early although more bytes have arrived: urgent data in a TCP stream, and the
//! boundaries that a Unix socket keeps. A reactor over edge-triggered readiness must not take that for an empty socket.
#![cfg(target_os = "linux")]

mod common;

use std::io::{IoSlice, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;

use common::{Rig, Seen, pair, watchdog};
use dolmen::{ConnId, Token};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::SockRef;

const TRIES: usize = 1_000;

/// A program of sends: capital letters are ordinary bytes, small letters urgent ones. Each is a send of its own.
fn play(peer: &mut TcpStream, program: &str) {
    for byte in program.bytes() {
        if byte.is_ascii_lowercase() {
            SockRef::from(&*peer).send_out_of_band(&[byte]).expect("urgent");
        } else {
            peer.write_all(&[byte]).expect("write");
        }
    }
}

/// Receives until all ordinary bytes of the program have arrived, in their order. The system decides which urgent bytes
/// are in the stream.
#[track_caller]
fn expect(rig: &mut Rig, conn: ConnId, program: &str) {
    let ordinary = |bytes: &[u8]| bytes.iter().copied().filter(u8::is_ascii_uppercase).collect::<Vec<_>>();
    let wanted = ordinary(program.as_bytes());
    let mut bytes = Vec::new();
    rig.until("rest of the bytes", |_, event| match Seen::from(event) {
        Seen::Received(of, data) if of == conn => {
            bytes.extend(data);
            ordinary(&bytes).len() >= wanted.len()
        }
        other => panic!("{other:?} after {bytes:?} of {program}"),
    });
    assert_eq!(ordinary(&bytes), wanted, "{program}");
}

const PROGRAMS: [&str; 12] = [
    "AxB",
    "xA",
    "Ax",
    "xAyB",
    "AxyB",
    "AxByC",
    "AxBCyzD",
    "xyzA",
    "AxBxCxDxE",
    "AAAAxB",
    "xAxAxA",
    "AxxxxxB",
];

#[test]
fn hc39_bytes_behind_urgent_data_are_delivered_immediately() {
    let _watchdog = watchdog();
    for inline in [false, true] {
        let mut rig = Rig::new();
        let (ours, mut peer) = pair();
        SockRef::from(&ours).set_out_of_band_inline(inline).expect("inline");
        let conn = rig.reactor.add(ours, Token(0)).expect("add");
        for program in PROGRAMS.into_iter().cycle().take(TRIES) {
            // No wait runs in the meantime, so that all bytes have arrived at the next wait.
            play(&mut peer, program);
            expect(&mut rig, conn, program);
        }
        // An urgent byte at the end may be in the stream.
        rig.seen_for(common::SILENCE);
        rig.silent();
    }
}

#[test]
fn hc39_urgent_data_that_arrives_during_a_wait_holds_nothing_back() {
    let _watchdog = watchdog();
    for inline in [false, true] {
        let mut rig = Rig::new();
        let (ours, mut peer) = pair();
        SockRef::from(&ours).set_out_of_band_inline(inline).expect("inline");
        let conn = rig.reactor.add(ours, Token(0)).expect("add");
        let sender = thread::spawn(move || {
            for program in PROGRAMS.into_iter().cycle().take(TRIES) {
                play(&mut peer, program);
            }
            peer
        });
        let all: String = PROGRAMS.into_iter().cycle().take(TRIES).collect();
        expect(&mut rig, conn, &all);
        sender.join().expect("the sender");
    }
}

#[test]
fn hc39_the_end_behind_urgent_data_is_delivered() {
    let _watchdog = watchdog();
    for inline in [false, true] {
        for program in PROGRAMS {
            let mut rig = Rig::new();
            let (ours, mut peer) = pair();
            SockRef::from(&ours).set_out_of_band_inline(inline).expect("inline");
            let conn = rig.reactor.add(ours, Token(0)).expect("add");
            play(&mut peer, program);
            drop(peer);
            let history = rig.ended(conn);
            let ordinary = |bytes: &mut Vec<u8>| bytes.retain(u8::is_ascii_uppercase);
            let (mut received, mut sent) = (history.bytes, program.as_bytes().to_vec());
            ordinary(&mut received);
            ordinary(&mut sent);
            assert_eq!(received, sent, "{program}");
            assert!(history.end_of_stream, "{program}");
        }
    }
}

/// Urgent bytes without any others wake the reactor, and then there is nothing to do.
#[test]
fn urgent_bytes_alone_cost_a_wake_each_at_most() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (ours, peer) = pair();
    let conn = rig.reactor.add(ours, Token(0)).expect("add");
    rig.silent();
    let before = rig.reactor.stats().kernel_calls;
    SockRef::from(&peer).send_out_of_band(b"x").expect("urgent");
    rig.silent();
    let calls = rig.reactor.stats().kernel_calls - before;
    assert!(calls < 10, "{calls} calls for one urgent byte");
    rig.reactor.send(conn, b"pong").expect("send");
    rig.silent();
}

/// Passed descriptors end a receive behind them, whatever follows.
#[test]
fn bytes_behind_a_passed_descriptor_are_delivered_immediately() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (ours, mut peer) = UnixStream::pair().expect("a pair");
    let conn = rig.reactor.add(TcpStream::from(OwnedFd::from(ours)), Token(0)).expect("add");
    for _ in 0..TRIES {
        for bytes in [b"A", b"B"] {
            let fds = [peer.as_fd()];
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            let sent = sendmsg(&peer, &[IoSlice::new(bytes)], &mut control, SendFlags::empty());
            assert_eq!(sent, Ok(1));
        }
        peer.write_all(b"C").expect("write");
        assert_eq!(rig.receive(conn, 3), b"ABC");
    }
}

/// A Unix socket keeps an urgent byte separate as well.
#[test]
fn hc39_bytes_behind_urgent_data_of_a_unix_socket_are_delivered_immediately() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (ours, mut peer) = UnixStream::pair().expect("a pair");
    let conn = rig.reactor.add(TcpStream::from(OwnedFd::from(ours)), Token(0)).expect("add");
    for _ in 0..TRIES {
        peer.write_all(b"A").expect("write");
        rustix::net::send(&peer, b"x", SendFlags::OOB).expect("urgent");
        peer.write_all(b"B").expect("write");
        expect(&mut rig, conn, "AxB");
    }
}
