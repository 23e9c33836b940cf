//! Texts on their way out, and what becomes of them when they are not read.
//!
//! The answer to a user's own command always fits, because the next command waits until it has been read; so does what
//! the world sends in the call that releases a user, and a long text for one who has read the one before. What others say
//! has to stay within the output limit; for a user who reads too slowly it is left out, and a line says so. Only one
//! who reads nothing at all is disconnected, whatever waits. What a protocol itself has to say cannot be left out: output
//! with a hole in it would be worse than none. It is little, and has the same room once more.

use std::sync::Arc;
use std::time::Duration;

use dolmen::{Link, SharedBytes};

use super::messages::{Share, What};
use super::{Endpoint, Stage};
use crate::config::PortKind;
use crate::layer::Output;
use crate::limits::{LONGEST_ANSWER_BYTES, Room};
use crate::session::Session;

/// How often the endpoint looks whether a user for whom more than the output limit waits, or texts are left out, reads.
const BACKLOG_CHECK: Duration = Duration::from_secs(1);

impl Endpoint {
    /// Shows a text, or leaves it out.
    pub(super) fn send_text(
        &mut self,
        text: &Arc<str>,
        call: u64,
        share: Share,
        is_shared: bool,
        link: &mut Link<'_, Self>,
    ) {
        let Some(share) = self.admit_text(text.len(), share, true, link) else { return };
        self.session.in_call(call);
        if is_shared {
            if let Some(wire) = link.shared().text.encode(text, &mut self.session) {
                return self.send_shared(&wire, share, link);
            }
        }
        self.write(share, link, |session, wire| session.send(Output::Text(text), wire));
    }

    pub(super) fn send_gmcp(
        &mut self,
        package: &str,
        data: &str,
        call: u64,
        share: Share,
        link: &mut Link<'_, Self>,
    ) {
        // The line that it belongs to is counted.
        if let Some(share) = self.admit_text(package.len() + data.len(), share, false, link) {
            self.write_in(call, share, link, |session, wire| {
                session.send(Output::Gmcp { package, data }, wire);
            });
        }
    }

    pub(super) fn send_bytes(&mut self, bytes: &[u8], share: Share, link: &mut Link<'_, Self>) {
        if self.kind != PortKind::Binary || self.is_over() {
            return;
        }
        // No part of a protocol that the server does not know can be left out.
        match self.admit_bytes(bytes.len(), share, link) {
            Some(share) => self.write(share, link, |_, wire| wire.extend_from_slice(bytes)),
            None => self.end(What::TooSlow, link),
        }
    }

    /// Whether a text may be sent now, and where its bytes go. If not it is left out, and counted with `counts`.
    fn admit_text(
        &mut self,
        bytes: usize,
        share: Share,
        counts: bool,
        link: &mut Link<'_, Self>,
    ) -> Option<Share> {
        if share == Share::Answer {
            return Some(share);
        }
        self.look_at_backlog(link);
        if self.is_over() {
            return None;
        }
        let was_behind = self.backlog.is_behind();
        if let Some(share) = self.admit_bytes(bytes, share, link) {
            if self.session.holds_back() {
                match share {
                    Share::Others => self.backlog.hold_back(bytes),
                    _ => self.backlog.hold_back_answer(bytes),
                }
                self.has_answered |= share != Share::Others;
            }
            return Some(share);
        }
        if counts {
            self.backlog.leave_out();
            self.traffic.left_out();
        }
        if !was_behind {
            self.look_again(link);
            self.deliver(What::Behind, link);
        }
        None
    }

    /// Whether bytes that are still to be encoded, which may double them, fit, and where. One answer is what the user's
    /// command gets, and the other what the world sends in the call that releases the user. While it holds the lines,
    /// others may be talking too, so that has the output limit once more and no more than that.
    fn admit_bytes(&mut self, bytes: usize, share: Share, link: &Link<'_, Self>) -> Option<Share> {
        if share == Share::Answer {
            return Some(share);
        }
        let (limit, queued, now) = (self.rules.output_limit_bytes, link.queued_bytes(), link.now());
        let is_answer = share == Share::Release
            || self.is_held && self.backlog.answers_waiting(queued) + bytes <= limit
            || bytes > limit && self.backlog.takes_long_text(queued, limit);
        if is_answer && self.backlog.waiting(queued) + 2 * bytes <= LONGEST_ANSWER_BYTES {
            return Some(Share::Answer);
        }
        (self.backlog.room(bytes, queued, limit, now) == Room::Send).then_some(Share::Others)
    }

