//! What codecs and streams find on the thread that all of a simulated crew runs on: the machine, and the streams that
//! are on their way to a member.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::kernel::sim::world::{SharedWorld, SimStream};

thread_local! {
    static WORLD: RefCell<Option<SharedWorld>> = const { RefCell::new(None) };
    static CROSSING: RefCell<Option<HashMap<u64, SimStream>>> = const { RefCell::new(None) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
    /// How many waits of its engine there have been: the game's, and the member's whose turn it is.
    static GAME_WAITS: Cell<u64> = const { Cell::new(0) };
    static MEMBER_WAITS: Cell<Option<u64>> = const { Cell::new(None) };
    /// The game's round that is open, and the number of the next one.
    static ROUND: Cell<Option<u64>> = const { Cell::new(None) };
    /// When it has begun, or gone on after a wait.
    static ROUND_NS: Cell<u64> = const { Cell::new(0) };
    static NEXT_ROUND: Cell<u64> = const { Cell::new(0) };
}

/// Begins a run.
pub(super) fn open(world: &SharedWorld) {
    // A run that has failed may have left something that cannot be dropped.
    std::mem::forget(CROSSING.replace(Some(HashMap::new())));
    std::mem::forget(WORLD.replace(Some(Rc::clone(world))));
    MEMBER_WAITS.set(None);
    ROUND.set(None);
    NEXT_ROUND.set(0);
}

/// The current time.
pub(super) fn now_ns() -> u64 {
    WORLD.with_borrow(|world| world.as_ref().map_or(0, |world| world.borrow().now_ns))
}

/// Whether this is a member's turn, and not the game's.
pub(super) fn is_member() -> bool {
    MEMBER_WAITS.get().is_some()
}

/// How many waits the engine has had whose turn it is.
pub(super) fn waits() -> u64 {
    MEMBER_WAITS.get().unwrap_or(GAME_WAITS.get())
}

/// The game has waited.
pub(super) fn count_wait() {
    GAME_WAITS.set(GAME_WAITS.get() + 1);
}

/// The turn of a member that has waited so often begins, or ends.
pub(super) fn set_member(waits: Option<u64>) {
    MEMBER_WAITS.set(waits);
}

/// The time that codecs know: that of the turn, or of the game's round.
pub(super) fn known_ns() -> u64 {
    match round() {
        Some(_) if !is_member() => ROUND_NS.get(),
        _ => now_ns(),
    }
}

/// A round of the game begins, unless one is open, which goes on after a wait.
pub(super) fn open_round() {
    ROUND_NS.set(now_ns());
    if ROUND.get().is_none() {
        ROUND.set(Some(NEXT_ROUND.replace(NEXT_ROUND.get() + 1)));
    }
}

/// The game has ended its round.
pub(super) fn end_round() {
    ROUND.set(None);
}

/// The number of the round that is open.
pub(super) fn round() -> Option<u64> {
    ROUND.get()
}

/// A stream on its way to a member. Dropping it closes the stream.
pub(crate) struct Ticket(u64);

impl Ticket {
    pub(super) fn of(stream: SimStream) -> Ticket {
        let number = NEXT.get();
        NEXT.set(number + 1);
        CROSSING.with_borrow_mut(|crossing| crossing.get_or_insert_default().insert(number, stream));
        Ticket(number)
    }

    fn remove(&self) -> Option<SimStream> {
        CROSSING.with_borrow_mut(|crossing| crossing.as_mut()?.remove(&self.0))
    }

    /// The stream has arrived.
    pub(super) fn stream(self) -> SimStream {
        self.remove().expect("a ticket is used once")
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        drop(self.remove());
    }
}
