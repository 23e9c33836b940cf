//! A connection that is being made: the addresses that are still to be tried, and when.
//!
//! The addresses of a host are looked up first, and tried with their families in turns, so that a family that does not work
//! costs one attempt's time and no more.
//!
//! The addresses are tried in order. The next one is tried when the last attempt has failed, or has taken 250 ms:
//! RFC 8305, "Happy Eyeballs Version 2", section 5. Whatever the caller does in the meantime (sends, a close, a request for the
//! stream) is kept, and takes effect once the connection stands.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::sending::close_reason;
use super::*;
use crate::address::Address;

/// How long one address is tried alone.
const ATTEMPT_NS: u64 = 250_000_000;

#[derive(Default)]
pub(in crate::engine) struct Connecting {
    /// The look-up of the addresses, while it is in progress.
    lookup: Option<Key>,
    /// Not tried yet.
    addresses: VecDeque<Address>,
    /// The dials in progress.
    dials: Vec<Key>,
    /// The next address may be tried.
    due: bool,
    /// Runs until it may.
    next: Option<Key>,
    timeout: Option<Key>,
    /// Why the last attempt failed.
    failure: Option<Fault>,
}

impl Connecting {
    pub(super) fn stop_timers<K: Kernel>(&mut self, cx: &mut Context<K>) {
        for timer in [self.next.take(), self.timeout.take()].into_iter().flatten() {
            cx.timers.cancel(timer);
        }
    }
}

impl<K: Kernel> Connection<K> {
    /// A connection without a source.
    pub(in crate::engine) fn connecting(token: Token) -> Connection<K> {
        let mut connection = Connection::over(None, token);
        connection.rare().connecting = Some(Box::default());
        connection
    }

    /// One over a socket that the caller owns.
    #[cfg(any(feature = "c-api", dolmen_sim))]
    pub(in crate::engine) fn connecting_adopted(token: Token) -> Connection<K> {
        Connection { adopted: true, paused: true, ..Connection::connecting(token) }
    }

    pub(in crate::engine) fn is_connecting(&self) -> bool {
        self.source.is_none()
    }

    fn in_progress(&mut self) -> &mut Connecting {
        self.rare().connecting.as_mut().expect("it is connecting")
    }

    /// Ends the attempt after this time.
    pub(in crate::engine) fn limit_connecting(&mut self, cx: &mut Context<K>, key: Key, timeout_ns: u64) {
        let timer = cx.set_internal_timer(timeout_ns, Purpose::ConnectTimeout(key));
        self.in_progress().timeout = Some(timer);
    }

    /// The addresses are being looked up.
    pub(in crate::engine) fn resolving(&mut self, lookup: Key) {
        self.in_progress().lookup = Some(lookup);
    }

    /// The addresses have been looked up.
    pub(in crate::engine) fn resolved(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        result: io::Result<Vec<SocketAddr>>,
    ) {
        self.in_progress().lookup = None;
        if self.is_closing() {
            return;
        }
        match result {
            Ok(addresses) => {
                let connecting = self.in_progress();
                connecting.addresses = interleaved(&addresses);
                connecting.due = true;
                self.list(cx, key);
            }
            Err(error) => {
                tracing::debug!(target: "dolmen", conn = %ConnId(key), %error, "the host was not resolved");
                self.begin_close(cx, key, CloseReason::Unresolved { error: Arc::new(error) });
            }
        }
    }

    /// A dial was begun for the connection.
    pub(in crate::engine) fn dial_added(&mut self, cx: &mut Context<K>, key: Key, dial: Key) {
        let timer = cx.set_internal_timer(ATTEMPT_NS, Purpose::DialNext(key));
        let connecting = self.in_progress();
        connecting.dials.push(dial);
        if let Some(earlier) = connecting.next.replace(timer) {
            cx.timers.cancel(earlier);
        }
    }

    /// The next address may be tried, although the last attempt has not ended.
    pub(in crate::engine) fn attempt_slow(&mut self, cx: &mut Context<K>, key: Key) {
        let connecting = self.in_progress();
        (connecting.next, connecting.due) = (None, true);
        self.list(cx, key);
    }

