//! Look-ups of names, and connections to hosts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::*;
use crate::kernel::names::no_address;
use crate::kernel::sim::names::addresses_of;
use crate::kernel::sim::world::{Answer, REFUSED, TIMED_OUT};
use crate::token::LookupId;

const MS: u64 = 1_000_000;

fn resolve(fixture: &mut Fixture, host: &str) -> LookupId {
    fixture.engine.resolve(host, 23, Token(0)).expect("it begins")
}

fn lookups_of(seen: &[Seen]) -> Vec<LookupId> {
    let of = |seen: &Seen| match *seen {
        Seen::Resolved(lookup, _) | Seen::Named(lookup, _) => lookup,
        ref other => panic!("{other:?}"),
    };
    seen.iter().map(of).collect()
}

#[test]
fn a_look_up_ends_once_with_what_was_found() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let found = resolve(&mut fixture, "h5");
        let missing = resolve(&mut fixture, "h8");
        let ip = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 2, last));
        let named = fixture.engine.lookup_name(ip(5), Token(0)).expect("it begins");
        let stranger = fixture.engine.lookup_name(ip(6), Token(0)).expect("it begins");
        let mut seen = fixture.settle();
        seen.sort_by_key(|seen| lookups_of(std::slice::from_ref(seen)));
        let address = |at| SocketAddr::from(([10, 0, at, 5], 23));
        let expected = [
            Seen::Resolved(found, Ok(vec![address(0), address(1), address(2)])),
            Seen::Resolved(missing, Err("no such host".to_owned())),
            Seen::Named(named, Ok("h5".to_owned())),
            Seen::Named(stranger, Err("the name of the address does not lead back to it".to_owned())),
        ];
        assert_eq!(format!("{seen:?}"), format!("{expected:?}"));
        assert!(matches!(&seen[2], Seen::Named(_, Ok(name)) if name == "h5"), "{seen:?}");
        assert_eq!(fixture.stats().lookups, 0);
    }
}

/// A worker cannot be interrupted: the answer of a cancelled look-up comes when the slot has another holder.
#[test]
pub(super) fn p07_a_late_answer_is_not_the_next_holders() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        // Both workers take theirs.
        let taken = ["h1", "h2"].map(|host| resolve(&mut fixture, host));
        while fixture.world.borrow().names_in_progress < 2 {
            assert!(fixture.wait(Duration::from_micros(10)).is_empty());
        }
        assert!(taken.into_iter().all(|lookup| fixture.engine.cancel_lookup(lookup)));
        let next = ["h5", "h6"].map(|host| resolve(&mut fixture, host));
        let mut seen = fixture.settle();
        seen.sort_by_key(|seen| lookups_of(std::slice::from_ref(seen)));
        let mut of = next;
        of.sort();
        assert_eq!(lookups_of(&seen), of);
        for seen in &seen {
            let Seen::Resolved(lookup, Ok(addresses)) = seen else { panic!("{seen:?}") };
            let host = if *lookup == next[0] { 5 } else { 6 };
            assert_eq!(addresses[0], SocketAddr::from(([10, 0, 0, host], 23)));
        }
        assert_eq!(fixture.stats().lookups, 0);
    }
}

/// More answers than events: what does not fit comes with the next waits, and an outer loop does not block meanwhile.
#[test]
pub(super) fn answers_that_do_not_fit_come_with_the_next_waits() {
    for style in Style::BOTH {
        let mut fixture = Fixture::with(style, Config { max_events: 1, ..Fixture::CONFIG });
        for _ in 0..8 {
            resolve(&mut fixture, "h1");
        }
        let refused = fixture.engine.resolve("h1", 23, Token(0)).map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::LookupsFull));
        // The caller does not wait until all have been answered.
        for _ in 0..20 {
            fixture.world.borrow_mut().now_ns += 1_000 * MS;
            world::run_scheduled(&fixture.world);
        }
        let later_ns = fixture.now_ns();
        for left in (0..8).rev() {
            assert_eq!(fixture.engine.next_timeout_ns(), Some(0));
            assert_eq!(fixture.wait(Duration::from_secs(3_600)).len(), 1);
            assert_eq!(fixture.stats().lookups, left);
        }
        assert!(fixture.now_ns() < later_ns + MS, "no wait has blocked");
        assert!(fixture.turn().is_empty());
    }
}

