//! Work for other threads: each line is a number, and the reply is how many primes there are up to it.
//!
//! ```text
//! $ cargo run --example worker -- 127.0.0.1:7777
//! listening 127.0.0.1:7777
//! ```
//!
//! The reactor's thread hands each number to one of the workers, over a channel of the standard library. The worker sends
//! its reply into a channel of the reactor. The reactor itself never waits for a number, however large. With four large ones
//! all workers are busy: a game limits what it accepts.
//!
//! What one client can queue is bounded: one that has sent many numbers, or that does not read its replies, is not read
//! from.

use std::collections::HashMap;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::mpsc::{self, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dolmen::{ConnId, Error, ErrorKind, Event, Events, Reactor, Sender, Token};

const USAGE: &str = "usage: worker ADDR, for example: worker 127.0.0.1:7777";

const LISTENER: Token = Token(0);
const CLIENT: Token = Token(1);
const REPLIES: Token = Token(2);

const WORKERS: usize = 4;

/// How many numbers of one client the workers have, at most.
const MOST_JOBS: usize = 100;

/// Longer than any number; the rest of a longer line is cut off.
const LONGEST_LINE_BYTES: usize = 100;

struct Job {
    conn: ConnId,
    limit: u32,
}

struct Reply {
    conn: ConnId,
    text: String,
}

#[derive(Default)]
struct Client {
    /// What has arrived and is not taken yet: lines while it is paused, else the beginning of one.
    input: Vec<u8>,
    /// How many of its numbers the workers have.
    jobs: usize,
    /// Replies for which its queue had no room, until `Drained`. No lines are taken meanwhile, so they are few.
    replies: Vec<u8>,
    /// It will send nothing more, and still reads.
    has_ended: bool,
}

impl Client {
    /// Takes as many lines as it may, and no more bytes from it while lines are left. The verbs fail if it is gone.
    fn serve(&mut self, conn: ConnId, reactor: &mut Reactor, jobs: &mpsc::Sender<Job>) {
        let mut is_left = false;
        while let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
            is_left = self.jobs >= MOST_JOBS || !self.replies.is_empty();
            if is_left {
                break;
            }
            let line: Vec<u8> = self.input.drain(..=end).collect();
            match String::from_utf8_lossy(&line).trim().parse() {
                Ok(limit) => {
                    jobs.send(Job { conn, limit }).expect("the workers wait for jobs");
                    self.jobs += 1;
                }
                Err(_) => self.reply(conn, reactor, b"a number, please\n"),
            }
        }
        if is_left {
            let _ = reactor.pause(conn);
            return;
        }
        self.input.truncate(LONGEST_LINE_BYTES);
        let _ = reactor.resume(conn);
        if self.has_ended && self.jobs == 0 && self.replies.is_empty() {
            let _ = reactor.close(conn);
        }
    }

    fn reply(&mut self, conn: ConnId, reactor: &mut Reactor, text: &[u8]) {
        let is_full = |error: Error| error.kind() == ErrorKind::QueueFull;
        if !self.replies.is_empty() || reactor.send(conn, text).is_err_and(is_full) {
            self.replies.extend_from_slice(text);
        }
    }

    /// Its queue has room for what was refused first, and these replies are shorter than the queue.
    fn drained(&mut self, conn: ConnId, reactor: &mut Reactor) {
        let replies = std::mem::take(&mut self.replies);
        self.reply(conn, reactor, &replies);
    }
}

fn main() -> ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(&address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}\n{USAGE}"))?;
    eprintln!("listening {}", listener.local_addr()?);
    let mut reactor = Reactor::new()?;
    let mut events = Events::with_capacity(128);
    reactor.listen(listener, LISTENER)?;
    let (done, mut replies) = reactor.channel(1_000, REPLIES);
    let jobs = start_workers(&done);

    let mut clients: HashMap<ConnId, Client> = HashMap::new();
    loop {
        reactor.wait(&mut events, None)?;
        for event in &mut events {
            match event {
                Event::Accepted { stream, .. } => {
                    clients.insert(reactor.add(stream, CLIENT)?, Client::default());
                }
                Event::Received { conn, data, .. } => {
                    let client = clients.entry(conn).or_default();
                    client.input.extend_from_slice(data);
                    client.serve(conn, &mut reactor, &jobs);
                }
                // One event for all replies that wait. A client may be gone by now.
                Event::Inbox { token: REPLIES, .. } => {
                    for Reply { conn, text } in replies.drain() {
                        let Some(client) = clients.get_mut(&conn) else { continue };
                        client.jobs -= 1;
                        client.reply(conn, &mut reactor, text.as_bytes());
                        client.serve(conn, &mut reactor, &jobs);
                    }
                }
                Event::Drained { conn, .. } => {
                    let client = clients.entry(conn).or_default();
                    client.drained(conn, &mut reactor);
                    client.serve(conn, &mut reactor, &jobs);
                }
                Event::EndOfStream { conn, .. } => {
                    let client = clients.entry(conn).or_default();
                    client.has_ended = true;
                    client.serve(conn, &mut reactor, &jobs);
                }
                Event::Closed { conn, .. } => drop(clients.remove(&conn)),
                _ => {}
            }
        }
    }
}

fn start_workers(done: &Sender<Reply>) -> mpsc::Sender<Job> {
    let (jobs, queue) = channel::<Job>();
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..WORKERS {
        let (queue, done) = (Arc::clone(&queue), done.clone());
        thread::spawn(move || {
            loop {
                let job = queue.lock().expect("no worker panics").recv();
                // The main thread has ended.
                let Ok(Job { conn, limit }) = job else { return };
                let mut reply = Reply { conn, text: format!("{} primes up to {limit}\n", primes(limit)) };
                // A refused reply comes back, and the thread sends it again while the inbox has no room.
                while let Err(refused) = done.send(reply) {
                    if matches!(refused.error.kind(), ErrorKind::ReactorGone | ErrorKind::InboxGone) {
                        return;
                    }
                    reply = refused.value;
                    thread::sleep(Duration::from_millis(10));
                }
            }
        });
    }
    jobs
}

/// How many primes there are up to a limit; slow on purpose.
fn primes(limit: u32) -> usize {
    (2..=limit).filter(|&n| (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)).count()
}