    /// An attempt has failed. If no other is in progress and no address is left, so has the connection.
    pub(in crate::engine) fn dial_failed(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        dial: Option<Key>,
        fault: Fault,
    ) {
        if self.is_closing() || !self.is_connecting() {
            return;
        }
        let connecting = self.in_progress();
        connecting.dials.retain(|&other| Some(other) != dial);
        connecting.failure = Some(fault);
        connecting.due = true;
        if connecting.addresses.is_empty() && connecting.dials.is_empty() {
            return self.begin_close(cx, key, close_reason(fault));
        }
        self.list(cx, key);
    }

    pub(super) fn serve_connecting(&mut self) -> Served {
        let connecting = self.in_progress();
        let tries = std::mem::take(&mut connecting.due) && !connecting.addresses.is_empty();
        if tries { Served::Dial } else { Served::Alive }
    }

    /// Takes the address to try.
    pub(in crate::engine) fn next_address(&mut self) -> Option<Address> {
        self.in_progress().addresses.pop_front()
    }

    /// An attempt has succeeded. Returns the other ones, which are to be removed.
    pub(in crate::engine) fn connected(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        (winner, source): (Key, K::Source),
        (local, peer): (Address, Address),
    ) -> Vec<Key> {
        self.source = Some(source);
        let mut connecting = self.rare().connecting.take().expect("it is connecting");
        connecting.stop_timers(cx);
        connecting.dials.retain(|&dial| dial != winner);
        let (conn, token) = (ConnId(key), self.token);
        if self.is_open() {
            cx.outbox.push_back(Record::Connected { conn, token, ends: Box::new((local, peer)) });
        }
        tracing::debug!(target: "dolmen", %conn, "connected");
        self.list(cx, key);
        connecting.dials
    }

    /// The look-up of a connection that has ended, to be cancelled.
    pub(in crate::engine) fn take_lookup(&mut self) -> Option<Key> {
        let connecting = self.rare.as_mut().and_then(|rare| rare.connecting.as_mut());
        connecting.and_then(|connecting| connecting.lookup.take())
    }

    /// The dials of a connection that has ended, to be removed.
    pub(in crate::engine) fn take_dials(&mut self) -> Vec<Key> {
        let connecting = self.rare.as_mut().and_then(|rare| rare.connecting.as_mut());
        connecting.map_or_else(Vec::new, |connecting| std::mem::take(&mut connecting.dials))
    }

    pub(in crate::engine) fn connect_timed_out(&mut self, cx: &mut Context<K>, key: Key) {
        mark(Mark::ConnectTimedOut);
        self.in_progress().timeout = None;
        self.begin_close(cx, key, close_reason(K::TIMED_OUT));
    }
}

/// The addresses with their families in turns, beginning with that of the first: RFC 8305, section 4. Within a family the
/// system's order stays.
fn interleaved(addresses: &[SocketAddr]) -> VecDeque<Address> {
    let is_first = |address: &&SocketAddr| address.is_ipv4() == addresses[0].is_ipv4();
    let mut first = addresses.iter().filter(is_first);
    let mut second = addresses.iter().filter(|address| !is_first(address));
    let mut turns = VecDeque::with_capacity(addresses.len());
    while turns.len() < addresses.len() {
        turns.extend(first.next().into_iter().chain(second.next()).copied().map(Address::Ip));
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_beginning_with_the_first_ones() {
        let order = |texts: &[&str]| {
            let addresses = texts.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 7));
            let turns = interleaved(&addresses.collect::<Vec<_>>());
            turns.iter().map(|address| address.ip().expect("TCP").ip().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            order(&["::1", "::2", "::3", "1.0.0.1", "1.0.0.2"]),
            ["::1", "1.0.0.1", "::2", "1.0.0.2", "::3"]
        );
        assert_eq!(order(&["1.0.0.1", "::1", "::2", "::3"]), ["1.0.0.1", "::1", "::2", "::3"]);
        assert_eq!(order(&["1.0.0.1", "1.0.0.2"]), ["1.0.0.1", "1.0.0.2"]);
        assert!(interleaved(&[]).is_empty());
    }
}
