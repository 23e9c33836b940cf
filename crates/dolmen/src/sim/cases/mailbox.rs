//! Posts and wakes of other threads.

use super::*;

#[test]
pub(super) fn hc38_posts_that_are_waiting_are_neither_merged_nor_lost() {
    let mut fixture = Fixture::with(Style::Readiness, Config { max_events: 3, ..Fixture::CONFIG });
    let poster = Poster::new(fixture.engine.mailbox());
    let mut next = 0;
    for round in 0..100 {
        for value in 0..40 {
            poster.post(round * 40 + value, Token(0)).expect("post");
        }
        for seen in fixture.settle() {
            assert!(matches!(seen, Seen::Posted(value) if value == next), "{seen:?} instead of {next}");
            next += 1;
        }
        assert_eq!(next, round * 40 + 40);
    }
}

/// Another thread's signal fails once, during a wait. What it sent is refused, or delivered all the same, and what is
/// sent later ends the wait as always.
#[test]
pub(super) fn hc42_a_signal_that_fails_does_not_suppress_a_later_one() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let poster = Poster::new(fixture.engine.mailbox());
        let waker = Waker::new(fixture.engine.mailbox());
        // A wake has no caller to report to, and signals again.
        fixture.world.borrow().signal.fail_in(1);
        fixture.world.borrow_mut().schedule(1_000_000, move |_| waker.wake());
        assert!(matches!(fixture.wait(Duration::from_secs(3_600))[..], [Seen::Woken]));
        assert!(fixture.now_ns() < 2_000_000, "the wake was seen at {} ns", fixture.now_ns());
        // A post reports the failure, and was not taken.
        fixture.world.borrow().signal.fail_in(1);
        let error = poster.post(1, Token(0)).expect_err("there is no signal for it");
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert_eq!(fixture.stats().signals_failed, 2);
        assert!(fixture.turn().is_empty(), "it was not taken");
        // During a wait as well, and the next one succeeds.
        fixture.world.borrow().signal.fail_in(1);
        let start_ns = fixture.now_ns();
        fixture.world.borrow_mut().schedule(start_ns + 1_000_000, move |_| {
            poster.post(2, Token(0)).expect_err("there is no signal for it");
            poster.post(3, Token(0)).expect("the next one succeeds");
        });
        let seen = fixture.wait(Duration::from_secs(3_600));
        assert!(matches!(seen[..], [Seen::Posted(3)]), "{seen:?}");
        assert!(fixture.now_ns() < start_ns + 2_000_000, "the post was seen at {} ns", fixture.now_ns());
    }
}

/// A part is drained, and the rest is reported without another value; a value that is withdrawn is not reported; the end
/// follows the values.
#[test]
pub(super) fn hc42_an_inbox_is_reported_until_it_is_drained_and_then_its_end() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let (sender, mut inbox) = channel::<u64>(fixture.engine.mailbox(), 8, Token(0));
        for value in 1..=3 {
            sender.send(value).expect("send");
        }
        assert!(matches!(fixture.turn()[..], [Seen::Inbox]));
        assert_eq!(inbox.drain().next(), Some(1));
        assert!(matches!(fixture.turn()[..], [Seen::Inbox]), "two are left");
        assert_eq!(inbox.drain().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(fixture.turn().len(), 0);
        let signal = Arc::clone(&fixture.world.borrow().signal);
        signal.fail_in(1);
        let refused = sender.send(4).expect_err("the signal has failed");
        assert_eq!((refused.error.kind(), refused.value), (ErrorKind::Exhausted, 4));
        assert_eq!(fixture.turn().len(), 0, "an event for a value that was withdrawn");
        assert_eq!(inbox.len(), 0);
        // An event that the caller has made needless.
        sender.send(5).expect("send");
        fixture.engine.wait(&mut fixture.events, Some(Duration::ZERO)).expect("wait");
        assert_eq!(inbox.drain().collect::<Vec<_>>(), [5]);
        assert_eq!(fixture.events.drain().count(), 0);
        sender.send(6).expect("send");
        drop(sender);
        assert!(!inbox.is_closed(), "a value waits");
        assert!(matches!(fixture.turn()[..], [Seen::Inbox]));
        assert_eq!(inbox.drain().collect::<Vec<_>>(), [6]);
        assert!(inbox.is_closed());
        assert!(matches!(fixture.turn()[..], [Seen::Inbox]), "the end");
        assert_eq!(fixture.turn().len(), 0);
    }
}
