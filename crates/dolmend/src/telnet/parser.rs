//! The grammar of a telnet stream: which bytes are text, which are commands, and which belong to a subnegotiation.
//!
//! A subnegotiation of an option that is on is collected, up to a limit. All others are noise: most likely a player has
//! sent ÿú in Latin-1, which is IAC SB. So they end at a line end, after a number of bytes or after a time, and what the
//! player types next is text again. One of an option that is on may hold a password: after the time it is discarded up to
//! its end, and no part of it becomes text.

use std::time::{Duration, Instant};

use super::byte::{DO, DONT, IAC, SB, SE, WILL, WONT};

/// A part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Bytes of text, never empty; a doubled 255 is one byte 255.
    Text(&'a [u8]),
    /// WILL, WONT, DO or DONT, and the option.
    Negotiation {
        /// One of the four verbs.
        verb: u8,
        /// The option that is negotiated.
        option: u8,
    },
    /// A complete subnegotiation of an option that is on.
    Subnegotiation {
        /// The option.
        option: u8,
        /// Its bytes; a doubled 255 is one byte 255.
        payload: &'a [u8],
    },
    /// Any other command of two bytes: this is its second.
    Command(u8),
}

/// The owner of a parser.
pub trait Receiver {
    /// How many bytes a subnegotiation of this option may have. `None` if the option is off.
    fn most_bytes(&self, option: u8) -> Option<usize>;

    /// Takes a part of the stream.
    fn event(&mut self, event: Event<'_>);
}

/// Commands start here (RFC 1184 took 236 to 238, RFC 885 took 239).
const FIRST_COMMAND: u8 = 236;

/// The end of a subnegotiation whose option is off.
const MOST_NOISE_BYTES: usize = 1024;

/// The end of any subnegotiation. What exceeds its limit is skipped up to here.
const MOST_SKIPPED_BYTES: usize = 1 << 20;

/// The time after which a subnegotiation without an end is over, or discarded.
const SUBNEGOTIATION_TIMEOUT: Duration = Duration::from_secs(10);

/// A payload whose memory is kept for the next one.
const KEPT_BYTES: usize = 512;

/// The state of the grammar after the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// In text.
    #[default]
    Text,
    /// After IAC.
    Command,
    /// After IAC and one of the four verbs.
    Option { verb: u8 },
    /// After IAC SB.
    SubnegotiationOption,
    /// In a subnegotiation.
    Subnegotiation,
    /// In a subnegotiation, after IAC.
    SubnegotiationCommand,
}

/// Splits a stream into text and commands, whatever pieces it arrives in.
#[derive(Debug, Default)]
pub struct Parser {
    state: State,
    /// The subnegotiation in progress: its option, unless it is noise, and how many bytes it may have.
    option: Option<(u8, usize)>,
    payload: Vec<u8>,
    /// How many bytes it has had, kept or not.
    length: usize,
    began: Option<Instant>,
    /// Its end comes too late, and it is not delivered.
    too_late: bool,
}

impl Parser {
    /// Takes the next bytes of the stream and delivers their parts.
    ///
    /// The next bytes continue a command that is cut off at the end; if none follow, it is ignored.
    pub fn receive(&mut self, bytes: &[u8], now: Instant, receiver: &mut impl Receiver) {
        if self.began.is_some_and(|began| now.saturating_duration_since(began) > SUBNEGOTIATION_TIMEOUT) {
            self.time_out();
        }
        let mut rest = bytes;
        while let Some((&first, after)) = rest.split_first() {
            match self.state {
                State::Text if first != IAC => {
                    let length = rest.iter().position(|&byte| byte == IAC).unwrap_or(rest.len());
                    receiver.event(Event::Text(&rest[..length]));
                    rest = &rest[length..];
                    continue;
                }
                State::Text => self.state = State::Command,
                State::Command => self.command(first, now, receiver),
                State::Option { verb } => {
                    self.state = State::Text;
                    receiver.event(Event::Negotiation { verb, option: first });
                }
                State::SubnegotiationOption if first != IAC => {
                    self.state = State::Subnegotiation;
                    self.option = receiver.most_bytes(first).map(|most| (first, most));
                    if self.option.is_none() && !self.skip(first) {
                        continue;
                    }
                }
                State::Subnegotiation if first != IAC => {
                    if !self.skip(first) {
                        continue;
                    }
                }
                State::SubnegotiationOption | State::Subnegotiation => {
                    self.state = State::SubnegotiationCommand;
                }
                State::SubnegotiationCommand => {
                    if !self.subnegotiation_command(first, now, receiver) {
                        continue;
                    }
                }
            }
            rest = after;
        }
    }

