//! The registered sockets and handles.

use std::mem::ManuallyDrop;
use std::net::{TcpListener, TcpStream};

use super::accept::Acceptor;
use super::associations::SocketId;
use super::bridge::Bridge;
use super::datagrams::DatagramSocket;
use super::polled::Polled;

/// A registered socket or handle.
pub(crate) enum Source {
    Stream {
        /// Dropped, and so closed, by hand; a borrowed one is not.
        stream: ManuallyDrop<TcpStream>,
        /// Immediate success sends no packet.
        skips: bool,
        borrowed: bool,
        id: SocketId,
    },
    // These are boxed so that the many streams do not pay for the few other sources.
    Listener(Box<Acceptor>),
    /// A listener whose connections the caller accepts: its bridge waits for its network event.
    ReadinessListener(Box<ReadinessListener>),
    Handle(Box<Bridge>),
    Datagrams(Box<DatagramSocket>),
    /// Boxed because its operations know its address.
    #[cfg_attr(
        not(any(feature = "c-api", dolmen_sim)),
        expect(dead_code, reason = "only the C library lends sockets")
    )]
    Polled(Box<Polled>),
}

pub(crate) struct ReadinessListener {
    // Before the listener: the event is detached from a socket that is still open.
    pub(super) bridge: Bridge,
    pub(super) listener: TcpListener,
}
