//! The turn of a ready source: it makes the socket calls, and packets out of their results.

use std::collections::VecDeque;
use std::net::{TcpListener, TcpStream};

use rustix::io::Errno;

use super::super::operation::{OpPtr, bytes_to_send};
use super::super::readiness::Readiness;
use super::super::{FaultKind, Kernel, Outcome, Packet};
use super::Epoll;
use super::dial::serve_connect;
use super::fault::fault;
use super::polled::Polled;
use super::socket::{Edges, accept_one, receive_now, send_now};
use super::table::Entry;
use crate::kernel::buffer_pool::BufferPool;

impl Epoll {
    /// Gives a ready source its turn.
    ///
    /// # Safety
    ///
    /// The operations the source holds are pending.
    pub(super) unsafe fn serve(
        &mut self,
        index: u32,
        packets: &mut Vec<Packet<Self>>,
        max: usize,
        pool: &BufferPool,
    ) {
        let slot = self.table.slot(index);
        let edges = &mut slot.edges;
        let calls = &mut self.calls;
        match slot.entry.as_mut() {
            Some(Entry::Stream { fd, receive, send }) => {
                serve_receive(fd, receive, edges, packets, pool, calls);
                // SAFETY: passed on.
                unsafe { serve_send(fd, send, edges, packets, calls) };
            }
            Some(Entry::Dial { fd, connect, .. }) => serve_connect(fd, connect, packets, calls),
            Some(Entry::Listener { fd, accepts }) => serve_accepts(fd, accepts, edges, packets, max, calls),
            Some(Entry::ReadinessListener { watch, .. } | Entry::Handle { watch, .. }) => {
                // One shot: the next watch asks the system anew.
                edges.readable = false;
                packets.extend(watch.take().map(|op| Packet { op, result: Ok(Outcome::Ready) }));
            }
            // SAFETY: passed on.
            Some(Entry::Udp(udp)) => unsafe { udp.serve(edges, packets, max, pool, calls) },
            Some(Entry::Polled(polled)) => packets.extend(serve_poll(polled)),
            None => {}
        }
    }
}

fn serve_receive(
    fd: &TcpStream,
    receive: &mut Option<OpPtr<Epoll>>,
    edges: &mut Edges,
    packets: &mut Vec<Packet<Epoll>>,
    pool: &BufferPool,
    calls: &mut u64,
) {
    let Some(op) = receive.filter(|_| edges.readable) else { return };
    if let Some(result) = receive_now(fd, edges, pool, calls) {
        *receive = None;
        packets.push(Packet { op, result });
    }
}

/// # Safety
///
/// The send is pending.
unsafe fn serve_send(
    fd: &TcpStream,
    send: &mut Option<OpPtr<Epoll>>,
    edges: &mut Edges,
    packets: &mut Vec<Packet<Epoll>>,
    calls: &mut u64,
) {
    let Some(op) = send.filter(|_| edges.writable) else { return };
    // SAFETY: the send is pending, so the cell is ours, and no other code changes the bytes.
    let bytes = unsafe { &*bytes_to_send(op) };
    if let Some(result) = send_now(fd, bytes, edges, calls) {
        *send = None;
        packets.push(Packet { op, result: result.map(Outcome::Sent) });
    }
}

fn serve_accepts(
    fd: &TcpListener,
    accepts: &mut VecDeque<OpPtr<Epoll>>,
    edges: &mut Edges,
    packets: &mut Vec<Packet<Epoll>>,
    max: usize,
    calls: &mut u64,
) {
    let mut transients = 0;
    while let Some(&op) = accepts.front().filter(|_| packets.len() < max) {
        match accept_one(fd, calls) {
            Ok((stream, peer)) => {
                accepts.pop_front();
                packets.push(Packet { op, result: Ok(Outcome::Accepted(stream, peer)) });
            }
            Err(Errno::AGAIN) => {
                edges.readable = false;
                break;
            }
            Err(errno) => {
                let mut fault = fault(errno);
                if matches!(fault.kind, FaultKind::Transient | FaultKind::Reset) {
                    // Each normally means one connection less in the queue. Where it does not (a network that is down),
                    // continuing would spin [hc10].
                    transients += 1;
                    if transients <= Epoll::ACCEPTS {
                        continue;
                    }
                    fault.kind = FaultKind::Exhausted;
                }
                // The error of one stops them all. `readable` stays set: the next accept that is posted must be tried,
                // although no edge comes for connections that are waiting already.
                packets.extend(accepts.drain(..).map(|op| Packet { op, result: Err(fault) }));
            }
        }
    }
}

fn serve_poll(polled: &mut Polled) -> Option<Packet<Epoll>> {
    let ready = polled.unreported();
    polled.found = Readiness::NONE;
    if ready.is_empty() {
        return None;
    }
    // A source that `rebuild_epoll` could not register again fails, so it is reported once and not polled again.
    let lost = polled.registered.is_empty() && !polled.always;
    let result = if lost { Err(fault(Errno::BADF)) } else { Ok(Outcome::Polled(ready)) };
    polled.poll.take().map(|op| Packet { op, result })
}
