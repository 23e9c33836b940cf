//! Promise 15 for a crew: a message and its reply allocate nothing but themselves, on the game's thread and on a member's.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use common::counting::{ALLOCATIONS, Counting};
use common::{Rig, note_progress, pair, watchdog};
use dolmen::{Codec, Crew, CrewBuilder, CrewEvent, Link, LinkId, Token};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONNECTIONS: usize = 32;
const CREW: Token = Token(1);
const LINE: [u8; 80] = [b'x'; 80];

/// Delivers what arrives, as the count of its bytes and of its thread's allocations so far. It has a deadline, which moves. A
/// reply of 0 stops its thread at a gate.
struct Counted {
    deadline: Instant,
    gate: Arc<Barrier>,
}

impl Codec for Counted {
    type Message = (usize, u64);
    type Reply = usize;
    type Shared = ();

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        self.deadline = link.now() + Duration::from_secs(60);
        link.deliver((data.len(), ALLOCATIONS.get()));
    }

    fn send(&mut self, count: usize, link: &mut Link<'_, Self>) {
        if count == 0 {
            self.gate.wait();
        }
        link.send(&LINE[..count]);
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }
}

/// How many messages have been delivered on threads of the crew.
fn threads_messages(crew: &Crew<Counted>) -> u64 {
    crew.members().filter(|member| member.member.is_some()).map(|member| member.messages).sum()
}

/// One line to and from every peer. A member has delivered all of them before the game takes the first, and gets the
/// replies of each wait together. With a link and its gate the lines come in one wait of the member, and so do the replies.
/// Returns the most that a codec's thread has allocated so far.
fn round(
    rig: &mut Rig,
    crew: &mut Crew<Counted>,
    peers: &mut [TcpStream],
    all_together: Option<(LinkId, &Barrier)>,
) -> u64 {
    let delivered = threads_messages(crew) + if crew.threads() > 0 { CONNECTIONS as u64 } else { 0 };
    if let Some((link, _)) = all_together {
        crew.send(&mut rig.reactor, link, 0).expect("there is room");
    }
    for peer in peers.iter_mut() {
        peer.write_all(&LINE).expect("write");
    }
    if let Some((_, gate)) = all_together {
        gate.wait();
    }
    while threads_messages(crew) < delivered {
        std::thread::yield_now();
    }
    let (mut answered, mut allocations) = (0, 0);
    while answered < CONNECTIONS * LINE.len() {
        note_progress(rig.reactor.wait(&mut rig.events, None).expect("wait"));
        for event in &mut rig.events {
            assert!(crew.handle(&mut rig.reactor, event).is_none(), "it is not the crew's");
        }
        while let Some(event) = crew.take_event(&mut rig.reactor) {
            let CrewEvent::Message { link, message: (count, of_thread), .. } = event else {
                panic!("{event:?}")
            };
            crew.send(&mut rig.reactor, link, count).expect("there is room");
            (answered, allocations) = (answered + count, allocations.max(of_thread));
        }
        if all_together.is_none() || answered == CONNECTIONS * LINE.len() {
            crew.end_round(&mut rig.reactor);
        }
    }
    rig.reactor.flush();
    let mut answer = [0; LINE.len()];
    for peer in peers.iter_mut() {
        peer.read_exact(&mut answer).expect("read");
        assert_eq!(answer, LINE);
    }
    allocations
}

#[test]
fn p15_messages_and_replies_of_a_crew_allocate_nothing() {
    // One member, so that the counts are those of one thread.
    // With room for all messages, and for few: then the queue is full and has room again in each round.
    for (threads, capacity) in [(0, 4096), (1, 4096), (0, 4), (1, 4)] {
        let _watchdog = watchdog();
        let mut rig = Rig::new();
        let settings = CrewBuilder::new(CREW).threads(threads).message_capacity(capacity);
        let mut crew = settings.build(&rig.reactor).expect("a crew");
        let (mut links, mut peers, gate) = (Vec::new(), Vec::new(), Arc::new(Barrier::new(2)));
        for _ in 0..CONNECTIONS {
            let (ours, peer) = pair();
            let deadline = Instant::now() + Duration::from_secs(60);
            let codec = Counted { deadline, gate: Arc::clone(&gate) };
            links.push(crew.add(&mut rig.reactor, ours, codec, Token(2)));
            peers.push(peer);
        }
        for count in 0..100 {
            // The most that a member may have to do in one turn.
            let all_together = (threads > 0 && count % 2 == 0).then_some((links[0], &*gate));
            round(&mut rig, &mut crew, &mut peers, all_together);
        }
        let before = (ALLOCATIONS.get(), round(&mut rig, &mut crew, &mut peers, None));
        let mut of_member = 0;
        for _ in 0..if cfg!(windows) { 20 } else { 200 } {
            of_member = round(&mut rig, &mut crew, &mut peers, None);
        }
        let allocated = (ALLOCATIONS.get() - before.0, of_member - before.1);
        assert_eq!(
            allocated,
            (0, 0),
            "of the game's thread and of the codecs', with {threads} threads and room for {capacity}"
        );
    }
}
