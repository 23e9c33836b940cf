//! Reads and writes of files, by threads of the reactor.

mod common;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _};
use std::sync::Arc;
use std::time::Duration;

use common::{Rig, Temp, pattern, watchdog};
use dolmen::{ErrorKind, Event, Events, FileOpId, Reactor, Token};

/// The end of an operation: the bytes read, or the count written, or an error; and the buffer.
type End = (FileOpId, Result<usize, io::ErrorKind>, Vec<u8>);

fn end_of(event: Event<'_>) -> End {
    match event {
        Event::FileRead { op, result, buffer, .. } => (op, result.map_err(|error| error.kind()), buffer),
        Event::FileWritten { op, written, result, buffer, .. } => {
            (op, result.map(|()| written).map_err(|error| error.kind()), buffer)
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn ends(rig: &mut Rig, count: usize) -> Vec<End> {
    let mut ends = Vec::new();
    rig.until("end of an operation on a file", |_, event| {
        ends.push(end_of(event));
        ends.len() == count
    });
    ends
}

#[track_caller]
fn end(rig: &mut Rig) -> End {
    ends(rig, 1).remove(0)
}

/// Checks that no event comes.
#[track_caller]
fn silent(rig: &mut Rig) {
    rig.reactor.wait(&mut rig.events, Some(common::SILENCE)).expect("wait");
    assert_eq!(rig.events.drain().map(|event| format!("{event:?}")).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn reads_bring_the_bytes_at_their_offset_and_the_end_and_return_their_buffers() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (_temp, file) = Temp::with(&pattern(10_000));
    // As much as the buffer has capacity for; what is in it does not matter.
    let mut buffer = vec![9; 700];
    buffer.reserve_exact(300);
    let (kept, capacity) = (buffer.as_ptr(), buffer.capacity());
    let op = rig.reactor.read_file(file.clone(), 5_000, buffer, Token(4)).expect("read");
    let (of, result, buffer) = end(&mut rig);
    assert_eq!((of, result, buffer.as_ptr(), buffer.capacity()), (op, Ok(capacity), kept, capacity));
    assert_eq!(buffer, pattern(10_000)[5_000..5_000 + capacity]);
    // Up to the end, at the end, and beyond it.
    for (offset, count) in [(9_990, 10), (10_000, 0), (1 << 40, 0)] {
        rig.reactor.read_file(file.clone(), offset, Vec::with_capacity(100), Token(4)).expect("read");
        let (_, result, buffer) = end(&mut rig);
        assert_eq!((result, buffer.len()), (Ok(count), count), "at {offset}");
    }
    assert_eq!(rig.reactor.stats().file_operations, 0);
    silent(&mut rig);
}

#[test]
fn a_large_read_is_made_by_a_thread_and_brings_everything_in_some_reads() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let bytes = pattern(3_000_000);
    let (_temp, file) = Temp::with(&bytes);
    let (mut got, mut buffer) = (Vec::new(), Vec::with_capacity(1_000_000));
    loop {
        rig.reactor.read_file(file.clone(), got.len() as u64, buffer, Token(4)).expect("read");
        let (_, result, back) = end(&mut rig);
        if result.expect("read") == 0 {
            break;
        }
        got.extend_from_slice(&back);
        buffer = back;
    }
    assert!(got == bytes, "the bytes of the file");
}

#[test]
fn no_event_comes_within_the_call_and_one_with_the_next_wait() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (_temp, file) = Temp::with(b"bytes");
    rig.reactor.wait(&mut rig.events, Some(Duration::ZERO)).expect("wait");
    rig.reactor.read_file(file, 0, Vec::with_capacity(100), Token(4)).expect("read");
    assert_eq!(rig.events.drain().count(), 0);
    assert_eq!(rig.reactor.stats().file_operations, 1);
    assert_eq!(end(&mut rig).1, Ok(5));
}

#[test]
fn writes_are_whole_and_return_their_buffers() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (temp, file) = Temp::with(b"");
    let bytes = pattern(300_000);
    let mut buffers = Vec::new();
    for (at, part) in bytes.chunks(100_000).enumerate() {
        let part = part.to_vec();
        buffers.push(part.as_ptr());
        rig.reactor.write_file(file.clone(), at as u64 * 100_000, part, Token(4)).expect("write");
    }
    let mut returned: Vec<*const u8> = ends(&mut rig, 3)
        .into_iter()
        .map(|(_, result, buffer)| {
            assert_eq!(result, Ok(100_000));
            buffer.as_ptr()
        })
        .collect();
    buffers.sort_unstable();
    returned.sort_unstable();
    // The buffers of the first ones were freed already, and may have been used for others.
    assert_eq!(returned.len(), buffers.len());
    assert!(std::fs::read(&temp.0).expect("read") == bytes);
    // No bytes are written at once.
    rig.reactor.write_file(file, 0, Vec::new(), Token(4)).expect("write");
    assert_eq!(end(&mut rig).1, Ok(0));
}

#[test]
fn failures_are_reported_and_return_the_buffer() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (temp, _) = Temp::with(b"bytes");
    let read_only = Arc::new(File::open(&temp.0).expect("open"));
    let op = rig.reactor.write_file(read_only, 0, b"more".to_vec(), Token(4)).expect("write");
    rig.until("failed write", |_, event| {
        let Event::FileWritten { op: of, token: Token(4), written: 0, result: Err(_), buffer, .. } = event
        else {
            panic!("{event:?}")
        };
        assert_eq!((of, &buffer[..]), (op, &b"more"[..]));
        true
    });
    let write_only = Arc::new(OpenOptions::new().write(true).open(&temp.0).expect("open"));
    let op = rig.reactor.read_file(write_only, 0, Vec::with_capacity(64), Token(4)).expect("read");
    let (of, result, buffer) = end(&mut rig);
    assert!(of == op && result.is_err() && buffer.is_empty() && buffer.capacity() >= 64, "{result:?}");
    assert_eq!(std::fs::read(&temp.0).expect("read"), b"bytes");
}

