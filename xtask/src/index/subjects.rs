//! What the pages list: the hard cases and the promises, with their numbers.

/// A hard case or a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub list: List,
    pub number: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    HardCases,
    Promises,
}

impl List {
    pub fn titles(self) -> &'static [&'static str] {
        match self {
            List::HardCases => &CASES,
            List::Promises => &PROMISES,
        }
    }
}

/// The subject that is written as `hc05` or `p07`: in the name of a test, or as a tag in the code.
pub fn parse(word: &str) -> Option<Subject> {
    let (list, digits) = match word.strip_prefix("hc") {
        Some(digits) => (List::HardCases, digits),
        None => (List::Promises, word.strip_prefix('p')?),
    };
    let number = digits.parse().ok().filter(|_| digits.len() == 2)?;
    Some(Subject { list, number })
}

/// The failure modes. The number is the position in the list.
const CASES: [&str; 65] = [
    "The memory of a pending operation is freed or reused before its completion",
    "A completion comes before the call that submitted the operation has returned",
    "`CancelIo` cancels the operations of the calling thread only",
    "A completion wins against its cancellation",
    "A late completion reaches the next holder of the same socket value",
    "The result is queried from a handle that has been closed",
    "A warning status is taken for success, and a close for the end of the stream",
    "An accepted socket inherits its listener's event and non-blocking mode",
    "A listener is closed by an earlier handler of the batch that its event is in",
    "Accepting fails: the peer has closed, or there are no descriptors left",
    "An operation succeeds or fails immediately, with a packet or without",
    "A receive of zero bytes that completes is taken for the end of the stream",
    "Reading is stopped and started again inside a handler",
    "FIN, reset and half-close are mistaken for each other",
    "Closing with unread bytes resets, and destroys the last output in flight",
    "`shutdown` is expected to end a pending receive",
    "A write of zero bytes is taken for a close",
    "A send is partial, or fails after some of it was sent",
    "One source is always ready, and the others starve",
    "More sources than a wait function takes handles",
    "A timeout below a millisecond becomes none at all, and the loop spins",
    "A wait returns early, and timers go off early",
    "A huge timeout overflows, or becomes infinite",
    "A signal restarts the wait with its full timeout",
    "A timeout of zero never asks the system",
    "Console records that are not keys keep the handle signalled",
    "A blocked console read is cancelled, and typed text is lost",
    "A surrogate pair is split across console records",
    "Ctrl-C is taken for the end of input",
    "The console is left in raw mode",
    "Redirected input always looks ready",
    "The reactor is dropped with operations in flight",
    "Two receives are posted for one socket, and bytes change places",
    "More is received than the caller has room for, and the rest is dropped",
    "The output queue is full, and output is dropped silently",
    "A pipe hangs up with bytes still in it",
    "Tables end at some number of descriptors",
    "Posts are merged, and completions vanish",
    "An urgent byte ends a receive early, and the rest of the stream waits",
    "A submission fails with a warning, and a packet still follows",
    "A packet on the port belongs to a foreign operation",
    "Posting a wake fails once, and all later wakes are silent",
    "The peer floods after a send has failed",
    "A reset before a close or half-close is reported as a failed call",
    "Memory runs out for one send or receive, and the connection ends",
    "A network event was recorded and not enabled again",
    "A forked child tears down its copy of the reactor, or receives the posts of its parent",
    "Two events of one wait share a buffer",
    "A signal handler sets a flag during a long wait of a C program",
    "A C program reads a piped standard input itself, on Windows",
    "Standard output or the terminal is non-blocking, and output is lost",
    "The process group is orphaned, and the stop signal stops it permanently",
    "A popup of the Windows console takes the keys that were to end a read",
    "A Windows console that is held is released by the first key, which is lost",
    "The line of a Windows console is full, and takes no key that ends a read",
    "Two readers share the input of one console",
    "Redirected input begins with a byte order mark, or is UTF-16",
    "Wide, combining and joined characters are miscounted, and rows of a line are left on the screen",
    "A connect is registered before it has begun, connects to itself, or fails in the call",
    "A connected socket is used before its context is updated",
    "A receive of zero bytes is posted on a datagram socket, and eats the datagram",
    "An ICMP error ends the receives of a datagram socket",
    "Names are looked up by threads that do other work as well, and one dead server stops all of it",
    "A file is sent to a peer that has gone, and SIGPIPE ends the process",
    "A transmission of a file fails, and the stream continues behind an unknown number of bytes",
];

/// The promises. The number is the position in the list.
const PROMISES: [&str; 21] = [
    "**One waiter, by type.** `Reactor::wait` borrows the reactor exclusively, and a reactor cannot move to another thread. \
     Only a `Waker`, a `Poster` and a `Sender` cross threads.",
    "**No polling interval.** The wait returns an event as soon as the system reports it, whatever else is registered.",
    "**All sources, fairly.** A wait collects from each ready source, up to the capacity of the events; the rest comes \
     first in the next wait. No source can starve another one.",
    "**Timeouts** end no wait early and never spin. Short ones round up, huge ones are clamped, a signal does not \
     lengthen them, and a timeout of zero asks each source once.",
    "**Bytes stay put.** The data of an event is valid until the `Events` are reused, and the borrow checker enforces it.",
    "**Nothing received is lost**, and the order is kept: data, then the end of the stream, then `Closed` (or `Released`), \
     once and last. A reset is distinguishable from an orderly end.",
    "**No stale events.** After a removal no event of that registration is delivered, whatever was in flight.",
    "**Half-close works.** After the peer's FIN the connection can still send.",
    "**Sends** are copied, queued, coalesced, in order, whole, and bounded. `close` sends the queue first, within the \
     linger time; `abort` resets.",
    "**Reads can be paused** and resumed for each connection.",
    "**Listeners survive** bursts, peers that are already gone, and a lack of descriptors, which is reported once and \
     retried with growing pauses.",
    "**Wakes** are sticky and coalesced. **Posts** are delivered in order, each once, and are bounded with a clear error.",
    "**Timers**, one-shot and periodic, do not drift. Missed ticks are counted, and ties expire in the order of insertion.",
    "**Teardown.** Dropping the reactor at any moment leaks nothing and frees nothing early.",
    "**No allocation** per event in steady state, and little memory for an idle connection.",
    "**Errors name their cause**: the action, the source, and the system's error. Each misuse has a kind of its own.",
    "**Observable.** `tracing` events, and counters of waits, events, bytes and kernel calls.",
    "**A crew keeps the order** of each connection, both ways: its messages, then `Left`, once and last. After a `close` or \
     an `abort` of the game nothing else comes.",
    "**A crew is bounded**, both ways. While the game takes no messages, members stop reading; while a peer does not read, \
     sends are refused until there is room. Nothing is lost by that.",
    "**A failure in a crew stays where it is.** A member that fails is reported, its connections leave in the order of their \
     arrival, and the others go on.",
    "**A crew's threads** come and go without its connections: each stays with its member. Dropping the crew joins all \
     threads, in bounded time.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_a_prefix_and_two_digits() {
        assert_eq!(parse("hc05"), Some(Subject { list: List::HardCases, number: 5 }));
        assert_eq!(parse("p17"), Some(Subject { list: List::Promises, number: 17 }));
        for word in ["hc5", "p7", "polls", "hcl", "p", "hc005", "x05"] {
            assert_eq!(parse(word), None, "{word}");
        }
    }
}
