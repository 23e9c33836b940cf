//! Cases that only the kernel can be shown: providers that cannot cancel, packets that come late, sockets of the wrong
//! kind.

use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::os::windows::io::{FromRawSocket as _, IntoRawSocket, RawSocket};
use std::sync::mpsc;

use super::*;
use crate::kernel::buffer::Buffer;
use crate::kernel::operation::OpKind;
use crate::kernel::submitter::{self, Submitter};

/// A case that the engine refuses, so that only the kernel can be shown it: a datagram socket used as a stream. A
/// datagram that is larger than the buffer fails immediately, and its packet comes all the same.
#[test]
fn hc40_a_receive_that_fails_at_once_with_a_warning_is_pending() {
    for skips in [false, true] {
        let options = Options { max_packets: 8, skip_on_success: skips, most_transmits: None };
        let mut kernel = Iocp::new(options).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.connect(socket.local_addr().unwrap()).unwrap();
        let (skips, id) = kernel.associate(socket.as_raw_socket() as SOCKET).unwrap();
        // SAFETY: the socket is open, and is the stream's from here on.
        let stream = ManuallyDrop::new(unsafe { TcpStream::from_raw_socket(socket.into_raw_socket()) });
        let source = Source::Stream { stream, skips, borrowed: false, id };
        let pool = BufferPool::new(8, 16);
        let mut submitter = Submitter::new(kernel, options, pool.clone());
        for _ in 0..3 {
            peer.send(&[7; 100]).unwrap();
            // It has arrived: a peek with room for all of it finds it.
            let Source::Stream { stream, .. } = &source else { unreachable!() };
            stream.set_nonblocking(false).unwrap();
            assert_eq!(stream.peek(&mut [0; 200]).unwrap(), 100);
            match submitter.receive(&source, 0) {
                submitter::Started::Pending(_) => assert!(!skips, "nothing was to come"),
                submitter::Started::Completed(completion) => {
                    assert!(skips, "a packet is still to come");
                    assert!(completion.result.is_err());
                }
            }
            let mut completions = 0;
            let expected = usize::from(!skips);
            for _ in 0..20 {
                let wait_ns = if completions == expected { 20_000_000 } else { 1_000_000_000 };
                submitter
                    .wait(8, Some(wait_ns), |completion| {
                        assert!(completion.result.is_err());
                        completions += 1;
                    })
                    .unwrap();
                if completions == expected {
                    break;
                }
            }
            assert_eq!((completions, submitter.in_flight()), (expected, 0));
            assert_eq!(submitter.unknown(), 0, "each packet was expected");
        }
        submitter.close(source, Close::Orderly);
        assert_eq!(pool.out(), 0);
    }
}

/// What the system does, for the readers of `datagrams.rs`: a receive without room takes the datagram away, and a peek
/// does not.
#[test]
fn hc61_a_receive_of_zero_bytes_eats_the_datagram_for_which_it_completes() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = socket.local_addr().unwrap();
    peer.send_to(b"first", to).unwrap();
    peer.send_to(b"second", to).unwrap();
    assert_eq!(socket.peek(&mut [0; 64]).unwrap(), 5);
    // Both report that there was more, where the system does that.
    let _peeked = socket.peek(&mut []);
    assert_eq!(socket.peek(&mut [0; 64]).unwrap(), 5, "it is still there");
    let _received = socket.recv(&mut []);
    assert_eq!(socket.recv(&mut [0; 64]).unwrap(), 6, "the first is gone");
}

/// Even when the pool has nothing to spare, which makes receives on streams wait without a buffer.
#[test]
fn hc61_a_receive_of_datagrams_always_has_a_buffer() {
    for skips in [false, true] {
        let options = Options { max_packets: 8, skip_on_success: skips, most_transmits: None };
        let pool = BufferPool::new(0, 16);
        let mut submitter = Submitter::new(Iocp::new(options).unwrap(), options, pool.clone());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let Ok(source) = submitter.kernel().add_udp(socket) else { panic!("it was refused") };
        for round in 0..20 {
            // Some complete in the submitting call, with or without a packet, and some later.
            let early = round % 2 == 0;
            let data = [&b"whole"[..], b"", b"longer than a buffer"][round % 3];
            if early {
                peer.send_to(data, to).unwrap();
            }
            let mut received = Vec::new();
            let mut take = |completion: submitter::Completion<Iocp>| match completion.result {
                Ok(Outcome::Datagram { buffer, from, truncated }) => {
                    received.push((buffer.as_slice().to_vec(), from, truncated));
                }
                _ => panic!("it brings no datagram"),
            };
            match submitter.receive_from(&source, 0) {
                submitter::Started::Pending(_) => {
                    assert_eq!(pool.out(), 1, "the receive has it");
                    if !early {
                        peer.send_to(data, to).unwrap();
                    }
                    while submitter.in_flight() > 0 {
                        submitter.wait(8, Some(1_000_000_000), &mut take).unwrap();
                    }
                }
                submitter::Started::Completed(completion) => take(completion),
            }
            // Another packet would be one too many.
            submitter.wait(8, Some(1_000_000), |_| panic!("a second packet")).unwrap();
            let expected = data[..data.len().min(16)].to_vec();
            assert_eq!(received, [(expected, peer.local_addr().unwrap(), data.len() > 16)]);
        }
        assert_eq!(submitter.unknown(), 0);
        submitter.close(source, Close::Orderly);
        assert_eq!(pool.out(), 0);
    }
}

