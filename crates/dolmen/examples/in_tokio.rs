//! `in_tokio ADDR`: a line echo server whose reactor runs inside a tokio runtime, beside a tokio task. For Unix.
//!
//! ```text
//! $ cargo run -p dolmen --example in_tokio -- 127.0.0.1:0
//! listening 127.0.0.1:40513
//! ```
//!
//! Each line comes back, and `count` with how many ticks a tokio task has posted to the reactor by then.

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

#[cfg(target_os = "linux")]
const USAGE: &str = "usage: in_tokio ADDR, for example: in_tokio 127.0.0.1:7777";

#[cfg(not(target_os = "linux"))]
fn main() -> Result {
    Err("this example is for Unix: a completion port cannot be waited for in another event loop".into())
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let Some(address) = std::env::args().nth(1) else {
        eprintln!("{USAGE}");
        return std::process::ExitCode::from(2);
    };
    match serve(&address) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("in_tokio: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(target_os = "linux")]
fn serve(address: &str) -> Result {
    let listener = std::net::TcpListener::bind(address)
        .map_err(|error| format!("cannot listen on {address}: {error}\n{USAGE}"))?;
    eprintln!("listening {}", listener.local_addr()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(server::run(listener))
}

#[cfg(target_os = "linux")]
mod server {
    use std::collections::HashMap;
    use std::net::TcpListener;
    use std::time::Duration;

    use dolmen::{ConnId, Event, Events, Poster, Reactor, Token};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    const SOCKETS: Token = Token(0);
    const TICK: Token = Token(1);
    /// A line longer than this ends its connection.
    const LONGEST_LINE: usize = 4_000;

    #[derive(Default)]
    struct Server {
        /// The unfinished line of each connection.
        lines: HashMap<ConnId, Vec<u8>>,
        ticks: u64,
    }

    pub async fn run(listener: TcpListener) -> super::Result {
        let mut reactor = Reactor::new()?;
        let mut events = Events::with_capacity(128);
        reactor.listen(listener, SOCKETS)?;
        tokio::spawn(tick(reactor.poster()));
        // The handle of a process that does not fork never changes: see `Reactor::native_handle`.
        // A duplicate, which stays open for as long as tokio knows it. It is of the same instance to the end, as this
        // process does not fork.
        let handle = reactor.native_handle().try_clone_to_owned()?;
        // SAFETY: the descriptor is the `AsyncFd`'s own: open and unchanged until that is dropped.
        let handle = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE)? };
        let mut server = Server::default();
        loop {
            // Tokio runs its tasks until the reactor's handle is readable, or the time is up.
            match reactor.next_timeout() {
                // Cleared before the wait: what comes later makes the handle readable anew.
                None => handle.readable().await?.clear_ready(),
                Some(Duration::ZERO) => tokio::task::yield_now().await,
                Some(time) => {
                    if let Ok(readable) = tokio::time::timeout(time, handle.readable()).await {
                        readable?.clear_ready();
                    }
                }
            }
            reactor.wait(&mut events, Some(Duration::ZERO))?;
            for event in &mut events {
                server.handle(&mut reactor, event);
            }
            reactor.flush();
        }
    }

    /// A task of tokio's, which reaches the reactor as another thread would.
    async fn tick(poster: Poster) {
        let mut interval = tokio::time::interval(Duration::from_millis(10));
        loop {
            interval.tick().await;
            // The queue is full only if the reactor is behind; then a tick less is counted.
            let _ = poster.post(1, TICK);
        }
    }

    impl Server {
        /// What fails here concerns one connection, which ends with its `Closed` event.
        fn handle(&mut self, reactor: &mut Reactor, event: Event<'_>) {
            match event {
                Event::Accepted { stream, .. } => drop(reactor.add(stream, SOCKETS)),
                Event::Received { conn, data, .. } => self.received(reactor, conn, data),
                Event::EndOfStream { conn, .. } => drop(reactor.close(conn)),
                Event::Closed { conn, .. } => drop(self.lines.remove(&conn)),
                Event::Posted { token: TICK, value, .. } => self.ticks += value,
                _ => {}
            }
        }

        fn received(&mut self, reactor: &mut Reactor, conn: ConnId, data: &[u8]) {
            let line = self.lines.entry(conn).or_default();
            line.extend_from_slice(data);
            while let Some(end) = line.iter().position(|&byte| byte == b'\n') {
                let mut reply: Vec<u8> = line.drain(..=end).collect();
                if reply.trim_ascii() == b"count" {
                    reply = format!("count {}\n", self.ticks).into_bytes();
                }
                // Refused if the client does not read its replies: it gets no more of them.
                let _ = reactor.send(conn, &reply);
            }
            if line.len() > LONGEST_LINE {
                let _ = reactor.abort(conn);
            }
        }
    }
}
