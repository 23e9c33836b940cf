//! Promise 19 for [`Link::set_reading`]: a codec is not read while it does not want to be, and not while there is another
//! reason, whichever of them ends first.

mod common;
mod crew_rig;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use common::{DEADLINE, Rig, SILENCE, narrow_pair, watchdog};
use crew_rig::{CREW, LINKS, THREADS, round, silent, until, until_true, wait};
use dolmen::{Codec, Crew, CrewBuilder, CrewEvent, Link, LinkId, Reactor};

/// More than the reactor and the system have room for.
const FILLING: usize = 1_000_000;

/// What the game has the codec do. It sends a point afterwards.
#[derive(Clone, Copy)]
enum Order {
    Stop,
    Go,
    Nothing,
    /// Delivers three messages.
    Say,
    /// Sends so much that the link is blocked.
    Fill,
    /// The same, and stops, and goes on at a deadline, which is delivered as `!`.
    FillAndGoLater,
}

/// Delivers each byte.
#[derive(Default)]
struct Bytes {
    deadline: Option<Instant>,
}

impl Codec for Bytes {
    type Message = char;
    type Reply = Order;
    type Shared = ();

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        data.iter().for_each(|&byte| link.deliver(char::from(byte)));
    }

    fn send(&mut self, order: Order, link: &mut Link<'_, Self>) {
        match order {
            Order::Stop => link.set_reading(false),
            Order::Go => link.set_reading(true),
            Order::Nothing => {}
            Order::Say => "123".chars().for_each(|message| link.deliver(message)),
            Order::Fill => link.send(&[b'x'; FILLING]),
            Order::FillAndGoLater => {
                link.send(&[b'x'; FILLING]);
                link.set_reading(false);
                self.deadline = Some(link.now() + Duration::from_millis(10));
            }
        }
        link.send(b".");
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn expired(&mut self, link: &mut Link<'_, Self>) {
        assert!(link.is_blocked(), "the peer does not read");
        self.deadline = None;
        link.set_reading(true);
        link.deliver('!');
    }
}

/// A crew with one connection.
struct Game {
    rig: Rig,
    crew: Crew<Bytes>,
    link: LinkId,
    peer: TcpStream,
}

impl Game {
    fn new(threads: usize, message_capacity: usize) -> Game {
        let reactors = Reactor::builder().high_water_mark(8 * 1024);
        let mut rig = Rig::with(&reactors);
        let settings =
            CrewBuilder::new(CREW).threads(threads).reactors(reactors).message_capacity(message_capacity);
        let mut crew = settings.build(&rig.reactor).expect("a crew");
        let (ours, peer) = narrow_pair();
        let link = crew.add(&mut rig.reactor, ours, Bytes::default(), LINKS);
        Game { rig, crew, link, peer }
    }

    #[track_caller]
    fn send(&mut self, order: Order) {
        let sent = self.crew.send(&mut self.rig.reactor, self.link, order);
        sent.map_err(|refused| refused.error).expect("there is room");
    }

    /// Has the codec do this, and waits until it has. What the game has ordered before has been done as well.
    #[track_caller]
    fn order(&mut self, order: Order) {
        self.send(order);
        self.rig.reactor.flush();
        self.peer.read_exact(&mut [0]).expect("it has arrived");
    }

    fn write(&mut self, text: &str) {
        self.peer.write_all(text.as_bytes()).expect("write");
    }

    #[track_caller]
    fn silent(&mut self) {
        silent(&mut self.rig, &mut self.crew);
    }

    /// These messages come, and nothing else.
    #[track_caller]
    fn gets(&mut self, text: &str) {
        let mut got = String::new();
        let events = until(&mut self.rig, &mut self.crew, |event| {
            let CrewEvent::Message { message, .. } = event else { panic!("{event:?}") };
            got.push(*message);
            assert!(text.starts_with(&got), "{got:?} instead of {text:?}");
            got == text
        });
        assert_eq!(events.len(), text.len(), "{events:?} for {text:?}");
    }

