//! The errors of a reactor: what failed, and for which source.

use std::fmt;
use std::io;

use crate::kernel::mailbox::Refused;
use crate::kernel::{Fault, FaultKind, io_fault};

/// A failed call on a reactor: the action, the source, the limit if one was reached, the operating system's error if
/// there is one, and what to do. `Debug` has the same text and the kind, as a program that returns it from `main` shows
/// it.
///
/// ```
/// # use dolmen::{Event, Events, Reactor, Token};
/// # use std::io::{Read, Write};
/// # use std::net::{TcpListener, TcpStream};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
/// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
/// reactor.remove(conn);
/// let error = reactor.send(conn, b"?").unwrap_err();
/// assert_eq!(error.kind(), dolmen::ErrorKind::NotFound);
/// assert!(error.to_string().starts_with("cannot send to connection"));
/// assert_eq!(format!("{error:?}"), format!("{error} [NotFound]"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Error {
    kind: ErrorKind,
    action: &'static str,
    source: Option<String>,
    os: Option<io::Error>,
    /// The limit that was reached, if the kind is about one.
    limit: Option<usize>,
    /// What to do, where that does not follow from the kind.
    advice: Option<&'static str>,
}

/// How the prepared socket of a target has to be, for errors.
const ADVICE_FAMILY: &str = "make the prepared socket for the family of the address";
const ADVICE_FAST_OPEN: &str =
    "leave TCP_FASTOPEN_CONNECT unset on the prepared socket, as it would connect only with the first send";

