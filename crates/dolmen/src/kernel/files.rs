//! Files: reads and writes at an offset, in the threads of a [pool](crate::kernel::pool).
//!
//! A file is always ready, and blocks all the same: epoll refuses it, and Windows finishes the overlapped read of a cached
//! file inside the call. So a few threads make these calls. They are apart from the threads that look names up: names
//! that are slow must not delay files [hc63].
//!
//! On Linux most reads need no thread: what the page cache holds is copied immediately
//! ([`FileAccess::read_now`]), and the system says so if it would have to wait for the disk.
//!
//! Manual pages: preadv2(2), pread(2), pwrite(2). Microsoft Learn: "ReadFile function".

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::pool::{Job, Threads};

/// The threads of a reactor that read and write files. A drop waits for their calls for this long: a disk takes
/// milliseconds, and a server that has gone may take minutes.
pub(crate) fn threads() -> Threads {
    Threads::new("dolmen files", Duration::from_secs(5))
}

/// A file that several threads may read and write at the same time.
pub(crate) trait FileAccess: Clone + 'static {
    /// Reads once. 0 is the end of the file. Blocks.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes some of the bytes. Blocks.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Opens the file once more, for [`Kernel::transmit`](super::Kernel::transmit). `None`: it cannot be transmitted. Blocks.
    fn reopen(&self) -> Option<Reopened<Self>>;

    /// Reads once what needs no waiting. `None`: it would block, or the file cannot be read in this way.
    fn read_now(&self, offset: u64, into: &mut [u8]) -> Option<io::Result<usize>>;
}

/// A file that was opened once more.
pub(crate) struct Reopened<F> {
    pub(crate) file: F,
    /// How many bytes it had then.
    pub(crate) len: u64,
}

/// One operation. The buffers are the caller's.
pub(crate) enum FileJob<F> {
    /// Reads up to the capacity of the buffer.
    Read {
        file: F,
        offset: u64,
        buffer: Vec<u8>,
        /// Whether the file is opened once more, if it can be read.
        reopen: bool,
    },
    Write {
        file: F,
        offset: u64,
        bytes: Vec<u8>,
    },
}

/// Its result.
pub(crate) enum FileDone<F> {
    /// The buffer holds what was read. Without an error and empty: the end of the file.
    Read {
        buffer: Vec<u8>,
        error: Option<io::Error>,
        reopened: Option<Reopened<F>>,
    },
    Written {
        bytes: Vec<u8>,
        failed: Option<Box<FailedWrite>>,
    },
}

/// A write that failed, after it had written some of the bytes.
#[derive(Debug)]
pub struct FailedWrite {
    pub(crate) written: usize,
    pub(crate) error: io::Error,
}

impl<F: FileAccess> Job for FileJob<F> {
    type Done = FileDone<F>;

    fn run(self) -> FileDone<F> {
        match self {
            FileJob::Read { file, offset, mut buffer, reopen } => {
                prepare(&mut buffer);
                let read = without_interruption(|| file.read_at(offset, &mut buffer));
                // A handle that may not read opens one that may.
                let reopened = if reopen && read.is_ok() { file.reopen() } else { None };
                was_read(buffer, read, reopened)
            }
            FileJob::Write { file, offset, bytes } => {
                let failed = write_all(&file, offset, &bytes).err().map(Box::new);
                FileDone::Written { bytes, failed }
            }
        }
    }
}

impl<F> FileJob<F> {
    /// The caller's buffer.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        match self {
            FileJob::Read { buffer, .. } => buffer,
            FileJob::Write { bytes, .. } => bytes,
        }
    }

    /// The result if it was not done at all.
    pub(crate) fn failed(is_read: bool, error: io::Error) -> FileDone<F> {
        match is_read {
            true => FileDone::Read { buffer: Vec::new(), error: Some(error), reopened: None },
            false => {
                let failed = Some(Box::new(FailedWrite { written: 0, error }));
                FileDone::Written { bytes: Vec::new(), failed }
            }
        }
    }
}

/// Makes the whole capacity usable. Only what was not filled by an earlier read is zeroed.
pub(crate) fn prepare(buffer: &mut Vec<u8>) {
    buffer.resize(buffer.capacity(), 0);
}

/// The buffer is cut to what was read.
pub(crate) fn was_read<F>(
    mut buffer: Vec<u8>,
    read: io::Result<usize>,
    reopened: Option<Reopened<F>>,
) -> FileDone<F> {
    buffer.truncate(*read.as_ref().unwrap_or(&0));
    FileDone::Read { buffer, error: read.err(), reopened }
}

