//! Reads and writes of files, by threads that are slow.

use super::*;

fn read(fixture: &mut Fixture, file: &SimFile, offset: u64, count: usize) -> FileOpId {
    fixture.engine.read_file(file.clone(), offset, Vec::with_capacity(count), Token(0)).expect("read")
}

/// Short reads, the end and a failure are three things. What needs no thread is reported by the next wait as well.
#[test]
pub(super) fn short_reads_the_end_and_failures_of_a_file_are_told_apart() {
    for cached in [0, 100] {
        let mut fixture = Fixture::new(Style::Readiness);
        let file = file(100);
        file.set_faults(0, 0, cached);
        let whole = read(&mut fixture, &file, 0, 100);
        let short = read(&mut fixture, &file, 90, 50);
        let end = read(&mut fixture, &file, 100, 50);
        let beyond = read(&mut fixture, &file, 1 << 40, 50);
        assert_eq!(fixture.stats().file_operations, 4);
        let mut seen = fixture.settle();
        let mut result = |op| {
            let at = seen.iter().position(|seen| matches!(seen, Seen::FileRead(of, _) if *of == op));
            let Seen::FileRead(_, result) = seen.remove(at.expect("each is reported")) else {
                unreachable!()
            };
            result
        };
        assert_eq!(result(whole), Ok(pattern(100)));
        assert_eq!(result(short), Ok(pattern(100)[90..].to_vec()));
        assert_eq!((result(end), result(beyond)), (Ok(vec![]), Ok(vec![])));
        assert_eq!(seen.len(), 0, "each is reported once");
        file.set_faults(0, 100, cached);
        let failed = read(&mut fixture, &file, 0, 100);
        let seen = fixture.settle();
        let error = Err(std::io::ErrorKind::InvalidData);
        assert!(matches!(&seen[..], [Seen::FileRead(of, result)] if *of == failed && *result == error));
        assert_eq!(fixture.stats().file_operations, 0);
    }
}

#[test]
pub(super) fn p07_a_cancelled_operation_on_a_file_is_silent_wherever_it_is() {
    let mut fixture = Fixture::new(Style::Completion);
    let file = file(100);
    // In the two threads, and behind them.
    let ops: Vec<FileOpId> = (0..4).map(|_| read(&mut fixture, &file, 0, 10)).collect();
    fixture.wait(MS);
    let (left, cancelled) = (hits(Mark::JobDoneAfterCancel), hits(Mark::JobCancelledWaiting));
    for &op in &ops {
        let known = fixture.engine.cancel_file(op);
        assert!(!fixture.engine.cancel_file(op) && (known || fixture.stats().file_operations > 0));
    }
    // Their slots have other holders when the threads end their calls.
    let next = read(&mut fixture, &file, 50, 10);
    let seen = fixture.settle();
    assert!(
        matches!(&seen[..], [Seen::FileRead(of, Ok(bytes))] if *of == next && bytes[..] == pattern(100)[50..60]),
        "{seen:?}"
    );
    assert!(hits(Mark::JobDoneAfterCancel) + hits(Mark::JobCancelledWaiting) > left + cancelled);
    // Reported, but not delivered.
    file.set_faults(0, 0, 100);
    let op = read(&mut fixture, &file, 0, 10);
    assert!(!fixture.engine.cancel_file(op), "it has ended");
    assert_eq!(fixture.settle().len(), 0);
    assert_eq!(fixture.stats().file_operations, 0);
}

/// The system takes a part at a time. A failure in between is reported with the count.
#[test]
pub(super) fn short_writes_of_a_file_are_continued_until_all_is_written() {
    let mut fixture = Fixture::new(Style::Readiness);
    let file = file(0);
    file.set_faults(90, 0, 0);
    let op = fixture.engine.write_file(file.clone(), 0, pattern(1_000), Token(0)).expect("write");
    let seen = fixture.settle();
    assert!(matches!(seen[..], [Seen::FileWritten(of, None)] if of == op), "{seen:?}");
    assert_eq!(file.bytes(), pattern(1_000));
    file.set_faults(90, 20, 0);
    let mut partial = 0;
    for round in 1..=50 {
        let op =
            fixture.engine.write_file(file.clone(), round * 1_000, pattern(1_000), Token(0)).expect("write");
        let seen = fixture.settle();
        let [Seen::FileWritten(of, failed)] = seen[..] else { panic!("{seen:?}") };
        assert_eq!(of, op);
        let written = failed.unwrap_or(1_000);
        partial += usize::from((1..1_000).contains(&written));
        assert_eq!(
            file.bytes().get(round as usize * 1_000..).unwrap_or_default(),
            &pattern(1_000)[..written]
        );
    }
    assert!(partial > 0, "some have failed in the middle");
}

/// Without any thread an operation is refused, with its buffer; with one thread it waits.
#[test]
pub(super) fn an_operation_without_a_thread_is_refused_with_its_buffer() {
    let mut fixture = Fixture::new(Style::Readiness);
    let file = file(0);
    fixture.world.borrow_mut().no_file_threads = true;
    let refused = fixture.engine.write_file(file.clone(), 0, pattern(10), Token(0));
    let refused = refused.expect_err("there is no thread");
    assert_eq!((refused.error.kind(), refused.source), (ErrorKind::Exhausted, pattern(10)));
    fixture.world.borrow_mut().no_file_threads = false;
    let first = fixture.engine.write_file(file.clone(), 0, pattern(10), Token(0)).expect("write");
    fixture.world.borrow_mut().no_file_threads = true;
    let second = fixture.engine.write_file(file.clone(), 10, pattern(10), Token(0)).expect("write");
    let seen = fixture.settle();
    assert!(
        matches!(seen[..], [Seen::FileWritten(a, None), Seen::FileWritten(b, None)] if (a, b) == (first, second)),
        "{seen:?}"
    );
    assert_eq!(file.bytes(), [pattern(10), pattern(10)].concat());
    assert_eq!(fixture.stats().file_operations, 0);
}