    /// Tells a user who has caught up how much is missing, and has one ended who does not read.
    pub(super) fn look_at_backlog(&mut self, link: &mut Link<'_, Self>) {
        if !self.backlog.is_watched() || self.is_over() {
            return;
        }
        let (queued, limit) = (link.queued_bytes(), self.rules.output_limit_bytes);
        let look = self.backlog.look(queued, limit, self.rules.unread_timeout, link.now());
        if look.unread {
            return self.end(What::TooSlow, link);
        }
        if look.again {
            self.look_again(link);
        }
        if look.missing > 0 {
            self.report_missing(look.missing, link);
        }
    }

    /// Tells the user how many texts are missing here.
    pub(super) fn report_missing(&mut self, texts: u64, link: &mut Link<'_, Self>) {
        let messages = match texts {
            1 => "One message is".to_owned(),
            texts => format!("{texts} messages are"),
        };
        let text = format!("({messages} missing here, because your connection is slow.)\n");
        self.write(Share::Others, link, |session, wire| session.send(Output::Text(&text), wire));
    }

    fn look_again(&mut self, link: &Link<'_, Self>) {
        let again = link.now() + BACKLOG_CHECK;
        self.looks.backlog = Some(self.looks.backlog.map_or(again, |at| at.min(again)));
    }

    /// Sends what a session writes in this call of the world.
    pub(super) fn write_in(
        &mut self,
        call: u64,
        share: Share,
        link: &mut Link<'_, Self>,
        write: impl FnOnce(&mut Session, &mut Vec<u8>),
    ) {
        self.session.in_call(call);
        self.write(share, link, write);
    }

    /// Sends what a session writes that is not left out.
    pub(super) fn write(
        &mut self,
        share: Share,
        link: &mut Link<'_, Self>,
        write: impl FnOnce(&mut Session, &mut Vec<u8>),
    ) {
        let mut wire = std::mem::take(&mut link.shared().wire);
        write(&mut self.session, &mut wire);
        if !wire.is_empty() && self.make_room(wire.len(), share, link) {
            link.send(&wire);
            self.sent(wire.len());
        }
        wire.clear();
        link.shared().wire = wire;
    }

    fn send_shared(&mut self, wire: &SharedBytes, share: Share, link: &mut Link<'_, Self>) {
        if self.make_room(wire.len(), share, link) {
            link.send_shared(wire);
            self.sent(wire.len());
        }
    }

    /// Marks prompts, and sends what the session holds back until the end of the turn.
    pub(super) fn flush_output(&mut self, link: &mut Link<'_, Self>) {
        link.shared().text.clear();
        if !self.is_inside() {
            return;
        }
        // A compressed answer leaves here, and is an answer still.
        let share = if self.has_answered { Share::Answer } else { Share::Others };
        let now = link.now();
        self.backlog.flushed();
        self.write(share, link, |session, wire| session.flush(now, wire));
        self.count_compressed();
        self.has_answered = false;
    }

    /// Says good-bye. If there is no room for it, no one reads it.
    pub(super) fn say_good_bye(&mut self, why: &str, link: &mut Link<'_, Self>) {
        let mut wire = Vec::new();
        self.session.end(why, &mut wire);
        self.count_compressed();
        link.send(&wire);
        self.sent(wire.len());
        self.stage = Stage::Over;
    }

    fn count_compressed(&mut self) {
        let compressed = self.session.take_compressed();
        self.traffic.compressed(compressed.plain_bytes, compressed.wire_bytes);
    }

    /// Counts bytes that are about to be sent. A user whose queue has no room for them is disconnected: keeping them would
    /// let one client fill the memory [hc35].
    fn make_room(&mut self, bytes: usize, share: Share, link: &mut Link<'_, Self>) -> bool {
        if self.is_over() {
            return false;
        }
        let (limit, queued) = (self.rules.output_limit_bytes, link.queued_bytes());
        let answer = match share {
            Share::Others => self.backlog.unread_answer(queued),
            _ => LONGEST_ANSWER_BYTES,
        };
        if queued + bytes > 2 * limit + answer {
            self.end(What::TooSlow, link);
            return false;
        }
        if share != Share::Others {
            self.backlog.answers(bytes, queued);
            self.has_answered = true;
        }
        if queued + bytes > limit {
            self.backlog.watch(queued, link.now());
            self.look_again(link);
        }
        true
    }

    fn sent(&mut self, bytes: usize) {
        self.traffic.sent(bytes);
        self.backlog.sent(bytes);
    }
}
