//! When the replies of a game cross to the members of its crew.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use dolmen::{Codec, Crew, CrewBuilder, CrewEvent, Event, Events, Link, LinkId, Reactor, Token};

/// Delivers one message when its connection is there, and sends each reply.
struct Greeting;

impl Codec for Greeting {
    type Message = ();
    type Reply = u8;
    type Shared = ();

    fn opened(&mut self, link: &mut Link<'_, Self>) {
        link.deliver(());
    }

    fn received(&mut self, _: &[u8], _: &mut Link<'_, Self>) {}

    fn send(&mut self, reply: u8, link: &mut Link<'_, Self>) {
        link.send(&[reply]);
    }
}

struct Game {
    reactor: Reactor,
    crew: Crew<Greeting>,
    peer: TcpStream,
    link: LinkId,
}

/// A game in the middle of a round: it has got the first message of its only connection.
fn in_a_round() -> Game {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let peer = TcpStream::connect(listener.local_addr().expect("its address")).expect("connect");
    // Only a fault takes so long.
    peer.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut reactor = Reactor::new().expect("a reactor");
    let mut events = Events::with_capacity(16);
    let mut crew = CrewBuilder::new(Token(1)).threads(1).build(&reactor).expect("a crew");
    reactor.listen(listener, Token(0)).expect("listen");
    loop {
        reactor.wait(&mut events, None).expect("wait");
        for event in &mut events {
            if let Some(Event::Accepted { stream, .. }) = crew.handle(&mut reactor, event) {
                crew.add(&mut reactor, stream, Greeting, Token(2));
            }
        }
        while let Some(event) = crew.next_event(&mut reactor) {
            if let CrewEvent::Message { link, .. } = event {
                return Game { reactor, crew, peer, link };
            }
        }
    }
}

#[test]
fn replies_of_a_long_round_leave_before_its_end() {
    let Game { mut reactor, mut crew, mut peer, link } = in_a_round();
    let replies: Vec<u8> = (0..200).collect();
    for &reply in &replies {
        crew.send(&mut reactor, link, reply).expect("there is room");
    }
    // Three batches of 64. The round goes on.
    let mut arrived = [0; 192];
    peer.read_exact(&mut arrived).expect("full batches have crossed");
    assert_eq!(arrived, replies[..192]);
    while crew.next_event(&mut reactor).is_some() {}
    let mut rest = [0; 8];
    peer.read_exact(&mut rest).expect("the end of the round lets the others cross");
    assert_eq!(rest, replies[192..]);
}

#[test]
fn a_reply_between_two_rounds_leaves_without_one() {
    let Game { mut reactor, mut crew, mut peer, link } = in_a_round();
    while crew.next_event(&mut reactor).is_some() {}
    crew.send(&mut reactor, link, 7).expect("there is room");
    let mut arrived = [0];
    peer.read_exact(&mut arrived).expect("it has crossed");
    assert_eq!(arrived, [7]);
}
