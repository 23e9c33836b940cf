//! The other end: the caller wants the stream back.
//!
//! A release is a request. What is queued is sent first, and receiving continues meanwhile, so that two peers who both
//! send before they read do not wait for each other. Then the pending receive is withdrawn. It may bring bytes all the
//! same, which are delivered first, and what is still in the socket's buffer is the caller's to read. If the connection
//! fails before that, it is closed as always.

use super::*;

impl<K: Kernel> Connection<K> {
    pub(in crate::engine) fn release(&mut self, cx: &mut Context<K>, key: Key) {
        self.rare().releasing = true;
        self.forget_refusals(cx, key);
        self.list(cx, key);
    }

    pub(super) fn is_releasing(&self) -> bool {
        let requested = self.rare.as_ref().is_some_and(|rare| rare.releasing && rare.failure.is_none());
        requested && self.is_open()
    }

    /// Whether everything has been sent, and FIN if it was requested.
    pub(super) fn is_sent(&self) -> bool {
        let is_empty = self.shared.is_none() && self.queue.is_none() && self.files.is_none();
        self.send.is_none() && is_empty && self.write != Write::Finishing
    }

    /// Called when everything has been sent. Returns whether the stream can leave now.
    pub(super) fn serve_releasing(&mut self, cx: &mut Context<K>, key: Key) -> bool {
        if let Some(receive) = self.receive {
            if !std::mem::replace(&mut self.rare().withdrawn, true) {
                mark(Mark::ReceiveWithdrawn);
                cx.submitter.withdraw(self.source(), receive);
            }
            return false;
        }
        if self.registration.is_undelivered() {
            return false;
        }
        match self.take_held() {
            Some(buffer) if self.paused => {
                self.rare().held = Some(buffer);
                false
            }
            Some(buffer) => {
                self.add_received(cx, key, buffer);
                false
            }
            None => {
                self.stop_timers(cx);
                self.registration.close();
                self.rare().released = true;
                true
            }
        }
    }
}
