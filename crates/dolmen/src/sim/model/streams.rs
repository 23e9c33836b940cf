//! The actions on connections, and those of their peers.

use super::*;

impl Run<'_> {
    pub(super) fn connect_one(&mut self) -> Check {
        if self.peers.len() >= MOST_LINKS {
            return Ok(());
        }
        let link = self.connect();
        self.add(SimStream::open(&self.world, link))
    }

    pub(super) fn connect(&mut self) -> usize {
        self.peers.push(Peer::default());
        let capacity = 32 + self.rng.below(if cfg!(miri) { 40 } else { 400 }) as usize;
        world::connect(&self.world, capacity)
    }

    pub(super) fn add(&mut self, stream: SimStream) -> Check {
        let link = stream.link();
        match self.engine.add(stream, Token(link)) {
            Ok(id) => {
                self.by_id.insert(id, self.conns.len());
                self.conns.push(Conn::new(id, link));
                Ok(())
            }
            Err(refused) => self.fail(Oracle::Bounds, || format!("a connection was refused: {refused}")),
        }
    }

    pub(super) fn peer_send(&mut self, who: u32, much: usize) {
        if let Some(link) = self.link(who) {
            self.peer_sends(link, much);
        }
    }

    pub(super) fn peer_fills(&mut self, link: usize) {
        self.peer_sends(link, usize::MAX);
    }

    fn peer_sends(&mut self, link: usize, much: usize) {
        if !self.has_peer(link) {
            return;
        }
        let mut world = self.world.borrow_mut();
        let wire = &mut world.links[link];
        if self.peers[link].fin || wire.reset.is_some() || wire.ended.is_some() {
            return;
        }
        let count = much.min(wire.inbound.room());
        wire.inbound.write(&bytes(link, false, self.peers[link].sent, count));
        self.peers[link].sent += count as u64;
    }

    pub(super) fn peer_read(&mut self, link: usize, much: usize) -> Check {
        let read: Vec<u8> = {
            let mut world = self.world.borrow_mut();
            let wire = &mut world.links[link].outbound.bytes;
            let count = much.min(wire.len());
            wire.drain(..count).collect()
        };
        let from = self.peers[link].read;
        self.peers[link].read += read.len() as u64;
        let expected = bytes(link, true, from, read.len());
        self.check(Oracle::Stream, read == expected, || {
            format!("the peer of link {link} read something else at {from}")
        })
    }

    pub(super) fn send(&mut self, at: usize, much: usize) -> Check {
        let conn = &self.conns[at];
        let (high, waits) = (self.config.high_water_bytes, self.engine.stats().waits);
        let queued = self.engine.queued_bytes(conn.id).unwrap_or(0);
        let data = bytes(conn.link, true, conn.accepted, much);
        let sent = match conn.lent {
            Some(_) => self.engine.post_send(conn.id, &data),
            None if much % 3 == 0 => self.engine.send_shared(conn.id, &data.into()),
            None => self.engine.send(conn.id, &data),
        };
        match sent {
            Ok(()) => {
                let conn = &mut self.conns[at];
                conn.accepted += much as u64;
                conn.refusals.taken(waits);
                if conn.lent.is_some() {
                    conn.asked.writes.push_back((conn.accepted, much));
                }
                let late = self.conns[at].releasing;
                self.check(Oracle::Stream, !late, || "sent after the release".into())?;
                self.check(Oracle::Stream, !self.conns[at].shut, || "sent after shutdown_write".into())?;
                self.check(Oracle::Bounds, queued + much <= high, || {
                    format!("{} bytes are queued, the bound is {high}", queued + much)
                })
            }
            Err(error) if error.kind() == ErrorKind::QueueFull => {
                self.conns[at].refusals.refused(waits, much);
                self.check(Oracle::Bounds, queued + much > high, || "refused with room to spare".into())
            }
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                self.check(Oracle::Bounds, much > high, || "refused as too large".into())
            }
            // Shut by us, or closing.
            Err(_) => Ok(()),
        }
    }

    /// From here on sends are refused. An adopted connection's socket is the caller's already.
    pub(super) fn take_back(&mut self, who: u32) {
        let Some(at) = self.open_conn(who) else { return };
        let conn = &mut self.conns[at];
        if conn.lent.is_none() && self.engine.release(conn.id).is_ok() {
            conn.releasing = true;
            conn.refusals.forget();
        }
    }

    pub(super) fn close(&mut self, at: usize) {
        let now_ns = self.now_ns();
        let conn = &mut self.conns[at];
        if self.engine.close(conn.id).is_ok() {
            conn.state = State::Closing;
            conn.closed_at_ns = Some(now_ns);
        }
    }

    /// Any connection, even one that is closing or gone.
    pub(super) fn remove(&mut self, who: u32) -> Check {
        if self.conns.is_empty() {
            return Ok(());
        }
        let at = self.conns.len() - 1 - who as usize % self.conns.len().min(MOST_OPEN);
        if self.conns[at].lent.is_some() {
            return self.release(at, false);
        }
        let conn = &mut self.conns[at];
        let known = self.engine.remove(conn.id);
        let over = matches!(conn.state, State::Gone | State::Removed);
        conn.state = State::Removed;
        self.check(Oracle::Stale, !(known && over), || "a connection was removed twice".into())
    }

    pub(super) fn peer_read_some(&mut self, who: u32, much: usize) -> Check {
        self.link(who).map_or(Ok(()), |link| self.peer_read(link, much))
    }

    pub(super) fn peer_fin(&mut self, who: u32) {
        let Some(link) = self.link(who).filter(|&link| self.has_peer(link)) else { return };
        mark(Mark::PeerFin);
        self.peers[link].fin = true;
        self.world.borrow_mut().links[link].inbound.fin = true;
    }

    pub(super) fn peer_gone(&mut self, who: u32) {
        let Some(link) = self.link(who).filter(|&link| self.has_peer(link)) else { return };
        self.peers[link].fin = true;
        let mut world = self.world.borrow_mut();
        world.links[link].inbound.fin = true;
        world.links[link].gone = true;
    }

    pub(super) fn peer_reset(&mut self, who: u32, keep: bool) {
        let Some(link) = self.link(who).filter(|&link| self.has_peer(link)) else { return };
        self.world.borrow_mut().links[link].peer_reset(keep);
    }

    pub(super) fn send_on_one(&mut self, who: u32, much: usize) -> Check {
        self.open_conn(who).map_or(Ok(()), |at| self.send(at, much))
    }

    pub(super) fn send_stale(&mut self, who: u32) -> Check {
        let is_over = |conn: &&Conn| matches!(conn.state, State::Gone | State::Removed);
        let stale: Vec<ConnId> = self.conns.iter().filter(is_over).map(|conn| conn.id).collect();
        if stale.is_empty() {
            return Ok(());
        }
        let id = stale[who as usize % stale.len()];
        let sent = self.engine.send(id, b"?");
        let refused = sent.is_err_and(|error| error.kind() == ErrorKind::NotFound);
        self.check(Oracle::Stale, refused, || format!("{id:?} has ended and accepted a send"))
    }

    pub(super) fn pause(&mut self, who: u32) {
        let Some(at) = self.open_conn(who) else { return };
        self.conns[at].paused = self.engine.pause(self.conns[at].id).is_ok();
        self.conns[at].was_paused = true;
    }

    pub(super) fn resume(&mut self, who: u32) {
        let Some(at) = self.open_conn(who) else { return };
        self.conns[at].paused = false;
        let _ = self.engine.resume(self.conns[at].id);
    }

    pub(super) fn shutdown_write(&mut self, who: u32) {
        let Some(at) = self.open_conn(who) else { return };
        let conn = &mut self.conns[at];
        // It may be gone, with the event that says so pending.
        if self.engine.shutdown_write(conn.id).is_ok() {
            conn.shut = true;
            conn.refusals.forget();
        }
    }

    pub(super) fn close_one(&mut self, who: u32) {
        if let Some(at) = self.open_conn(who) {
            self.close(at);
        }
    }

    pub(super) fn abort(&mut self, who: u32) {
        let Some(at) = self.open_conn(who) else { return };
        if self.engine.abort(self.conns[at].id).is_ok() {
            self.conns[at].state = State::Aborted;
        }
    }

    /// The only way in which a send fails and the peer can continue to send.
    pub(super) fn shut_by_caller(&mut self, who: u32) -> Check {
        // The send must fail now, and not behind a file that is slow to read: the peer does not stop.
        let open =
            |conn: &Conn| conn.state == State::Open && !conn.shut && conn.is_up() && conn.files.is_empty();
        let open: Vec<usize> = (0..self.conns.len()).filter(|&at| open(&self.conns[at])).collect();
        if open.is_empty() {
            return Ok(());
        }
        let at = open[who as usize % open.len()];
        let link = self.conns[at].link;
        mark(Mark::ShutByCaller);
        self.world.borrow_mut().links[link].shut_by_caller = true;
        self.peers[link].floods = true;
        self.send(at, 1 + who as usize % 20)
    }
}
