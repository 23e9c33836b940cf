//! The reactor's sockets and handles: descriptors that are closed when they are dropped.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::dial::Stage;
use super::link::Ended;
use super::{Descriptor, Listening, SharedWorld};
use crate::kernel::Close;
use crate::kernel::options::StreamOptions;
use crate::kernel::readiness::BorrowedSocket;

macro_rules! descriptors {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        pub struct $name {
            pub(crate) fd: u32,
            pub(super) world: SharedWorld,
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.fd)
            }
        }
    )*};
}

descriptors! {
    /// The reactor's end of a link. Dropping it closes it.
    SimStream;
    /// A listening socket.
    SimListener;
    /// Something that can be watched.
    SimHandle;
    /// A datagram socket.
    SimUdp;
}

impl SimStream {
    pub(crate) fn open(world: &SharedWorld, link: usize) -> SimStream {
        let fd = world.borrow_mut().open(Descriptor::Link(link));
        SimStream { fd, world: Rc::clone(world) }
    }

    /// A socket that is not connected. Its link has no peer yet.
    pub(crate) fn open_unconnected(world: &SharedWorld) -> SimStream {
        let capacity = world.borrow().dialled_capacity;
        let link = super::connect(world, capacity);
        world.borrow_mut().links[link].stage = Stage::Unconnected;
        SimStream::open(world, link)
    }

    pub(crate) fn link(&self) -> usize {
        match self.world.borrow().descriptors[self.fd as usize] {
            Descriptor::Link(link) => link,
            _ => panic!("a stream is a link"),
        }
    }

    /// For a reactor that leaves the closing to the owner of this.
    pub(crate) fn lend(&self) -> BorrowedSocket {
        BorrowedSocket::simulated(self.fd)
    }

    /// Closes with a reset if asked: `drop` does the rest.
    pub(crate) fn close(self, how: Close) {
        if how == Close::Reset {
            let mut world = self.world.borrow_mut();
            let object = world.object(self.fd);
            let link = world.link_of(object);
            link.outbound.bytes.clear();
            link.ended = Some(Ended::Reset);
        }
    }
}

impl StreamOptions for SimStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        if self.world.borrow().links[self.link()].stage != Stage::Connected {
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(SocketAddr::from(([127, 0, 0, 1], self.link() as u16)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 2], self.link() as u16)))
    }

    fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        let link = self.link();
        self.world.borrow_mut().links[link].nodelay = nodelay;
        Ok(())
    }

    fn set_keepalive(&self, after: Option<Duration>) -> io::Result<()> {
        let link = self.link();
        self.world.borrow_mut().links[link].keepalive = after;
        Ok(())
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        let Descriptor::Link(link) = world.close(self.fd) else { panic!("a stream was closed twice") };
        world.links[link].close();
    }
}

impl SimListener {
    pub(crate) fn open(world: &SharedWorld) -> (SimListener, usize) {
        let mut inner = world.borrow_mut();
        inner.listeners.push(Listening { backlog: VecDeque::new(), open: true });
        let listener = inner.listeners.len() - 1;
        let fd = inner.open(Descriptor::Listener(listener));
        (SimListener { fd, world: Rc::clone(world) }, listener)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        let Descriptor::Listener(listener) = world.close(self.fd) else {
            panic!("a listener was closed twice")
        };
        world.stop_listening(listener);
    }
}

impl SimHandle {
    pub(crate) fn open(world: &SharedWorld) -> (SimHandle, usize) {
        let mut inner = world.borrow_mut();
        inner.signalled.push(false);
        let handle = inner.signalled.len() - 1;
        let fd = inner.open(Descriptor::Handle(handle));
        (SimHandle { fd, world: Rc::clone(world) }, handle)
    }
}

impl Drop for SimHandle {
    fn drop(&mut self) {
        self.world.borrow_mut().close(self.fd);
    }
}
