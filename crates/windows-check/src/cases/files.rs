//! Files that the system transmits by itself.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dolmen::{ConnId, Event, Events, Reactor, Token};

use crate::case::{Check, Outcome, Result, fail};

const DEADLINE: Duration = Duration::from_secs(20);

/// More than all buffers on the way hold.
const BYTES: usize = 30_000_000;

/// Removed when it is dropped.
struct Temp(PathBuf);

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn temp(bytes: &[u8]) -> io::Result<(Temp, Arc<File>)> {
    let temp = Temp(std::env::temp_dir().join(format!("windows-check-{}", std::process::id())));
    File::create(&temp.0)?.write_all(bytes)?;
    let file = OpenOptions::new().read(true).write(true).open(&temp.0)?;
    Ok((temp, Arc::new(file)))
}

fn connect(reactor: &mut Reactor) -> Result<(ConnId, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let peer = TcpStream::connect(listener.local_addr()?)?;
    peer.set_read_timeout(Some(DEADLINE))?;
    Ok((reactor.add(listener.accept()?.0, Token(0))?, peer))
}

fn read_all(mut peer: TcpStream) -> JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).map(|_| got)
    })
}

/// Waits until a file has been sent, or reading it has failed. `None`: not within the time.
fn until_sent(reactor: &mut Reactor, conn: ConnId, time: Duration) -> Result<Option<io::Result<u64>>> {
    let (end, mut events) = (Instant::now() + time, Events::with_capacity(16));
    while Instant::now() < end {
        reactor.wait(&mut events, Some(Duration::from_millis(10)))?;
        for event in events.drain() {
            match event {
                Event::FileSent { conn: of, sent, result, .. } if of == conn => {
                    return Ok(Some(result.map(|()| sent)));
                }
                _ => {}
            }
        }
    }
    Ok(None)
}

/// A file for a peer that reads while others do not. Returns how many of its bytes were transmitted.
fn beside_stalled_peers(most: Option<usize>, file: &Arc<File>, bytes: &[u8]) -> Result<Option<u64>> {
    let builder = Reactor::builder();
    let mut reactor = most.map_or(builder.clone(), |most| builder.most_transmits(most)).build()?;
    let mut stalled = Vec::new();
    for _ in 0..2 {
        let (conn, peer) = connect(&mut reactor)?;
        reactor.send_file(conn, Arc::clone(file), 0..u64::MAX, Token(0))?;
        // Until its peer's buffers are full.
        until_sent(&mut reactor, conn, Duration::from_millis(500))?;
        stalled.push(peer);
    }
    let before = reactor.stats().bytes_sent_uncopied;
    let (conn, peer) = connect(&mut reactor)?;
    let reader = read_all(peer);
    reactor.send_file(conn, Arc::clone(file), 0..u64::MAX, Token(0))?;
    let sent = until_sent(&mut reactor, conn, DEADLINE / 4)?;
    let uncopied = reactor.stats().bytes_sent_uncopied - before;
    drop(reactor);
    let got = reader.join().map_err(|_| "the reader panicked")?.unwrap_or_default();
    match sent {
        None => Ok(None),
        Some(_) if got == bytes => Ok(Some(uncopied)),
        Some(sent) => Err(format!("{sent:?}, and the peer got {} bytes", got.len()).into()),
    }
}

pub fn transmit(_: &Check) -> Result {
    let bytes: Vec<u8> = (0..BYTES).map(|at| (at * 31 + at / 251) as u8).collect();
    let (_temp, file) = temp(&bytes)?;
    let mut figures = Vec::new();
    // As it is shipped, and with as many pending as peers stall: the third file always arrives.
    for (most, what) in [(None, "by itself"), (Some(2), "with two at a time")] {
        match beside_stalled_peers(most, &file, &bytes)? {
            Some(uncopied) => figures.push(format!("{what} it transmits {uncopied} bytes of a third file")),
            None => fail!("two peers that stall stop a third file ({what})"),
        }
    }
    // Client editions make this one wait.
    figures.push(match beside_stalled_peers(Some(3), &file, &bytes)? {
        Some(_) => "the system carries out three at a time".to_owned(),
        None => "the system makes the third wait".to_owned(),
    });
    // The end of a file that was further away when the transmission began.
    let mut reactor = Reactor::builder().most_transmits(2).build()?;
    let (conn, peer) = connect(&mut reactor)?;
    reactor.send_file(conn, Arc::clone(&file), 0..u64::MAX, Token(0))?;
    until_sent(&mut reactor, conn, Duration::from_millis(500))?;
    let shortened = file.set_len(BYTES as u64 * 2 / 3);
    let reader = read_all(peer);
    let sent = until_sent(&mut reactor, conn, DEADLINE)?;
    drop(reactor);
    let got = reader.join().map_err(|_| "the reader panicked")?;
    figures.push(match (shortened, sent, &got) {
        (Err(error), ..) => format!("a file cannot be shortened meanwhile ({error})"),
        (Ok(()), Some(Ok(sent)), _) => format!("a shortened file ends after {sent} bytes"),
        (Ok(()), Some(Err(error)), _) => format!("a shortened file fails ({error})"),
        (Ok(()), None, _) => format!("a shortened file ends its connection ({:?})", got.map(|got| got.len())),
    });
    Ok(Outcome::Pass(figures.join("; ")))
}
