//! Files that the system transmits by itself.

use super::*;

/// Pieces are small, so that most of a file is transmitted.
const CONFIG: Config = Config { max_send_bytes: 20, ..Fixture::CONFIG };

fn fixture(most_transmits: usize) -> Fixture {
    let fixture = Fixture::with(Style::Completion, CONFIG);
    fixture.world.borrow_mut().most_transmits = most_transmits;
    fixture
}

/// Waits, and reads as the peer, until nothing comes any more.
fn read_all(fixture: &mut Fixture, link: usize) -> (Vec<Seen>, Vec<u8>) {
    let (mut seen, mut got) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        seen.extend(fixture.wait(Duration::from_millis(50)));
        got.extend(fixture.peer_reads(link, 70));
    }
    (seen, got)
}

/// Over a wire that is narrower than everything; the sends keep their places, and only the first piece of each file is read.
#[test]
pub(super) fn p09_transmissions_keep_the_order_of_the_sends() {
    let mut fixture = fixture(2);
    let (conn, link) = fixture.connect_with(30);
    let file = file(1_000);
    file.set_faults(50, 0, 0);
    fixture.engine.send(conn, b"one ").expect("send");
    let first = send_file(&mut fixture, conn, &file, 100..900);
    fixture.engine.send(conn, b"two ").expect("send");
    let second = send_file(&mut fixture, conn, &file, 500..2_000);
    fixture.engine.send(conn, b"three").expect("send");
    let (seen, got) = read_all(&mut fixture, link);
    let pattern = pattern(1_000);
    assert_eq!(got, [&b"one "[..], &pattern[100..900], b"two ", &pattern[500..], b"three"].concat());
    assert_eq!(sent(&seen), [(first, 800), (second, 500)]);
    let stats = fixture.stats();
    // Of each file a first piece, which may be short, and a last one.
    assert!(stats.bytes_sent_uncopied >= 1_300 - 4 * 20, "{stats:?}");
    assert_eq!(stats.queued_bytes, 0);
}

/// A peer that reads nothing has the only transmission. Other files are read and sent meanwhile.
#[test]
pub(super) fn a_peer_that_stalls_delays_no_file_but_its_own() {
    let mut fixture = fixture(1);
    let file = file(1_000);
    let (slow, slow_link) = fixture.connect_with(50);
    let op = send_file(&mut fixture, slow, &file, 0..1_000);
    assert_eq!(sent(&fixture.settle()), []);
    let full = hits(Mark::TransmitsFull);
    let (conn, link) = fixture.connect();
    let other = send_file(&mut fixture, conn, &file, 0..1_000);
    let (seen, got) = read_all(&mut fixture, link);
    assert_eq!(sent(&seen), [(other, 1_000)]);
    assert_eq!(got, pattern(1_000));
    assert!(hits(Mark::TransmitsFull) > full);
    let (seen, got) = read_all(&mut fixture, slow_link);
    assert_eq!(sent(&seen), [(op, 1_000)]);
    assert_eq!(got, pattern(1_000));
}

/// The file has become shorter since it was opened, or cannot be opened or transmitted.
#[test]
pub(super) fn a_short_transmission_is_the_last_of_its_file_and_the_rest_is_read() {
    for (unopened, shrinks, refused, rare) in [
        (100, 0, 0, Mark::ReopenRefused),
        (0, 100, 0, Mark::TransmitShort),
        (0, 0, 100, Mark::TransmitRefused),
    ] {
        let mut fixture = fixture(2);
        let (conn, link) = fixture.connect_with(100);
        let file = file(1_000);
        file.set_transmits(unopened, shrinks, refused);
        let before = hits(rare);
        let op = send_file(&mut fixture, conn, &file, 0..u64::MAX);
        fixture.engine.send(conn, b"behind").expect("send");
        let (seen, got) = read_all(&mut fixture, link);
        assert_eq!(sent(&seen), [(op, 1_000)], "{rare:?}");
        assert_eq!(got, [&pattern(1_000)[..], b"behind"].concat());
        assert!(hits(rare) > before, "{rare:?}");
    }
}

/// How much of a transmission has arrived that fails is not known. Nothing may follow, and the peer must not take it for all.
#[test]
pub(super) fn hc65_nothing_follows_a_transmission_that_has_failed() {
    for because_of_file in [true, false] {
        let mut fixture = fixture(2);
        let (conn, link) = fixture.connect_with(40);
        let file = file(1_000);
        let op = send_file(&mut fixture, conn, &file, 0..1_000);
        fixture.engine.send(conn, b"behind").expect("send");
        let (mut seen, mut got) = (Vec::new(), Vec::new());
        // In the middle of a transmission, of which some has arrived.
        for round in 0.. {
            assert!(round < 1_000, "nothing is transmitted");
            seen.extend(fixture.wait(MS));
            got.extend(fixture.peer_reads(link, 10));
            if fixture.stats().bytes_sent_uncopied > 0 {
                break;
            }
        }
        match because_of_file {
            true => file.set_faults(0, 100, 0),
            false => fixture.faults(|faults| {
                (faults.no_memory, faults.no_memory_for) = (100, Some(OpKind::Transmit));
            }),
        }
        let failed = hits(Mark::TransmitFailed);
        for _ in 0..1_000 {
            seen.extend(fixture.wait(MS));
            got.extend(fixture.peer_reads(link, 10));
            if hits(Mark::TransmitFailed) > failed {
                break;
            }
        }
        file.set_faults(0, 0, 0);
        fixture.heal();
        let (rest, more) = read_all(&mut fixture, link);
        seen.extend(rest);
        got.extend(more);
        let reported = seen.iter().any(|seen| matches!(seen, Seen::FileSent(of, _, Some(_)) if *of == op));
        assert_eq!(reported, because_of_file, "{seen:?}");
        assert!(matches!(closed(&seen, conn), Some(CloseReason::Failed { .. })), "{seen:?}");
        assert_eq!(fixture.link(link, |link| link.ended), Some(Ended::Reset));
        assert!(got.len() < 1_000 && pattern(1_000).starts_with(&got), "{} bytes", got.len());
        fixture.assert_empty();
    }
}

/// The system reads the file until the packet of the transmission, which comes late.
#[test]
pub(super) fn hc01_a_file_stays_open_until_its_transmission_has_ended() {
    for late_success in [0, 100] {
        let mut fixture = fixture(2);
        let (conn, _) = fixture.connect_with(100);
        let file = file(1_000);
        let op = send_file(&mut fixture, conn, &file, 0..1_000);
        assert_eq!(fixture.settle().len(), 0);
        assert_eq!(fixture.stats().operations_in_flight, 2, "a transmission and a receive");
        fixture.faults(|faults| (faults.late_success, faults.delay) = (late_success, 100));
        drop(file);
        assert!(fixture.engine.remove(conn));
        assert_eq!(fixture.settle().len(), 0);
        assert!(!fixture.engine.cancel_file(op));
        fixture.assert_empty();
    }
}
