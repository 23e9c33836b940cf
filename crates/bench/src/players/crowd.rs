//! The players: most only listen, some tell each other lines with the time of the sending in them.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::front_end::FrontEnd;
use crate::histogram::Histogram;
use crate::load::{self, Epoll};

/// How long to wait for what is still on its way.
const PATIENCE: Duration = Duration::from_secs(20);

/// After this time without anything everything has been heard.
const SILENCE_MS: i32 = 200;

/// In this time every player has been notified of an arrival.
const SETTLING: Duration = Duration::from_secs(10);

/// How many log on at a time.
const BATCH: usize = 50;

/// What was heard, and how late.
pub struct Heard {
    pub told: u64,
    pub tells: Histogram,
    said: u64,
    pub says: Histogram,
}

struct Player {
    stream: TcpStream,
    /// The beginning of a line.
    line: Vec<u8>,
    /// Text to wait for at the login.
    greeted: bool,
    /// How many have left.
    left: usize,
    open: bool,
}

/// All players. The first ones talk.
pub struct Crowd {
    players: Vec<Player>,
    talkers: usize,
    epoll: Epoll,
    buffer: Vec<u8>,
    begun: Instant,
    seen_off: usize,
}

impl Crowd {
    /// Connects and logs on.
    pub fn join(server: &FrontEnd, idle: usize, talkers: usize) -> io::Result<Crowd> {
        let (players, epoll) = (Vec::with_capacity(idle + talkers), Epoll::new()?);
        let mut crowd = Crowd {
            players,
            talkers: talkers / 2 * 2,
            epoll,
            buffer: vec![0; 65_536],
            begun: Instant::now(),
            seen_off: 0,
        };
        while crowd.len() < idle + talkers {
            let first = crowd.len();
            for stream in load::connect(server.address, BATCH.min(idle + talkers - first))? {
                let key = crowd.len();
                crowd.epoll.add(&stream, key, libc::EPOLLIN)?;
                let mut player = Player { stream, line: Vec::new(), greeted: false, left: 0, open: true };
                player.send(&format!("p{key}\r\n"))?;
                crowd.players.push(player);
            }
            let (begun, mut nobody) = (Instant::now(), Heard::new());
            while crowd.players[first..].iter().any(|player| !player.greeted) {
                crowd.receive(100, &mut nobody)?;
                if crowd.lost() > 0 || begun.elapsed() > PATIENCE {
                    return Err(io::Error::other("a player could not log on"));
                }
            }
        }
        Ok(crowd)
    }

    pub fn len(&self) -> usize {
        self.players.len()
    }

    /// How many were disconnected.
    pub fn lost(&self) -> usize {
        self.players.iter().filter(|player| !player.open).count()
    }

    /// Receives until nothing more comes, or an attack alone goes on.
    pub fn settle(&mut self) -> io::Result<()> {
        let (mut nobody, begun) = (Heard::new(), Instant::now());
        while self.receive(SILENCE_MS, &mut nobody)? > 0 && begun.elapsed() < SETTLING {}
        Ok(())
    }

    /// Receives until this many others have left; every player is notified of each.
    pub fn see_off(&mut self, others: usize) -> io::Result<()> {
        let (mut nobody, begun) = (Heard::new(), Instant::now());
        let wanted = self.seen_off + others;
        while self.players[0].left < wanted {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other("an attacker did not leave"));
            }
            self.receive(100, &mut nobody)?;
        }
        self.seen_off = wanted;
        self.settle()
    }

    /// Each talker tells the other one of the pair a line a second, and one of them says one to all if wanted. Ends when
    /// everything has been heard.
    pub fn talk(&mut self, time: Duration, say: bool) -> io::Result<Heard> {
        let (mut heard, begun) = (Heard::new(), Instant::now());
        let mut next = 0;
        loop {
            let due = begun + Duration::from_secs(1) * next as u32 / self.talkers as u32;
            let now = Instant::now();
            let over = due >= begun + time;
            if !over && now >= due {
                let talker = next % self.talkers;
                self.tell(talker, &mut heard)?;
                if say && talker == 0 {
                    let text = format!("say #{}#\r\n", self.begun.elapsed().as_nanos());
                    self.players[0].send(&text)?;
                    heard.said += self.len() as u64 - 1;
                }
                next += 1;
                continue;
            }
            if over && heard.is_complete() || now > begun + time + PATIENCE {
                return Ok(heard);
            }
            let wait = if over { 100 } else { due.saturating_duration_since(now).as_millis() as i32 };
            self.receive(wait, &mut heard)?;
        }
    }

    fn tell(&mut self, talker: usize, heard: &mut Heard) -> io::Result<()> {
        let text = format!("tell p{} #{}#\r\n", talker ^ 1, self.begun.elapsed().as_nanos());
        heard.told += 1;
        self.players[talker].send(&text)
    }

    /// Returns how many players heard something.
    fn receive(&mut self, wait_ms: i32, heard: &mut Heard) -> io::Result<usize> {
        let ready: Vec<usize> = self.epoll.wait(wait_ms).collect();
        for &key in &ready {
            let player = &mut self.players[key];
            let count = match player.stream.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Ok(count) => count,
                Err(_) => 0,
            };
            if count == 0 && player.open {
                player.open = false;
                // It would be reported indefinitely.
                self.epoll.remove(&player.stream)?;
            }
            let now = self.begun.elapsed().as_nanos() as u64;
            player.hear(&self.buffer[..count], now, heard);
        }
        Ok(ready.len())
    }
}

impl Player {
    fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }

    fn hear(&mut self, bytes: &[u8], now: u64, heard: &mut Heard) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.line);
                self.greeted |= line.contains("Hello, ");
                self.left += usize::from(line.ends_with(" has left.\r\n"));
                let mut parts = line.split('#');
                if let (Some(before), Some(sent)) =
                    (parts.next(), parts.next().and_then(|ns| ns.parse().ok()))
                {
                    let late = now.saturating_sub(sent);
                    if before.contains(" tells you: ") {
                        heard.tells.record(late);
                    } else if before.contains(" says: ") {
                        heard.says.record(late);
                    }
                }
                self.line.clear();
            }
        }
    }
}

impl Heard {
    fn new() -> Heard {
        Heard { told: 0, tells: Histogram::new(), said: 0, says: Histogram::new() }
    }

    fn is_complete(&self) -> bool {
        self.tells.count() == self.told && self.says.count() == self.said
    }
}