/// The kind of a failure, for programs to tell apart.
///
/// ```
/// # use dolmen::{Event, Events, Reactor, Token};
/// # use std::io::{Read, Write};
/// # use std::net::{TcpListener, TcpStream};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut peer = TcpStream::connect(listener.local_addr()?)?;
/// # let conn = reactor.add(listener.accept()?.0, Token(0))?;
/// use dolmen::ErrorKind;
/// match reactor.send(conn, b"A bell rings.\n") {
///     Ok(()) => {}
///     // A slow reader: this line is left out, or kept until `Drained`.
///     Err(error) if error.kind() == ErrorKind::QueueFull => {}
///     // A `Closed` event reports the end.
///     Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::SendClosed) => {}
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The id names no live registration: it was removed, or its `Closed` or `Released` event is pending or
    /// delivered.
    NotFound,
    /// The same socket or handle is registered already. On Linux the number of the descriptor counts: a duplicate is
    /// another one.
    AlreadyRegistered,
    /// Not an open handle, or not one of the kind that was asked for (a datagram socket instead of a stream, a
    /// listening socket instead of a connected one, or the other way round).
    InvalidHandle,
    /// The reactor holds as many connections as [`Builder::max_connections`](crate::Builder::max_connections) allows.
    TableFull,
    /// The send queue has no room for these bytes now. None of them was taken. For a connection, a
    /// [`Drained`](crate::Event::Drained) event comes when there is room again.
    QueueFull,
    /// More bytes in one piece than the send queue can ever hold
    /// ([`Builder::high_water_mark`](crate::Builder::high_water_mark)), or than a datagram can. None of them was taken;
    /// send smaller pieces.
    TooLarge,
    /// The sending side is closed: by [`shutdown_write`](crate::Reactor::shutdown_write) or
    /// [`release`](crate::Reactor::release), or by a failure that the pending `Closed` event reports.
    SendClosed,
    /// The connection is still being made: a [`Connected`](crate::Event::Connected) event follows, or `Closed`.
    NotConnected,
    /// The end of the stream has been read: nothing more will come.
    #[doc(hidden)]
    ReadClosed,
    /// An earlier registration ended with bytes unsent: bytes sent now would follow a hole in the stream.
    #[doc(hidden)]
    StreamCut,
    /// As many posts are waiting as [`Builder::post_capacity`](crate::Builder::post_capacity) allows, or as many values
    /// as the [channel](crate::Reactor::channel) may hold. The post or the value was not taken.
    PostsFull,
    /// The [`Inbox`](crate::Inbox) of the channel was dropped. The value was not taken.
    InboxGone,
    /// Not the name of a host or an address: empty, longer than 253 bytes, with white space at either end, with a NUL in
    /// it, or with brackets around anything but an IPv6 address. See [`Reactor::resolve`](crate::Reactor::resolve).
    InvalidName,
    /// 1,024 look-ups are not reported yet. This one was not begun.
    LookupsFull,
    /// 1,024 operations on files are not reported yet, or as many files are queued on the connection. This one was not
    /// begun.
    FilesFull,
    /// The reactor is gone.
    ReactorGone,
    /// The system is out of handles, buffers or memory.
    Exhausted,
    /// Anything else the operating system reports; see [`Error::os_error`].
    Os,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, action: &'static str, source: impl fmt::Display) -> Error {
        Error { source: Some(source.to_string()), ..Error::plain(kind, action) }
    }

    pub(crate) fn plain(kind: ErrorKind, action: &'static str) -> Error {
        Error { kind, action, source: None, os: None, limit: None, advice: None }
    }

    pub(crate) fn from_fault(fault: Fault, action: &'static str, source: Option<String>) -> Error {
        let kind = match fault.kind {
            FaultKind::AlreadyRegistered => ErrorKind::AlreadyRegistered,
            FaultKind::Invalid | FaultKind::NotConnected | FaultKind::WrongFamily | FaultKind::FastOpen => {
                ErrorKind::InvalidHandle
            }
            FaultKind::Exhausted => ErrorKind::Exhausted,
            FaultKind::Cut => ErrorKind::StreamCut,
            FaultKind::Reset
            | FaultKind::Cancelled
            | FaultKind::Transient
            | FaultKind::File
            | FaultKind::Other => ErrorKind::Os,
        };
        // The kernel layer's own record refuses a cut stream; the system would accept it.
        let os = (fault.kind != FaultKind::Cut).then(|| fault.to_io());
        let advice = match fault.kind {
            FaultKind::WrongFamily => Some(ADVICE_FAMILY),
            FaultKind::FastOpen => Some(ADVICE_FAST_OPEN),
            _ => None,
        };
        Error { source, os, advice, ..Error::plain(kind, action) }
    }

    /// Of a post, or of a value of a channel, of which `capacity` may wait.
    pub(crate) fn from_refused(
        refused: Refused,
        action: &'static str,
        source: Option<String>,
        capacity: usize,
    ) -> Error {
        let kind = match refused {
            Refused::Unsignalled(fault) => return Error::from_fault(fault, action, source),
            Refused::Gone => ErrorKind::ReactorGone,
            Refused::InboxGone => ErrorKind::InboxGone,
            Refused::Full => ErrorKind::PostsFull,
        };
        Error { source, ..Error::plain(kind, action) }.limited(capacity)
    }

    pub(crate) fn duplicating(os: io::Error) -> Error {
        Error::from_fault(io_fault(&os), "duplicate a handle", None)
    }

    pub(crate) fn from_io(kind: ErrorKind, action: &'static str, os: io::Error) -> Error {
        Error { os: Some(os), ..Error::plain(kind, action) }
    }

    /// Adds the limit, if the kind is that one was reached.
    pub(crate) fn limited(self, limit: usize) -> Error {
        let is_limit = matches!(
            self.kind,
            ErrorKind::TableFull
                | ErrorKind::QueueFull
                | ErrorKind::TooLarge
                | ErrorKind::PostsFull
                | ErrorKind::LookupsFull
                | ErrorKind::FilesFull
        );
        Error { limit: is_limit.then_some(limit), ..self }
    }

    /// Replaces what the kind advises.
    pub(crate) fn advised(self, advice: &'static str) -> Error {
        Error { advice: Some(advice), ..self }
    }

    /// The text without the advice, which names methods of this library.
    pub(crate) fn write_cause(&self, f: &mut impl fmt::Write) -> fmt::Result {
        // The action, its source, the kind of the failure, the limit, and the system's own error [p16].
        write!(f, "cannot {}", self.action)?;
        if let Some(source) = &self.source {
            write!(f, " {source}")?;
        }
        write!(f, ": {}", self.kind)?;
        if let Some(limit) = self.limit {
            write!(f, " (the limit is {limit})")?;
        }
        if let Some(os) = &self.os {
            write!(f, " ({os})")?;
        }
        Ok(())
    }

    /// Adds what the action was for.
    pub(crate) fn about(self, source: impl fmt::Display) -> Error {
        Error { source: Some(source.to_string()), ..self }
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The operating system's own error, if there is one.
    #[must_use]
    pub fn os_error(&self) -> Option<&io::Error> {
        self.os.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_cause(f)?;
        match self.advice.or(self.kind.advice()) {
            Some(advice) => write!(f, ": {advice}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{:?}]", self.kind)
    }
}

impl ErrorKind {
    /// What to do, as far as it follows from the kind.
    fn advice(self) -> Option<&'static str> {
        Some(match self {
            ErrorKind::NotFound => "forget the id, which has ended or was removed",
            ErrorKind::AlreadyRegistered => "use the first registration, or remove it and wait for its end",
            ErrorKind::InvalidHandle => "pass an open handle of the kind that this call takes",
            ErrorKind::TableFull => "wait until a connection has ended, or raise `Builder::max_connections`",
            ErrorKind::QueueFull => "send it again after `Drained`, or raise `Builder::high_water_mark`",
            ErrorKind::TooLarge => "send smaller pieces, or raise `Builder::high_water_mark`",
            ErrorKind::SendClosed => "send nothing more; if the sending side has failed, `Closed` follows",
            ErrorKind::NotConnected => "wait for `Connected`",
            ErrorKind::ReadClosed => "receive nothing more",
            ErrorKind::PostsFull => "try again after a wait, or raise `Builder::post_capacity`",
            ErrorKind::InboxGone => "end this sender",
            ErrorKind::InvalidName => {
                "a name has 1 to 253 bytes, no blank at an end and no NUL, and brackets are for IPv6 addresses"
            }
            ErrorKind::LookupsFull => "wait for `Resolved` or `Named`, or cancel look-ups",
            ErrorKind::FilesFull => "wait for the events of some, or cancel some",
            ErrorKind::ReactorGone => "end the thread, or make it use another reactor",
            ErrorKind::Exhausted => "close what is not needed, or raise the limits of the process",
            // Its own text has it.
            ErrorKind::StreamCut => return None,
            // What to do follows from the reason that the system gives.
            ErrorKind::Os => return None,
        })
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorKind::NotFound => "there is no such registration any more",
            ErrorKind::AlreadyRegistered => "it is registered already",
            ErrorKind::InvalidHandle => "not a valid handle for this",
            ErrorKind::TableFull => "the reactor holds as many connections as it may",
            ErrorKind::QueueFull => "the send queue has no room for it now",
            ErrorKind::TooLarge => "it is larger than the send queue or a datagram can ever hold",
            ErrorKind::SendClosed => "the sending side is closed",
            ErrorKind::NotConnected => "it is not connected yet",
            ErrorKind::ReadClosed => "the end of the stream has been read",
            ErrorKind::StreamCut => {
                "an earlier registration ended with bytes unsent: an unknown part is lost, close the socket"
            }
            ErrorKind::PostsFull => "as many are waiting as may wait",
            ErrorKind::InboxGone => "the inbox is gone",
            ErrorKind::InvalidName => "not a valid host name or address",
            ErrorKind::LookupsFull => "too many look-ups are waiting",
            ErrorKind::FilesFull => "too many operations on files are waiting",
            ErrorKind::ReactorGone => "the reactor is gone",
            ErrorKind::Exhausted => "the system is out of handles or memory",
            ErrorKind::Os => "the operating system refused",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.os.as_ref().map(|os| os as _)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error.kind {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AlreadyRegistered => io::ErrorKind::AlreadyExists,
            ErrorKind::InvalidHandle | ErrorKind::TooLarge | ErrorKind::InvalidName => {
                io::ErrorKind::InvalidInput
            }
            ErrorKind::QueueFull | ErrorKind::PostsFull | ErrorKind::LookupsFull | ErrorKind::FilesFull => {
                io::ErrorKind::WouldBlock
            }
            ErrorKind::SendClosed
            | ErrorKind::ReadClosed
            | ErrorKind::StreamCut
            | ErrorKind::InboxGone
            | ErrorKind::ReactorGone => io::ErrorKind::BrokenPipe,
            ErrorKind::NotConnected => io::ErrorKind::NotConnected,
            ErrorKind::TableFull | ErrorKind::Exhausted => io::ErrorKind::OutOfMemory,
            ErrorKind::Os => error.os.as_ref().map_or(io::ErrorKind::Other, io::Error::kind),
        };
        io::Error::new(kind, error)
    }
}

