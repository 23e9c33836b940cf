//! Connections over a caller's socket, for callers that request each receive and want a report of each send.
//!
//! Such a connection is paused except between [`Connection::post_receive`] and the delivery of its result, so that nothing is
//! received without a request. (`serve_receiving` submits one receive at a time in any case, here as for all connections.)
//! Each send is marked, and reported when the system has
//! taken it. The engine serves such a connection immediately instead of with the next wait: the caller may close the
//! socket next.

use super::*;

impl<K: Kernel> Connection<K> {
    /// With `receive`, receiving starts immediately.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(in crate::engine) fn adopted(source: K::Source, receive: bool, token: Token) -> Connection<K> {
        Connection { adopted: true, paused: !receive, ..Connection::new(source, token) }
    }

    /// Starts receiving the next bytes. While a receive is under way, this changes nothing.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(in crate::engine) fn post_receive(&mut self, key: Key) -> Result<(), Error> {
        if self.read_ended {
            return Err(Error::new(ErrorKind::ReadClosed, "receive from connection", ConnId(key)));
        }
        if self.receive.is_some() || self.registration.is_undelivered() {
            mark(Mark::ReceiveAskedTwice);
        }
        self.paused = false;
        Ok(())
    }

    /// Sends, as [`Connection::send`] does, and lets a `Written` record follow when the system has taken all of it.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(in crate::engine) fn post_send(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.send(cx, key, bytes)?;
        if self.adopted {
            cx.send_reports.queued(key.slot, bytes.len());
        }
        Ok(())
    }

    /// Called before a connection's queue is dropped, in flight or not: if it is not empty, the socket cannot be
    /// adopted again [hc18]. See [`Kernel::note_cut`].
    pub(super) fn note_if_cut(&mut self, cx: &mut Context<K>) {
        if let Some(source) = self.source.as_ref().filter(|_| self.adopted && self.queued_bytes() > 0) {
            mark(Mark::EndedUnsent);
            cx.submitter.kernel().note_cut(source);
        }
    }

    /// Reports the sends that `bytes` more bytes have completed.
    pub(super) fn report_sends(&mut self, cx: &mut Context<K>, key: Key, bytes: usize) {
        if !self.adopted {
            return;
        }
        let (conn, token, closing) = (ConnId(key), self.token, self.is_closing());
        let Context { send_reports, outbox, .. } = cx;
        send_reports.sent(key.slot, bytes, |bytes| {
            if !closing {
                outbox.push_back(Record::Written { conn, token, bytes });
            }
        });
    }
}
