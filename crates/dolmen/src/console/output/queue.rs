//! The texts that wait to be written: answers to the operator, which go first, and all others.
//!
//! What one call has printed is a *piece*, and is written whole: an answer goes before the pieces that have not begun, and
//! never into one. Neither does it go into a line: a piece that does not end its line is joined with the next one. A piece
//! that would keep an answer waiting is divided, at its line ends. The pieces of a lane lie in one buffer, so that many
//! small texts cost no allocation each.

use std::collections::VecDeque;

/// How much is taken out at a time, and the size beyond which a piece is divided. An answer waits for so much at most, and
/// for the rest of a line: less than a tenth of a second on a terminal that shows 200 KB in a second.
pub(in super::super) const STEP_BYTES: usize = 16 << 10;

/// How much may wait in each lane, with what its pieces cost.
pub(in super::super) const MOST_BYTES: usize = 4 << 20;

/// Which texts go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Lane {
    /// Answers to what the operator has typed.
    Answers,
    /// Everything else.
    Others,
}

#[derive(Default)]
pub(in super::super) struct Queue {
    answers: Pieces,
    others: Pieces,
    /// The last text of [`Lane::Others`] that was taken out has not ended its line.
    in_line: bool,
}

impl Queue {
    /// Whether there is room for a text.
    pub(in super::super) fn has_room(&self, lane: Lane, text: &str) -> bool {
        let pieces = match lane {
            Lane::Answers => &self.answers,
            Lane::Others => &self.others,
        };
        pieces.cost() + text.len() <= MOST_BYTES
    }

    /// Adds a text.
    pub(in super::super) fn push(&mut self, lane: Lane, text: &str) {
        match lane {
            Lane::Answers => self.answers.push(text),
            Lane::Others => self.others.push(text),
        }
    }

    /// Moves the next pieces into `batch`, which is empty: as many as fit into a step, and at least one.
    pub(in super::super) fn take(&mut self, batch: &mut Vec<u8>) {
        let in_line = self.in_line && !self.others.is_empty();
        if !self.answers.is_empty() && !in_line {
            return self.answers.take(batch);
        }
        self.others.take(batch);
        if let Some(&last) = batch.last() {
            self.in_line = last != b'\n';
        }
    }

    /// A text of this lane was written without having waited here.
    #[cfg_attr(not(unix), allow(dead_code))]
    pub(in super::super) fn written(&mut self, lane: Lane, text: &str) {
        if let (Lane::Others, Some(&last)) = (lane, text.as_bytes().last()) {
            self.in_line = last != b'\n';
        }
    }

    /// How many bytes wait.
    pub(in super::super) fn bytes(&self) -> usize {
        self.answers.text.len() + self.others.text.len()
    }
}

/// The pieces of a lane, in the order in which they were printed.
#[derive(Default)]
struct Pieces {
    text: VecDeque<u8>,
    /// How long each is.
    lengths: VecDeque<usize>,
}

impl Pieces {
    fn push(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let ends_in_line = self.text.back().is_some_and(|&last| last != b'\n');
        self.text.extend(text.as_bytes());
        let mut lengths = lengths_of(text);
        if let Some(last) = self.lengths.back_mut().filter(|_| ends_in_line) {
            *last += lengths.next().unwrap_or(0);
        }
        self.lengths.extend(lengths);
    }

    fn take(&mut self, batch: &mut Vec<u8>) {
        while let Some(&length) = self.lengths.front() {
            if !batch.is_empty() && batch.len() + length > STEP_BYTES {
                return;
            }
            self.lengths.pop_front();
            batch.extend(self.text.drain(..length));
        }
        // A flood is over, and its memory is free.
        self.text.shrink_to(STEP_BYTES);
        self.lengths.shrink_to(STEP_BYTES);
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn cost(&self) -> usize {
        self.text.len() + self.lengths.len() * size_of::<usize>()
    }
}

/// Divides a text into pieces: one, unless it is longer than a step. Then each has as many lines as fit into a step, and
/// at least one.
fn lengths_of(text: &str) -> impl Iterator<Item = usize> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let length = match rest.get(..STEP_BYTES) {
            None => rest.len(),
            Some(step) => {
                let end = step.iter().rposition(|&byte| byte == b'\n');
                end.or_else(|| rest.iter().position(|&byte| byte == b'\n')).map_or(rest.len(), |end| end + 1)
            }
        };
        rest = &rest[length..];
        (length > 0).then_some(length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Takes everything out, a batch at a time.
    fn batches(queue: &mut Queue) -> Vec<String> {
        let mut batches = Vec::new();
        while queue.bytes() > 0 {
            batches.push(next(queue));
        }
        batches
    }

    fn next(queue: &mut Queue) -> String {
        let mut batch = Vec::new();
        queue.take(&mut batch);
        String::from_utf8(batch).expect("pieces are text")
    }

    /// A terminal that shows 200 KB in a second, 4 MiB in front of it, and an operator who gets three answers. The clock
    /// is simulated.
    #[test]
    fn an_answer_is_on_a_slow_screen_within_a_second_of_its_command() {
        const BYTES_PER_SECOND: u64 = 200_000;
        const ASKED_MS: [u64; 3] = [0, 700, 701];
        let mut queue = Queue::default();
        let mut lines = 0;
        let line = |n: usize| format!("Ann says: this is line {n} of what the players say\n");
        while queue.has_room(Lane::Others, &line(lines)) {
            queue.push(Lane::Others, &line(lines));
            lines += 1;
        }
        assert!(queue.bytes() > 3 << 20, "{} bytes", queue.bytes());
        let mut screen = String::new();
        let mut now = Duration::ZERO;
        let mut asked = ASKED_MS.iter().enumerate().peekable();
        let mut shown_after = Vec::new();
        while queue.bytes() > 0 {
            while let Some((n, at)) = asked.next_if(|(_, at)| now >= Duration::from_millis(**at)) {
                queue.push(Lane::Answers, &format!("answer {n}\nto what was asked at {at} ms\n"));
            }
            let batch = next(&mut queue);
            now += Duration::from_secs(batch.len() as u64) / BYTES_PER_SECOND as u32;
            for n in (0..3).filter(|n| batch.contains(&format!("answer {n}\n"))) {
                shown_after.push((n, now - Duration::from_millis(ASKED_MS[n])));
            }
            screen.push_str(&batch);
        }
        assert_eq!(shown_after.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 2], "in their order");
        assert!(shown_after.iter().all(|(_, after)| *after < Duration::from_millis(200)), "{shown_after:?}");
        // Nothing is missing, and everything else is in its order.
        let answers: String =
            (0..3).map(|n| format!("answer {n}\nto what was asked at {} ms\n", ASKED_MS[n])).collect();
        let others: String = (0..lines).map(line).collect();
        let is_answer = |line: &&str| line.starts_with("answer") || line.starts_with("to what");
        assert_eq!(screen.split_inclusive('\n').filter(is_answer).collect::<String>(), answers);
        assert_eq!(screen.split_inclusive('\n').filter(|line| !is_answer(line)).collect::<String>(), others);
        for n in 0..3 {
            assert!(screen.contains(&format!("answer {n}\nto what was asked")), "an answer was divided");
        }
    }

