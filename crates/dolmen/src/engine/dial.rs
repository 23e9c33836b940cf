//! An attempt to connect: a socket that is not a stream yet.
//!
//! A connection that is being made has one of these for each address that it tries. The first that succeeds gives its
//! source to the connection, and the others end. A dial is a source of its own, so that its socket is closed in two
//! phases like all others, also when its connection is long gone.

use crate::address::Address;
use crate::kernel::operation::OpHandle;
use crate::kernel::submitter::{Completion, Started};
use crate::kernel::{Close, Fault, FaultKind, Kernel, Outcome};
use crate::marks::{Mark, mark};
use crate::token::Key;

use super::config::next_retry_ns;
use super::context::Context;
use super::registration::{Registration, SourceRef};
use super::timers::Purpose;

pub(super) struct Dial<K: Kernel> {
    source: K::Source,
    address: Address,
    /// The connection that it is for.
    conn: Key,
    /// The socket is the caller's.
    borrowed: bool,
    connect: Option<OpHandle>,
    /// Runs while a Unix socket's backlog is full.
    retry: Option<Key>,
    /// The last such pause.
    retry_ns: u64,
    registration: Registration,
}

/// What serving a dial, or its completion, came to.
pub(super) enum Dialled {
    Waiting,
    Connected {
        local: Address,
        peer: Address,
    },
    Failed(Fault),
    /// It was removed, and none of its operations is pending.
    Ended,
}

impl<K: Kernel> Dial<K> {
    pub(super) fn new(source: K::Source, address: Address, conn: Key) -> Dial<K> {
        let registration = Registration::default();
        let (connect, retry, retry_ns, borrowed) = (None, None, 0, false);
        Dial { source, address, conn, borrowed, connect, retry, retry_ns, registration }
    }

    /// The same with a socket of the caller's.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(super) fn borrowed(source: K::Source, address: Address, conn: Key) -> Dial<K> {
        Dial { borrowed: true, ..Dial::new(source, address, conn) }
    }

    pub(super) fn conn(&self) -> Key {
        self.conn
    }

    pub(super) fn list(&mut self, cx: &mut Context<K>, key: Key) {
        cx.list(&mut self.registration, SourceRef::Dial(key.slot));
    }

    pub(super) fn remove(&mut self, cx: &mut Context<K>, key: Key) {
        if !self.registration.close() {
            return;
        }
        if let Some(timer) = self.retry.take() {
            cx.timers.cancel(timer);
        }
        if let Some(handle) = self.connect {
            mark(Mark::DialCancelled);
            cx.submitter.cancel(&self.source, handle);
        }
        self.list(cx, key);
    }

    pub(super) fn serve(&mut self, cx: &mut Context<K>, key: Key) -> Dialled {
        self.registration.unlist();
        if self.connect.is_some() {
            return Dialled::Waiting;
        }
        if self.registration.is_closing() {
            return Dialled::Ended;
        }
        if self.retry.is_some() {
            return Dialled::Waiting;
        }
        match cx.submitter.connect(&self.source, key.slot, &self.address) {
            Started::Pending(handle) => {
                self.connect = Some(handle);
                Dialled::Waiting
            }
            Started::Completed(completion) => self.completed(cx, key, completion),
        }
    }

    pub(super) fn connect_completed(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        completion: Completion<K>,
    ) -> Dialled {
        assert_eq!(self.connect.take(), Some(completion.handle), "a dial connects once at a time");
        if self.registration.is_closing() {
            return Dialled::Ended;
        }
        self.completed(cx, key, completion)
    }

    fn completed(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) -> Dialled {
        match completion.result {
            Ok(Outcome::Connected) => self.finish_connect(cx),
            Ok(_) => unreachable!("a connect has no other result"),
            // The peer's backlog is full, and the system does not report when it has room [hc59].
            Err(fault) if fault.kind == FaultKind::Exhausted => {
                mark(Mark::DialRetried);
                self.retry_ns = next_retry_ns(self.retry_ns);
                self.retry = Some(cx.set_internal_timer(self.retry_ns, Purpose::DialAgain(key)));
                Dialled::Waiting
            }
            Err(fault) => Dialled::Failed(fault),
        }
    }

    fn finish_connect(&mut self, cx: &mut Context<K>) -> Dialled {
        match cx.submitter.kernel().finish_connect(&self.source, &self.address) {
            Err(fault) => Dialled::Failed(fault),
            // A port without a listener, from which the system has chosen this very port: it would talk to itself
            // [hc59].
            Ok((local, peer)) if local.ip().is_some() && local.ip() == peer.ip() => {
                mark(Mark::ConnectedToItself);
                Dialled::Failed(K::REFUSED)
            }
            Ok((local, peer)) => Dialled::Connected { local, peer },
        }
    }

    pub(super) fn dial_again(&mut self, cx: &mut Context<K>, key: Key) {
        self.retry = None;
        self.list(cx, key);
    }

    /// The dial has left the table with a connected source.
    pub(super) fn into_source(self) -> K::Source {
        self.source
    }

    /// The dial has left the table.
    pub(super) fn finish(self, cx: &mut Context<K>) {
        // Not yet accepted, most likely: a reset removes it from the peer's backlog.
        cx.submitter.close(self.source, if self.borrowed { Close::Release } else { Close::Reset });
    }
}
