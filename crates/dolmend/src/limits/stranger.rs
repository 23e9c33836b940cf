//! Clients that do not speak telnet: web browsers, scanners, and programs that have the wrong port.
//!
//! They are recognised by their first bytes and their first line, so that neither their headers become names nor a web
//! page's form plays a character. The classifier holds no bytes back: it looks at bytes before the protocol gets them,
//! and reports a stranger at the latest with the byte that would end the first line. A PROXY header of version 2, which begins
//! with line ends, is reported with its twelfth byte.
//!
//! Legal telnet is never a stranger: commands, the escape sequences and control keys of a client in character mode, text
//! in any encoding. `CONNECT ann secret` and `get sword` are commands of games; they become a request only when the line
//! names a version of HTTP.

use std::fmt;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stranger {
    /// A web browser, or a form of a web page.
    Http,
    /// SSH's greeting.
    Ssh,
    /// TLS.
    Tls,
    /// Windows Remote Desktop.
    Rdp,
    /// Windows file sharing, directly on TCP.
    Smb,
    /// A proxy's header from a peer that is not trusted.
    Proxy,
    /// Bytes with which no telnet client begins.
    Binary,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stranger::Http => "HTTP",
            Stranger::Ssh => "SSH",
            Stranger::Tls => "TLS",
            Stranger::Rdp => "RDP",
            Stranger::Smb => "SMB",
            Stranger::Proxy => "PROXY header from a peer that is not trusted",
            Stranger::Binary => "unknown binary protocol",
        })
    }
}

/// What is known of a client so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may still be a stranger.
    Undecided,
    /// It is none.
    Player,
    /// It is one.
    Stranger(Stranger),
}

/// The first bytes of strangers. None is the beginning of another one.
const BEGINNINGS: &[(&[u8], Stranger)] = &[
    (b"GET /", Stranger::Http),
    (b"GET http", Stranger::Http),
    (b"HEAD /", Stranger::Http),
    (b"POST /", Stranger::Http),
    (b"PUT /", Stranger::Http),
    (b"PATCH /", Stranger::Http),
    (b"TRACE /", Stranger::Http),
    (b"DELETE /", Stranger::Http),
    (b"OPTIONS /", Stranger::Http),
    (b"OPTIONS *", Stranger::Http),
    (b"SSH-", Stranger::Ssh),
    (b"PROXY TCP4 ", Stranger::Proxy),
    (b"PROXY TCP6 ", Stranger::Proxy),
    (b"PROXY UNKNOWN", Stranger::Proxy),
    (b"\r\n\r\n\0\r\nQUIT\n", Stranger::Proxy),
    (b"\x16\x03", Stranger::Tls),
    (b"\x03\x00", Stranger::Rdp),
    (b"\x00\x00", Stranger::Smb),
    // SOCKS 4; a client in character mode may begin with Ctrl-D.
    (b"\x04\x01", Stranger::Binary),
];

/// The longest of them.
const LONGEST: usize = 13;

/// What ends the first line of any HTTP request, whatever its method.
const VERSION: &[u8] = b" HTTP/";

/// Classifies a client by its first bytes, in any pieces.
///
/// ```
/// use dolmend::limits::{FirstBytes, Stranger, Verdict};
///
/// let mut first = FirstBytes::default();
/// assert_eq!(first.receive(b"PO"), Verdict::Undecided);
/// assert_eq!(first.receive(b"ST / HTTP/1.1\r\n"), Verdict::Stranger(Stranger::Http));
/// assert_eq!(FirstBytes::default().receive(b"Ann\r\n"), Verdict::Player);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct FirstBytes {
    begun: [u8; LONGEST],
    /// How many bytes came, as far as a beginning is possible.
    length: usize,
    /// How much of [`VERSION`] the last bytes of the first line are.
    version: usize,
    verdict: Option<Verdict>,
}

