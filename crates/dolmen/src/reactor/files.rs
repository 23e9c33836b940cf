//! The verbs for files.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use super::Reactor;
use crate::error::{AddError, Error};
use crate::token::{ConnId, FileOpId, Token};

/// Files.
///
/// A read or a write of a file may wait for a disk or for a server, and so the reactor makes these calls in up to two
/// threads of its own, which it starts when they are needed and which end after 30 seconds without work. They are not the
/// threads that look names up. On Linux a read of up to 128 KiB that the page cache can answer is made immediately, without a
/// thread.
///
/// Not promised: any order of operations, also on one file: to read what was written, begin the read when
/// [`FileWritten`](crate::Event::FileWritten) has come.
///
/// Dropping the reactor waits up to 5 seconds for calls in progress; if a disk takes longer, the thread is left behind and
/// ends with its call. Operations that have not begun are not made. After a fork(2) operations in progress go on in the parent;
/// in the child each is reported as failed, as [`Interrupted`](std::io::ErrorKind::Interrupted), with an empty buffer.
impl Reactor {
    /// Reads from a file at `offset`, as many bytes as `buffer` has capacity for. What the buffer holds is discarded. A
    /// [`FileRead`](crate::Event::FileRead) event with `token` returns the buffer with the bytes, or the reason why there
    /// are none; it never comes within this call.
    ///
    /// A read may be short, as read(2) may. Only one of no bytes is the end of the file: continue behind what has come
    /// until then. (With a buffer without capacity it is neither.) All of the capacity is written to, however short the file
    /// is, so choose it for one read and not for the whole file. An offset or an end beyond 2^63 - 1 is an error.
    ///
    /// The file's own position is not used on Linux. Windows **moves** it, so do not mix this with reads and writes at the
    /// position. A file for overlapped operations (`FILE_FLAG_OVERLAPPED`) is not supported. Pipes and terminals have no
    /// offsets, and fail.
    ///
    /// Manual page: pread(2). Microsoft Learn: "ReadFile function".
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let path = std::env::temp_dir().join(format!("dolmen-read-{}", std::process::id()));
    /// # std::fs::write(&path, "A small room.\n")?;
    /// let room = std::sync::Arc::new(std::fs::File::open(&path)?);
    /// reactor.read_file(room.clone(), 2, Vec::with_capacity(5), Token(3))?;
    /// reactor.wait(&mut events, None)?;
    /// for event in &mut events {
    ///     if let Event::FileRead { token: Token(3), result, buffer, .. } = event {
    ///         match result? {
    ///             0 => println!("the end of the file"),
    ///             count => assert_eq!((count, &buffer[..]), (5, &b"small"[..])),
    ///         }
    ///     }
    /// }
    /// # drop(room);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::FilesFull`](crate::ErrorKind::FilesFull) while 1,024 operations are not reported,
    /// [`Exhausted`](crate::ErrorKind::Exhausted) if no thread can be started. The buffer is in the error, and no event
    /// follows.
    pub fn read_file(
        &mut self,
        file: Arc<File>,
        offset: u64,
        buffer: Vec<u8>,
        token: Token,
    ) -> Result<FileOpId, AddError<Vec<u8>>> {
        self.engine.read_file(file, offset, buffer, token)
    }

    /// Writes `bytes` to a file at `offset`: all of them, or as many as are possible before a failure. A
    /// [`FileWritten`](crate::Event::FileWritten) event with `token` returns the buffer.
    ///
    /// The system has taken the bytes then, as after write(2), and has not necessarily stored them. A file that was opened for
    /// appending is written at its end on Linux, whatever the offset. As for the file's position, see
    /// [`read_file`](Reactor::read_file).
    ///
    /// Manual page: pwrite(2). Microsoft Learn: "WriteFile function".
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let path = std::env::temp_dir().join(format!("dolmen-write-{}", std::process::id()));
    /// let log = std::sync::Arc::new(std::fs::File::create(&path)?);
    /// reactor.write_file(log.clone(), 0, b"A player has joined.\n".to_vec(), Token(3))?;
    /// reactor.wait(&mut events, None)?;
    /// for event in &mut events {
    ///     if let Event::FileWritten { token: Token(3), written, result, buffer, .. } = event {
    ///         result?;
    ///         assert_eq!(written, buffer.len());
    ///     }
    /// }
    /// assert_eq!(std::fs::read(&path)?, b"A player has joined.\n");
    /// # drop(log);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`read_file`](Reactor::read_file).
    pub fn write_file(
        &mut self,
        file: Arc<File>,
        offset: u64,
        bytes: Vec<u8>,
        token: Token,
    ) -> Result<FileOpId, AddError<Vec<u8>>> {
        self.engine.write_file(file, offset, bytes, token)
    }

