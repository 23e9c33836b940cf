//! The sending side: the queue, one send in flight, FIN behind the last byte.

use super::*;

impl<K: Kernel> Connection<K> {
    pub(in crate::engine) fn send(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let taken = self.admit(cx, bytes.len()).map(|()| {
            // No send is started for no bytes: its result of zero could be taken for an end [hc17].
            if !bytes.is_empty() {
                self.last_queue(cx, bytes.len()).push(bytes);
            }
        });
        taken.map_err(|kind| Error::new(kind, "send to connection", ConnId(key)))?;
        self.list(cx, key);
        Ok(())
    }

    pub(in crate::engine) fn send_shared(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        bytes: &SharedBytes,
    ) -> Result<(), ErrorKind> {
        self.admit(cx, bytes.len())?;
        if bytes.is_empty() {
            return Ok(());
        }
        match self.queue {
            None if self.shared.is_none() && self.files.is_none() => self.shared = Some(bytes.clone()),
            _ => self.last_queue(cx, bytes.len()).push_shared(bytes),
        }
        self.list(cx, key);
        Ok(())
    }

    /// The queue, from now on with everything that there is to send.
    pub(super) fn queue(&mut self, cx: &mut Context<K>) -> &mut SendQueue {
        let queue = self.queue.get_or_insert_with(|| cx.send_queues.take());
        if let Some(shared) = self.shared.take() {
            queue.push_shared(&shared);
        }
        queue
    }

    /// Counts bytes that are about to be queued, if there is room for all of them.
    fn admit(&mut self, cx: &mut Context<K>, bytes: usize) -> Result<(), ErrorKind> {
        if self.write != Write::Open || self.is_releasing() {
            return Err(ErrorKind::SendClosed);
        }
        let (high, low) = (cx.config.high_water_bytes, cx.config.low_water_bytes);
        if bytes > high {
            cx.stats.sends_refused += 1;
            return Err(ErrorKind::TooLarge);
        }
        if self.queued_bytes() + bytes > high {
            // Refused whole, and once `Drained` has been delivered, the same bytes fit [hc35, p09].
            let below = NonZeroU32::MIN.saturating_add(low.min(high - bytes) as u32);
            let refused = &mut self.rare().refused;
            let earlier = refused.drained_below.unwrap_or(NonZeroU32::MAX);
            refused.drained_below = Some(below.min(earlier));
            cx.stats.sends_refused += 1;
            return Err(ErrorKind::QueueFull);
        }
        cx.stats.queued_bytes += bytes;
        Ok(())
    }

    pub(in crate::engine) fn shutdown_write(&mut self, cx: &mut Context<K>, key: Key) {
        if self.write == Write::Open {
            self.write = Write::Finishing;
            self.forget_refusals(cx, key);
            self.list(cx, key);
        }
    }

    /// The caller has closed the sending side, so no send will succeed any more: there is no room to report, wherever the
    /// record is by now.
    pub(super) fn forget_refusals(&mut self, cx: &mut Context<K>, key: Key) {
        if let Some(rare) = &mut self.rare {
            rare.refused.drained_below = None;
        }
        cx.removed.mark_sending_side(ConnId(key));
    }

    /// A `Drained` record leaves the outbox. Returns whether it is still right; if the room has been used since, it is
    /// reported later [hc35, p09].
    pub(in crate::engine) fn drained_delivered(&mut self) -> bool {
        let has_room = self.has_room_to_report();
        let refused = &mut self.rare().refused;
        refused.is_listed = false;
        if has_room {
            refused.drained_below = None;
        }
        has_room
    }

    /// Whether all fits that was refused since room was last reported. False if nothing was.
    fn has_room_to_report(&self) -> bool {
        let below = self.rare.as_ref().and_then(|rare| rare.refused.drained_below);
        self.write == Write::Open
            && self.is_open()
            && below.is_some_and(|below| self.queued_bytes() < below.get() as usize)
    }

    /// Sends shared bytes behind which nothing is queued, from where they are.
    fn send_shared_now(&mut self, cx: &mut Context<K>, key: Key) {
        let Some(shared) = self.shared.take() else { return };
        let source = self.source.as_ref().expect("it is connected");
        let most = shared.len().min(cx.config.max_send_bytes);
        match cx.submitter.try_send(source, &shared[..most]) {
            Some(Ok(bytes)) if bytes == shared.len() => self.count_sent(cx, key, bytes),
            result => {
                self.queue(cx).push_shared(&shared);
                if let Some(result) = result {
                    self.sent(cx, key, result);
                }
            }
        }
    }

