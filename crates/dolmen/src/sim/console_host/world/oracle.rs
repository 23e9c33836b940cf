//! What the reader is expected to deliver, and whether it has.

use super::*;

/// What the reader is expected to deliver.
#[derive(Default)]
pub(super) struct Expected {
    /// The line in progress when a read ended early.
    pub(super) so_far: Option<Vec<u16>>,
    /// The end of it that is still to come: the result was longer than the reader's buffer.
    pub(super) rest: Option<Vec<u16>>,
    /// What the line may begin with, before `so_far`: the operator cannot edit it any more. More than one possibility after
    /// a Ctrl-C, whose command discards what there is when it is executed.
    pub(super) beginnings: Vec<Vec<u16>>,
    /// Finished lines, with the possibilities for each.
    pub(super) finished: VecDeque<Vec<Vec<u16>>>,
    /// Raw text, likewise.
    pub(super) bytes: Vec<String>,
    /// The echo was switched on since the last read began, so that text typed without it goes to the beginning.
    pub(super) echo_on: bool,
    /// Requests by Ctrl-C or Ctrl-Break that the reactor has not collected.
    pub(super) uncollected: u32,
    /// Such a request found no read, so the line may be discarded: in so many further reads.
    pub(super) may_discard: u32,
}

impl Expected {
    /// A line has come to its end. It may be several: see the list of commands of the old edition.
    pub(super) fn finish(&mut self, beginnings: &[Vec<u16>], line: &[u16]) {
        let wholes: Vec<Vec<u16>> = beginnings.iter().map(|start| [&start[..], line].concat()).collect();
        let pieces: Vec<Vec<&[u16]>> =
            wholes.iter().map(|whole| whole.split_inclusive(|&unit| unit == LF).collect()).collect();
        let most = pieces.iter().map(Vec::len).max().unwrap_or(0);
        for from_end in (0..most).rev() {
            let nth = |pieces: &Vec<&[u16]>| pieces.iter().rev().nth(from_end).map(|piece| piece.to_vec());
            self.finished.push_back(pieces.iter().filter_map(nth).collect());
        }
    }
}

impl World {
    pub(super) fn note_obstacle(&self) {
        let console = self.console.borrow();
        let mut state = self.state.borrow_mut();
        let waits = !state.prints.is_empty() || !state.answers.is_empty();
        if waits && console.has_popup() {
            mark(Mark::PopupInTheWay);
        }
        if waits && console.is_full() {
            mark(Mark::FullLineInTheWay);
        }
        if waits && console.is_shared() {
            mark(Mark::Shared);
        }
        if console.held
            || console.has_popup()
            || console.is_full()
            || console.is_shared()
            || !console.is_reading()
        {
            state.obstacle_at = state.now;
        }
    }

    pub(super) fn check_prints(&self) {
        let state = self.state.borrow();
        let Some(&(number, since)) = state.prints.iter().chain(&state.answers).min_by_key(|text| text.1)
        else {
            return;
        };
        let waited = state.now.saturating_sub(since.max(state.obstacle_at));
        drop(state);
        if waited > PRINT_TIMEOUT {
            self.fail(
                Oracle::Liveness,
                format!("print {number} waits for {waited:?} with nothing in its way"),
            );
        }
    }

    pub(super) fn check_witness(&self) {
        let mut console = self.console.borrow_mut();
        if std::mem::take(&mut console.witness.answered) {
            mark(Mark::Answered);
        }
        if let Some(message) = console.witness.spoilt.take() {
            drop(console);
            self.fail(Oracle::Stream, message);
        }
    }

    /// A read begins with this text.
    pub(super) fn check_resumed(&self, initial: &[u16]) {
        let mut state = self.state.borrow_mut();
        let lines = &mut state.lines;
        let so_far = lines.so_far.take().unwrap_or_default();
        if initial == so_far && !(initial.is_empty() && lines.may_discard > 0) {
            lines.echo_on = false;
            return;
        }
        let mut possible = Vec::new();
        if initial.is_empty() {
            if so_far.is_empty() || lines.echo_on || so_far.len() >= LONG {
                possible.extend(lines.beginnings.iter().map(|beginning| [&beginning[..], &so_far].concat()));
            }
            if lines.may_discard > 0 {
                possible.push(Vec::new());
            }
        }
        let beginnings = std::mem::replace(&mut lines.beginnings, possible);
        lines.echo_on = false;
        lines.may_discard = lines.may_discard.saturating_sub(u32::from(lines.may_discard < u32::MAX));
        if lines.beginnings.is_empty() {
            let message = format!(
                "a read continues with {:?} after {:?} (beginnings {:?})",
                String::from_utf16_lossy(initial),
                String::from_utf16_lossy(&so_far),
                beginnings.iter().map(|start| decoded(start)).collect::<Vec<_>>()
            );
            drop(state);
            self.fail(Oracle::Stream, message);
        }
    }

    /// A read has ended.
    pub(super) fn note_end(&self, ended: &Ended) {
        let mut console = self.console.borrow_mut();
        let emptied = std::mem::take(&mut console.witness.emptied);
        let at_end = console.witness.at_end.take();
        drop(console);
        let mut state = self.state.borrow_mut();
        let lines = &mut state.lines;
        match (ended, at_end) {
            (Ended::Interrupted, _) => lines.beginnings = vec![Vec::new()],
            (Ended::Text(_), _) if emptied => {
                mark(Mark::Emptied);
                lines.beginnings = vec![Vec::new()];
            }
            (Ended::Text(text), Some((line, End::Woken))) => {
                if text.iter().position(|&unit| unit == WAKE) != Some(line.len()) {
                    mark(Mark::CursorInLine);
                }
                if text.last() == Some(&WAKE) {
                    lines.so_far = Some(line);
                } else {
                    lines.beginnings.iter_mut().for_each(|start| start.extend(text));
                    lines.rest = line.get(text.len()..).map(<[u16]>::to_vec);
                }
            }
            // A full line may end with a command of the list and its end.
            (Ended::Text(_), Some((line, end))) if end == End::Entered || line.last() == Some(&LF) => {
                let beginnings = std::mem::replace(&mut lines.beginnings, vec![Vec::new()]);
                lines.finish(&beginnings, &line);
            }
            (Ended::Text(_), Some((line, _))) => {
                lines.beginnings.iter_mut().for_each(|start| start.extend(&line));
            }
            // The rest of a result that did not fit.
            (Ended::Text(_), None) => {
                mark(Mark::Pieces);
                lines.so_far = lines.rest.take();
            }
        }
    }

    /// Everything was delivered, and nothing twice.
    pub(super) fn check_end(&self) {
        while !self.inbox.is_empty() && !self.has_failed() {
            self.collect();
        }
        let state = self.state.borrow();
        let missing = state.lines.finished.iter().map(|line| decoded(&line[0])).collect::<Vec<_>>();
        let bytes = !state.lines.bytes.iter().any(String::is_empty);
        let prints = state.prints.len() + state.answers.len();
        drop(state);
        if self.has_failed() {
            return;
        }
        if !missing.is_empty() || bytes {
            self.fail(Oracle::Stream, format!("never delivered: {missing:?}, raw text: {bytes}"));
        }
        if prints > 0 {
            self.fail(Oracle::Order, format!("{prints} prints never appeared"));
        }
    }
}

/// From this length on the line in progress is not given to the next read, which might have no room for more.
const LONG: usize = 8192 - 256;

/// A line without its end.
pub(super) fn decoded(units: &[u16]) -> String {
    String::from_utf16_lossy(units).trim_end_matches(['\r', '\n']).to_owned()
}