    /// The caller did not take what the peer may have sent in the last time: it does not count.
    pub fn paused(&mut self, time: Duration) {
        self.began = self.began.and_then(|began| began.checked_add(time));
    }

    /// The time for a subnegotiation is over.
    fn time_out(&mut self) {
        match (self.state, self.option) {
            // Which option it is is not known yet.
            (State::SubnegotiationOption, _) => {}
            (_, None) => self.leave(),
            (_, Some(_)) => {
                self.too_late = true;
                self.payload = Vec::new();
            }
        }
    }

    /// The byte after IAC.
    fn command(&mut self, byte: u8, now: Instant, receiver: &mut impl Receiver) {
        self.state = State::Text;
        match byte {
            IAC => receiver.event(Event::Text(&[IAC])),
            WILL | WONT | DO | DONT => self.state = State::Option { verb: byte },
            SB => self.enter(now),
            FIRST_COMMAND.. => receiver.event(Event::Command(byte)),
            // Not a command: a client sent a bare 255 as text (an ÿ of Latin-1), and this is the text after it. It may
            // be the line end, so it must not be lost; the 255 is dropped.
            _ => receiver.event(Event::Text(&[byte])),
        }
    }

    /// A byte of a subnegotiation. False if it ends there, and the byte is text.
    fn skip(&mut self, byte: u8) -> bool {
        self.length += 1;
        let is_text = match self.option {
            None => matches!(byte, b'\r' | b'\n') || self.length > MOST_NOISE_BYTES,
            Some((_, most)) => {
                if self.length <= most && !self.too_late {
                    self.payload.push(byte);
                }
                self.length > MOST_SKIPPED_BYTES.max(most)
            }
        };
        if is_text {
            self.leave();
        }
        !is_text
    }

    /// The byte after IAC in a subnegotiation. False if it is to be looked at again.
    fn subnegotiation_command(&mut self, byte: u8, now: Instant, receiver: &mut impl Receiver) -> bool {
        match byte {
            SE => {
                if let Some((option, _)) =
                    self.option.filter(|&(_, most)| self.length <= most && !self.too_late)
                {
                    receiver.event(Event::Subnegotiation { option, payload: &self.payload });
                }
                self.leave();
                true
            }
            // These cannot occur inside: the peer has abandoned the subnegotiation.
            WILL | WONT | DO | DONT => {
                self.leave();
                self.state = State::Option { verb: byte };
                true
            }
            SB => {
                self.leave();
                self.enter(now);
                true
            }
            // IAC IAC is a byte 255 of the payload, and so is a 255 that some clients send without doubling it.
            _ => {
                self.state = State::Subnegotiation;
                let within = self.skip(IAC);
                // The byte after an undoubled 255 counts itself: as text if the subnegotiation has ended.
                if byte == IAC && !within {
                    receiver.event(Event::Text(&[IAC]));
                }
                byte == IAC
            }
        }
    }

    fn enter(&mut self, now: Instant) {
        self.state = State::SubnegotiationOption;
        self.began = Some(now);
    }

    fn leave(&mut self) {
        self.state = State::Text;
        self.option = None;
        self.length = 0;
        self.began = None;
        self.too_late = false;
        self.payload.clear();
        self.payload.shrink_to(KEPT_BYTES);
    }
}
