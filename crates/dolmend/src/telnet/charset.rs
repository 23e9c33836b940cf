//! CHARSET (RFC 2066): which encoding the text has.

use super::byte::option;
use super::engine::subnegotiation;
use crate::encoding::TextEncoding;
use crate::layer::Outward;

const REQUEST: u8 = 1;
const ACCEPTED: u8 = 2;
const REJECTED: u8 = 3;
const TTABLE_IS: u8 = 4;
const TTABLE_REJECTED: u8 = 5;

/// The negotiation of one connection.
#[derive(Debug, Default)]
pub(super) struct Charset {
    /// Our request has no answer yet.
    waiting: bool,
}

impl Charset {
    /// Asks the client to choose between UTF-8 and the encoding of the port.
    pub(super) fn request(&mut self, port: TextEncoding, outward: &mut Outward) {
        let mut list = vec![REQUEST];
        list.extend(b";UTF-8");
        if port != TextEncoding::UTF_8 {
            list.push(b';');
            list.extend(port.name().bytes());
        }
        subnegotiation(option::CHARSET, &list, outward);
        self.waiting = true;
    }

    /// Takes a subnegotiation. Returns the encoding that was agreed.
    pub(super) fn receive(&mut self, payload: &[u8], outward: &mut Outward) -> Option<TextEncoding> {
        let (&kind, rest) = payload.split_first()?;
        match kind {
            ACCEPTED if self.waiting => {
                self.waiting = false;
                known(rest)
            }
            REJECTED => {
                self.waiting = false;
                None
            }
            // Both ask: the server's request counts, and the client answers it (RFC 2066).
            REQUEST if self.waiting => {
                subnegotiation(option::CHARSET, &[REJECTED], outward);
                None
            }
            REQUEST => {
                let chosen = choose(rest);
                let mut reply = vec![if chosen.is_some() { ACCEPTED } else { REJECTED }];
                reply.extend(chosen.map_or(&[][..], |(name, _)| name));
                subnegotiation(option::CHARSET, &reply, outward);
                chosen.map(|(_, encoding)| encoding)
            }
            TTABLE_IS => {
                subnegotiation(option::CHARSET, &[TTABLE_REJECTED], outward);
                None
            }
            _ => None,
        }
    }
}

/// The best of a list, which begins with its separator: UTF-8, or else the first that is known.
fn choose(list: &[u8]) -> Option<(&[u8], TextEncoding)> {
    // The offer to translate by a table, with its version, is not taken.
    let list = match list.strip_prefix(b"[TTABLE]") {
        Some(rest) => rest.get(1..)?,
        None => list,
    };
    let (&separator, names) = list.split_first()?;
    let known = || names.split(|&byte| byte == separator).filter_map(|name| Some((name, known(name)?)));
    known().find(|(_, encoding)| *encoding == TextEncoding::UTF_8).or_else(|| known().next())
}

/// The encoding with this name, if its bytes below 128 are ASCII: the others hide line ends.
fn known(name: &[u8]) -> Option<TextEncoding> {
    // The standard that the library follows calls ASCII an encoding with more characters.
    let is_ascii = [&b"US-ASCII"[..], b"ASCII"].into_iter().any(|ascii| name.eq_ignore_ascii_case(ascii));
    TextEncoding::for_label(name).filter(|_| !is_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(charset: &mut Charset, payload: &[u8]) -> (Option<&'static str>, Vec<u8>) {
        let mut outward = Outward::default();
        let agreed = charset.receive(payload, &mut outward).map(TextEncoding::name);
        (agreed, outward.bytes().to_vec())
    }

    #[test]
    fn a_request_of_the_client_is_answered_with_the_best_it_offers() {
        let answer = |list: &[u8]| run(&mut Charset::default(), &[&[REQUEST], list].concat());
        assert_eq!(answer(b";ISO-8859-1;UTF-8"), (Some("UTF-8"), b"\xff\xfa\x2a\x02UTF-8\xff\xf0".to_vec()));
        assert_eq!(answer(b" KOI8-R CP437").0, Some("KOI8-R"));
        assert_eq!(answer(b";ISO-8859-1;windows-1252").0, Some("ISO-8859-1"));
        assert_eq!(answer(b"[TTABLE]\x01;UTF-8").0, Some("UTF-8"));
        for none in [&b""[..], b";", b";UTF-16", b";US-ASCII", b"[TTABLE]", b";ISO-2022-JP"] {
            assert_eq!(answer(none), (None, b"\xff\xfa\x2a\x03\xff\xf0".to_vec()), "{none:?}");
        }
    }

    #[test]
    fn when_both_ask_the_servers_request_counts() {
        let (mut charset, mut outward) = (Charset::default(), Outward::default());
        charset.request(encoding_rs::KOI8_R.into(), &mut outward);
        assert_eq!(outward.bytes(), b"\xff\xfa\x2a\x01;UTF-8;KOI8-R\xff\xf0");
        assert_eq!(run(&mut charset, b"\x01;UTF-8"), (None, b"\xff\xfa\x2a\x03\xff\xf0".to_vec()));
        assert_eq!(run(&mut charset, b"\x02KOI8-R"), (Some("KOI8-R"), vec![]));
        assert_eq!(run(&mut charset, b"\x02UTF-8"), (None, vec![]), "no one asked");
    }
}
