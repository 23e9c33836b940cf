//! Bytes on their way in: the header of a proxy, strangers, budgets, and lines in turns.

use std::time::{Duration, Instant};

use dolmen::Link;

use super::messages::{Share, What};
use super::{Endpoint, Stage};
use crate::config::PortKind;
use crate::limits::Verdict;
use crate::proxy::Progress;
use crate::telnet::ClientEvent;

/// How soon the endpoint looks again whether a long answer has been read. If nothing of it was read, it looks after as long
/// a time as nothing has been read, up to the latter.
const ANSWER_CHECK: Duration = Duration::from_millis(20);
const LATEST_ANSWER_CHECK: Duration = Duration::from_secs(1);

impl Endpoint {
    /// Takes bytes of a proxy that has not named its player yet. Those behind the header wait until the server has let the
    /// player in.
    pub(super) fn take_header(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        let Stage::Header(header) = &mut self.stage else { return };
        match header.receive(data) {
            Ok(Progress::Incomplete) => {}
            Ok(Progress::Complete { taken, player }) => {
                self.stage = Stage::Outside(data[taken..].to_vec());
                link.set_reading(false);
                self.deliver(What::Named(player), link);
            }
            Err(error) => self.end(What::BadHeader(error.text()), link),
        }
    }

    /// Takes bytes of a user.
    pub(super) fn take(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        let now = link.now();
        self.unreported += data.len() as u64;
        if let Verdict::Stranger(stranger) = self.limits.receive(&self.rules, now, data) {
            return self.end(What::Stranger(stranger), link);
        }
        if self.kind == PortKind::Binary {
            // They are the world's, in the order of their arrival.
            self.adjust_reading(link);
            return self.deliver(What::Bytes(data.to_vec()), link);
        }
        self.write(Share::Others, link, |session, wire| session.receive(data, now, wire));
        self.give_turn(link);
        self.adjust_reading(link);
        if self.session.wants_close() {
            self.end(What::Broken, link);
        }
    }

    /// Passes on what the server waits for, if there is some and it may have its turn now. Facts and requests of the client
    /// come first. Each costs a command: a client that repeats them is slowed down like a player who types.
    pub(super) fn give_turn(&mut self, link: &mut Link<'_, Self>) {
        if !self.is_inside() {
            return;
        }
        while self.event_is_due && self.session.has_event() && self.may_command(link) {
            self.event_is_due = false;
            self.deliver_event(link);
        }
        let is_alone = !self.session.has_event() && self.event_is_due && !self.is_held;
        if is_alone && self.line_is_due && self.session.has_line() && self.may_command(link) {
            self.line_is_due = false;
            self.deliver_line(link);
        }
        let is_done = !self.session.has_line() && !self.session.has_event();
        if self.input_has_ended
            && is_done
            && self.line_is_due
            && !std::mem::replace(&mut self.end_is_reported, true)
        {
            self.deliver(What::PeerClosed, link);
        }
    }

    fn deliver_event(&mut self, link: &mut Link<'_, Self>) {
        let Some(event) = self.session.next_event() else { return };
        let has_changed = matches!(event, ClientEvent::TerminalType);
        let client = has_changed.then(|| Box::new(self.session.client().clone()));
        self.deliver(What::Client(event, client), link);
    }

    fn deliver_line(&mut self, link: &mut Link<'_, Self>) {
        let (is_first, mut line) = (self.session.is_at_first_line(), None);
        self.write(Share::Answer, link, |session, wire| line = session.next_line(wire));
        if let Some(line) = line {
            self.deliver(What::Line { line, is_first }, link);
        }
    }

    /// The connection is gone. The lines that arrived whole are still carried out, as far as they need not wait: no one
    /// reads the answers. An incomplete line is not: half a command may be another command.
    pub(super) fn deliver_rest(&mut self, link: &mut Link<'_, Self>) {
        while self.session.has_event() && self.limits.take_command(&self.rules, link.now()) {
            self.deliver_event(link);
        }
        while self.session.has_line() && self.limits.take_command(&self.rules, link.now()) {
            self.deliver_line(link);
        }
    }

    /// Whether a user may give a command now, or the client something else that calls the world: there is one in the
    /// budget, and the last answer is on its way. If not, the endpoint looks again later.
    fn may_command(&mut self, link: &Link<'_, Self>) -> bool {
        let (now, queued) = (link.now(), link.queued_bytes());
        let again = if queued > self.rules.output_limit_bytes {
            now + self.backlog.still_for(queued, now).clamp(ANSWER_CHECK, LATEST_ANSWER_CHECK)
        } else if !self.limits.take_command(&self.rules, now) {
            self.limits.next_command(&self.rules, now)
        } else {
            return true;
        };
        self.looks.turn = Some(again);
        false
    }

    /// Stops reading from a user who is over a budget or has too much waiting, or reads again.
    pub(super) fn adjust_reading(&mut self, link: &mut Link<'_, Self>) {
        if !self.is_inside() {
            return;
        }
        let now = link.now();
        let in_budget = self.limits.may_read(&self.rules, now);
        let may_read = in_budget && self.may_read;
        match self.paused_since {
            None if !may_read || self.session.is_behind() => {
                self.paused_since = Some(now);
                link.set_reading(false);
                // The server knows of the budget of an address.
                if !in_budget {
                    self.deliver(What::Throttled, link);
                }
            }
            Some(since) if may_read && self.session.has_caught_up() => {
                self.read_again(since, now, link);
            }
            _ => {}
        }
        let waits = self.paused_since.is_some() && !in_budget;
        self.looks.read = waits.then(|| self.limits.next_read(&self.rules, now));
    }

    fn read_again(&mut self, since: Instant, now: Instant, link: &mut Link<'_, Self>) {
        self.paused_since = None;
        self.session.paused(now.saturating_duration_since(since));
        link.set_reading(true);
    }
}
