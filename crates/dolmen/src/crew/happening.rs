//! [`Happening`]: what an event of a reactor means for a member.

use crate::close_reason::CloseReason;
use crate::record::Record;
use crate::token::ConnId;

/// What has happened to a connection of a member, or to its deadlines.
pub(crate) enum Happening<'a> {
    Received(ConnId, &'a [u8]),
    EndOfStream(ConnId),
    Drained(ConnId),
    Closed(ConnId, CloseReason),
    Timer,
}

impl<'a> Happening<'a> {
    /// `None` for what no member registers.
    pub(crate) fn of_record<S>(record: &'a Record<S>) -> Option<Happening<'a>> {
        Some(match record {
            Record::Received { conn, buffer, .. } => Happening::Received(*conn, buffer.as_slice()),
            Record::EndOfStream { conn, .. } => Happening::EndOfStream(*conn),
            Record::Drained { conn, .. } => Happening::Drained(*conn),
            Record::Closed { conn, reason, .. } => Happening::Closed(*conn, reason.clone()),
            Record::Timer { .. } => Happening::Timer,
            _ => return None,
        })
    }
}