impl FirstBytes {
    /// Looks at the next bytes. Once a client is known, nothing changes that.
    pub fn receive(&mut self, bytes: &[u8]) -> Verdict {
        for &byte in bytes {
            if let Some(verdict) = self.verdict {
                return verdict;
            }
            self.receive_byte(byte);
        }
        self.verdict.unwrap_or(Verdict::Undecided)
    }

    fn receive_byte(&mut self, byte: u8) {
        if self.length == 0 && is_never_first(byte) {
            self.verdict = Some(Verdict::Stranger(Stranger::Binary));
            return;
        }
        let mut may_begin = false;
        if self.length < LONGEST {
            self.begun[self.length] = byte;
            self.length += 1;
            let begun = &self.begun[..self.length];
            for &(beginning, stranger) in BEGINNINGS {
                if begun == beginning {
                    self.verdict = Some(Verdict::Stranger(stranger));
                    return;
                }
                may_begin |= beginning.starts_with(begun);
            }
        }
        if !may_begin {
            // No other beginning may follow.
            self.length = LONGEST;
        }
        // A method is a word in capital letters.
        let may_be_request = self.begun[0].is_ascii_uppercase() && !matches!(byte, b'\r' | b'\n');
        if may_be_request {
            // Only the first byte of the pattern is a space, so no other place of it can begin again.
            let goes_on = byte == VERSION[self.version];
            self.version = if goes_on { self.version + 1 } else { usize::from(byte == VERSION[0]) };
            if self.version == VERSION.len() {
                self.verdict = Some(Verdict::Stranger(Stranger::Http));
            }
        } else if !may_begin {
            self.verdict = Some(Verdict::Player);
        }
    }
}