#[test]
fn a_datagram_socket_whose_receive_cannot_be_cancelled_is_closed() {
    let mut submitter = without_cancel();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let Ok(source) = submitter.kernel().add_udp(socket) else { panic!("it was refused") };
    let submitter::Started::Pending(receive) = submitter.receive_from(&source, 0) else {
        panic!("there is nothing to receive")
    };
    submitter.cancel(&source, receive);
    assert_eq!(complete(&mut submitter), [OpKind::ReceiveFrom]);
    let next = UdpSocket::bind(address).unwrap();
    submitter.close(source, Close::Orderly);
    assert!(submitter.kernel().closed_early.is_empty());
    // Its number may be the old one, and it is still open.
    next.local_addr().unwrap();
}

/// A kernel over a provider that cannot cancel. Cancelling is tried thirteen times within some milliseconds.
fn without_cancel() -> Submitter<Iocp> {
    let options = Options { max_packets: 8, skip_on_success: true, most_transmits: None };
    let mut kernel = Iocp::new(options).unwrap();
    kernel.cancel = |_, _| Ok(false);
    kernel.unfound.first_pause_ns = 1_000;
    Submitter::new(kernel, options, BufferPool::new(8, 16))
}

/// Waits until all operations have completed, and returns the kinds of the failed ones.
fn complete(submitter: &mut Submitter<Iocp>) -> Vec<OpKind> {
    let mut failed = Vec::new();
    for _ in 0..30 {
        submitter
            .wait(8, Some(1_000_000_000), |completion| {
                failed.extend(completion.result.is_err().then_some(completion.kind));
            })
            .unwrap();
        if submitter.in_flight() == 0 {
            break;
        }
    }
    assert_eq!(submitter.in_flight(), 0);
    failed
}

/// Waits until the attempts are used up.
fn give_up(submitter: &mut Submitter<Iocp>, operations: u64) {
    while submitter.kernel().uncancelled < operations {
        submitter.wait(8, Some(100_000_000), |_| panic!("it continues")).unwrap();
    }
}

/// Connects until a socket gets that number. `None`: another thread of the process was faster.
pub(super) fn connect_as(number: RawSocket, listener: &TcpListener) -> Option<(TcpStream, TcpStream)> {
    let mut others = Vec::new();
    for _ in 0..50 {
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        if ours.as_raw_socket() == number {
            return Some((ours, peer));
        }
        others.push((ours, peer));
    }
    None
}

#[test]
fn a_stream_whose_operations_cannot_be_cancelled_is_closed_and_its_number_left_alone() {
    assert!((0..50).any(|_| closes_a_stream_early()), "the number is never given out again");
}

/// Returns whether the number had been reused when the source was closed.
fn closes_a_stream_early() -> bool {
    let mut submitter = without_cancel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let number = ours.as_raw_socket();
    // Started before a number is free that its handles could get.
    let (begin, begun) = mpsc::channel();
    let reads = std::thread::spawn(move || {
        begun.recv().unwrap();
        let _fin_or_reset = peer.read_to_end(&mut Vec::new());
    });
    let Ok(source) = submitter.kernel().add_stream(ours) else { panic!("it was refused") };
    let submitter::Started::Pending(receive) = submitter.receive(&source, 0) else {
        panic!("there is nothing to receive")
    };
    // More than the system takes while the peer reads nothing.
    let send = (0..256).find_map(|_| {
        let mut buffer = Buffer::with_capacity(1 << 20);
        buffer.extend(&vec![7; 1 << 20]);
        match submitter.send(&source, 0, Lent::Buffer(buffer), 0, usize::MAX) {
            submitter::Started::Pending(send) => {
                submitter.wait(8, Some(50_000_000), drop).unwrap();
                (submitter.in_flight() == 2).then_some(send)
            }
            submitter::Started::Completed(_) => None,
        }
    });
    submitter.cancel(&source, receive);
    submitter.cancel(&source, send.expect("a send that waits"));
    give_up(&mut submitter, 2);
    assert_eq!(submitter.kernel().closed_early.len(), 1);
    // Under Wine closing ends a send only when the peer has read.
    begin.send(()).unwrap();
    let failed = complete(&mut submitter);
    assert!(failed.contains(&OpKind::Receive), "{failed:?}");
    let newcomer = connect_as(number, &listener);
    submitter.close(source, Close::Reset);
    reads.join().unwrap();
    assert!(submitter.kernel().closed_early.is_empty());
    let Some((mut newcomer, mut its_peer)) = newcomer else { return false };
    newcomer.write_all(b"still here").unwrap();
    let mut heard = [0; 10];
    its_peer.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still here");
    true
}

