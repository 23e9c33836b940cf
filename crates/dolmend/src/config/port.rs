//! `[ADDRESS:]PORT[:KIND] [OPTION=VALUE …]`: one port that players connect to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::encoding::TextEncoding;

use super::error::BadValue;

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortKind {
    /// Lines of text with telnet commands among them.
    Telnet,
    /// Lines of text and nothing else: byte 255 has no special meaning.
    Ascii,
    /// Bytes for the world, and bytes from it.
    Binary,
}

impl PortKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [PortKind; 3] = [PortKind::Telnet, PortKind::Ascii, PortKind::Binary];

    /// The word for it in a configuration file.
    pub fn name(self) -> &'static str {
        match self {
            PortKind::Telnet => "telnet",
            PortKind::Ascii => "ascii",
            PortKind::Binary => "binary",
        }
    }
}

impl fmt::Display for PortKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is different on one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortOptions {
    /// `encoding`: the encoding of the text, unless the client names one. `None` is that of the configuration.
    pub encoding: Option<TextEncoding>,
    /// `keepalive`: whether a telnet client that is silent gets a NOP now and then. On. The system's keepalive is not
    /// affected.
    pub keepalive: bool,
    /// `proxy`: whether a trusted proxy has to begin with a PROXY header. On.
    pub proxy: bool,
}

impl Default for PortOptions {
    fn default() -> PortOptions {
        PortOptions { encoding: None, keepalive: true, proxy: true }
    }
}

/// Those that are not the default, each with a space before it.
impl fmt::Display for PortOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(encoding) = self.encoding {
            write!(f, " encoding={}", encoding.name().to_ascii_lowercase())?;
        }
        if !self.keepalive {
            f.write_str(" keepalive=off")?;
        }
        if !self.proxy {
            f.write_str(" proxy=off")?;
        }
        Ok(())
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
/// let port: PortSpec = "4000 keepalive=off encoding=latin1".parse()?;
/// assert!(!port.options.keepalive);
/// # Ok::<(), dolmend::config::BadValue>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortSpec {
    /// The address. Port 0 lets the system choose.
    pub address: SocketAddr,
    /// The protocol.
    pub kind: PortKind,
    /// What is different on this port.
    pub options: PortOptions,
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.address, self.kind, self.options)
    }
}

impl PortSpec {
    /// The problem of two addresses that cannot be open at the same time: they are the same, or one of them is on all
    /// addresses of the machine. IPv4 and IPv6 are apart.
    pub(super) fn collision(earlier: SocketAddr, later: SocketAddr) -> Option<String> {
        let apart = later.port() == 0
            || later.port() != earlier.port()
            || later.is_ipv4() != earlier.is_ipv4()
            || (earlier.ip() != later.ip() && ![earlier, later].iter().any(|one| one.ip().is_unspecified()));
        if apart {
            None
        } else if earlier.ip() == later.ip() {
            Some(format!("{later} is given twice"))
        } else {
            Some(format!("{earlier} and {later} cannot be open together: one includes the other"))
        }
    }
}

/// The options, for messages.
const OPTIONS: &str = "the options are encoding=NAME, keepalive=on|off and proxy=on|off, behind the port";

/// The form of a port, for messages.
const FORM: &str = "a port is [ADDRESS:]PORT[:KIND], such as 4000, 127.0.0.1:4000 or [::1]:4000:ascii";

impl FromStr for PortSpec {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<PortSpec, BadValue> {
        let (text, options) = split_options(text.trim())?;
        if text.is_empty() {
            return Err(BadValue::new("no port is given", FORM));
        }
        let (address, rest) = split_address(text)?;
        let (port, kind) = match rest.split_once(':') {
            Some((port, kind)) => (port, parse_kind(kind)?),
            None => (rest, PortKind::Telnet),
        };
        Ok(PortSpec { address: SocketAddr::new(address, parse_port(port)?), kind, options })
    }
}

