//! Writing to a stream that may be non-blocking.
//!
//! Whether a write to standard output blocks is a property of the open file or pipe, which a program shares with its
//! parent and others: a parent that has made it non-blocking (node, ssh and erl do) leaves it so. A write then takes as
//! much as there is room for, and fails or takes nothing when there is none. That is not the end of the output: the
//! rest must wait for the reader.
//!
//! write(2), fcntl(2), poll(2). Microsoft Learn: "Named Pipe Type, Read, and Wait Modes", "WriteFile function".

use std::io::{self, ErrorKind, Stderr, Stdout, Write};
use std::thread;
use std::time::{Duration, Instant};

/// How much is written in one call: a reader's progress shows after each piece.
const PIECE: usize = 16 * 1024;

/// How long the writer pauses when a stream has no room: twice as long each time, as nothing reports when there is
/// some.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A stream to write to, which may be non-blocking.
pub trait Stream: Write {
    /// Waits until there may be room, for at most this time. Returns `false` if the system cannot say when that is.
    fn wait_for_room(&self, most: Duration) -> bool;
}

impl Stream for Stdout {
    fn wait_for_room(&self, most: Duration) -> bool {
        super::wait_for_room(self, most)
    }
}

impl Stream for Stderr {
    fn wait_for_room(&self, most: Duration) -> bool {
        super::wait_for_room(self, most)
    }
}

/// Writes all of it, and flushes it. Calls `written` with the size of each part that has left this process.
///
/// Without a `deadline` it waits without limit, as with a stream that blocks.
///
/// # Errors
///
/// `TimedOut` when there is no room until the deadline; otherwise the system's error.
pub fn write_all(
    stream: &mut impl Stream,
    bytes: &[u8],
    deadline: Option<Instant>,
    mut written: impl FnMut(usize),
) -> io::Result<()> {
    let mut wait = Wait::new(deadline);
    let mut left = bytes;
    let mut most = PIECE;
    while !left.is_empty() {
        let piece = &left[..left.len().min(most)];
        match stream.write(piece) {
            // A Windows pipe may take nothing of more than it has room for, and all of less.
            Ok(0) if piece.len() > 1 => most = piece.len() / 2,
            Ok(0) => wait.for_room(stream)?,
            Ok(count) => {
                flush(stream, &mut wait)?;
                left = &left[count..];
                most = PIECE;
                wait.tries = 0;
                written(count);
            }
            // A reader that is slow is not the end of the output: the rest waits for it [hc51].
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait.for_room(stream)?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    flush(stream, &mut wait)
}

/// Flushes what the standard library has kept of an unfinished line.
fn flush(stream: &mut impl Stream, wait: &mut Wait) -> io::Result<()> {
    loop {
        match stream.flush() {
            Ok(()) => return Ok(()),
            // The error with which it reports a write that took nothing. It has kept the unwritten bytes.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::WriteZero) => {
                wait.for_room(stream)?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The waits of one call.
struct Wait {
    deadline: Option<Instant>,
    /// How many attempts have found no room since the last success.
    tries: u32,
}

impl Wait {
    fn new(deadline: Option<Instant>) -> Wait {
        Wait { deadline, tries: 0 }
    }

    fn for_room(&mut self, stream: &impl Stream) -> io::Result<()> {
        /// The descriptor may refer to another file by then, and that file may have room.
        const LOOK_AGAIN: Duration = Duration::from_secs(1);
        let left = |most: Duration| match self.deadline {
            Some(deadline) => most.min(deadline.saturating_duration_since(Instant::now())),
            None => most,
        };
        if left(LOOK_AGAIN).is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        // A terminal may report room when it has less than the next character needs.
        if !stream.wait_for_room(left(LOOK_AGAIN)) || self.tries > 0 {
            let pause = SHORTEST_PAUSE.saturating_mul(1 << self.tries.min(10)).min(LONGEST_PAUSE);
            thread::sleep(left(pause));
        }
        self.tries += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Returns a given result for each write and each flush, and remembers what it took.
    #[derive(Default)]
    struct Fake {
        writes: VecDeque<io::Result<usize>>,
        flushes: VecDeque<ErrorKind>,
        taken: Vec<u8>,
        waits: std::cell::Cell<usize>,
    }

    impl Write for Fake {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.writes.pop_front().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.flushes.pop_front().map_or(Ok(()), |kind| Err(kind.into()))
        }
    }

    impl Stream for Fake {
        fn wait_for_room(&self, _: Duration) -> bool {
            self.waits.set(self.waits.get() + 1);
            true
        }
    }

    #[test]
    fn hc51_no_room_and_short_writes_lose_nothing() {
        let no_room = || Err(ErrorKind::WouldBlock.into());
        let mut fake = Fake {
            writes: [no_room(), Ok(3), no_room(), no_room(), Err(ErrorKind::Interrupted.into()), Ok(1)]
                .into(),
            flushes: [ErrorKind::WouldBlock, ErrorKind::Interrupted, ErrorKind::WriteZero].into(),
            ..Fake::default()
        };
        let mut written = Vec::new();
        write_all(&mut fake, b"all of it", None, |count| written.push(count)).expect("it is written");
        assert_eq!(fake.taken, b"all of it");
        assert_eq!(written, [3, 1, 5]);
        assert_eq!(fake.waits.get(), 5);
    }

    /// Behaves as a Windows pipe in PIPE_NOWAIT when more is written than there is room for.
    struct AllOrNothing {
        room: usize,
        capacity: usize,
        taken: Vec<u8>,
    }

    impl Write for AllOrNothing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = if bytes.len() <= self.room { bytes.len() } else { 0 };
            self.room = if self.room == 0 { self.capacity } else { self.room - count };
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for AllOrNothing {
        fn wait_for_room(&self, _: Duration) -> bool {
            false
        }
    }

    #[test]
    fn hc51_a_pipe_that_takes_all_or_nothing_gets_all() {
        let bytes: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
        let mut pipe = AllOrNothing { room: 4096, capacity: 4096, taken: Vec::new() };
        write_all(&mut pipe, &bytes, None, |_| {}).expect("it is written");
        assert!(pipe.taken == bytes, "{} bytes", pipe.taken.len());
    }

    #[test]
    fn a_deadline_ends_it_and_what_was_written_is_known() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                match std::mem::take(&mut self.0) {
                    0 => Err(ErrorKind::WouldBlock.into()),
                    room => Ok(room),
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        impl Stream for Full {
            fn wait_for_room(&self, _: Duration) -> bool {
                false
            }
        }
        let mut written = 0;
        let deadline = Instant::now() + Duration::from_millis(20);
        let error = write_all(&mut Full(4), b"too much", Some(deadline), |count| written += count);
        assert_eq!(error.expect_err("there is no room").kind(), ErrorKind::TimedOut);
        assert_eq!(written, 4);
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn an_error_is_reported() {
        let mut fake = Fake { writes: [Err(ErrorKind::BrokenPipe.into())].into(), ..Fake::default() };
        let error = write_all(&mut fake, b"text", None, |_| {}).expect_err("there is no reader");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}
