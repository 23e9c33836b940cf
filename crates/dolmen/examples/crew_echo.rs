//! `crew_echo ADDR THREADS`: sends every connection's lines back to it. That many threads make them, and a game would
//! answer them on this one.

use std::convert::Infallible;
use std::net::TcpListener;
use std::process::ExitCode;

use dolmen::{Codec, Crew, CrewBuilder, CrewEvent, Event, Events, Link, Reactor, Token};

const USAGE: &str = "usage: crew_echo ADDR THREADS, for example: crew_echo 127.0.0.1:7777 2";
const LONGEST_LINE_BYTES: usize = 64 * 1024;
const CREW: Token = Token(1);

/// Lines of one connection. A member's thread has it.
#[derive(Default)]
struct Lines {
    unfinished: Vec<u8>,
}

impl Codec for Lines {
    type Message = Vec<u8>;
    type Reply = Vec<u8>;
    type Shared = ();

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        for piece in data.split_inclusive(|&byte| byte == b'\n') {
            if self.unfinished.len() + piece.len() > LONGEST_LINE_BYTES {
                return link.abort();
            }
            self.unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                link.deliver(std::mem::take(&mut self.unfinished));
            }
        }
    }

    /// The last line may lack its end. The empty one after it says that there will be none.
    fn end_of_stream(&mut self, link: &mut Link<'_, Self>) {
        let last = std::mem::take(&mut self.unfinished);
        [last, Vec::new()].into_iter().for_each(|line| link.deliver(line));
    }

    fn send(&mut self, line: Vec<u8>, link: &mut Link<'_, Self>) {
        link.send(&line);
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(address), Some(Ok(threads))) = (args.next(), args.next().map(|count| count.parse())) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Err(error) = serve(&address, threads);
    eprintln!("crew_echo: {error}");
    ExitCode::FAILURE
}

fn serve(address: &str, threads: usize) -> Result<Infallible, Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}\n{USAGE}"))?;
    eprintln!("listening {}", listener.local_addr()?);
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(128);
    reactor.listen(listener, Token(0))?;
    // Each reply is to a line, and while replies wait for their peer no line of it is read: that bounds them.
    let settings = CrewBuilder::new(CREW).threads(threads).reply_limit(usize::MAX);
    let mut crew: Crew<Lines> = settings.build(&reactor)?;
    loop {
        reactor.wait(&mut events, None)?;
        for event in &mut events {
            match crew.handle(&mut reactor, event) {
                Some(Event::Accepted { stream, .. }) => {
                    // It fails for a connection that is broken already, whose end follows.
                    let _ = stream.set_nodelay(true);
                    crew.add(&mut reactor, stream, Lines::default(), Token(0));
                }
                Some(Event::AcceptFailed { error, .. }) => eprintln!("not accepting for now: {error}"),
                _ => {}
            }
        }
        // Until there is none: that ends the round.
        while let Some(event) = crew.next_event(&mut reactor) {
            match event {
                CrewEvent::Message { link, message, .. } if message.is_empty() => {
                    crew.close(&mut reactor, link)?
                }
                CrewEvent::Message { link, message, .. } => crew.send(&mut reactor, link, message)?,
                CrewEvent::MemberFailed { cause, .. } => eprintln!("a thread has failed: {cause}"),
                _ => {}
            }
        }
    }
}
