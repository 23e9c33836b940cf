//! [`Flushes`]: which codecs of a member flush, and when: at the end of the turn, or at the end of the game's round if they have
//! got a part of it.

/// The connections, by their slots. One that has ended since may be in it.
#[derive(Default)]
pub(super) struct Flushes {
    /// Those of this turn.
    due: Vec<u32>,
    /// Those that wait for the end of the round.
    deferred: Vec<u32>,
    /// A part of a round of the game has come, and not its end.
    is_in_round: bool,
    /// The number of that round.
    round: u64,
}

impl Flushes {
    /// A part of a round has come.
    pub(super) fn begin_round(&mut self) {
        self.is_in_round = true;
    }

    /// All of the round has come.
    pub(super) fn end_round(&mut self) {
        (self.is_in_round, self.round) = (false, self.round + 1);
        self.due.append(&mut self.deferred);
    }

    /// The number of the round of which a part has come.
    pub(super) fn open_round(&self) -> Option<u64> {
        self.is_in_round.then_some(self.round)
    }

    /// The codec has been called, and was not in the list.
    pub(super) fn add(&mut self, slot: u32) {
        self.due.push(slot);
    }

    /// Takes the next one of this turn.
    pub(super) fn next(&mut self) -> Option<u32> {
        self.due.pop()
    }

    /// Leaves one to the end of the round. Each is looked at once in a round, however many turns that takes.
    pub(super) fn defer(&mut self, slot: u32) {
        self.deferred.push(slot);
    }
}
