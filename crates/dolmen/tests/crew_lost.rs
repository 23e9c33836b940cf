//! Promise 18 for [`Codec::closed`]: a codec learns that its connection is lost, and of no end that it or the game has wanted.

mod common;
mod crew_rig;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Rig, narrow_pair, reset, watchdog};
use crew_rig::{CREW, LINKS, THREADS, until, until_true};
use dolmen::{CloseReason, Codec, Crew, CrewBuilder, CrewEvent, LeaveReason, Link, LinkId, Reactor};

/// More than the reactor and the system have room for.
const FILLING: usize = 1_000_000;

/// Keeps what arrives, and delivers nothing for it, until its connection is lost.
struct Keeps {
    kept: Vec<u8>,
    losses: Arc<AtomicUsize>,
}

impl Codec for Keeps {
    type Message = Vec<u8>;
    /// An empty one closes.
    type Reply = Vec<u8>;
    type Shared = ();

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        match data {
            b"close" => return link.close(),
            b"abort" => return link.abort(),
            _ => self.kept.extend_from_slice(data),
        }
        link.deliver(Vec::new());
    }

    /// Wine may query the error of a reset itself, so that the reader finds the end of the stream. A write fails then.
    fn end_of_stream(&mut self, link: &mut Link<'_, Self>) {
        link.send(b"?");
    }

    fn send(&mut self, reply: Vec<u8>, link: &mut Link<'_, Self>) {
        if reply.is_empty() {
            return link.close();
        }
        link.send(&reply);
    }

    fn closed(&mut self, link: &mut Link<'_, Self>) {
        self.losses.fetch_add(1, Ordering::Relaxed);
        link.send(b"to no one");
        link.deliver(std::mem::take(&mut self.kept));
    }
}

fn add_keeping(rig: &mut Rig, crew: &mut Crew<Keeps>, losses: &Arc<AtomicUsize>) -> (LinkId, TcpStream) {
    let (ours, peer) = narrow_pair();
    let codec = Keeps { kept: Vec::new(), losses: Arc::clone(losses) };
    (crew.add(&mut rig.reactor, ours, codec, LINKS), peer)
}

/// A crew with one connection of this kind.
struct Kept {
    rig: Rig,
    crew: Crew<Keeps>,
    link: LinkId,
    peer: Option<TcpStream>,
    losses: Arc<AtomicUsize>,
}

impl Kept {
    fn new(threads: usize) -> Kept {
        let reactors = Reactor::builder().high_water_mark(8 * 1024);
        let mut rig = Rig::with(&reactors);
        let settings = CrewBuilder::new(CREW).threads(threads).reactors(reactors);
        let mut crew: Crew<Keeps> = settings.build(&rig.reactor).expect("a crew");
        let losses: Arc<AtomicUsize> = Arc::default();
        let (link, peer) = add_keeping(&mut rig, &mut crew, &losses);
        Kept { rig, crew, link, peer: Some(peer), losses }
    }

    fn peer(&mut self) -> &mut TcpStream {
        self.peer.as_mut().expect("not lost yet")
    }

    fn say(&mut self, text: &[u8]) {
        self.peer().write_all(text).expect("write");
        let events = self.until(|event| matches!(event, CrewEvent::Message { .. }));
        assert!(
            matches!(&events[..], [CrewEvent::Message { message, .. }] if message.is_empty()),
            "{events:?}"
        );
    }

    /// The peer reads nothing: the first of two replies blocks the link, and the other one waits.
    fn block(&mut self) {
        for reply in [vec![b'x'; FILLING], b"waits".to_vec()] {
            self.crew.send(&mut self.rig.reactor, self.link, reply).expect("there is room");
        }
        let link = self.link;
        until_true(&mut self.rig, &mut self.crew, |crew| crew.waiting(link).expect("it is there") == 1);
    }

    /// The peer resets the connection.
    fn lose(&mut self) {
        reset(self.peer.take().expect("not lost yet"));
    }

    fn until(&mut self, last: impl FnMut(&CrewEvent<Keeps>) -> bool) -> Vec<CrewEvent<Keeps>> {
        until(&mut self.rig, &mut self.crew, last)
    }

    fn losses(&self) -> usize {
        self.losses.load(Ordering::Relaxed)
    }
}

/// What it delivers then comes before the end.
#[test]
fn p18_a_codec_whose_connection_is_lost_may_deliver_what_it_has_kept() {
    for (threads, is_blocked) in THREADS.into_iter().flat_map(|threads| [(threads, false), (threads, true)]) {
        let _watchdog = watchdog();
        let mut kept = Kept::new(threads);
        kept.say(b"half a line");
        if is_blocked {
            kept.block();
        }
        kept.lose();
        let events = kept.until(|event| matches!(event, CrewEvent::Left { .. }));
        let [
            CrewEvent::Message { message, .. },
            CrewEvent::Left { reason: LeaveReason::Closed(CloseReason::Reset), .. },
        ] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((&message[..], kept.losses()), (&b"half a line"[..], 1), "with {threads} threads");
    }
}

/// The codec knows of its own close, and after that of the game no message reaches the game.
#[test]
fn p18_a_codec_is_not_called_for_an_end_that_it_or_the_game_has_wanted() {
    #[derive(Clone, Copy, Debug)]
    enum End {
        Close,
        Abort,
        CodecCloses,
        CodecAborts,
        CodecClosesOnReply,
    }
    let all = [End::Close, End::Abort, End::CodecCloses, End::CodecAborts, End::CodecClosesOnReply];
    for (threads, end) in THREADS.into_iter().flat_map(|threads| all.map(|end| (threads, end))) {
        let _watchdog = watchdog();
        let mut kept = Kept::new(threads);
        kept.say(b"half a line");
        match end {
            End::Close => kept.crew.close(&mut kept.rig.reactor, kept.link).expect("it is there"),
            End::Abort => kept.crew.abort(&mut kept.rig.reactor, kept.link).expect("it is there"),
            End::CodecCloses => kept.peer().write_all(b"close").expect("write"),
            End::CodecAborts => kept.peer().write_all(b"abort").expect("write"),
            End::CodecClosesOnReply => {
                kept.crew.send(&mut kept.rig.reactor, kept.link, Vec::new()).expect("there is room");
            }
        }
        // It is gone already, after an abort.
        let _ = kept.peer().shutdown(Shutdown::Write);
        let events = kept.until(|event| matches!(event, CrewEvent::Left { .. }));
        assert_eq!((events.len(), kept.losses()), (1, 0), "{events:?} after {end:?} with {threads} threads");
    }
}

/// The close waits behind a reply, so the connection is not closing yet when it is lost.
#[test]
fn p18_a_codec_is_not_called_for_a_connection_that_is_lost_after_the_games_close() {
    for threads in [0, 1] {
        let _watchdog = watchdog();
        let mut kept = Kept::new(threads);
        let (other, mut other_peer) = add_keeping(&mut kept.rig, &mut kept.crew, &Arc::default());
        kept.say(b"half a line");
        kept.block();
        kept.crew.close(&mut kept.rig.reactor, kept.link).expect("it is there");
        // It comes behind the close on the same way.
        kept.crew.send(&mut kept.rig.reactor, other, b"!".to_vec()).expect("there is room");
        kept.rig.reactor.flush();
        other_peer.read_exact(&mut [0]).expect("it has arrived");
        kept.lose();
        let events = kept.until(|event| matches!(event, CrewEvent::Left { .. }));
        assert_eq!((events.len(), kept.losses()), (1, 0), "{events:?} with {threads} threads");
    }
}