#[test]
fn without_a_thread_a_look_up_is_refused_and_with_one_it_waits() {
    let mut fixture = Fixture::new(Style::Readiness);
    fixture.world.borrow_mut().threads_exhausted = true;
    let refused = fixture.engine.resolve("h1", 23, Token(0)).map_err(|error| error.kind());
    assert_eq!((refused, fixture.stats().lookups), (Err(ErrorKind::Exhausted), 0));
    fixture.world.borrow_mut().threads_exhausted = false;
    let first = resolve(&mut fixture, "h1");
    fixture.world.borrow_mut().threads_exhausted = true;
    let second = resolve(&mut fixture, "h1");
    assert_eq!(lookups_of(&fixture.settle()), [first, second]);
}

/// Connects to a host whose addresses have these answers. Returns the connection as well.
fn connect(fixture: &mut Fixture, answers: &[Answer]) -> ConnId {
    let count = answers.len() as u8;
    let addresses = addresses_of(count, 4_000).zip(answers.iter().copied());
    fixture.world.borrow_mut().answers.extend(addresses);
    fixture.engine.connect_host(&format!("c{count}"), 4_000, Token(0)).expect("it begins")
}

/// Waits of a second, until something happens.
fn next(fixture: &mut Fixture) -> Vec<Seen> {
    (0..30).map(|_| fixture.wait(Duration::from_secs(1))).find(|seen| !seen.is_empty()).expect("an event")
}

#[test]
pub(super) fn a_silent_address_delays_the_next_one_by_250_milliseconds() {
    for style in Style::BOTH {
        let mut fixture = Fixture::new(style);
        let accepts = Answer::Accepts { after_ns: MS };
        let conn = connect(&mut fixture, &[Answer::Silent, accepts, Answer::Silent]);
        fixture.engine.send(conn, b"hello").expect("it is queued");
        let seen = next(&mut fixture);
        // The second address is of the other family.
        let second = addresses_of(2, 4_000).last().expect("there are two");
        assert!(matches!(seen[..], [Seen::Connected(of, peer)] if of == conn && peer == second), "{seen:?}");
        let took_ns = fixture.now_ns();
        assert!((250 * MS..320 * MS).contains(&took_ns), "{took_ns}");
        fixture.engine.abort(conn).expect("it is open");
        assert!(closed(&fixture.settle(), conn).is_some());
        fixture.assert_empty();
    }
}

#[test]
fn a_host_that_nobody_is_at_ends_with_one_reason() {
    let refuses = Answer::Refuses { after_ns: MS };
    let table: [(&[Answer], CloseReason); 4] = [
        (&[], CloseReason::Unresolved { error: Arc::new(no_address()) }),
        (&[Answer::Unreachable, refuses], CloseReason::Failed { code: REFUSED.code }),
        (&[refuses, Answer::Silent, refuses], CloseReason::Failed { code: TIMED_OUT.code }),
        (&[Answer::Itself, refuses], CloseReason::Failed { code: REFUSED.code }),
    ];
    for style in Style::BOTH {
        for (answers, reason) in &table {
            let mut fixture = Fixture::new(style);
            let conn = connect(&mut fixture, answers);
            let seen = next(&mut fixture);
            assert_eq!((seen.len(), closed(&seen, conn)), (1, Some(reason.clone())), "{answers:?}");
            assert!(fixture.settle().is_empty());
            fixture.assert_empty();
        }
    }
}

/// The look-up and the attempts end with the connection, at any time.
#[test]
pub(super) fn p07_a_removed_connection_leaves_neither_a_look_up_nor_an_attempt() {
    for style in Style::BOTH {
        for after_us in [0, 50, 150, 300, 1_000, 5_000, 60_000, 300_000] {
            let mut fixture = Fixture::new(style);
            let conn = connect(&mut fixture, &[Answer::Silent, Answer::Accepts { after_ns: 10_000 * MS }]);
            assert!(fixture.wait(Duration::from_micros(after_us)).is_empty());
            assert!(fixture.engine.remove(conn));
            assert!(fixture.settle().is_empty());
            fixture.assert_empty();
            assert_eq!(fixture.stats().lookups, 0);
        }
    }
}
