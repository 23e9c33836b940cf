//! What crosses between the server and an endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::limits::{Limits, Rates, Stranger};
use crate::line::Line;
use crate::telnet::{Client, ClientEvent};
use crate::world::Status;

/// What an order costs besides its text.
const ORDER_BYTES: usize = 64;

/// From an endpoint to the server.
#[derive(Debug)]
pub(crate) struct Input {
    /// How many bytes the client has sent since the input before.
    pub received: u64,
    /// What there is to do.
    pub what: What,
}

/// What an endpoint has for the server.
#[derive(Debug)]
pub(crate) enum What {
    /// Nothing but the bytes.
    Received,
    /// A proxy has named its player, or speaks for itself.
    Named(Option<SocketAddr>),
    /// A connection of a trusted proxy is to be ended, and why.
    BadHeader(&'static str),
    /// A line. `is_first`: it is the first one.
    Line { line: Line, is_first: bool },
    /// A fact about the client, or a request of it, and what is known of the client where that has changed.
    Client(ClientEvent, Option<Box<Client>>),
    /// Bytes on a port of kind `binary`.
    Bytes(Vec<u8>),
    /// The client has ended its stream, and all lines have been passed on.
    PeerClosed,
    /// A protocol wants the connection to be closed.
    Broken,
    /// It turns out not to be a player's.
    Stranger(Stranger),
    /// The user has to wait for the budget.
    Throttled,
    /// Texts are left out from now on.
    Behind,
    /// The user reads nothing, or too much waits.
    TooSlow,
}

/// What the server waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Line,
    Event,
}

/// Whose room the bytes of an output take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// They have room of their own: the user's command is being answered.
    Answer,
    /// The same, as far as there is room: what the world sends in the call that releases a user.
    Release,
    /// That of what others say, and of the protocols.
    Others,
}

/// From the server to an endpoint. `call` is the number of the world's call.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// The connection is a user's from now on.
    Welcome,
    /// Show a text. `is_shared`: others are shown the same.
    Text { text: Arc<str>, call: u64, share: Share, is_shared: bool },
    /// Send a message of GMCP.
    Gmcp { package: Arc<str>, data: Arc<str>, call: u64, share: Share },
    /// Send bytes on a port of kind `binary`.
    Bytes { bytes: Arc<[u8]>, share: Share },
    /// Ask for a line, which may be hidden.
    Ask { prompt: Arc<str>, is_hidden: bool, call: u64, share: Share },
    /// The question is answered without a line.
    Answered { call: u64, share: Share },
    /// Ask the client for a sign of life.
    Probe { call: u64, share: Share },
    /// Send the variables of MSSP, in wire form.
    ServerStatus { variables: Arc<[u8]>, call: u64, share: Share },
    /// A program reads the screen aloud, or does not.
    ScreenReader(bool),
    /// The lines wait for something in the world.
    Hold(bool),
    /// The last one is answered: the next, please.
    Next(Turn),
    /// Bytes may be read: the budget of the address is not spent.
    Read(bool),
    /// Other limits.
    Rules(Arc<Rules>),
    /// So many texts could not be sent to the endpoint.
    Missing(u64),
    /// Say good-bye. The server closes the connection behind it.
    End(Arc<str>),
}

impl Order {
    /// How much memory it may hold on its way.
    pub(super) fn weight(&self) -> usize {
        let bytes = match self {
            Order::Text { text, .. } | Order::Ask { prompt: text, .. } | Order::End(text) => text.len(),
            Order::Gmcp { package, data, .. } => package.len() + data.len(),
            Order::Bytes { bytes, .. } | Order::ServerStatus { variables: bytes, .. } => bytes.len(),
            _ => 0,
        };
        bytes + ORDER_BYTES
    }
}

/// The limits that endpoints see to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// What one user may send.
    pub rates: Rates,
    /// The time without traffic after which it is checked that the client is still there.
    pub keepalive: Option<Duration>,
    /// How long a user may read nothing while more than the output limit waits.
    pub unread_timeout: Duration,
    /// How much of what others say may wait.
    pub output_limit_bytes: usize,
    /// The longest line.
    pub line_length_bytes: usize,
}

impl Rules {
    /// Those of these limits.
    pub(crate) fn new(limits: &Limits, output_limit_bytes: usize, line_length_bytes: usize) -> Rules {
        Rules {
            rates: limits.user_rates(),
            keepalive: limits.keepalive,
            unread_timeout: limits.unread_timeout,
            output_limit_bytes,
            line_length_bytes,
        }
    }
}

/// What all endpoints have sent and received, counted by all threads.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    compressed_plain_bytes: AtomicU64,
    compressed_wire_bytes: AtomicU64,
    left_out: AtomicU64,
}

impl Traffic {
    pub(super) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn compressed(&self, plain_bytes: u64, wire_bytes: u64) {
        if plain_bytes > 0 {
            self.compressed_plain_bytes.fetch_add(plain_bytes, Ordering::Relaxed);
            self.compressed_wire_bytes.fetch_add(wire_bytes, Ordering::Relaxed);
        }
    }

    /// A text was left out.
    pub(crate) fn left_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters, in a server's status.
    pub(crate) fn put(&self, status: &mut Status) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        status.received_bytes = read(&self.received_bytes);
        status.sent_bytes = read(&self.sent_bytes);
        status.compressed_plain_bytes = read(&self.compressed_plain_bytes);
        status.compressed_wire_bytes = read(&self.compressed_wire_bytes);
        status.limits.left_out = read(&self.left_out);
    }
}
