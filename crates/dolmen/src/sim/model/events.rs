//! What each event must be, and how its handler reacts.

use super::*;

impl Run<'_> {
    pub(super) fn handle(&mut self, record: &mut Record<SimStream>) -> Check {
        match *record {
            Record::Polled { poll, token, ready } => self.polled(poll, token, ready)?,
            Record::Written { conn, token, bytes } => self.written(conn, token, bytes)?,
            Record::Accepted { listener, ref mut stream, .. } => self.accepted(listener, stream)?,
            Record::AcceptFailed { listener, .. } => self.accept_failed(listener)?,
            Record::Received { conn, token, ref buffer } => self.received(conn, token, buffer.as_slice())?,
            Record::Connected { conn, token, ref ends } if self.hosts.holds(conn) => {
                let ends = (ends.0.ip().expect("TCP"), ends.1.ip().expect("TCP"));
                self.host_connected(conn, token, ends)?;
            }
            Record::Connected { conn, token, .. } => self.connected(conn, token)?,
            Record::EndOfStream { conn, token } => self.ended(conn, token)?,
            Record::Drained { conn, token } => self.drained(conn, token)?,
            Record::Closed { conn, token, ref reason } if self.hosts.holds(conn) => {
                self.host_failed(conn, token, reason)?;
            }
            Record::Closed { conn, token, ref reason } => {
                if let Some(at) = self.conn_of(conn, token, "`Closed`")? {
                    self.closed(at, reason)?;
                    self.give_back(at);
                }
            }
            Record::Released { conn, token, ref mut stream } => {
                if let Some(at) = self.conn_of(conn, token, "`Released`")? {
                    self.released(at, stream)?;
                }
            }
            Record::Ready { watch, .. } => self.signalled(watch)?,
            Record::Datagram { udp, token, from, ref buffer, truncated } => {
                self.datagram(udp, token, from, buffer.as_slice(), truncated)?;
            }
            Record::UdpFailed { udp, .. } => self.udp_failed(udp)?,
            Record::Timer { timer, missed, .. } => self.timer_fired(timer, missed)?,
            Record::Console { token, ref input, .. } => {
                self.spoken(token, input.as_event().expect("it is for the caller"))?;
            }
            Record::Posted { value, .. } => {
                let expected = self.inbox.borrow_mut().posts.pop_front();
                self.check(Oracle::Posts, expected == Some(value), || {
                    format!("post {value} came, {expected:?} was next")
                })?;
            }
            Record::FileSent { op, conn, token, sent, ref error, .. } => {
                return self.file_sent(op, conn, token, sent, error.is_some());
            }
            Record::FileRead { op, token, ref error, ref buffer } => {
                let buffer = buffer.as_ref().expect("each record is handled once");
                return self.file_read(op, token, error.as_ref(), buffer);
            }
            Record::FileWritten { op, token, ref failed, ref buffer } => {
                let buffer = buffer.as_ref().expect("each record is handled once");
                return self.file_written(op, token, failed.as_deref(), buffer);
            }
            Record::Inbox { token, .. } => return self.inbox_reported(token),
            Record::Resolved { lookup, token, ref mut result } => {
                self.looked_up(lookup, token, result.take().expect("each record is handled once"))?;
            }
            Record::Named { lookup, token, ref mut result } => {
                self.looked_up(lookup, token, result.take().expect("each record is handled once"))?;
            }
            Record::Woken => {
                let woken = std::mem::replace(&mut self.inbox.borrow_mut().woken, false);
                self.check(Oracle::Posts, woken, || "woken without a wake".into())?;
            }
            Record::Foreign { .. } => unreachable!("this caller has not asked for them"),
        }
        self.act_in_handler()
    }

    /// Handlers perform any actions on other registrations.
    fn act_in_handler(&mut self) -> Check {
        if !self.calm && self.rng.percent(25) {
            let who = self.rng.below(1 << 20) as u32;
            let action = match self.rng.below(12) {
                0 | 1 => Action::Remove(who),
                2 => Action::Close(who),
                3 => Action::Abort(who),
                4 => Action::Pause(who),
                5 => Action::Resume(who),
                6 => Action::CancelTimer(who),
                7 => Action::RemoveListener(who),
                8 => Action::Unwatch(who),
                9 => Action::Connect,
                10 => Action::Post,
                _ => Action::Send(who, 1 + (who % 50) as u16),
            };
            self.act(action, None)?;
        }
        if self.borrows && !self.calm && self.rng.percent(15) {
            let action = program::aside(&mut self.rng, self.console);
            self.act(action, None)?;
        }
        Ok(())
    }

    fn accepted(&mut self, listener: ListenerId, stream: &mut Option<SimStream>) -> Check {
        let known = self.listeners.iter_mut().find(|known| known.id == listener && known.open);
        match known {
            Some(known) => known.failed = false,
            None => self.fail(Oracle::Stale, || "accepted by a listener that is gone".into())?,
        }
        // Some are closed.
        if !self.rng.percent(15) {
            self.add(stream.take().expect("each record is handled once"))?;
        }
        Ok(())
    }

    fn accept_failed(&mut self, listener: ListenerId) -> Check {
        let now_ns = self.now_ns();
        let known = self.listeners.iter_mut().find(|known| known.id == listener && known.open);
        let Some(known) = known else {
            return self.fail(Oracle::Stale, || "a listener that is gone cannot fail".into());
        };
        let reported = std::mem::replace(&mut known.failed, true);
        known.failures += 1;
        let most = 1 + (now_ns - known.added_ns) / 1_000_000_000;
        let often = known.failures > most;
        self.check(Oracle::Order, !reported, || "a failing accept was reported twice".into())?;
        self.check(Oracle::Order, !often, || "failing accepts were reported too often".into())
    }

    fn received(&mut self, conn: ConnId, token: Token, data: &[u8]) -> Check {
        let Some(at) = self.conn_of(conn, token, "bytes")? else { return Ok(()) };
        self.gated(at, true)?;
        let up = self.conns[at].is_up();
        self.check(Oracle::Order, up, || "bytes before `Connected`".into())?;
        let known = &mut self.conns[at];
        let (from, link) = (known.received, known.link);
        known.received += data.len() as u64;
        let ended = known.ended;
        let bound = self.config.buffer_bytes.next_power_of_two();
        self.check(Oracle::Order, !ended, || "bytes after the end of the stream".into())?;
        self.check(Oracle::Bounds, !data.is_empty() && data.len() <= bound, || {
            format!("an event with {} bytes", data.len())
        })?;
        // Also in the same batch as the event whose handler closed it.
        self.received_in_time(at)?;
        let expected = bytes(link, false, from, data.len());
        self.check(Oracle::Stream, data == expected, || {
            format!("link {link} received something else at {from}")
        })?;
        if self.rng.percent(30) && self.conns[at].state == State::Open {
            self.send(at, data.len())?;
        }
        Ok(())
    }

    fn ended(&mut self, conn: ConnId, token: Token) -> Check {
        let Some(at) = self.conn_of(conn, token, "the end")? else { return Ok(()) };
        self.gated(at, false)?;
        let twice = std::mem::replace(&mut self.conns[at].ended, true);
        self.check(Oracle::Order, !twice, || "the end of a stream was reported twice".into())?;
        let known = &self.conns[at];
        let sent = self.peers[known.link].sent;
        self.check(Oracle::Stream, self.peers[known.link].fin && known.received == sent, || {
            format!("the end after {} of {sent} bytes", known.received)
        })?;
        if self.rng.percent(60) && known.state == State::Open && self.conns[at].lent.is_none() {
            self.close(at);
        }
        Ok(())
    }

    fn signalled(&mut self, watch: WatchId) -> Check {
        let known = self.watches.iter_mut().find(|known| known.id == watch && known.open);
        let Some(known) = known else {
            return self.fail(Oracle::Stale, || "a watch that is gone is ready".into());
        };
        let due = std::mem::replace(&mut known.due, false);
        let right = {
            let signalled = &mut self.world.borrow_mut().signalled[known.handle];
            let right = due || *signalled;
            // Handled now, or left for later: then it is reported again.
            if self.calm || self.rng.percent(60) {
                *signalled = false;
            }
            right
        };
        self.check(Oracle::Order, right, || "ready without a signal".into())
    }

    fn timer_fired(&mut self, timer: TimerId, missed: u64) -> Check {
        let now_ns = self.now_ns();
        let Some(known) = self.timers.iter_mut().find(|known| known.id == timer && known.live) else {
            return self.fail(Oracle::Stale, || "a timer that is gone went off".into());
        };
        let deadline_ns = known.deadline_ns;
        known.live = known.period_ns != 0;
        known.deadline_ns += known.period_ns * (missed + 1);
        let last_ns = known.deadline_ns - known.period_ns;
        self.check(Oracle::Time, now_ns >= deadline_ns && now_ns >= last_ns, || {
            format!("a timer for {deadline_ns} went off at {now_ns}, {missed} missed")
        })
    }

    pub(super) fn conn_of(&self, id: ConnId, token: Token, what: &str) -> Result<Option<usize>, Failure> {
        let Some(&at) = self.by_id.get(&id) else {
            self.fail(Oracle::Stale, || format!("{what} of {id:?}, which never was"))?;
            return Ok(None);
        };
        let conn = &self.conns[at];
        self.check(Oracle::Stale, conn.state != State::Removed, || {
            format!("{what} of {id:?} after its removal")
        })?;
        self.check(Oracle::Order, conn.state != State::Gone, || format!("{what} of {id:?} after `Closed`"))?;
        self.check(Oracle::Stream, token == conn.token, || format!("{what} of {id:?} with another's token"))?;
        Ok((!matches!(conn.state, State::Removed | State::Gone)).then_some(at))
    }

    /// Bytes are delivered only to connections that are not paused, and after a failed send only those that were there
    /// before.
    fn received_in_time(&self, at: usize) -> Check {
        let conn = &self.conns[at];
        let world = self.world.borrow();
        let wire = &world.links[conn.link];
        // Bytes recorded before the end are delivered with it.
        let linger_ns = self.config.linger.as_nanos() as u64;
        let is_over = wire.reset.is_some()
            || wire.send_failed.is_some_and(|(failed_ns, _)| world.now_ns >= failed_ns + linger_ns);
        let paused = conn.paused_before && conn.state == State::Open && !is_over;
        self.check(Oracle::Order, !paused, || format!("{:?} is paused and has received", conn.id))?;
        let Some((_, there)) = wire.send_failed else { return Ok(()) };
        let bound = there + 2 * self.config.buffer_bytes.next_power_of_two() as u64;
        self.check(Oracle::Bounds, conn.received <= bound, || {
            format!(
                "{:?} has received {} bytes, {there} were there when a send failed",
                conn.id, conn.received
            )
        })
    }

    /// Everything was sent, and what was received has been delivered. The caller closes the stream.
    fn released(&mut self, at: usize, stream: &mut Option<SimStream>) -> Check {
        let conn = &mut self.conns[at];
        let state = std::mem::replace(&mut conn.state, State::Gone);
        let conn = &self.conns[at];
        let requested = conn.releasing && state == State::Open;
        self.check(Oracle::Order, requested, || "released without a request, or after a close".into())?;
        {
            let world = self.world.borrow();
            let link = &world.links[conn.link];
            let all = link.outbound.total == conn.accepted && (link.outbound.fin || !conn.shut);
            self.check(Oracle::Stream, all, || {
                format!("released after {} of {} bytes", link.outbound.total, conn.accepted)
            })?;
            let taken = link.inbound.total - link.inbound.bytes.len() as u64;
            self.check(Oracle::Stream, link.reset.is_some() || taken == conn.received, || {
                format!("released with {} of {taken} bytes delivered", conn.received)
            })?;
        }
        let released = stream.take();
        let link = released.as_ref().map(SimStream::link);
        self.check(Oracle::Stream, link == Some(conn.link), || "another connection's stream".into())?;
        let Some(stream) = released.filter(|_| self.world.borrow().completion_style) else { return Ok(()) };
        // A completion port refuses it, and the caller keeps it.
        let kind = self.engine.add(stream, Token(0)).map_err(|refused| refused.error.kind());
        self.check(Oracle::Stale, kind == Err(ErrorKind::AlreadyRegistered), || {
            format!("a released stream was added: {kind:?}")
        })
    }

    fn closed(&mut self, at: usize, reason: &CloseReason) -> Check {
        let now_ns = self.now_ns();
        let conn = &mut self.conns[at];
        let state = std::mem::replace(&mut conn.state, State::Gone);
        let world = self.world.borrow();
        let link = &world.links[conn.link];
        let linger_ns = self.config.linger.as_nanos() as u64;
        let conn = &self.conns[at];
        let lingered = conn.closed_at_ns.is_some_and(|closed| now_ns >= closed + linger_ns);
        match *reason {
            CloseReason::Finished => {
                self.check(Oracle::Order, state == State::Closing, || "finished without a close".into())?;
                let all = link.outbound.total == conn.accepted && link.outbound.fin;
                self.check(Oracle::Stream, all, || {
                    format!("finished after {} of {} bytes", link.outbound.total, conn.accepted)
                })?;
                let whole = link.ended == Some(Ended::Orderly) || lingered || link.reset.is_some();
                self.check(Oracle::Stream, whole, || "a close destroyed the last output".into())
            }
            CloseReason::LingerExpired { unsent } => {
                self.check(Oracle::Time, lingered, || "the linger time was cut short".into())?;
                self.check(Oracle::Bounds, state == State::Closing && unsent as u64 <= conn.accepted, || {
                    "an odd linger".into()
                })
            }
            CloseReason::Aborted => {
                self.check(Oracle::Order, state == State::Aborted, || "aborted without an abort".into())
            }
            CloseReason::Unresolved { .. } => {
                self.fail(Oracle::Order, || "unresolved, and it had no host to look up".into())
            }
            CloseReason::Failed { code } if !conn.is_up() => self.not_connected(at, state, code),
            CloseReason::Failed { .. } if conn.may_fail_by_file() || link.transmit_failed => Ok(()),
            CloseReason::Failed { code } => {
                self.fail(Oracle::Order, || format!("a reset was reported as failure {code}"))
            }
            CloseReason::Reset => {
                let failed = link.reset.is_some() || link.send_failed.is_some();
                self.check(Oracle::Order, failed, || "reset without a cause".into())?;
                // A caller that pauses, or requests each receive, has had the linger time; and so has a system that is
                // out of memory.
                let gated = conn.was_paused || conn.lent.is_some() || self.short_of_memory;
                // The bytes that the system still returns at a reset are delivered first. Within the linger time, which
                // for some seeds is shorter than the machine's delays.
                let left = match link.send_failed {
                    Some((_, there)) => link.reset != Some(false) && conn.received < there,
                    _ => link.reset == Some(true) && !link.inbound.bytes.is_empty(),
                };
                // A caller that does not wait for that long has the time twice.
                let send = link.send_failed.or(link.send_reset);
                let had_both = send.is_some_and(|(at_ns, _)| now_ns >= at_ns + 2 * linger_ns);
                let slow = had_both || linger_ns < 10_000_000;
                let kept = !left || gated || state != State::Open || slow;
                self.check(Oracle::Stream, kept, || "bytes before a reset were lost".into())
            }
        }
    }
}
