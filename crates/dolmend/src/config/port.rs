//! `[ADDRESS:]PORT[:KIND]`: one port that players connect to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use super::error::BadValue;

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortKind {
    /// Lines of text with telnet commands among them.
    Telnet,
    /// Lines of text and nothing else: byte 255 has no special meaning.
    Ascii,
}

impl PortKind {
    /// The word for it in a configuration file.
    pub fn name(self) -> &'static str {
        match self {
            PortKind::Telnet => "telnet",
            PortKind::Ascii => "ascii",
        }
    }
}

impl fmt::Display for PortKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One port to listen on.
///
/// ```
/// use dolmend::config::{PortKind, PortSpec};
///
/// let port: PortSpec = "[::1]:4000:ascii".parse()?;
/// assert_eq!(port.kind, PortKind::Ascii);
/// assert_eq!("4000".parse::<PortSpec>()?.to_string(), "0.0.0.0:4000:telnet");
/// # Ok::<(), dolmend::config::BadValue>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortSpec {
    /// The address. Port 0 lets the system choose.
    pub address: SocketAddr,
    /// The protocol.
    pub kind: PortKind,
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address, self.kind)
    }
}

/// The form of a port, for messages.
const FORM: &str = "a port is [ADDRESS:]PORT[:KIND], such as 4000, 127.0.0.1:4000 or [::1]:4000:ascii";

impl FromStr for PortSpec {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<PortSpec, BadValue> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadValue::new("no port is given", FORM));
        }
        let (address, rest) = split_address(text)?;
        let (port, kind) = match rest.split_once(':') {
            Some((port, kind)) => (port, parse_kind(kind)?),
            None => (rest, PortKind::Telnet),
        };
        Ok(PortSpec { address: SocketAddr::new(address, parse_port(port)?), kind })
    }
}

/// Removes the address from the front. Without one it is every IPv4 address: drivers have always listened there when
/// given only a number.
fn split_address(text: &str) -> Result<(IpAddr, &str), BadValue> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let Some((inside, rest)) = bracketed.split_once(']') else {
            return Err(BadValue::new(format!("'{text}' has no ']'"), FORM));
        };
        let Ok(address) = inside.parse() else {
            return Err(BadValue::new(format!("'{inside}' is not an IPv6 address"), FORM));
        };
        let Some(rest) = rest.strip_prefix(':') else {
            return Err(BadValue::new(format!("'{text}' names no port after the address"), FORM));
        };
        return Ok((IpAddr::V6(address), rest));
    }
    if text.matches(':').count() > 2 {
        return Err(BadValue::new(
            format!("'{text}' has too many colons"),
            "an IPv6 address stands in brackets, such as [::1]:4000",
        ));
    }
    let Some((first, rest)) = text.split_once(':') else {
        return Ok((Ipv4Addr::UNSPECIFIED.into(), text));
    };
    let first = first.trim();
    if !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok((Ipv4Addr::UNSPECIFIED.into(), text));
    }
    match first.parse::<Ipv4Addr>() {
        Ok(address) => Ok((address.into(), rest)),
        Err(_) => Err(BadValue::new(
            format!("'{first}' is neither a port number nor an IPv4 address"),
            "names are not looked up; use a number such as 127.0.0.1",
        )),
    }
}

fn parse_port(text: &str) -> Result<u16, BadValue> {
    let text = text.trim();
    // `u16::from_str` accepts a leading '+', which is always an error here.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadValue::new(format!("'{text}' is not a port number"), FORM));
    }
    text.parse().map_err(|_| {
        BadValue::new(
            format!("port {text} is out of range"),
            "ports are 1 to 65535, and 0 lets the system choose",
        )
    })
}

fn parse_kind(text: &str) -> Result<PortKind, BadValue> {
    let text = text.trim();
    for kind in [PortKind::Telnet, PortKind::Ascii] {
        if text.eq_ignore_ascii_case(kind.name()) {
            return Ok(kind);
        }
    }
    if text.eq_ignore_ascii_case("binary") {
        return Err(BadValue::new("ports of kind 'binary' are not served", "the kinds are telnet and ascii"));
    }
    Err(BadValue::new(format!("'{text}' is not a kind of port"), "the kinds are telnet and ascii"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match text.parse::<PortSpec>() {
            Ok(port) => port.to_string(),
            Err(error) => panic!("{text}: {error}"),
        }
    }

    fn refused(text: &str) -> String {
        match text.parse::<PortSpec>() {
            Ok(port) => panic!("{text} was taken for {port}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_form_is_understood() {
        assert_eq!(shown("4000"), "0.0.0.0:4000:telnet");
        assert_eq!(shown("0:telnet"), "0.0.0.0:0:telnet");
        assert_eq!(shown("4001:ascii"), "0.0.0.0:4001:ascii");
        assert_eq!(shown("4001:ASCII"), "0.0.0.0:4001:ascii");
        assert_eq!(shown("127.0.0.1:4000"), "127.0.0.1:4000:telnet");
        assert_eq!(shown("127.0.0.1:0:ascii"), "127.0.0.1:0:ascii");
        assert_eq!(shown("[::1]:4000"), "[::1]:4000:telnet");
        assert_eq!(shown("[::1]:0:ascii"), "[::1]:0:ascii");
        assert_eq!(shown("  4000 : telnet "), "0.0.0.0:4000:telnet");
        assert_eq!(shown("65535"), "0.0.0.0:65535:telnet");
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for text in ["4000", "[::]:1:ascii", "10.1.2.3:77", "[fe80::1]:9"] {
            let port: PortSpec = text.parse().expect("a good port");
            assert_eq!(port.to_string().parse::<PortSpec>(), Ok(port));
        }
    }

    #[test]
    fn every_refusal_says_what_is_right() {
        for (text, wrong, right) in [
            ("", "no port is given", "[ADDRESS:]PORT[:KIND]"),
            ("x", "'x' is not a port number", "such as 4000"),
            ("+5", "'+5' is not a port number", "such as 4000"),
            ("70000", "port 70000 is out of range", "1 to 65535"),
            ("99999999999999999999", "out of range", "1 to 65535"),
            ("4000:telnt", "'telnt' is not a kind of port", "telnet and ascii"),
            ("4000:binary", "'binary' are not served", "telnet and ascii"),
            ("4000:", "'' is not a kind of port", "telnet and ascii"),
            ("::1:4000", "too many colons", "[::1]:4000"),
            ("[::1", "has no ']'", "[::1]:4000"),
            ("[::1]", "names no port", "[::1]:4000"),
            ("[::1]4000", "names no port", "[::1]:4000"),
            ("[1.2.3.4]:4000", "'1.2.3.4' is not an IPv6 address", "[::1]:4000"),
            ("localhost:4000", "'localhost' is neither", "127.0.0.1"),
            ("1.2.3:4000", "'1.2.3' is neither", "127.0.0.1"),
            (":4000", "'' is neither", "127.0.0.1"),
        ] {
            let message = refused(text);
            assert!(message.contains(wrong), "{text}: {message}");
            assert!(message.contains(right), "{text}: {message}");
        }
    }
}