/// What has no offsets fails, and does not block the reactor's thread.
#[cfg(target_os = "linux")]
#[test]
fn a_pipe_and_a_folder_fail() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
    rig.reactor.read_file(Arc::new(File::from(reader)), 0, Vec::with_capacity(64), Token(4)).expect("read");
    assert_eq!(end(&mut rig).1, Err(io::ErrorKind::NotSeekable));
    let folder = Arc::new(File::open("/").expect("open"));
    rig.reactor.read_file(folder, 0, Vec::with_capacity(64), Token(4)).expect("read");
    assert_eq!(end(&mut rig).1, Err(io::ErrorKind::IsADirectory));
}

#[test]
fn p07_a_cancelled_operation_is_silent_also_in_the_events() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (_temp, file) = Temp::with(&pattern(1_000));
    // In the events already.
    let op = rig.reactor.read_file(file.clone(), 0, Vec::with_capacity(100), Token(4)).expect("read");
    while rig.reactor.wait(&mut rig.events, Some(common::DEADLINE)).expect("wait") == 0 {}
    assert!(!rig.reactor.cancel_file(op), "it has ended");
    assert_eq!(rig.events.drain().count(), 0);
    // Wherever they are.
    let ops: Vec<FileOpId> = (0..100)
        .map(|_| rig.reactor.read_file(file.clone(), 0, Vec::with_capacity(1 << 20), Token(4)).expect("read"))
        .collect();
    for &op in &ops {
        rig.reactor.cancel_file(op);
        assert!(!rig.reactor.cancel_file(op));
    }
    silent(&mut rig);
    assert_eq!(rig.reactor.stats().file_operations, 0);
}

