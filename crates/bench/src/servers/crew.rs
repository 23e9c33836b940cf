//! An echo and a broadcast server over this project's crew: the same program with any number of members.
//!
//! *Echo* does some work for each message in its codec, where encryption would be. *Broadcast* sends a line to all, and each
//! connection's codec compresses it, as a MUD's does with MCCP.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use dolmen::{Codec, Crew, CrewBuilder, CrewEvent, Event, Events, Link, LinkId, Reactor, Token};
use flate2::{Compress, Compression, FlushCompress};

use super::Mode;
use crate::work;

/// The bytes of a message, and of a line before it is compressed.
pub const MESSAGE_BYTES: usize = 64;

/// The names of the servers in the results: the same program with so many members.
pub const NAMES: [&str; 3] = ["crew-0", "crew-1", "crew-2"];

/// How many members the server of this name has.
pub fn members(name: &str) -> Option<usize> {
    NAMES.iter().position(|other| *other == name)
}

/// Serves; an echoed message takes so many steps of work.
pub fn serve(listener: TcpListener, mode: Mode, members: usize, steps: u64) -> io::Result<()> {
    match mode {
        Mode::Echo => run(listener, members, || Working { arriving: Vec::new(), steps }, echo),
        Mode::Broadcast => run(listener, members, Compressing::new, broadcast),
    }
}

/// The game: what a message causes.
type Game<C> = fn(&mut Crew<C>, &mut Reactor, &[LinkId], LinkId, <C as Codec>::Message);

fn echo(crew: &mut Crew<Working>, reactor: &mut Reactor, _: &[LinkId], link: LinkId, message: Vec<u8>) {
    let _ = crew.send(reactor, link, message);
}

fn broadcast(
    crew: &mut Crew<Compressing>,
    reactor: &mut Reactor,
    all: &[LinkId],
    _: LinkId,
    line: Arc<[u8]>,
) {
    crew.broadcast(reactor, all.iter().copied(), &line);
}

fn run<C: Codec>(
    listener: TcpListener,
    members: usize,
    codec: impl Fn() -> C,
    game: Game<C>,
) -> io::Result<()> {
    let mut reactor = Reactor::builder().max_events(1024).build().map_err(io::Error::other)?;
    let mut events = Events::with_capacity(1024);
    let crew = CrewBuilder::new(Token(1)).threads(members).reactors(Reactor::builder().max_events(1024));
    let mut crew = crew.build(&reactor).map_err(io::Error::other)?;
    let mut everyone = Vec::new();
    reactor.listen(listener, Token(0)).map_err(io::Error::other)?;
    loop {
        reactor.wait(&mut events, None).map_err(io::Error::other)?;
        for event in events.drain() {
            if let Some(Event::Accepted { stream, .. }) = crew.handle(&mut reactor, event) {
                stream.set_nodelay(true)?;
                everyone.push(crew.add(&mut reactor, stream, codec(), Token(2)));
            }
        }
        while let Some(event) = crew.next_event(&mut reactor) {
            match event {
                CrewEvent::Message { link, message, .. } => {
                    game(&mut crew, &mut reactor, &everyone, link, message)
                }
                CrewEvent::Left { link, .. } => everyone.retain(|&other| other != link),
                CrewEvent::MemberFailed { cause, .. } => return Err(io::Error::other(cause)),
                _ => {}
            }
        }
    }
}

/// Passes each whole message on.
fn split(arriving: &mut Vec<u8>, mut data: &[u8], mut pass: impl FnMut(&[u8])) {
    while arriving.len() + data.len() >= MESSAGE_BYTES {
        let (end, rest) = data.split_at(MESSAGE_BYTES - arriving.len());
        arriving.extend_from_slice(end);
        pass(arriving);
        arriving.clear();
        data = rest;
    }
    arriving.extend_from_slice(data);
}

struct Working {
    arriving: Vec<u8>,
    steps: u64,
}

impl Codec for Working {
    type Message = Vec<u8>;
    type Reply = Vec<u8>;
    type Shared = ();

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        let Working { arriving, steps } = self;
        split(arriving, data, |message| {
            work::run(*steps);
            link.deliver(message.to_vec());
        });
    }

    fn send(&mut self, reply: Vec<u8>, link: &mut Link<'_, Self>) {
        link.send(&reply);
    }
}

struct Compressing {
    arriving: Vec<u8>,
    compressor: Compress,
    compressed: Vec<u8>,
}

impl Compressing {
    fn new() -> Compressing {
        Compressing { arriving: Vec::new(), compressor: compressor(), compressed: Vec::new() }
    }
}

impl Codec for Compressing {
    type Message = Arc<[u8]>;
    type Reply = Arc<[u8]>;
    type Shared = ();

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        split(&mut self.arriving, data, |line| link.deliver(line.into()));
    }

    fn send(&mut self, line: Arc<[u8]>, link: &mut Link<'_, Self>) {
        self.compressed.clear();
        compress(&mut self.compressor, &line, &mut self.compressed);
        link.send(&self.compressed);
    }
}

/// The compressor of dolmend's MCCP.
pub fn compressor() -> Compress {
    Compress::new(Compression::default(), true)
}

/// Compresses a line so that the peer can read it to its end.
pub fn compress(compressor: &mut Compress, line: &[u8], into: &mut Vec<u8>) {
    // More than any line becomes.
    into.reserve(line.len() + 64);
    // It fails only for a stream that has ended.
    let _ = compressor.compress_vec(line, into, FlushCompress::Sync);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_whole_however_they_arrive() {
        for piece in [1, 63, 64, 65, 200] {
            let bytes: Vec<u8> = (0..MESSAGE_BYTES * 5).map(|at| at as u8).collect();
            let (mut arriving, mut whole) = (Vec::new(), Vec::new());
            for data in bytes.chunks(piece) {
                split(&mut arriving, data, |message| whole.push(message.to_vec()));
            }
            let expected: Vec<Vec<u8>> = bytes.chunks(MESSAGE_BYTES).map(<[u8]>::to_vec).collect();
            assert_eq!((whole, arriving), (expected, Vec::new()), "in pieces of {piece}");
        }
    }

    #[test]
    fn each_line_can_be_read_as_soon_as_it_is_compressed() {
        let (mut compressor, mut decompressor) = (compressor(), flate2::Decompress::new(true));
        for number in 0..100_u8 {
            let line = [number; MESSAGE_BYTES];
            let (mut wire, mut read) = (Vec::new(), Vec::with_capacity(MESSAGE_BYTES + 1));
            compress(&mut compressor, &line, &mut wire);
            let flush = flate2::FlushDecompress::Sync;
            decompressor.decompress_vec(&wire, &mut read, flush).expect("it is a zlib stream");
            assert_eq!(read, line);
        }
    }
}
