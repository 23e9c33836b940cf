//! Pauses while the system has no memory for a send or a receive: the connection waits, and does not end [hc45].

use super::*;

/// Pauses of one direction. A success in the other direction says nothing about it.
#[derive(Default)]
pub(super) struct Backoff {
    /// Runs after the system had no memory, until the send or receive is retried.
    pub(super) timer: Option<Key>,
    /// The last such pause; 0 after a success.
    pause_ns: u64,
}

impl Rare {
    fn backoff(&mut self, direction: Direction) -> &mut Backoff {
        match direction {
            Direction::Send => &mut self.send_backoff,
            Direction::Receive => &mut self.receive_backoff,
        }
    }
}

pub(super) fn is_worth_a_retry(fault: Fault) -> bool {
    fault.kind == FaultKind::Exhausted
}

impl<K: Kernel> Connection<K> {
    /// Whether the system had no memory for the last send, and the retry pause is running.
    pub(super) fn send_waits(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.send_backoff.timer.is_some())
    }

    /// The same for receives.
    pub(super) fn receive_waits(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.receive_backoff.timer.is_some())
    }

    /// The system has memory again for this direction.
    pub(super) fn forget_retries(&mut self, direction: Direction) {
        if let Some(rare) = &mut self.rare {
            rare.backoff(direction).pause_ns = 0;
        }
    }

    pub(super) fn retry_later(&mut self, cx: &mut Context<K>, key: Key, direction: Direction, fault: Fault) {
        let backoff = self.rare().backoff(direction);
        assert!(backoff.timer.is_none(), "no attempt is made during the pause");
        let retry_ns = next_retry_ns(backoff.pause_ns);
        backoff.pause_ns = retry_ns;
        backoff.timer = Some(cx.set_internal_timer(retry_ns, Purpose::TransferAgain(key, direction)));
        let error = fault.to_io();
        if let Some(failures) = cx.transfer_failures.note(cx.submitter.now_ns()) {
            tracing::warn!(
                target: "dolmen", conn = %key, ?direction, %error, retry_ns, failures,
                "no memory for a send or a receive; others are logged at debug until their number has doubled"
            );
        } else {
            tracing::debug!(target: "dolmen", conn = %key, ?direction, %error, retry_ns, "no memory");
        }
    }

    pub(in crate::engine) fn transfer_again(&mut self, cx: &mut Context<K>, key: Key, direction: Direction) {
        mark(Mark::TransferRetried);
        self.rare().backoff(direction).timer = None;
        self.list(cx, key);
    }
}
