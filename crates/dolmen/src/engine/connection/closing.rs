//! The end: lingering, the two phases of a close, and what a connection leaves behind.

use super::sending::close_reason;
use super::*;

/// How long a receive that was posted just before the linger time ran out may take to find the bytes that have arrived.
pub(super) const SECOND_LOOK_NS: u64 = 100_000_000;

impl<K: Kernel> Connection<K> {
    pub(in crate::engine) fn close(&mut self, cx: &mut Context<K>, key: Key, linger_ns: u64) {
        self.lingering = true;
        if self.write == Write::Open {
            self.write = Write::Finishing;
        }
        self.drop_undelivered(cx, key);
        self.start_linger(cx, key, linger_ns);
        self.list(cx, key);
    }

    pub(in crate::engine) fn abort(&mut self, cx: &mut Context<K>, key: Key) {
        self.drop_undelivered(cx, key);
        self.begin_close(cx, key, CloseReason::Aborted);
    }

    /// Ends the connection without a `Closed` event. Returns false if that was requested before.
    pub(in crate::engine) fn remove(&mut self, cx: &mut Context<K>, key: Key) -> bool {
        if self.rare.as_ref().is_some_and(|rare| rare.suppress_closed_event) {
            return false;
        }
        self.drop_undelivered(cx, key);
        if self.is_closing() {
            mark(Mark::RemovedWhileClosing);
        } else {
            self.begin_close(cx, key, CloseReason::Finished);
        }
        self.rare().suppress_closed_event = true;
        true
    }

    /// Begins the two-phase close. Queued and held bytes are lost, so the caller ensures that none of them must still
    /// be sent or delivered.
    pub(super) fn begin_close(&mut self, cx: &mut Context<K>, key: Key, reason: CloseReason) {
        if self.is_closing() {
            return;
        }
        self.note_if_cut(cx);
        self.registration.close();
        self.rare().reason = Some(reason);
        self.stop_timers(cx);
        self.list(cx, key);
    }

    pub(super) fn stop_timers(&mut self, cx: &mut Context<K>) {
        let rare = self.rare();
        if let Some(connecting) = &mut rare.connecting {
            connecting.stop_timers(cx);
        }
        let timers = [&mut rare.linger, &mut rare.send_backoff.timer, &mut rare.receive_backoff.timer];
        for timer in timers.into_iter().filter_map(Option::take) {
            cx.timers.cancel(timer);
        }
    }

    pub(super) fn serve_closing(&mut self, cx: &mut Context<K>) -> Served {
        if !std::mem::replace(&mut self.rare().cancelled, true) {
            // Only a cancel ends a pending receive: a shutdown does not [hc16].
            for handle in [self.receive, self.send].into_iter().flatten() {
                cx.submitter.cancel(self.source(), handle);
            }
        }
        // The kernel still owns the memory of these operations, and the socket keeps its number until their packets have
        // come [hc01, hc05].
        if self.receive.is_some() || self.send.is_some() {
            mark(Mark::CloseWaited);
            return Served::Alive;
        }
        Served::Ended { silent: self.rare().suppress_closed_event }
    }

    /// The connection has left the table: closes its socket and returns what it holds.
    pub(in crate::engine) fn finish(mut self, cx: &mut Context<K>, key: Key) {
        let (conn, token) = (ConnId(key), self.token);
        self.drop_queues(cx);
        let rare = self.rare();
        let reason = rare.reason.take();
        let Rare { suppress_closed_event, released, resets, .. } = *rare;
        if released {
            let source = self.source.expect("it was connected");
            let stream = Some(cx.submitter.kernel().release(source));
            cx.outbox.push_back(Record::Released { conn, token, stream });
            tracing::debug!(target: "dolmen", %conn, "connection released");
            return;
        }
        let reason = reason.unwrap_or(CloseReason::Finished);
        let how = match reason {
            _ if self.adopted => Close::Release,
            _ if resets => Close::Reset,
            CloseReason::Aborted | CloseReason::LingerExpired { .. } => Close::Reset,
            _ => Close::Orderly,
        };
        if let Some(source) = self.source.take() {
            cx.submitter.close(source, how);
        }
        tracing::debug!(target: "dolmen", conn = %key, %reason, suppress_closed_event, "connection closed");
        // Once, and behind all other events of the connection: none of its operations is left [p06].
        if !suppress_closed_event {
            cx.outbox.push_back(Record::Closed { conn, token, reason });
        }
    }

    pub(super) fn start_linger(&mut self, cx: &mut Context<K>, key: Key, linger_ns: u64) {
        let until_ns = cx.now_ns().saturating_add(linger_ns);
        let rare = self.rare();
        if rare.linger.is_none() {
            rare.linger_until_ns = until_ns;
            rare.linger = Some(cx.timers.insert(until_ns, 0, Purpose::Linger(key)));
        }
    }

    pub(in crate::engine) fn linger_expired(&mut self, cx: &mut Context<K>, key: Key) {
        self.rare().linger = None;
        if let Some(again_ns) = self.extra_linger_ns(cx) {
            return self.start_linger(cx, key, again_ns);
        }
        let unsent = self.unsent_bytes();
        let reason = match self.failure() {
            Some(fault) => close_reason(fault),
            // The system has taken all bytes and FIN is sent; a peer that does not close its side has had its time
            // [hc15, p09].
            None if unsent == 0 && self.write == Write::Shut => {
                mark(Mark::LingerExpiredFinished);
                CloseReason::Finished
            }
            None => {
                mark(Mark::LingerExpiredUnsent);
                CloseReason::LingerExpired { unsent }
            }
        };
        self.begin_close(cx, key, reason);
    }

    /// How much longer than the linger time a connection lasts after a failed send, for bytes received before that.
    fn extra_linger_ns(&mut self, cx: &Context<K>) -> Option<u64> {
        if self.failure().is_none() || self.lingering {
            return None;
        }
        let linger_ns = cx.config.linger_ns();
        // A caller that was not waiting has had no chance to take these bytes, or to resume.
        let was_away = self.rare().linger_until_ns < cx.wait_began_ns;
        if was_away && !std::mem::replace(&mut self.rare().has_grace, true) {
            mark(Mark::GraceAfterFailure);
            return Some(linger_ns);
        }
        if self.paused {
            mark(Mark::PausedAfterFailure);
            return None;
        }
        // They are here, or will be received next: they are delivered with the next waits, and their number is bounded
        // [hc43].
        let may_receive_more = self.rare().receive_limit_bytes > 0 && !self.receive_waits();
        let is_delivering = self.registration.is_undelivered() || self.rare().held.is_some();
        if is_delivering || (self.receive.is_none() && may_receive_more) {
            return Some(linger_ns);
        }
        // The pending receive has found nothing so far; it may have been posted only a moment ago.
        let looked_twice = std::mem::replace(&mut self.rare().stalled, true);
        (!looked_twice).then_some(linger_ns.min(SECOND_LOOK_NS))
    }

    /// Takes back the received bytes that were not delivered: the caller has closed the connection.
    fn drop_undelivered(&mut self, cx: &mut Context<K>, key: Key) {
        self.forget_refusals(cx, key);
        self.registration.records_dropped();
        cx.drop_records(|record| {
            matches!(record,
                Record::Connected { conn, .. }
                | Record::Received { conn, .. }
                | Record::EndOfStream { conn, .. }
                | Record::Written { conn, .. } if conn.0 == key)
        });
        // These stay until their turn, when the engine releases their operations.
        for record in &mut cx.outbox {
            if let Record::FileSent { conn, silent, .. } = record {
                *silent |= conn.0 == key;
            }
        }
    }
}
