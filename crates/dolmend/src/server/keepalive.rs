//! How the system notices that a peer has vanished.

use std::net::TcpStream;
use std::time::Duration;

use dolmen::ConnId;
use socket2::{SockRef, TcpKeepalive};

use super::Server;
use crate::world::World;

/// How often the system asks a silent peer before it gives the connection up, and how soon again.
const RETRIES: u32 = 3;
const INTERVAL: Duration = Duration::from_secs(10);

/// How long a peer may leave data unacknowledged, at least. That is also the time for which a client that is stopped
/// may keep its receive window closed, so it must not be short.
#[cfg(target_os = "linux")]
const SHORTEST_USER_TIMEOUT: Duration = Duration::from_secs(300);

/// Makes the system notice that a peer has vanished: after so much silence by asking, and by giving up on data that is
/// not acknowledged. Without the latter a player to whom others talk would stay for a quarter of an hour on Linux. There
/// it also decides when a silent peer is given up, in place of the number of questions (tcp(7)); so it leaves time for
/// all of them. `None`: neither.
///
/// Each call sets every value, because a connection may have had others before.
pub(super) fn keep_alive(stream: &TcpStream, after: Option<Duration>) {
    let socket = SockRef::from(stream);
    // The calls fail only for a connection that is broken, or on a system that lacks them.
    let _ = match after {
        Some(after) => {
            let keepalive =
                TcpKeepalive::new().with_time(after).with_interval(INTERVAL).with_retries(RETRIES);
            socket.set_tcp_keepalive(&keepalive)
        }
        None => socket.set_keepalive(false),
    };
    #[cfg(target_os = "linux")]
    {
        let timeout = after.map(|after| after.saturating_add(RETRIES * INTERVAL).max(SHORTEST_USER_TIMEOUT));
        let _ = socket.set_tcp_user_timeout(timeout);
    }
}

impl<W: World> Server<W> {
    /// Another `keepalive`, for everyone who is connected.
    pub(super) fn change_keepalive(&mut self) {
        let users = self.users.roster().iter().filter_map(|&id| self.users.get(id)).map(|user| user.conn);
        let conns: Vec<ConnId> = users.chain(self.unnamed.values().map(|unnamed| unnamed.conn)).collect();
        for conn in conns {
            // One that has ended has no socket.
            if let Ok(stream) = self.reactor.stream(conn) {
                keep_alive(stream, self.limits.keepalive);
            }
        }
    }
}
