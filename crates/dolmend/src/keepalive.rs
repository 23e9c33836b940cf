//! How the system notices that a peer has vanished.

use std::net::TcpStream;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

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
pub(crate) fn keep_alive(stream: &TcpStream, after: Option<Duration>) {
    #[cfg(test)]
    tests::record(stream, after);
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::net::SocketAddr;
    use std::sync::Mutex;

    /// What was set last for the connection with each peer.
    static LAST_SET: Mutex<Option<HashMap<SocketAddr, Option<Duration>>>> = Mutex::new(None);

    pub(super) fn record(stream: &TcpStream, after: Option<Duration>) {
        let Ok(peer) = stream.peer_addr() else { return };
        LAST_SET.lock().expect("no holder panics").get_or_insert_default().insert(peer, after);
    }

    pub(crate) fn last_set(peer: SocketAddr) -> Option<Option<Duration>> {
        LAST_SET.lock().expect("no holder panics").get_or_insert_default().get(&peer).copied()
    }

    /// Idle time, interval, number of questions, and for how long data may stay unacknowledged.
    #[cfg(target_os = "linux")]
    fn keepalive_of(stream: &TcpStream) -> (Option<[Duration; 2]>, u32, Option<Duration>) {
        let socket = SockRef::from(stream);
        let times = || Ok([socket.tcp_keepalive_time()?, socket.tcp_keepalive_interval()?]);
        let on = socket.keepalive().expect("an option");
        let times: std::io::Result<_> = on.then(times).transpose();
        let retries = socket.tcp_keepalive_retries().expect("an option");
        (times.expect("options"), if on { retries } else { 0 }, socket.tcp_user_timeout().expect("an option"))
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn nothing_is_left_of_the_values_of_before_and_the_system_asks_before_it_gives_up() {
        let seconds = Duration::from_secs;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("it opens");
        for old in [None, Some(60), Some(600)] {
            for new in [None, Some(60), Some(600)] {
                let stream =
                    TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
                keep_alive(&stream, old.map(seconds));
                keep_alive(&stream, new.map(seconds));
                let expected = match new {
                    None => (None, 0, None),
                    Some(60) => (Some([seconds(60), seconds(10)]), 3, Some(seconds(300))),
                    Some(after) => (Some([seconds(after), seconds(10)]), 3, Some(seconds(after + 30))),
                };
                assert_eq!(keepalive_of(&stream), expected, "{old:?} -> {new:?}");
            }
        }
    }
}