/// Removes the options from the end. A word with `=` is one, and only options may follow it.
fn split_options(text: &str) -> Result<(&str, PortOptions), BadValue> {
    let begin = text
        .find('=')
        .map_or(text.len(), |equals| text[..equals].rfind(char::is_whitespace).map_or(0, |space| space));
    let (port, words) = text.split_at(begin);
    let (mut options, mut seen) = (PortOptions::default(), Vec::new());
    for word in words.split_whitespace() {
        let Some((name, value)) = word.split_once('=') else {
            return Err(BadValue::new(format!("'{word}' is not an option"), OPTIONS));
        };
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "encoding" => options.encoding = Some(parse_encoding(value)?),
            "keepalive" => options.keepalive = parse_switch(&name, value)?,
            "proxy" => options.proxy = parse_switch(&name, value)?,
            _ => return Err(BadValue::new(format!("'{name}' is not an option of a port"), OPTIONS)),
        }
        if seen.contains(&name) {
            return Err(BadValue::new(format!("'{name}' is given twice"), "keep one of them"));
        }
        seen.push(name);
    }
    Ok((port.trim_end(), options))
}

fn parse_switch(name: &str, value: &str) -> Result<bool, BadValue> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "yes" => Ok(true),
        "off" | "no" => Ok(false),
        _ => Err(BadValue::new(format!("'{value}' is not a value of {name}"), "it is on or off")),
    }
}

/// An encoding by any of its usual names. One in which the bytes of a line end may be a part of another character does
/// not fit telnet.
fn parse_encoding(value: &str) -> Result<TextEncoding, BadValue> {
    TextEncoding::for_label(value.as_bytes()).ok_or_else(|| {
        BadValue::new(
            format!("'{value}' is not an encoding that a port can have"),
            "such as utf-8, latin1, iso-8859-2, koi8-r, gbk or big5",
        )
    })
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
    for kind in PortKind::ALL {
        if text.eq_ignore_ascii_case(kind.name()) {
            return Ok(kind);
        }
    }
    Err(BadValue::new(format!("'{text}' is not a kind of port"), "the kinds are telnet, ascii and binary"))
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
        assert_eq!(shown("4000:Binary"), "0.0.0.0:4000:binary");
        assert_eq!(shown("4000  proxy=off\tKeepalive=OFF"), "0.0.0.0:4000:telnet keepalive=off proxy=off");
        assert_eq!(shown("[::1]:4000:ascii encoding=koi8-r"), "[::1]:4000:ascii encoding=koi8-r");
        assert_eq!(shown("4000 encoding=utf8 keepalive=on proxy=on"), "0.0.0.0:4000:telnet encoding=utf-8");
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for text in [
            "4000",
            "[::]:1:ascii",
            "10.1.2.3:77 proxy=off",
            "[fe80::1]:9:binary keepalive=off encoding=latin1",
        ] {
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
            ("4000:telnt", "'telnt' is not a kind of port", "telnet, ascii and binary"),
            ("4000 x", "'4000 x' is not a port number", "such as 4000"),
            ("4000 keepalive", "'4000 keepalive' is not a port number", "[ADDRESS:]PORT[:KIND]"),
            ("4000 proxy=off keepalive", "'keepalive' is not an option", "keepalive=on|off"),
            ("4000 tls=on", "'tls' is not an option of a port", "encoding=NAME"),
            ("4000 proxy=maybe", "'maybe' is not a value of proxy", "on or off"),
            ("4000 proxy=off proxy=on", "'proxy' is given twice", "keep one"),
            ("4000 encoding=klingon", "'klingon' is not an encoding", "latin1"),
            ("4000 encoding=utf-16", "'utf-16' is not an encoding", "latin1"),
            ("4000 encoding=iso-2022-cn", "'iso-2022-cn' is not an encoding", "latin1"),
            ("proxy=on", "no port is given", "[ADDRESS:]PORT[:KIND]"),
            ("4000:", "'' is not a kind of port", "telnet, ascii and binary"),
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