    #[test]
    fn an_answer_goes_before_what_waits_and_not_into_it() {
        let mut queue = Queue::default();
        queue.push(Lane::Others, "first\nof two lines\n");
        queue.push(Lane::Others, "second\n");
        queue.push(Lane::Answers, "answer\n");
        queue.push(Lane::Answers, "and another\n");
        assert_eq!(batches(&mut queue), ["answer\nand another\n", "first\nof two lines\nsecond\n"]);
    }

    #[test]
    fn an_answer_waits_for_the_end_of_a_line() {
        let mut queue = Queue::default();
        queue.push(Lane::Others, "loading");
        assert_eq!(batches(&mut queue), ["loading"]);
        assert_eq!(next(&mut queue), "");
        queue.push(Lane::Others, " ...");
        queue.push(Lane::Others, " done\n");
        queue.push(Lane::Others, &"x".repeat(STEP_BYTES));
        queue.push(Lane::Answers, "answer\n");
        assert_eq!(batches(&mut queue), [" ... done\n", "answer\n", &"x".repeat(STEP_BYTES)]);
        // Nothing ends the line, so nothing is to be waited for.
        queue.push(Lane::Answers, "answer\n");
        assert_eq!(batches(&mut queue), ["answer\n"]);
    }

    #[test]
    fn an_answer_does_not_go_into_a_line_that_was_begun_elsewhere() {
        let mut queue = Queue::default();
        queue.written(Lane::Others, "loading");
        queue.written(Lane::Others, "");
        queue.written(Lane::Answers, "answer\n");
        queue.push(Lane::Others, " done\n");
        queue.push(Lane::Answers, "answer\n");
        assert_eq!(batches(&mut queue), [" done\n", "answer\n"]);
        queue.written(Lane::Others, "loading ... done\n");
        queue.push(Lane::Others, "next\n");
        queue.push(Lane::Answers, "answer\n");
        assert_eq!(batches(&mut queue), ["answer\n", "next\n"]);
    }

    #[test]
    fn a_long_text_is_divided_at_line_ends_and_a_long_line_is_not() {
        let line = format!("{}\n", "y".repeat(999));
        let long_line = format!("{}\n", "z".repeat(3 * STEP_BYTES));
        let text = line.repeat(100) + &long_line + "the end";
        let lengths: Vec<usize> = lengths_of(&text).collect();
        assert_eq!(lengths.iter().sum::<usize>(), text.len());
        let mut at = 0;
        for (n, length) in lengths.iter().enumerate() {
            at += length;
            assert!(n + 1 == lengths.len() || text[..at].ends_with('\n'));
            assert!(*length <= STEP_BYTES || *length == long_line.len(), "{length}");
        }
        assert_eq!(lengths_of("short\nand whole\n").collect::<Vec<_>>(), ["short\nand whole\n".len()]);
        assert_eq!(lengths_of("").count(), 0);
    }

    #[test]
    fn each_lane_is_bounded_and_leaves_room_to_the_other() {
        let mut queue = Queue::default();
        while queue.has_room(Lane::Others, "\n") {
            queue.push(Lane::Others, "\n");
        }
        // Above it only by what the last piece itself costs.
        assert!(queue.others.cost() < MOST_BYTES + size_of::<usize>());
        assert!(queue.has_room(Lane::Answers, "answer\n"));
        assert!(!queue.has_room(Lane::Answers, &"x".repeat(MOST_BYTES + 1)));
        batches(&mut queue);
        assert!(queue.others.text.capacity() <= 2 * STEP_BYTES, "the memory of the flood is free");
    }
}
