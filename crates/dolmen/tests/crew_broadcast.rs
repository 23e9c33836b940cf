//! Promise 19 for a broadcast that a panic of the caller's code cuts short: what was not sent takes no one's room.

mod common;
mod crew_rig;

use std::cell::Cell;
use std::io::Read;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{Rig, pair, watchdog};
use crew_rig::{CREW, LINKS, fail, until, until_true};
use dolmen::{Codec, Crew, CrewBuilder, CrewEvent, LeaveReason, Link, LinkId, Reactor};

thread_local! {
    /// How many copies this thread can make.
    static COPIES: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Letter;

impl Clone for Letter {
    fn clone(&self) -> Letter {
        let left = COPIES.get().checked_sub(1).unwrap_or_else(|| fail("no copies"));
        COPIES.set(left);
        Letter
    }
}

/// Sends a byte for each reply, or panics.
struct Sends {
    panics: bool,
}

impl Codec for Sends {
    type Message = ();
    type Reply = Letter;
    type Shared = ();

    fn received(&mut self, _: &[u8], _: &mut Link<'_, Self>) {}

    fn send(&mut self, _: Letter, link: &mut Link<'_, Self>) {
        if self.panics {
            fail("a codec");
        }
        link.send(b"x");
    }
}

/// How many replies may be on their way.
const LIMIT: usize = 4;
const LOCAL: usize = 3;

/// Three connections on the game's thread, of which the second may panic, and two on each of some members.
struct Mixed {
    rig: Rig,
    crew: Crew<Sends>,
    all: Vec<(LinkId, TcpStream)>,
    panics: bool,
}

impl Mixed {
    fn new(threads: usize, panics: bool) -> Mixed {
        let mut rig = Rig::new();
        let mut crew: Crew<Sends> =
            CrewBuilder::new(CREW).reply_limit(LIMIT).build(&rig.reactor).expect("a crew");
        let mut all = Vec::new();
        for at in 0..LOCAL + 2 * threads {
            if at == LOCAL {
                crew.set_threads(&rig.reactor, threads).expect("threads");
            }
            let (ours, peer) = pair();
            let codec = Sends { panics: panics && at == 1 };
            all.push((crew.add(&mut rig.reactor, ours, codec, LINKS), peer));
        }
        Mixed { rig, crew, all, panics }
    }

    /// Those of the members first.
    fn links(&self) -> Vec<LinkId> {
        self.all.iter().rev().map(|(link, _)| *link).collect()
    }

    /// The broadcast panics. Afterwards each connection has room for all that it may have on its way, and gets it.
    #[track_caller]
    fn survives(mut self, in_round: bool, broadcast: impl FnOnce(&mut Crew<Sends>, &mut Reactor)) {
        if in_round {
            assert!(self.crew.take_event(&mut self.rig.reactor).is_none(), "the round begins");
        }
        let broadcast = AssertUnwindSafe(|| broadcast(&mut self.crew, &mut self.rig.reactor));
        catch_unwind(broadcast).expect_err("it panics");
        let Mixed { mut rig, mut crew, mut all, panics } = self;
        if panics {
            let events = until(&mut rig, &mut crew, |_| true);
            let [CrewEvent::Left { link, reason: LeaveReason::MemberFailed, .. }] = events[..] else {
                panic!("{events:?}")
            };
            assert_eq!(link, all.remove(1).0);
        }
        let have_room =
            |crew: &Crew<Sends>| all.iter().all(|(link, _)| crew.waiting(*link).expect("it is there") == 0);
        until_true(&mut rig, &mut crew, have_room);
        for (link, _) in &all {
            for _ in 0..LIMIT {
                let sent = crew.send(&mut rig.reactor, *link, Letter);
                sent.map_err(|refused| refused.error).expect("there is room");
            }
        }
        until_true(&mut rig, &mut crew, have_room);
        rig.reactor.flush();
        for (_, peer) in &mut all {
            peer.read_exact(&mut [0; LIMIT]).expect("it gets them");
        }
    }
}

/// With several members, and within a round and outside.
const CASES: [(usize, bool); 4] = [(1, false), (1, true), (2, false), (2, true)];

#[test]
fn p19_a_broadcast_at_which_a_codec_panics_takes_no_room() {
    for (threads, in_round) in CASES {
        let _watchdog = watchdog();
        let mixed = Mixed::new(threads, true);
        let links = mixed.links();
        mixed.survives(in_round, |crew, reactor| drop(crew.broadcast(reactor, links, &Letter)));
    }
}

/// At each of its copies: one for each member, and one for each connection on the game's thread.
#[test]
fn p19_a_broadcast_that_cannot_be_copied_takes_no_room() {
    for (threads, in_round) in CASES {
        for copies in 0..threads + LOCAL {
            let _watchdog = watchdog();
            let mixed = Mixed::new(threads, false);
            let links = mixed.links();
            COPIES.set(copies);
            mixed.survives(in_round, |crew, reactor| drop(crew.broadcast(reactor, links, &Letter)));
            COPIES.set(usize::MAX);
        }
    }
}

#[test]
fn p19_a_broadcast_whose_links_panic_takes_no_room() {
    for (threads, in_round) in CASES {
        for count in [0, 1, 2 * threads, 2 * threads + LOCAL] {
            let _watchdog = watchdog();
            let mixed = Mixed::new(threads, false);
            let links = mixed.links();
            let links = (0..).map(|at| if at < count { links[at] } else { fail("no more links") });
            mixed.survives(in_round, |crew, reactor| drop(crew.broadcast(reactor, links, &Letter)));
        }
    }
}