/// Control bytes with which no telnet client begins: not those of the keys that end, erase or interrupt a line, nor the
/// first bytes of the longer beginnings above.
fn is_never_first(byte: u8) -> bool {
    const KEYS: [u8; 14] =
        [0x03, 0x04, 0x07, 0x08, b'\t', b'\n', 0x0c, b'\r', 0x11, 0x12, 0x13, 0x15, 0x17, 0x1a];
    byte < b' ' && !KEYS.contains(&byte) && !matches!(byte, 0x00 | 0x16 | 0x1b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The verdict, which has to be the same in every cut, and the number of bytes after which it was given.
    fn classify(stream: &[u8]) -> (Verdict, usize) {
        let whole = FirstBytes::default().receive(stream);
        for cut in 0..=stream.len() {
            let mut first = FirstBytes::default();
            let (left, right) = stream.split_at(cut);
            let verdict = match first.receive(left) {
                Verdict::Undecided => first.receive(right),
                decided => decided,
            };
            assert_eq!(verdict, whole, "{stream:02x?} cut at {cut}");
        }
        let mut first = FirstBytes::default();
        let decided = stream.iter().position(|&byte| first.receive(&[byte]) != Verdict::Undecided);
        assert_eq!(first.receive(b""), whole, "{stream:02x?} byte by byte");
        (whole, decided.map_or(stream.len(), |place| place + 1))
    }

    #[test]
    fn strangers_are_recognised_before_their_first_line_ends() {
        for (stream, stranger, most) in [
            (&b"GET / HTTP/1.0\r\n\r\n"[..], Stranger::Http, 5),
            (b"GET http://example.org/ HTTP/1.1\r\n", Stranger::Http, 8),
            (b"POST /login HTTP/1.1\r\nHost: x\r\n\r\nAnn\r\nsay hi\r\n", Stranger::Http, 6),
            (b"OPTIONS * HTTP/1.1\r\n", Stranger::Http, 9),
            (b"CONNECT example.org:443 HTTP/1.1\r\n", Stranger::Http, 29),
            (b"PROPFIND /x HTTP/1.1\r\n", Stranger::Http, 17),
            (b"GET  / HTTP/1.1\r\n", Stranger::Http, 12),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Stranger::Http, 11),
            (b"SSH-2.0-OpenSSH_9.6\r\n", Stranger::Ssh, 4),
            (b"\x16\x03\x01\x02\x00\x01", Stranger::Tls, 2),
            (b"\x03\x00\x00\x13\x0e\xe0", Stranger::Rdp, 2),
            (b"\x00\x00\x00\x85\xffSMB", Stranger::Smb, 2),
            (b"\x05\x01\x00", Stranger::Binary, 1),
            (b"\x04\x01\x00\x50", Stranger::Binary, 2),
            (b"\x10\x10\x00\x04MQTT", Stranger::Binary, 1),
            (b"\x01\x02", Stranger::Binary, 1),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Stranger::Proxy, 11),
            (b"PROXY UNKNOWN\r\n", Stranger::Proxy, 13),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Stranger::Proxy, 12),
        ] {
            assert_eq!(classify(stream), (Verdict::Stranger(stranger), most), "{stream:02x?}");
        }
    }

    #[test]
    fn players_are_not_strangers() {
        for stream in [
            &b"Ann\r\n"[..],
            b"\r\n\r\n\r\n",
            b"\r\0",
            b"\r\n\r\n\0\r\nquit\r\n",
            b"\xff\xfd\x03\xff\xfb\x18",
            b"\xff\xf4\xff\xfd\x06",
            b"\x1b[A",
            b"\x03x",
            b"\x04x",
            b"\x08\x08Ann\r\n",
            b"\x16x",
            b"\x00x",
            b"\x7f",
            b"\xe9t\xe9\r\n",
            "Ångström\r\n".as_bytes(),
            b"\x80\x2e",
            b"GET\r\n",
            b"GET sword\r\n",
            b"get / http\r\n",
            b"CONNECT ann secret\r\n",
            b"POST letter\r\n",
            b"PROXYMAN\r\n",
            b"PROXY TCP5\r\n",
            b"SSH\r\n",
            b"say I like HTTP/1.1\r\n",
            b"I HTTP HTTP\r\n HTTP/1.1\r\n",
            b"MSSP-REQUEST\r\n",
        ] {
            assert_eq!(classify(stream).0, Verdict::Player, "{stream:02x?}");
        }
    }

    #[test]
    fn a_verdict_is_final() {
        let mut first = FirstBytes::default();
        assert_eq!(first.receive(b"Ann\r\n"), Verdict::Player);
        assert_eq!(first.receive(b"GET / HTTP/1.1\r\n"), Verdict::Player);
        assert!(BEGINNINGS.iter().all(|(beginning, _)| beginning.len() <= LONGEST));
        assert!(!Stranger::Http.to_string().is_empty());
    }

    proptest! {
        #[test]
        fn any_stream_gives_one_verdict_in_any_pieces(
            stream in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "[A-Z]{1,8} [/*hx]{0,3} ?(HTTP/1.1)?\r\n.{0,5}".prop_map(String::into_bytes),
            ],
        ) {
            classify(&stream);
        }

        /// Text that begins with a small letter, a digit or a letter beyond ASCII, and telnet commands.
        #[test]
        fn no_name_and_no_telnet_client_is_a_stranger(
            begin in prop_oneof![Just(0xffu8), 0x20u8..0x41, 0x5bu8.., Just(0x1b), Just(b'\t'), Just(b'\n')],
            rest in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let stream: Vec<u8> = std::iter::once(begin).chain(rest).collect();
            prop_assert_eq!(classify(&stream).0, Verdict::Player);
        }

        /// A request of any method ends at its first line, wherever it is cut.
        #[test]
        fn no_request_passes_its_first_line(method in "[A-Z]{3,12}", path in "[!-~]{1,60}", version in "[0-3]") {
            let line = format!("{method} {path} HTTP/{version}\r\n");
            let (verdict, after) = classify(line.as_bytes());
            prop_assert_eq!(verdict, Verdict::Stranger(Stranger::Http));
            prop_assert!(after < line.len() - 2);
        }
    }
}