    pub(super) fn serve_sending(&mut self, cx: &mut Context<K>, key: Key) {
        if self.shared.is_some() && !self.send_waits() && !matches!(self.write, Write::Shut | Write::Failed) {
            self.send_shared_now(cx, key);
        }
        loop {
            let busy = self.send.is_some() || self.send_waits();
            if busy || matches!(self.write, Write::Shut | Write::Failed) {
                return;
            }
            let Some(front) = self.queue.as_mut().and_then(|queue| queue.front()) else {
                if self.go_on_with_files(cx, key) {
                    continue;
                }
                break;
            };
            // A large send may find no memory where a smaller one does [hc45].
            let most = cx.config.max_send_bytes;
            let source = self.source.as_ref().expect("it is connected");
            if let Some(result) = cx.submitter.try_send(source, &front[..front.len().min(most)]) {
                self.sent(cx, key, result);
                continue;
            }
            let front = self.queue.as_mut().and_then(|queue| queue.take_front());
            let (lent, offset) = front.expect("it was just looked at");
            match cx.submitter.send(source, key.slot, lent, offset, most) {
                Started::Pending(handle) => self.send = Some(handle),
                Started::Completed(completion) => self.send_ended(cx, key, completion),
            }
        }
        if self.write == Write::Finishing && self.files.is_none() {
            self.write = Write::Shut;
            if let Err(mut fault) = cx.submitter.kernel().shutdown_write(self.source()) {
                // It was connected, and is not any more: the peer has reset it, and no call has collected the error
                // since [hc44].
                if fault.kind == FaultKind::NotConnected {
                    mark(Mark::ShutDownAfterReset);
                    fault.kind = FaultKind::Reset;
                }
                self.sending_failed(cx, key, fault);
            }
        }
    }

    pub(in crate::engine) fn send_completed(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        completion: Completion<K>,
    ) {
        assert_eq!(self.send.take(), Some(completion.handle), "one send at a time");
        self.send_ended(cx, key, completion);
        self.list(cx, key);
    }

    fn send_ended(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) {
        let queue = self.queue.as_mut().expect("the queue waits for its bytes");
        queue.returned(completion.returned.expect("a send brings its bytes back"));
        let result = completion.result.map(|outcome| match outcome {
            Outcome::Sent(bytes) => bytes,
            _ => unreachable!("a send returns a number of bytes"),
        });
        self.sent(cx, key, result);
    }

    fn sent(&mut self, cx: &mut Context<K>, key: Key, result: Result<usize, Fault>) {
        let queue = self.queue.as_mut().expect("something was sent from it");
        let (bytes, failure) = match result {
            Ok(bytes) => (bytes, None),
            Err(fault) => (0, Some(fault)),
        };
        queue.sent(bytes);
        if queue.queued_bytes() == 0 {
            cx.send_queues.give_back(self.queue.take().expect("it was just used"));
        }
        self.report_sends(cx, key, bytes);
        self.count_sent(cx, key, bytes);
        match failure {
            None => self.forget_retries(Direction::Send),
            Some(_) if self.is_closing() => {}
            Some(fault) if is_worth_a_retry(fault) => self.retry_later(cx, key, Direction::Send, fault),
            Some(fault) => self.sending_failed(cx, key, fault),
        }
    }

    /// The system has taken this many bytes, which are no longer queued.
    fn count_sent(&mut self, cx: &mut Context<K>, key: Key, bytes: usize) {
        cx.stats.bytes_sent += bytes as u64;
        if !self.count_for_file(bytes) {
            cx.stats.queued_bytes -= bytes;
        }
        if self.has_room_to_report() {
            let is_listed = std::mem::replace(&mut self.rare().refused.is_listed, true);
            if !is_listed {
                mark(Mark::DrainedReported);
                cx.outbox.push_back(Record::Drained { conn: ConnId(key), token: self.token });
            }
        }
    }

    /// No more bytes can be sent. What the system had received before that is still delivered, and then the connection
    /// ends: the reactor does not wait for a peer that continues to send, and a paused connection ends with the linger
    /// time [hc43, p06].
    pub(super) fn sending_failed(&mut self, cx: &mut Context<K>, key: Key, fault: Fault) {
        if self.is_closing() {
            return;
        }
        self.note_if_cut(cx);
        mark(Mark::SendFailedFirst);
        self.write = Write::Failed;
        self.rare().failure = Some(fault);
        self.rare().refused.drained_below = None;
        self.drop_queues(cx);
        if self.read_ended {
            return self.begin_close(cx, key, close_reason(fault));
        }
        // A receive that is pending in the kernel may have taken one buffer of bytes already, which the system no
        // longer counts.
        let taken = if self.receive.is_some() { cx.config.buffer_bytes } else { 0 };
        let unread = cx.submitter.kernel().unread(self.source());
        self.rare().receive_limit_bytes = unread.saturating_add(taken);
        self.start_linger(cx, key, cx.config.linger_ns());
        self.list(cx, key);
    }
}

/// A reset has a reason of its own, which is neither a failed call nor an orderly end [hc14].
pub(super) fn close_reason(fault: Fault) -> CloseReason {
    match fault.kind {
        FaultKind::Reset => CloseReason::Reset,
        _ => CloseReason::Failed { code: fault.code },
    }
}