#[test]
fn up_to_1_024_operations_wait_and_the_next_one_returns_its_buffer() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (_temp, file) = Temp::with(&pattern(100));
    for at in 0..1_024 {
        let begun = match at % 2 {
            0 => rig.reactor.read_file(file.clone(), 0, Vec::with_capacity(10), Token(at)),
            _ => rig.reactor.write_file(file.clone(), 100, vec![7], Token(at)),
        };
        begun.expect("there is room");
    }
    let refused = rig.reactor.read_file(file.clone(), 0, Vec::with_capacity(77), Token(0)).expect_err("full");
    assert_eq!((refused.error.kind(), refused.source.capacity()), (ErrorKind::FilesFull, 77));
    let refused = rig.reactor.write_file(file.clone(), 0, b"kept".to_vec(), Token(0)).expect_err("full");
    assert_eq!(refused.source, b"kept");
    assert_eq!(io::Error::from(refused).kind(), io::ErrorKind::WouldBlock);
    assert_eq!(rig.reactor.stats().file_operations, 1_024);
    assert_eq!(ends(&mut rig, 1_024).len(), 1_024);
    rig.reactor.read_file(file, 0, Vec::with_capacity(10), Token(0)).expect("there is room again");
    assert_eq!(end(&mut rig).1, Ok(10));
}

/// A reactor is dropped with everything in flight. What threads have begun is made, and its memory is theirs.
#[test]
fn p14_a_drop_with_operations_in_flight_waits_for_those_that_have_begun() {
    let _watchdog = watchdog();
    let (temp, file) = Temp::with(b"");
    for round in 0..20 {
        let mut reactor = Reactor::new().expect("a reactor");
        for at in 0..40 {
            let begun = match at % 2 {
                0 => reactor.write_file(file.clone(), 0, pattern(200_000), Token(0)),
                _ => reactor.read_file(file.clone(), 0, Vec::with_capacity(200_000), Token(0)),
            };
            begun.expect("there is room");
        }
        let mut events = Events::with_capacity(4);
        if round % 2 == 0 {
            reactor.wait(&mut events, None).expect("wait");
        }
        drop(reactor);
        // The threads have ended, and released the file.
        assert_eq!(Arc::strong_count(&file), 1);
        for event in &mut events {
            end_of(event).1.expect("success");
        }
    }
    let left = std::fs::read(&temp.0).expect("read");
    assert!(pattern(200_000).starts_with(&left), "each write was whole or was not begun");
}

/// To some calls of the systems such offsets are negative, and mean the file's own position, or its end.
#[test]
fn an_offset_that_no_file_has_is_an_error_and_changes_nothing() {
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (temp, file) = Temp::with(b"0123456789");
    for offset in [u64::MAX, u64::MAX - 1, 1 << 63] {
        let read =
            rig.reactor.read_file(Arc::clone(&file), offset, Vec::with_capacity(4), Token(1)).expect("room");
        let write =
            rig.reactor.write_file(Arc::clone(&file), offset, b"lost".to_vec(), Token(1)).expect("room");
        let mut ended = 0;
        rig.until("both ends", |_, event| {
            match event {
                Event::FileRead { op, result, buffer, .. } if op == read => {
                    assert!(result.is_err() && buffer.is_empty(), "offset {offset}: {result:?}");
                }
                Event::FileWritten { op, result, written: 0, buffer, .. } if op == write => {
                    assert!(result.is_err() && buffer == b"lost", "offset {offset}: {result:?}");
                }
                other => panic!("{other:?}"),
            }
            ended += 1;
            ended == 2
        });
    }
    assert_eq!(std::fs::read(&temp.0).expect("it is there"), b"0123456789");
    assert_eq!((&*file).stream_position().expect("a position"), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_has_no_offsets_and_loses_nothing() {
    use std::io::{Read as _, Write as _};
    let _watchdog = watchdog();
    let mut rig = Rig::new();
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"secret").expect("write");
    let pipe = Arc::new(std::fs::File::from(std::os::fd::OwnedFd::from(reader.try_clone().expect("clone"))));
    for offset in [0, u64::MAX] {
        rig.reactor.read_file(Arc::clone(&pipe), offset, Vec::with_capacity(4), Token(1)).expect("room");
        rig.until("the end", |_, event| {
            let Event::FileRead { result, buffer, .. } = event else { panic!("{event:?}") };
            assert!(result.is_err() && buffer.is_empty(), "offset {offset}: {result:?}");
            true
        });
    }
    let mut left = [0; 6];
    reader.read_exact(&mut left).expect("they are still there");
    assert_eq!(&left, b"secret");
}
