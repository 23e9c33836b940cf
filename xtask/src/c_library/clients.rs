//! Clients of the example servers.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Connects `clients` clients to the server, which prints its port; all of them send, and then each receives its echo.
pub(super) fn echo_clients(output: impl Read, clients: usize) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let port = line.trim().strip_prefix("listening on ").and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| std::io::Error::other(format!("it says {line:?}")))?;
    let connect = |_| {
        let client = TcpStream::connect(("127.0.0.1", port))?;
        client.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(client)
    };
    let mut streams = (0..clients).map(connect).collect::<std::io::Result<Vec<_>>>()?;
    for round in 0..3 {
        let text = |client: usize| format!("client {client}, round {round}: ").repeat(20);
        for (client, stream) in streams.iter_mut().enumerate() {
            stream.write_all(text(client).as_bytes())?;
        }
        for (client, stream) in streams.iter_mut().enumerate() {
            let mut back = vec![0; text(client).len()];
            stream.read_exact(&mut back)?;
            if back != text(client).as_bytes() {
                return Err(std::io::Error::other(format!("client {client} gets {back:?}")));
            }
        }
    }
    Ok(())
}

/// The server has too few descriptors for all the clients: it must not spin, and accepts waiting clients when others
/// close.
pub(super) fn rest_without_descriptors(
    output: impl Read,
    server: u32,
    clients: usize,
) -> std::io::Result<()> {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    let port = line.trim().strip_prefix("listening on ").and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| std::io::Error::other(format!("it says {line:?}")))?;
    let greeted = |client: &TcpStream, wait: Duration| {
        client.set_read_timeout(Some(wait))?;
        client.peek(&mut [0]).map(|count| count > 0)
    };
    let connect = |_| TcpStream::connect(("127.0.0.1", port));
    let mut waiting = (0..clients).map(connect).collect::<std::io::Result<Vec<_>>>()?;
    // The first client is accepted immediately, and the last one cannot be: the test has to wait for silence.
    greeted(&waiting[0], Duration::from_secs(20))?;
    let before = cpu_ticks(server)?;
    if greeted(&waiting[clients - 1], Duration::from_secs(2)).is_ok() {
        return Err(std::io::Error::other("it has enough descriptors"));
    }
    let ticks = cpu_ticks(server)? - before;
    // A tick is a hundredth of a second; a server that spins has some two hundred of them.
    if ticks > 40 {
        return Err(std::io::Error::other(format!("it was busy for {ticks} of 200 ticks")));
    }
    // The accepted clients close, and there is room for the last ones.
    waiting.drain(..clients - 5);
    waiting.iter().try_for_each(|client| greeted(client, Duration::from_secs(20)).map(drop))
}

/// How long a process has been on a processor, in the system's ticks.
pub(super) fn cpu_ticks(process: u32) -> std::io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the name, which may contain spaces: state is the first field, and user and system time the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    Ok(fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum())
}
