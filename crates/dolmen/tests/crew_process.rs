//! A crew's threads in their process: the signals that they leave to the program, and a fork.
#![cfg(target_os = "linux")]

mod common;
mod crew_rig;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::fork::fork;
use common::{DEADLINE, Rig, in_child, is_child, pair, watchdog};
use crew_rig::{CREW, Game, LINKS, fail, numbered};
use dolmen::{Codec, Crew, CrewBuilder, CrewEvent, Link, LinkId};

/// The signals that a thread's own fault raises: SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS.
const OWN_FAULTS: [u32; 6] = [4, 5, 7, 8, 11, 31];
/// No thread can block SIGKILL and SIGSTOP, and 32 and 33 belong to the C library.
const NOT_BLOCKED: [u32; 4] = [9, 19, 32, 33];

/// The names of the members' threads, and the signals that each blocks.
fn masks_of_members() -> Vec<(String, u64)> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    // One that has ended in the meantime has no status.
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
    let mut masks: Vec<(String, u64)> = texts
        .map(|text| {
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.expect("a field of /proc").trim().to_owned()
            };
            (field("Name:"), u64::from_str_radix(&field("SigBlk:"), 16).expect("a mask"))
        })
        .filter(|(name, _)| name.starts_with("dolmen-crew-"))
        .collect();
    masks.sort();
    masks
}

/// In a process of its own, without the members of other tests.
#[test]
fn hc49_the_members_threads_block_all_signals_and_are_gone_after_the_drop() {
    if !is_child() {
        return in_child();
    }
    let _watchdog = watchdog();
    let mut game = Game::new(2);
    let mut connections: Vec<(LinkId, TcpStream)> = (0..2).map(|_| game.connect()).collect();
    for (link, peer) in &mut connections {
        // Each member has named itself when its codec answers.
        game.echo(*link, peer, "here");
    }
    let open = OWN_FAULTS.into_iter().chain(NOT_BLOCKED).fold(0, |set, signal| set | 1 << (signal - 1));
    let expected = ["dolmen-crew-0", "dolmen-crew-1"].map(|name| (name.to_owned(), !open));
    assert_eq!(masks_of_members(), expected);
    game.drop_crew();
    assert_eq!(masks_of_members(), [], "they are joined");
}

/// Members that are no longer needed are joined by the rounds that follow, and one that has failed.
#[test]
fn p21_a_member_that_ends_is_joined_while_the_crew_goes_on() {
    if !is_child() {
        return in_child();
    }
    let _watchdog = watchdog();
    let mut game = Game::new(3);
    let (links, mut peers): (Vec<LinkId>, Vec<TcpStream>) = (0..3).map(|_| game.connect()).unzip();
    for (&link, peer) in links.iter().zip(&mut peers) {
        game.echo(link, peer, "here");
    }
    peers[1].write_all(b"panic\n").expect("write");
    game.seen_until_left(&[links[1]]);
    assert_eq!(names(), ["dolmen-crew-0", "dolmen-crew-2"]);
    drop(peers.remove(0));
    game.set_threads(0);
    game.seen_until_left(&[links[0]]);
    assert_eq!(names(), ["dolmen-crew-2"]);
    game.echo(links[2], &mut peers[1], "still here");
    game.set_threads(2);
    assert_eq!(names().len(), 2);
}

fn names() -> Vec<String> {
    masks_of_members().into_iter().map(|(name, _)| name).collect()
}

/// The members are at work while the process forks. The child's copy has no threads, so that nothing of it answers; its drop
/// ends, and takes nothing from the parent.
#[test]
fn hc47_a_forked_child_drops_its_copy_of_a_crew_and_the_parent_goes_on() {
    for threads in [1, 2] {
        let _watchdog = watchdog();
        let mut game = Game::new(threads);
        let (links, mut peers): (Vec<LinkId>, Vec<TcpStream>) = (0..8).map(|_| game.connect()).unzip();
        for _ in 0..20 {
            for peer in &mut peers {
                peer.write_all(&numbered(20)).expect("it fits into the system's buffers");
            }
            let mut copy = Some(game);
            fork(|| {
                let mut game = copy.take().expect("it is there");
                for &link in &links {
                    game.send(link, "from the child");
                }
                drop(game);
            })
            .ends_well();
            game = copy.take().expect("the child has dropped its own");
            let mut said = 0;
            game.until("lines", |_, event| {
                assert!(matches!(event, CrewEvent::Message { .. }), "{event:?}");
                said += 1;
                said == 20 * links.len()
            });
        }
        for (&link, peer) in links.iter().zip(&mut peers) {
            // Nothing that the child has sent comes before it.
            game.echo(link, peer, "still here");
        }
        let (_rig, codecs) = game.drop_crew();
        assert_eq!(codecs, 0);
    }
}

/// A child neither waits for the parent's threads, which are not its own, nor starts any.
#[test]
fn hc47_a_forked_child_joins_no_member_and_starts_none() {
    let _watchdog = watchdog();
    let mut game = Game::new(2);
    let (link, mut peer) = game.connect();
    game.echo(link, &mut peer, "here");
    // This one has no connection, and ends: it is joined by the next round.
    let reactor = &game.rig.reactor;
    game.crew.set_threads(reactor, 1).expect("one less");
    let mut copy = Some(game);
    fork(|| {
        let mut game = copy.take().expect("it is there");
        game.round(std::time::Duration::ZERO, |_, event| panic!("{event:?}"));
        let refused = game.crew.set_threads(&game.rig.reactor, 2).expect_err("it starts none");
        assert_eq!(refused.kind(), dolmen::ErrorKind::Os);
        drop(game);
    })
    .ends_well();
    let mut game = copy.take().expect("the child has dropped its own");
    game.echo(link, &mut peer, "still here");
}

/// Panics when it is dropped in a process that has not made it.
struct Owned {
    process: u32,
}

impl Owned {
    fn new() -> Owned {
        Owned { process: std::process::id() }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            fail("a destructor");
        }
    }
}

/// Delivers one for each byte.
struct Owners;

impl Codec for Owners {
    type Message = Owned;
    type Reply = Owned;
    type Shared = ();

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        data.iter().for_each(|_| link.deliver(Owned::new()));
    }

    fn send(&mut self, _: Owned, link: &mut Link<'_, Self>) {
        link.send(b"x");
    }
}

/// The messages that its round has not handed out, and the replies that it holds: two panics at a time would end the child.
#[test]
fn p21_the_values_of_a_forked_childs_copy_may_all_panic_when_they_are_dropped() {
    for threads in [1, 2] {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let settings = CrewBuilder::new(CREW).threads(threads);
        let mut crew: Crew<Owners> = settings.build(&rig.reactor).expect("a crew");
        let (ours, mut peer) = pair();
        let link = crew.add(&mut rig.reactor, ours, Owners, LINKS);
        peer.write_all(b"abc").expect("write");
        let mut first = None;
        while first.is_none() {
            assert!(crew_rig::wait(&mut rig, &mut crew, DEADLINE), "no message");
            first = crew.take_event(&mut rig.reactor);
        }
        for _ in 0..3 {
            let sent = crew.send(&mut rig.reactor, link, Owned::new());
            sent.map_err(|refused| refused.error).expect("there is room");
        }
        let mut copy = Some(crew);
        fork(|| drop(copy.take())).ends_well();
        crew = copy.take().expect("the child has dropped its own");
        let rest = std::iter::from_fn(|| crew.next_event(&mut rig.reactor));
        assert!(rest.count() >= 2, "the parent's are whole");
        peer.read_exact(&mut [0; 3]).expect("its replies have crossed");
    }
}