    /// The peer reads so much. A codec on the game's thread sends it meanwhile, and nothing is delivered.
    #[track_caller]
    fn peer_reads(&mut self, count: usize) {
        let mut peer = self.peer.try_clone().expect("a second handle");
        let reader = thread::spawn(move || peer.read_exact(&mut vec![0; count]));
        while !reader.is_finished() {
            let events = round(&mut self.rig, &mut self.crew, Duration::from_millis(1));
            assert!(events.is_empty(), "{events:?}");
        }
        reader.join().expect("the reader").expect("it reads");
    }

    /// A round that takes nothing.
    fn takes_nothing(&mut self, timeout: Duration) {
        wait(&mut self.rig, &mut self.crew, timeout);
        self.crew.end_round(&mut self.rig.reactor);
    }

    fn received_bytes(&self) -> u64 {
        self.crew.members().map(|member| member.received_bytes).sum()
    }
}

#[test]
fn p19_a_codec_that_does_not_read_gets_nothing_until_it_does() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads, 4096);
        for text in ["a", "b"] {
            game.order(Order::Stop);
            game.write(text);
            game.silent();
            game.order(Order::Go);
            game.gets(text);
        }
        game.write("c");
        game.gets("c");
    }
}

/// Each of the two ends its own pause only.
#[test]
fn p19_a_connection_that_the_game_and_the_codec_have_paused_is_read_when_both_want_it() {
    for (threads, is_game_first) in
        THREADS.into_iter().flat_map(|threads| [(threads, false), (threads, true)])
    {
        let _watchdog = watchdog();
        let mut game = Game::new(threads, 4096);
        game.crew.pause(&mut game.rig.reactor, game.link).expect("it is there");
        game.order(Order::Stop);
        game.write("a");
        for goes_on_for_game in [is_game_first, !is_game_first] {
            game.silent();
            if goes_on_for_game {
                game.crew.resume(&mut game.rig.reactor, game.link).expect("it is there");
                game.order(Order::Nothing);
            } else {
                game.order(Order::Go);
            }
        }
        game.gets("a");
    }
}

/// The end of the block is not the end of the codec's own pause.
#[test]
fn p19_a_codec_that_does_not_read_is_not_read_when_its_peer_does() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads, 4096);
        game.order(Order::Stop);
        game.send(Order::Fill);
        game.write("a");
        game.peer_reads(FILLING + 1);
        game.silent();
        game.order(Order::Go);
        game.gets("a");
    }
}

/// And the other way round.
#[test]
fn p19_a_codec_that_reads_again_is_not_read_while_its_link_is_blocked() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads, 4096);
        game.send(Order::FillAndGoLater);
        game.gets("!");
        game.write("a");
        game.silent();
        let mut peer = game.peer.try_clone().expect("a second handle");
        let reader = thread::spawn(move || peer.read_exact(&mut vec![0; FILLING + 1]));
        game.gets("a");
        until_true(&mut game.rig, &mut game.crew, |_| reader.is_finished());
        reader.join().expect("the reader").expect("it reads");
    }
}

/// The game takes its messages again, which is not the end of the codec's own pause.
#[test]
fn p19_a_codec_that_does_not_read_is_not_read_when_the_game_takes_its_messages() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads, 1);
        game.write("abc");
        while game.received_bytes() < 3 {
            game.takes_nothing(DEADLINE);
        }
        game.order(Order::Stop);
        game.write("d");
        game.gets("abc");
        game.silent();
        game.order(Order::Go);
        game.gets("d");
    }
}

/// And the other way round.
#[test]
fn p19_a_codec_that_reads_again_is_not_read_while_the_game_takes_nothing() {
    for threads in THREADS {
        let _watchdog = watchdog();
        let mut game = Game::new(threads, 1);
        game.order(Order::Stop);
        game.order(Order::Say);
        // The turn of its messages is over.
        game.order(Order::Nothing);
        game.takes_nothing(Duration::ZERO);
        game.order(Order::Go);
        game.write("a");
        let end = Instant::now() + SILENCE;
        while Instant::now() < end {
            game.takes_nothing(Duration::from_millis(1));
            assert_eq!(game.received_bytes(), 0, "it is read with {threads} threads");
        }
        game.gets("123a");
    }
}