/// More results than a batch holds: the rest comes with the next waits, without another signal.
#[test]
pub(super) fn results_of_files_that_do_not_fit_are_reported_by_the_next_waits() {
    let mut fixture = Fixture::with(Style::Readiness, Config { max_events: 2, ..Fixture::CONFIG });
    let file = file(100);
    for _ in 0..12 {
        read(&mut fixture, &file, 0, 10);
    }
    // The caller is away while the threads work.
    for _ in 0..100 {
        let mut world = fixture.world.borrow_mut();
        world.now_ns += 10_000_000;
        drop(world);
        world::run_scheduled(&fixture.world);
    }
    let start_ns = fixture.now_ns();
    let seen: Vec<Seen> = (0..12).flat_map(|_| fixture.wait(Duration::from_secs(3_600))).take(12).collect();
    assert_eq!(seen.len(), 12);
    assert!(fixture.now_ns() < start_ns + 1_000_000_000, "it took until {}", fixture.now_ns());
}

/// Over a wire that is narrower than everything; the sends keep their places.
#[test]
pub(super) fn p09_files_are_sent_between_the_sends_before_and_after_them() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect_with(100);
        let file = file(1_000);
        file.set_faults(50, 0, 50);
        fixture.engine.send(conn, b"one ").expect("send");
        let first = send_file(&mut fixture, conn, &file, 100..900);
        fixture.engine.send(conn, b"two ").expect("send");
        let second = send_file(&mut fixture, conn, &file, 990..2_000);
        let third = send_file(&mut fixture, conn, &file, 5..5);
        fixture.engine.send(conn, b"three").expect("send");
        assert_eq!(fixture.engine.queued_bytes(conn).expect("open"), 13);
        let (mut seen, mut got) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            seen.extend(fixture.wait(Duration::from_millis(50)));
            got.extend(fixture.peer_reads(link, 70));
        }
        let pattern = pattern(1_000);
        let expected = [&b"one "[..], &pattern[100..900], b"two ", &pattern[990..], b"three"].concat();
        assert_eq!(got, expected);
        assert_eq!(sent(&seen), [(first, 800), (second, 10), (third, 0)]);
        assert_eq!(fixture.stats().queued_bytes, 0);
    }
}

/// The stream must not go on behind a hole, and the peer must not take a part for the whole.
#[test]
pub(super) fn a_file_that_cannot_be_read_ends_its_connection_with_a_reset() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (conn, link) = fixture.connect();
        let file = file(1_000);
        file.set_faults(0, 100, 0);
        fixture.engine.send(conn, b"before").expect("send");
        let op = send_file(&mut fixture, conn, &file, 0..1_000);
        fixture.engine.send(conn, b"behind").expect("send");
        let seen = fixture.settle();
        assert!(matches!(seen[0], Seen::FileSent(of, 0, Some(_)) if of == op), "{seen:?}");
        assert!(matches!(closed(&seen, conn), Some(CloseReason::Failed { .. })), "{seen:?}");
        assert_eq!(fixture.link(link, |link| link.ended), Some(Ended::Reset));
        fixture.assert_empty();
    }
}

/// A close sends what is queued, files as well; a removal does not wait for a reader that is slow.
#[test]
pub(super) fn a_close_sends_files_and_a_removal_forgets_them() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let file = file(1_000);
        let (conn, link) = fixture.connect();
        send_file(&mut fixture, conn, &file, 0..1_000);
        fixture.engine.close(conn).expect("close");
        fixture.peer_finishes(link);
        let seen = fixture.settle();
        assert!(matches!(seen[..], [Seen::Closed(of, CloseReason::Finished)] if of == conn), "{seen:?}");
        assert_eq!(fixture.peer_reads(link, 2_000), pattern(1_000));
        let (conn, link) = fixture.connect_with(100);
        let op = send_file(&mut fixture, conn, &file, 0..1_000);
        fixture.engine.send(conn, b"behind").expect("send");
        fixture.turn();
        assert!(fixture.engine.remove(conn));
        assert_eq!(fixture.settle().len(), 0);
        assert!(!fixture.engine.cancel_file(op));
        assert!(fixture.peer_reads(link, 2_000).len() <= 200);
        fixture.assert_empty();
    }
}

/// No thread can be started: the stream waits for one.
#[test]
pub(super) fn a_file_waits_for_a_thread_to_read_it() {
    let mut fixture = Fixture::new(Style::Readiness);
    let (conn, link) = fixture.connect();
    let file = file(100);
    fixture.world.borrow_mut().no_file_threads = true;
    let op = send_file(&mut fixture, conn, &file, 0..100);
    let refused = hits(Mark::PieceRefused);
    for _ in 0..5 {
        assert_eq!(sent(&fixture.wait(MS)), []);
        if hits(Mark::PieceRefused) > refused {
            break;
        }
    }
    fixture.world.borrow_mut().no_file_threads = false;
    assert_eq!(sent(&fixture.settle()), [(op, 100)]);
    assert_eq!(fixture.peer_reads(link, 200), pattern(100));
}
