//! Work for other threads: each line is a number, and the reply is how many primes there are up to it.
//!
//! ```text
//! $ cargo run --example worker -- 127.0.0.1:7777
//! listening 127.0.0.1:7777
//! ```
//!
//! The reactor's thread hands each number to one of the workers, over a channel of the standard library. The worker sends
//! its reply into a channel of the reactor. So players with small numbers do not wait for one with a large number.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::mpsc::{self, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use dolmen::{ConnId, ErrorKind, Event, Events, Reactor, Sender, Token};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const LISTENER: Token = Token(0);
const CLIENT: Token = Token(1);
const REPLIES: Token = Token(2);

const WORKERS: usize = 4;

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
    /// The line so far.
    line: Vec<u8>,
    /// How many of its numbers the workers have.
    jobs: usize,
    /// It will send nothing more, and still reads.
    has_ended: bool,
}

impl Client {
    fn close_if_done(&self, conn: ConnId, reactor: &mut Reactor) {
        if self.has_ended && self.jobs == 0 {
            let _ = reactor.close(conn);
        }
    }
}

fn main() -> Result {
    let address = std::env::args().nth(1).ok_or("usage: worker ADDR, for example: 127.0.0.1:7777")?;
    let listener = TcpListener::bind(address)?;
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
                    client.line.extend_from_slice(data);
                    while let Some(end) = client.line.iter().position(|&byte| byte == b'\n') {
                        let line: Vec<u8> = client.line.drain(..=end).collect();
                        match String::from_utf8_lossy(&line).trim().parse() {
                            Ok(limit) => {
                                jobs.send(Job { conn, limit })?;
                                client.jobs += 1;
                            }
                            // A client that does not read its replies loses some.
                            Err(_) => drop(reactor.send(conn, b"a number, please\n")),
                        }
                    }
                    // Longer than any number.
                    client.line.truncate(100);
                }
                // One event for all replies that wait. A client may be gone by now.
                Event::Inbox { token: REPLIES, .. } => {
                    for Reply { conn, text } in replies.drain() {
                        let _ = reactor.send(conn, text.as_bytes());
                        if let Some(client) = clients.get_mut(&conn) {
                            client.jobs -= 1;
                            client.close_if_done(conn, &mut reactor);
                        }
                    }
                }
                Event::EndOfStream { conn, .. } => {
                    let client = clients.entry(conn).or_default();
                    client.has_ended = true;
                    client.close_if_done(conn, &mut reactor);
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