/// A stream, listener or datagram socket that could not be registered, returned open with the reason. Or the buffer of
/// an operation on a file that could not be begun.
///
/// ```
/// # use dolmen::{Event, Events, Reactor, Token};
/// # use std::io::{Read, Write};
/// # use std::net::{TcpListener, TcpStream};
/// # let mut reactor = Reactor::new()?;
/// # let mut events = Events::with_capacity(16);
/// let mut reactor = Reactor::builder().max_connections(0).build()?;
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let peer = TcpStream::connect(listener.local_addr()?)?;
/// let (stream, _) = listener.accept()?;
/// let mut refused = reactor.add(stream, Token(0)).unwrap_err();
/// assert_eq!(refused.error.kind(), dolmen::ErrorKind::TableFull);
/// refused.source.write_all(b"We are full.\n")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
pub struct AddError<S> {
    /// The reason.
    pub error: Error,
    /// The stream, listener, datagram socket or buffer.
    pub source: S,
}

impl<S> fmt::Display for AddError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

/// As that of [`Error`]: the source is left out.
impl<S> fmt::Debug for AddError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}

impl<S> std::error::Error for AddError<S> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

/// Keeps the reason and closes the stream, listener or datagram socket.
impl<S> From<AddError<S>> for Error {
    fn from(error: AddError<S>) -> Error {
        error.error
    }
}

impl<S> From<AddError<S>> for io::Error {
    fn from(error: AddError<S>) -> io::Error {
        error.error.into()
    }
}