fn write_all<F: FileAccess>(file: &F, offset: u64, bytes: &[u8]) -> Result<(), FailedWrite> {
    let mut written = 0;
    while written < bytes.len() {
        let at = offset.saturating_add(written as u64);
        match without_interruption(|| file.write_at(at, &bytes[written..])) {
            Ok(0) => return Err(FailedWrite { written, error: io::ErrorKind::WriteZero.into() }),
            Ok(count) => written += count,
            Err(error) => return Err(FailedWrite { written, error }),
        }
    }
    Ok(())
}

fn without_interruption<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl FileAccess for Arc<File> {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        check(offset)?;
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(&**self, into, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(&**self, into, offset);
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        check(offset)?;
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::write_at(&**self, bytes, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_write(&**self, bytes, offset);
    }

    fn reopen(&self) -> Option<Reopened<Self>> {
        #[cfg(unix)]
        return None;
        #[cfg(windows)]
        return crate::kernel::reopen(self);
    }

    fn read_now(&self, offset: u64, into: &mut [u8]) -> Option<io::Result<usize>> {
        if let Err(error) = check(offset) {
            return Some(Err(error));
        }
        #[cfg(unix)]
        return unix::read_now(self, offset, into);
        #[cfg(windows)]
        {
            let _ = (offset, into);
            None
        }
    }
}

/// Refuses an offset that no file has. To the systems these are negative, and some mean another place: to preadv2(2) -1 is
/// the file's own position, and to Windows -1 is its end and -2 its position.
fn check(offset: u64) -> io::Result<()> {
    match i64::try_from(offset) {
        Ok(_) => Ok(()),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "no file has an offset of 2^63 or more")),
    }
}

#[cfg(unix)]
mod unix {
    use std::fs::File;
    use std::io::{self, IoSliceMut};

    use rustix::io::{Errno, ReadWriteFlags, preadv2};

    /// Reads what the page cache holds. It may hold less than there is, so the read may be short.
    pub(super) fn read_now(file: &File, offset: u64, into: &mut [u8]) -> Option<io::Result<usize>> {
        match preadv2(file, &mut [IoSliceMut::new(into)], offset, ReadWriteFlags::NOWAIT) {
            // Not in the cache; not supported by this file system; not known to this kernel, or forbidden by a filter.
            // A thread makes the plain call, and reports its error.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::INTR) => None,
            read => Some(read.map_err(io::Error::from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Takes three bytes at a time, is interrupted each second time, and is full at ten.
    #[derive(Clone, Default)]
    struct Small(Rc<RefCell<(Vec<u8>, bool)>>);

    impl FileAccess for Small {
        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            self.interrupt()?;
            let state = self.0.borrow();
            let rest = state.0.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(into.len()).min(3);
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }

        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
            self.interrupt()?;
            let mut state = self.0.borrow_mut();
            assert_eq!(state.0.len() as u64, offset);
            let count = bytes.len().min(3).min(10 - state.0.len());
            match count {
                0 => Err(io::ErrorKind::StorageFull.into()),
                count => {
                    state.0.extend(&bytes[..count]);
                    Ok(count)
                }
            }
        }

        fn reopen(&self) -> Option<Reopened<Small>> {
            None
        }

        fn read_now(&self, _: u64, _: &mut [u8]) -> Option<io::Result<usize>> {
            None
        }
    }

    impl Small {
        fn interrupt(&self) -> io::Result<()> {
            let interrupted = &mut self.0.borrow_mut().1;
            *interrupted = !*interrupted;
            if *interrupted { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        }
    }

    #[test]
    fn a_write_is_whole_or_fails_with_the_count_and_a_read_may_be_short() {
        let file = Small::default();
        let write = |offset, bytes: &[u8]| {
            let job = FileJob::Write { file: file.clone(), offset, bytes: bytes.to_vec() };
            let FileDone::Written { bytes: back, failed } = job.run() else { panic!("it was a write") };
            assert_eq!(back, bytes);
            failed.map(|failed| (failed.written, failed.error.kind()))
        };
        assert_eq!(write(0, b"seven b"), None);
        assert_eq!(write(7, b"four"), Some((3, io::ErrorKind::StorageFull)));
        let read = |offset| {
            let job = FileJob::Read { file: file.clone(), offset, buffer: vec![0; 8], reopen: false };
            let FileDone::Read { buffer, error, .. } = job.run() else { panic!("it was a read") };
            assert!(error.is_none());
            buffer
        };
        assert_eq!(read(5), b" bf");
        assert_eq!(read(10), b"");
    }
}