#[test]
fn a_listener_whose_accepts_cannot_be_cancelled_is_closed() {
    let mut submitter = without_cancel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let Ok(source) = submitter.kernel().add_listener(listener) else { panic!("it was refused") };
    let accepts = [(); 3].map(|()| match submitter.accept(&source, 0) {
        submitter::Started::Pending(accept) => accept,
        submitter::Started::Completed(_) => panic!("no peer has connected"),
    });
    for accept in accepts {
        submitter.cancel(&source, accept);
    }
    assert_eq!(complete(&mut submitter), [OpKind::Accept; 3]);
    let free = TcpListener::bind(address).unwrap();
    submitter.close(source, Close::Orderly);
    TcpStream::connect(address).unwrap();
    free.accept().unwrap();
}

/// Its packet is in the port when the caller takes the socket back and closes it. The number is soon reused, and the
/// bytes of the new socket are not ours.
#[cfg(any(feature = "c-api", dolmen_sim))]
#[test]
fn a_receive_of_zero_bytes_that_was_cancelled_does_not_read_from_the_next_socket_of_that_number() {
    let replaced = || {
        let options = Options { max_packets: 8, skip_on_success: true, most_transmits: None };
        let kernel = Iocp::new(options).unwrap();
        let pool = BufferPool::new(0, 16);
        let mut submitter = Submitter::new(kernel, options, pool.clone());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let number = ours.as_raw_socket();
        let lent = crate::kernel::readiness::BorrowedSocket { raw: number };
        let source = submitter.kernel().add_borrowed_stream(lent, false).unwrap();
        let submitter::Started::Pending(receive) = submitter.receive(&source, 0) else {
            panic!("there is nothing to receive")
        };
        peer.write_all(b"ours").unwrap();
        let op = submitter.pending(receive).unwrap();
        // SAFETY: the field outlives its packet, which is not taken out here; the system writes to it.
        let status = || unsafe { (&raw const (*op.as_ptr()).header.overlapped.Internal).read_volatile() };
        let start = Instant::now();
        while status() == windows_sys::Win32::Foundation::STATUS_PENDING as usize {
            assert!(start.elapsed().as_secs() < 20, "it has bytes to read");
            std::thread::yield_now();
        }
        submitter.cancel(&source, receive);
        drop(ours);
        let Some((mut newcomer, mut its_peer)) = connect_as(number, &listener) else {
            assert_eq!(complete(&mut submitter), [OpKind::Receive]);
            submitter.close(source, Close::Release);
            return false;
        };
        its_peer.write_all(b"theirs").unwrap();
        assert_eq!(newcomer.peek(&mut [0; 1]).unwrap(), 1);
        assert_eq!(complete(&mut submitter), [OpKind::Receive]);
        let mut heard = [0; 6];
        newcomer.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"theirs");
        submitter.close(source, Close::Release);
        assert_eq!(pool.out(), 0);
        true
    };
    assert!((0..50).any(|_| replaced()), "the number is never given out again");
}

#[cfg(any(feature = "c-api", dolmen_sim))]
#[test]
fn a_borrowed_socket_whose_operations_cannot_be_cancelled_is_the_callers_to_close() {
    let mut submitter = without_cancel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let lent = crate::kernel::readiness::BorrowedSocket { raw: ours.as_raw_socket() };
    let source = submitter.kernel().add_borrowed_stream(lent, false).unwrap();
    let submitter::Started::Pending(receive) = submitter.receive(&source, 0) else {
        panic!("there is nothing to receive")
    };
    submitter.cancel(&source, receive);
    give_up(&mut submitter, 1);
    assert!(submitter.kernel().closed_early.is_empty());
    (&ours).write_all(b"open").unwrap();
    peer.read_exact(&mut [0; 4]).unwrap();
    drop(ours);
    assert_eq!(complete(&mut submitter), [OpKind::Receive]);
    submitter.close(source, Close::Release);
}
