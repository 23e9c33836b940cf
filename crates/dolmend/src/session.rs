//! One user's side of the protocols, without the connection: bytes to lines, text to bytes.

use std::collections::VecDeque;

use crate::config::PortKind;
use crate::line::{Line, LineAssembler};
use crate::telnet::{Encoder, Input, Telnet};

/// How many lines may wait before the server stops reading from this user.
const MOST_WAITING_LINES: usize = 64;

/// The number of waiting lines at which the server reads again. Well below the other mark, so that it does not stop and
/// start reading for each line.
const FEW_WAITING_LINES: usize = 16;

/// The layer between the bytes of one connection and the lines and texts of a world.
#[derive(Debug)]
pub struct Session {
    /// `None` on a port with plain lines.
    telnet: Option<Telnet>,
    assembler: LineAssembler,
    encoder: Encoder,
    /// Received lines that wait for their turn.
    lines: VecDeque<Line>,
}

impl Session {
    /// A session on a port of this kind, with lines of at most `line_length_bytes` bytes.
    pub fn new(kind: PortKind, line_length_bytes: usize) -> Session {
        let (telnet, encoder) = match kind {
            PortKind::Telnet => (Some(Telnet::new()), Encoder::telnet()),
            PortKind::Ascii | PortKind::Binary => (None, Encoder::ascii()),
        };
        Session { telnet, assembler: LineAssembler::new(line_length_bytes), encoder, lines: VecDeque::new() }
    }

    /// Takes bytes from the client. Appends the protocol's immediate replies to `reply`.
    pub fn receive(&mut self, bytes: &[u8], reply: &mut Vec<u8>) {
        let Session { telnet, assembler, lines, .. } = self;
        match telnet {
            None => assembler.receive(bytes, |line| lines.push_back(line)),
            Some(telnet) => telnet.receive(bytes, reply, |input| match input {
                Input::Text(text) => assembler.receive(text, |line| lines.push_back(line)),
                Input::EraseCharacter => {
                    assembler.erase_character();
                }
                Input::EraseLine => assembler.erase_line(),
            }),
        }
    }

    /// The client will send nothing more: its last text counts as a line even without a line end.
    pub fn finish(&mut self) {
        self.lines.extend(self.assembler.finish());
    }

    /// The line whose turn it is.
    pub fn next_line(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    /// Whether a line waits.
    pub fn has_line(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Whether so many lines wait that the server should stop reading.
    pub fn is_behind(&self) -> bool {
        self.lines.len() >= MOST_WAITING_LINES
    }

    /// Whether so few lines wait that the server should read again.
    pub fn has_caught_up(&self) -> bool {
        self.lines.len() <= FEW_WAITING_LINES
    }

    /// The state of the encoder.
    pub fn encoder(&self) -> Encoder {
        self.encoder
    }

    /// A text has been encoded for this session, from its state to this one.
    pub fn set_encoder(&mut self, encoder: Encoder) {
        self.encoder = encoder;
    }

    /// Appends the wire form of a text to `wire`.
    pub fn encode(&mut self, text: &str, wire: &mut Vec<u8>) {
        self.encoder.encode(text.as_bytes(), wire);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(session: &mut Session) -> Vec<String> {
        std::iter::from_fn(|| session.next_line().map(|line| line.text)).collect()
    }

    #[test]
    fn telnet_commands_do_not_come_between_a_line_end_and_its_second_byte() {
        let (mut session, mut reply) = (Session::new(PortKind::Telnet, 80), Vec::new());
        session.receive(b"who\r\xff\xf1", &mut reply);
        session.receive(b"\nhe\xff\xfd\x01lp\n", &mut reply);
        assert_eq!(lines(&mut session), ["who", "help"]);
        assert_eq!(reply, b"\xff\xfc\x01");
    }

    #[test]
    fn telnet_commands_do_not_come_between_the_bytes_of_a_character() {
        let mut session = Session::new(PortKind::Telnet, 80);
        session.receive(b"caf\xc3\xff\xf1\xa9\n", &mut Vec::new());
        assert_eq!(lines(&mut session), ["café"]);
    }

    #[test]
    fn erasing_by_telnet_command_edits_the_line() {
        let mut session = Session::new(PortKind::Telnet, 80);
        session.receive(b"junk\xff\xf8whp\xff\xf7o\n", &mut Vec::new());
        assert_eq!(lines(&mut session), ["who"]);
    }

    #[test]
    fn on_an_ascii_port_255_is_a_byte() {
        let (mut session, mut reply) = (Session::new(PortKind::Ascii, 80), Vec::new());
        session.receive(b"a\xff\xfd\x20b\n", &mut reply);
        assert_eq!(lines(&mut session), ["a\u{fffd}\u{fffd} b"]);
        assert_eq!(reply, b"");
    }

    #[test]
    fn the_last_line_counts_without_an_end() {
        let mut session = Session::new(PortKind::Telnet, 80);
        session.receive(b"a\nquit", &mut Vec::new());
        assert_eq!(lines(&mut session), ["a"]);
        session.finish();
        assert_eq!(lines(&mut session), ["quit"]);
        session.finish();
        assert!(!session.has_line());
    }

    #[test]
    fn a_flood_is_detected_and_so_is_its_end() {
        let mut session = Session::new(PortKind::Telnet, 80);
        session.receive(&b"\n".repeat(MOST_WAITING_LINES - 1), &mut Vec::new());
        assert!(!session.is_behind());
        session.receive(b"\n", &mut Vec::new());
        assert!(session.is_behind() && !session.has_caught_up());
        for _ in FEW_WAITING_LINES..MOST_WAITING_LINES {
            session.next_line();
        }
        assert!(session.has_caught_up());
    }
}
