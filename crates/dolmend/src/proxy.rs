//! The PROXY protocol, versions 1 and 2: the header in which a trusted proxy names the player (HAProxy's
//! `proxy-protocol.txt`).
//!
//! Bytes go in, an address comes out; the module knows no socket. A header may arrive in any pieces, also byte by byte,
//! and nothing behind it is taken. It costs no memory beyond its fixed part: the type-length-value fields of version 2
//! are skipped as they arrive.
//!
//! The crate `ppp` was tried: it refuses a version 1 header that is cut in front of its last port, and wants
//! the whole of a version 2 header, up to 64 KiB, in one buffer.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How long a trusted proxy may take for its header. Proxies send it with the connection.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest version 1 header, with its line end.
const V1_LONGEST: usize = 107;

/// The first bytes of a version 2 header. The fixed part has four more: version and command, family and protocol, and
/// the length of the rest.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = 16;

/// Why a header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BadHeader {
    /// The bytes are no PROXY header.
    NotAHeader,
    /// A version 1 header without an end.
    TooLong,
    /// A part of the header is wrong, or of a kind that the protocol does not have.
    Malformed,
}

impl BadHeader {
    /// What is wrong.
    pub fn text(self) -> &'static str {
        match self {
            BadHeader::NotAHeader => "no PROXY header",
            BadHeader::TooLong => "a PROXY header that is too long",
            BadHeader::Malformed => "a malformed PROXY header",
        }
    }
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for BadHeader {}

/// What the bytes so far are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All bytes belong to the header, and more of it has to come.
    Incomplete,
    /// The header has ended.
    Complete {
        /// How many of the last bytes belong to it. Those behind them are the player's.
        taken: usize,
        /// The player's address. `None` if the proxy speaks for itself (a health check), or does not know it.
        player: Option<SocketAddr>,
    },
}

/// Reads one header.
///
/// ```
/// use dolmend::proxy::{HeaderReader, Progress};
///
/// let mut reader = HeaderReader::default();
/// assert_eq!(reader.receive(b"PROXY TCP4 192.0.2.7 "), Ok(Progress::Incomplete));
/// let rest = reader.receive(b"198.51.100.1 50000 4000\r\nlook\r\n");
/// let player = Some("192.0.2.7:50000".parse()?);
/// assert_eq!(rest, Ok(Progress::Complete { taken: 25, player }));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct HeaderReader {
    /// The header so far, without what is skipped.
    header: [u8; V1_LONGEST],
    length: usize,
    /// Bytes of a version 2 header that are still to be skipped. The address is known then.
    skip: usize,
    player: Option<SocketAddr>,
}

impl Default for HeaderReader {
    fn default() -> HeaderReader {
        HeaderReader { header: [0; V1_LONGEST], length: 0, skip: 0, player: None }
    }
}

impl HeaderReader {
    /// Takes the next bytes of the connection. After a complete header, or an error, nothing may follow.
    ///
    /// # Errors
    ///
    /// The bytes cannot become a header, whatever follows.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Progress, BadHeader> {
        let mut taken = 0;
        while taken < bytes.len() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() - taken);
                self.skip -= skipped;
                taken += skipped;
                if self.skip == 0 {
                    return Ok(Progress::Complete { taken, player: self.player });
                }
                continue;
            }
            let Some(place) = self.header.get_mut(self.length) else { return Err(BadHeader::TooLong) };
            *place = bytes[taken];
            self.length += 1;
            taken += 1;
            if self.is_complete()? {
                return Ok(Progress::Complete { taken, player: self.player });
            }
        }
        Ok(Progress::Incomplete)
    }

    /// Looks at the header after each byte of it. Most bytes need one comparison.
    fn is_complete(&mut self) -> Result<bool, BadHeader> {
        const V1_BEGIN: &[u8] = b"PROXY ";
        let header = &self.header[..self.length];
        if header[0] == V2_SIGNATURE[0] {
            return match self.length {
                0..=12 if V2_SIGNATURE.starts_with(header) => Ok(false),
                0..=12 => Err(BadHeader::NotAHeader),
                _ => self.is_complete_v2(),
            };
        }
        let compared = header.len().min(V1_BEGIN.len());
        if header[..compared] != V1_BEGIN[..compared] {
            return Err(BadHeader::NotAHeader);
        }
        match header {
            [line @ .., b'\r', b'\n'] => {
                self.player = v1_player(&line[V1_BEGIN.len()..]).ok_or(BadHeader::Malformed)?;
                Ok(true)
            }
            // A carriage return is only legal in front of a line feed, and that only behind one.
            [.., b'\r', _] | [.., b'\n'] => Err(BadHeader::Malformed),
            _ if self.length == V1_LONGEST => Err(BadHeader::TooLong),
            _ => Ok(false),
        }
    }

    fn is_complete_v2(&mut self) -> Result<bool, BadHeader> {
        let header = &self.header[..self.length];
        let speaks_for_itself = match header[12] {
            0x20 => true,
            0x21 => false,
            _ => return Err(BadHeader::Malformed),
        };
        let Some(fixed) = header.get(..V2_FIXED) else { return Ok(false) };
        let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        let (family, protocol) = (fixed[13] >> 4, fixed[13] & 0x0f);
        if family > 3 || protocol > 2 {
            return Err(BadHeader::Malformed);
        }
        // A player's address is read for TCP only. All others are skipped: the proxy does not know the player then.
        let address_bytes = match fixed[13] {
            0x11 if !speaks_for_itself => 12,
            0x21 if !speaks_for_itself => 36,
            _ => 0,
        };
        if length < address_bytes {
            return Err(BadHeader::Malformed);
        }
        if header.len() < V2_FIXED + address_bytes {
            return Ok(false);
        }
        let address = &header[V2_FIXED..];
        self.player = match *address {
            [a, b, c, d, _, _, _, _, high, low, _, _] => {
                Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
            }
            [.., high, low, _, _] if address.len() == 36 => {
                let mut octets = [0; 16];
                octets.copy_from_slice(&address[..16]);
                Some(SocketAddr::new(Ipv6Addr::from(octets).into(), u16::from_be_bytes([high, low])))
            }
            _ => None,
        };
        self.skip = length - address_bytes;
        Ok(self.skip == 0)
    }
}

/// The player in a version 1 header without its begin and its end. The outer `None` means that it is malformed.
fn v1_player(header: &[u8]) -> Option<Option<SocketAddr>> {
    let header = std::str::from_utf8(header).ok()?;
    let mut parts = header.split(' ');
    let (source, destination): (IpAddr, IpAddr) = match parts.next()? {
        // Whatever follows has to be ignored.
        "UNKNOWN" => return Some(None),
        "TCP4" => {
            (parts.next()?.parse::<Ipv4Addr>().ok()?.into(), parts.next()?.parse::<Ipv4Addr>().ok()?.into())
        }
        "TCP6" => {
            (parts.next()?.parse::<Ipv6Addr>().ok()?.into(), parts.next()?.parse::<Ipv6Addr>().ok()?.into())
        }
        _ => return None,
    };
    let (port, destination_port) = (v1_port(parts.next()?)?, v1_port(parts.next()?)?);
    // The destination is only checked: the header has to be right as a whole.
    let _ = (destination, destination_port);
    match parts.next() {
        None => Some(Some(SocketAddr::new(source, port))),
        Some(_) => None,
    }
}

/// A decimal number without signs and leading zeros.
fn v1_port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests;
