//! The receiving side: one receive at a time, and one `Received` record in the outbox.

use super::sending::close_reason;
use super::*;

impl<K: Kernel> Connection<K> {
    pub(in crate::engine) fn pause(&mut self) {
        self.paused = true;
    }

    pub(in crate::engine) fn resume(&mut self, cx: &mut Context<K>, key: Key) {
        self.paused = false;
        self.list(cx, key);
    }

    pub(super) fn serve_receiving(&mut self, cx: &mut Context<K>, key: Key) {
        if self.lingering {
            match self.write {
                Write::Failed => {
                    let reason = self.failure().map_or(CloseReason::Reset, close_reason);
                    return self.begin_close(cx, key, reason);
                }
                // Not before the peer has closed its side: closing with unread bytes resets the connection, and
                // destroys the output in transit [hc15].
                Write::Shut if self.read_ended => {
                    return self.begin_close(cx, key, CloseReason::Finished);
                }
                _ => {}
            }
            self.take_held();
        }
        // One receive at a time, whatever was paused and resumed meanwhile, and the next one only when the bytes of the
        // last have been delivered [hc13, hc33, p03].
        let busy = self.receive.is_some() || self.registration.is_undelivered() || self.receive_waits();
        if let Some(rare) = self.rare.as_ref().filter(|rare| !busy && rare.held.is_none()) {
            // After a failed send, once everything received by then has been delivered, whatever comes later [hc43].
            if let (Some(fault), 0) = (rare.failure, rare.receive_limit_bytes) {
                return self.begin_close(cx, key, close_reason(fault));
            }
        }
        if busy || self.read_ended || (self.paused && !self.lingering) {
            return;
        }
        if let Some(buffer) = self.take_held() {
            return self.add_received(cx, key, buffer);
        }
        match cx.submitter.receive(self.source(), key.slot) {
            Started::Pending(handle) => self.receive = Some(handle),
            Started::Completed(completion) => self.received(cx, key, completion),
        }
    }

    pub(in crate::engine) fn receive_completed(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        completion: Completion<K>,
    ) {
        assert_eq!(self.receive.take(), Some(completion.handle), "one receive at a time");
        self.received(cx, key, completion);
    }

    fn received(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) {
        let result = completion.result;
        let withdrawn = self.rare.as_mut().is_some_and(|rare| std::mem::take(&mut rare.withdrawn));
        if withdrawn {
            // It goes on from here: the stream leaves, or is received from again if it was closed in the meantime.
            self.list(cx, key);
        }
        if let Some(rare) = &mut self.rare {
            rare.stalled = false;
            if let Ok(Outcome::Received(buffer)) = &result {
                rare.receive_limit_bytes = rare.receive_limit_bytes.saturating_sub(buffer.len());
            }
        }
        match result {
            Ok(Outcome::Received(buffer)) => {
                self.forget_retries(Direction::Receive);
                cx.stats.bytes_received += buffer.len() as u64;
                self.bytes_received(cx, key, buffer);
            }
            Ok(Outcome::EndOfStream) => self.end_received(cx, key),
            Ok(_) => unreachable!("a receive brings bytes or the end"),
            // The result of a cancel, and not the reason of the end, which is known [hc06].
            Err(_) if self.is_closing() => self.list(cx, key),
            Err(fault) if withdrawn && fault.kind == FaultKind::Cancelled => {}
            Err(fault) if is_worth_a_retry(fault) => {
                self.retry_later(cx, key, Direction::Receive, fault);
            }
            Err(fault) => {
                let reason = close_reason(self.failure().unwrap_or(fault));
                self.begin_close(cx, key, reason);
            }
        }
    }

    fn bytes_received(&mut self, cx: &mut Context<K>, key: Key, buffer: Buffer) {
        if !self.is_open() {
            // Received after a close, or in spite of the cancel [hc04].
            mark(Mark::LingerDiscarded);
            drop(buffer);
            self.list(cx, key);
        } else if self.paused {
            // The receive was pending when the caller paused. The bytes are kept for the resume [p10].
            mark(Mark::HeldWhilePaused);
            self.rare().held = Some(buffer);
        } else {
            self.add_received(cx, key, buffer);
        }
    }

    pub(super) fn add_received(&mut self, cx: &mut Context<K>, key: Key, buffer: Buffer) {
        self.registration.record_added();
        cx.outbox.push_back(Record::Received { conn: ConnId(key), token: self.token, buffer });
    }

    /// FIN ends one direction only: the connection stays open, and can send [hc14, p08].
    fn end_received(&mut self, cx: &mut Context<K>, key: Key) {
        self.read_ended = true;
        match self.failure() {
            _ if !self.is_open() => self.list(cx, key),
            Some(fault) => self.begin_close(cx, key, close_reason(fault)),
            None => {
                let (conn, token) = (ConnId(key), self.token);
                cx.outbox.push_back(Record::EndOfStream { conn, token });
            }
        }
    }

    /// A `Received` record is about to be delivered, so the next receive may be posted. The buffer stays here if the
    /// connection was paused in the meantime [hc13, p10].
    pub(in crate::engine) fn deliver(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        buffer: Buffer,
    ) -> Option<Buffer> {
        self.registration.record_delivered();
        if self.paused && self.is_open() {
            mark(Mark::HeldAtDelivery);
            self.rare().held = Some(buffer);
            return None;
        }
        self.paused |= self.adopted;
        self.list(cx, key);
        Some(buffer)
    }
}
