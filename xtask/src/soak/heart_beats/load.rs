//! Clients that talk as fast as they are answered.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Result;

/// Bytes of a message.
pub const MESSAGE: usize = 64;

/// Few, as the driver is to be busy with its clients, and not the system with theirs.
const THREADS: usize = 2;

/// How long a client waits for its echo: only a failure takes so long.
const DEADLINE: Duration = Duration::from_secs(20);

/// Connected clients.
pub struct Load {
    streams: Vec<TcpStream>,
    busy: u64,
}

impl Load {
    pub fn connect(address: SocketAddr, clients: usize, busy: u64) -> Result<Load> {
        let connect = |_| {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.set_write_timeout(Some(DEADLINE))?;
            Ok(stream)
        };
        let streams = (0..clients).map(connect).collect::<std::io::Result<_>>();
        Ok(Load { streams: streams.map_err(|error| format!("a client cannot connect: {error}"))?, busy })
    }

    /// Returns the number of messages that came back.
    pub fn run(mut self, time: Duration) -> Result<u64> {
        let share = self.streams.len().div_ceil(THREADS).max(1);
        let end = Instant::now() + time;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..self.busy {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let clients: Vec<_> =
                self.streams.chunks_mut(share).map(|streams| scope.spawn(|| talk(streams, end))).collect();
            let messages = clients.into_iter().map(|client| {
                let messages = client.join().map_err(|_| "a client panicked".to_owned())?;
                messages.map_err(|error| format!("a client: {error}"))
            });
            // Each is joined before the threads without an end of their own end.
            let messages: Vec<Result<u64>> = messages.collect();
            over.store(true, Ordering::Relaxed);
            messages.into_iter().sum()
        })
    }
}

/// All of them send, and then each receives its echo.
fn talk(streams: &mut [TcpStream], end: Instant) -> std::io::Result<u64> {
    let (mut messages, mut back) = (0_u64, [0; MESSAGE]);
    while Instant::now() < end {
        let message: [u8; MESSAGE] = std::array::from_fn(|at| (messages as usize + at) as u8);
        for stream in &mut *streams {
            stream.write_all(&message)?;
        }
        for stream in &mut *streams {
            stream.read_exact(&mut back)?;
            if back != message {
                return Err(std::io::Error::other("a wrong echo"));
            }
        }
        messages += streams.len() as u64;
    }
    Ok(messages)
}
