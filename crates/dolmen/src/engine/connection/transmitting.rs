//! Parts of files that the kernel transmits: it reads and sends them by itself, as one operation.
//!
//! The first piece of a file is always read and sent. Most files are no longer than that, and the read finds out whether the
//! file can be read. The thread that has read it opens the file once more. From then on each part is transmitted, if fewer
//! than [`Kernel::most_transmits`] are pending; otherwise the next piece is read and sent. So peers that are slow delay no
//! file but their own.
//!
//! A transmission that sends less than it was given, or is refused, is the last of its file: the rest is read and sent, and
//! the reads find the end of the file or its fault. One that has *failed*, be it in the call itself, has sent an unknown
//! number of bytes. Nothing can follow them, so the connection ends with a reset [hc65].

use super::files::Reopening;
use super::*;

/// How many pieces make a part. Each part waits until the one before it has been sent, which is slow where the peer is far
/// away; so it is larger than a piece.
const PIECES_IN_PART: usize = 16;

impl<K: Kernel> Connection<K> {
    /// Begins to transmit the next part of the first file, if that is more than a piece. Returns whether there is nothing
    /// to read now.
    pub(in crate::engine) fn transmit(&mut self, cx: &mut Context<K>, key: Key, piece: usize) -> bool {
        let (Some(files), Some(source)) = (self.files.as_mut(), self.source.as_ref()) else { return false };
        let Some(first) = files.queued.front() else { return false };
        let Reopening::Open(reopened) = &first.reopened else { return false };
        let start = first.range.start;
        // No further than the file went when it was opened: some systems take its end for a failure.
        let rest = first.range.end.min(reopened.len).saturating_sub(start);
        if rest <= piece as u64 {
            return false;
        }
        if !cx.submitter.can_transmit() {
            mark(Mark::TransmitsFull);
            return false;
        }
        let count = rest.min((piece * PIECES_IN_PART) as u64) as u32;
        files.transmitting = count;
        match cx.submitter.transmit(source, key.slot, reopened.file.clone(), start, count) {
            Started::Pending(handle) => self.send = Some(handle),
            // The next send finds out how the connection has ended, if it has.
            Started::Completed(Completion { result: Err(fault), .. }) if is_refusal(fault) => {
                mark(Mark::TransmitRefused);
                tracing::debug!(target: "dolmen", conn = %ConnId(key), error = %fault.to_io(), "not transmitted");
                self.transmit_no_more();
                return false;
            }
            Started::Completed(completion) => {
                self.transmit_ended(cx, key, completion);
                self.list(cx, key);
            }
        }
        true
    }

    pub(in crate::engine) fn transmit_completed(
        &mut self,
        cx: &mut Context<K>,
        key: Key,
        completion: Completion<K>,
    ) {
        assert_eq!(self.send.take(), Some(completion.handle), "one send at a time");
        self.transmit_ended(cx, key, completion);
        self.list(cx, key);
    }

    fn transmit_ended(&mut self, cx: &mut Context<K>, key: Key, completion: Completion<K>) {
        let is_closing = self.is_closing();
        let files = self.files.as_mut().expect("the file waits for its bytes");
        let first = files.queued.front_mut().expect("it is being transmitted");
        match completion.result {
            Ok(Outcome::Sent(bytes)) => {
                assert!(bytes <= files.transmitting as usize, "more was transmitted than was asked for");
                mark(Mark::Transmitted);
                first.range.start += bytes as u64;
                first.sent += bytes as u64;
                cx.stats.bytes_sent += bytes as u64;
                cx.stats.bytes_sent_uncopied += bytes as u64;
                if bytes < files.transmitting as usize {
                    mark(Mark::TransmitShort);
                    self.transmit_no_more();
                }
                self.forget_retries(Direction::Send);
            }
            Ok(_) => unreachable!("a transmission returns a number of bytes"),
            Err(_) if is_closing => {}
            Err(fault) if fault.kind == FaultKind::File => {
                mark(Mark::TransmitFailed);
                first.error = Some(fault.to_io());
            }
            Err(fault) => {
                mark(Mark::TransmitFailed);
                // The peer must not take what it has for all of it.
                self.rare().resets = true;
                self.sending_failed(cx, key, fault);
            }
        }
    }

    /// The rest of the first file is read and sent.
    fn transmit_no_more(&mut self) {
        if let Some(first) = self.files.as_mut().and_then(|files| files.queued.front_mut()) {
            first.reopened = Reopening::Over;
        }
    }
}

/// Whether the failure of a submission says that nothing was sent. What a system needs for a transmission, it takes before
/// it begins.
fn is_refusal(fault: Fault) -> bool {
    matches!(fault.kind, FaultKind::Invalid | FaultKind::NotConnected | FaultKind::Exhausted)
}