    /// Sends a part of a file, behind what has been sent so far and before what is sent from now on. A
    /// [`FileSent`](crate::Event::FileSent) event with `token` reports that the system has taken all of it.
    ///
    /// The file is read in pieces of up to 64 KiB as the connection takes them, so a slow reader costs one piece of memory, however
    /// long the file is. Pieces do not count as [queued](Reactor::queued_bytes). What is sent behind the file does. On Linux, and on
    /// server editions of Windows, the system sends most of a longer file by itself, without a copy in this process
    /// ([`bytes_sent_uncopied`](crate::Stats::bytes_sent_uncopied)). For that Windows has the file open once more until it has
    /// been sent. A file that the caller's handle excludes others from, or that is locked from its first byte, or that is on
    /// another computer, is read. Do not lock parts of a file there while it is sent: to that second handle they cannot be
    /// read.
    ///
    /// If the file ends before the range, so does what is sent, and the stream goes on. If it cannot be read, the event has the
    /// reason, and the connection ends as failed, with a reset: the peer cannot take a part for the whole. If the connection ends first, also by
    /// [`close`](Reactor::close), its `Closed` is the only event. [`close`](Reactor::close) sends files as everything that is queued, within the linger time; for
    /// a long file, close when its event has come.
    ///
    /// Not promised: that the file is what it was at the time of the call. It is read later, and a writer may change or
    /// shorten it meanwhile; on Windows, one that becomes shorter may count as one that cannot be read. As for the file's position on Windows, see [`read_file`](Reactor::read_file).
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::io::Read;
    /// # use std::net::{TcpListener, TcpStream};
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let path = std::env::temp_dir().join(format!("dolmen-send-{}", std::process::id()));
    /// # std::fs::write(&path, "The news of today.\n")?;
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
    /// let news = std::sync::Arc::new(std::fs::File::open(&path)?);
    /// reactor.send(conn, b"News:\n")?;
    /// reactor.send_file(conn, news, 0..u64::MAX, Token(3))?;
    /// reactor.wait(&mut events, None)?;
    /// for event in &mut events {
    ///     if let Event::FileSent { conn, token: Token(3), sent, result, .. } = event {
    ///         result?;
    ///         assert_eq!(sent, 19);
    ///         reactor.close(conn)?;
    ///     }
    /// }
    /// # reactor.wait(&mut events, Some(std::time::Duration::ZERO))?;
    /// # let mut text = String::new();
    /// # peer.read_to_string(&mut text)?;
    /// assert_eq!(text, "News:\nThe news of today.\n");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), [`SendClosed`](crate::ErrorKind::SendClosed),
    /// [`FilesFull`](crate::ErrorKind::FilesFull) while 1,024 files are queued on the connection.
    ///
    /// # References
    ///
    /// Manual page: sendfile(2). Microsoft Learn: "TransmitFile function".
    pub fn send_file(
        &mut self,
        conn: ConnId,
        file: Arc<File>,
        range: Range<u64>,
        token: Token,
    ) -> Result<FileOpId, Error> {
        self.engine.send_file(conn, file, range, token)
    }

    /// Forgets an operation: no event of it is delivered from here on, not even one that is already in
    /// [`Events`](crate::Events). Returns false if it was not in progress any more.
    ///
    /// A file that is being sent is sent all the same. An operation that a thread has begun **still happens**, and a write may have been made in part or whole. Its buffer is
    /// freed, when the call has returned.
    ///
    /// ```
    /// # use dolmen::{Event, Events, Reactor, Token};
    /// # use std::time::Duration;
    /// # let mut reactor = Reactor::new()?;
    /// # let mut events = Events::with_capacity(16);
    /// # let file = std::sync::Arc::new(std::fs::File::open(std::env::current_exe()?)?);
    /// let op = reactor.read_file(file, 0, Vec::with_capacity(100), Token(3))?;
    /// reactor.cancel_file(op);
    /// assert_eq!(reactor.wait(&mut events, Some(Duration::ZERO))?, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel_file(&mut self, op: FileOpId) -> bool {
        self.engine.cancel_file(op)
    }
}
