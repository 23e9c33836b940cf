//! Which options may be on, and what follows when one is.

use std::time::{Duration, Instant};

use super::byte::{self, AYT, DO, DONT, EC, EL, EOR, GA, IAC, NOP, SB, SE, WILL, WONT, option};
use super::charset::Charset;
use super::client::{Client, ClientEvent, WindowSize};
use super::echo::Echo;
use super::gmcp::Gmcp;
use super::options::{Options, Side};
use super::parser::{Event, Receiver};
use super::terminal::TerminalQuery;
use super::{Settings, environ, terminal};
use crate::encoding::TextEncoding;
use crate::layer::{Message, Output, Outward};

/// The longest message of GMCP.
const MOST_GMCP_BYTES: usize = 32 * 1024;

/// The longest subnegotiation of any other option.
const MOST_BYTES: usize = 1024;

/// How long compression waits for the last answer about the terminal. Clients send it with their first packets.
const TERMINAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The reply to "are you there?": on a line of its own, wherever the cursor was.
const ARE_YOU_THERE: &[u8] = b"\r\n[Yes]\r\n";

/// The client's wish for compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    Off,
    /// Agreed, and begun when the terminal is known, at the latest then.
    Until(Instant),
    On,
}

/// A question that is asked once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    NotAsked,
    Asked,
    Answered,
}

/// The state of the options of one connection.
#[derive(Debug)]
pub(super) struct Engine {
    settings: Settings,
    options: Options,
    echo: Echo,
    terminal: TerminalQuery,
    charset: Charset,
    gmcp: Gmcp,
    compression: Compression,
    /// The client asked for prompts without GA.
    no_go_ahead: bool,
    /// The question for the player's address. One answer to it is taken.
    address: Question,
    /// The client was asked for a sign of life, and nothing has come from it since.
    probed: bool,
    pub(super) client: Client,
}

impl Engine {
    pub(super) fn new(settings: Settings) -> Engine {
        Engine {
            settings,
            options: Options::default(),
            echo: Echo::default(),
            terminal: TerminalQuery::default(),
            charset: Charset::default(),
            gmcp: Gmcp::default(),
            compression: Compression::Off,
            no_go_ahead: false,
            address: Question::NotAsked,
            probed: false,
            client: Client { encoding: settings.encoding, ..Client::default() },
        }
    }

    pub(super) fn open(&mut self, outward: &mut Outward) {
        let opening = [
            (Side::Client, option::TERMINAL_TYPE, true),
            (Side::Client, option::WINDOW_SIZE, true),
            (Side::Server, option::MSSP, true),
            (Side::Server, option::CHARSET, true),
            (Side::Server, option::END_OF_RECORD, true),
            (Side::Server, option::GMCP, true),
            (Side::Server, option::MCCP2, self.settings.compress),
            (Side::Client, option::NEW_ENVIRON, self.settings.trusted_proxy),
        ];
        for (side, option, _) in opening.into_iter().filter(|(.., wanted)| *wanted) {
            if let Some(verb) = self.options.request(side, option) {
                outward.push(&[IAC, verb, option]);
            }
        }
    }

    /// Whether the client may switch an option on without being asked.
    fn agrees(&self, verb: u8, option: u8) -> bool {
        match (verb, option) {
            (WILL, option::TERMINAL_TYPE | option::WINDOW_SIZE | option::CHARSET) => true,
            (WILL, option::NEW_ENVIRON) => self.settings.trusted_proxy,
            (DO, option::MSSP | option::CHARSET | option::END_OF_RECORD | option::GMCP) => true,
            (DO, option::MCCP2) => self.settings.compress,
            _ => false,
        }
    }

    fn negotiate(
        &mut self,
        verb: u8,
        option: u8,
        now: Instant,
        inward: &mut dyn FnMut(Message<'_>),
        outward: &mut Outward,
    ) {
        match (verb, option) {
            // No state: each request is answered, behind the output so far (RFC 860).
            (DO, option::TIMING_MARK) => return outward.push(&[IAC, WILL, option::TIMING_MARK]),
            (_, option::TIMING_MARK) => return,
            (DO | DONT, option::ECHO) => {
                let reply = self.echo.receive(verb);
                return reply.into_iter().for_each(|verb| outward.push(&[IAC, verb, option::ECHO]));
            }
            (DO | DONT, option::SUPPRESS_GO_AHEAD) => self.no_go_ahead = verb == DO,
            _ => {}
        }
        let reaction = self.options.receive(verb, option, self.agrees(verb, option));
        if let Some(verb) = reaction.reply {
            outward.push(&[IAC, verb, option]);
        }
        let Some(on) = reaction.change else { return };
        match (verb, option) {
            (WILL | WONT, option::TERMINAL_TYPE) => {
                self.terminal.switched(on, outward);
                self.begin_compression_if_due(now, outward);
            }
            (WILL, option::NEW_ENVIRON) if self.address == Question::NotAsked => {
                self.address = Question::Asked;
                environ::ask(outward);
            }
            (DO, option::CHARSET) => self.charset.request(self.settings.encoding, outward),
            (DO, option::MSSP) => inward(Message::Client(ClientEvent::ServerStatus)),
            (DO | DONT, option::GMCP) => self.client.gmcp = on,
            (DO, option::MCCP2) => {
                self.compression = Compression::Until(now + TERMINAL_TIMEOUT);
                self.begin_compression_if_due(now, outward);
            }
            (DONT, option::MCCP2) => {
                let before = std::mem::replace(&mut self.compression, Compression::Off);
                (before == Compression::On).then(|| outward.compress(false));
            }
            _ => {}
        }
    }

    fn subnegotiate(
        &mut self,
        option: u8,
        payload: &[u8],
        now: Instant,
        inward: &mut dyn FnMut(Message<'_>),
        outward: &mut Outward,
    ) {
        match option {
            option::TERMINAL_TYPE => {
                if !self.terminal.answer(payload, &mut self.client, outward) {
                    return;
                }
                if self.terminal.says_utf8() {
                    self.encode_as(TextEncoding::UTF_8, inward);
                }
                inward(Message::Client(ClientEvent::TerminalType));
                self.begin_compression_if_due(now, outward);
            }
            option::WINDOW_SIZE => {
                let &[a, b, c, d] = payload else { return };
                let size =
                    WindowSize { columns: u16::from_be_bytes([a, b]), rows: u16::from_be_bytes([c, d]) };
                if (size.columns, size.rows) != (0, 0) && self.client.window != Some(size) {
                    self.client.window = Some(size);
                    inward(Message::Client(ClientEvent::WindowSize(size)));
                }
            }
            option::CHARSET => {
                if let Some(encoding) = self.charset.receive(payload, outward) {
                    self.encode_as(encoding, inward);
                }
            }
            option::NEW_ENVIRON => {
                if self.address != Question::Asked || !environ::is_answer(payload) {
                    return;
                }
                self.address = Question::Answered;
                if let Some(address) = environ::address(payload) {
                    inward(Message::Client(ClientEvent::Address(address)));
                }
            }
            option::GMCP => self.gmcp.receive(payload, &mut self.client, inward, outward),
            _ => {}
        }
    }

    fn encode_as(&mut self, encoding: TextEncoding, inward: &mut dyn FnMut(Message<'_>)) {
        if self.client.encoding != encoding {
            self.client.encoding = encoding;
            inward(Message::Encoding(encoding));
        }
    }

    fn command(&mut self, command: u8, inward: &mut dyn FnMut(Message<'_>), outward: &mut Outward) {
        match command {
            AYT => {
                outward.push(ARE_YOU_THERE);
                inward(Message::Replied);
            }
            EC => inward(Message::EraseCharacter),
            EL => inward(Message::EraseLine),
            // Break, interrupt, abort output, data mark, go ahead, no operation: a line server has nothing to
            // interrupt, and none of them carries text.
            _ => {}
        }
    }

    pub(super) fn send(&mut self, output: Output<'_>, outward: &mut Outward) {
        match output {
            Output::Bytes(bytes) => outward.push(bytes),
            Output::EndOfPrompt => {
                if self.options.is_on(Side::Server, option::END_OF_RECORD) {
                    outward.push(&[IAC, EOR]);
                } else if self.client.speaks_telnet && !self.no_go_ahead {
                    outward.push(&[IAC, GA]);
                }
            }
            Output::ShowTyping(shown) => {
                if let Some(verb) = self.echo.hide(!shown) {
                    outward.push(&[IAC, verb, option::ECHO]);
                }
            }
            Output::Gmcp { package, data } => {
                if self.options.is_on(Side::Server, option::GMCP) {
                    self.gmcp.send(package, data, outward);
                }
            }
            Output::ServerStatus(variables) => {
                if self.options.is_on(Side::Server, option::MSSP) {
                    subnegotiation(option::MSSP, variables, outward);
                }
            }
            Output::KeepAlive => {
                if self.client.speaks_telnet {
                    outward.push(&[IAC, NOP]);
                }
            }
            Output::Probe => {
                // Each of these has an answer (RFC 860, 1091); but some clients refuse a mark only once, and some have
                // no terminal.
                if self.client.speaks_telnet {
                    self.probed = true;
                    outward.push(&[IAC, DO, option::TIMING_MARK]);
                    if self.options.is_on(Side::Client, option::TERMINAL_TYPE) && self.terminal.is_over() {
                        terminal::ask(outward);
                    }
                }
            }
            Output::Compress(on) => outward.compress(on),
            // Lines have made bytes of it.
            Output::Text(_) => {}
        }
    }

    pub(super) fn compression_deadline(&self) -> Option<Instant> {
        match self.compression {
            Compression::Until(deadline) => Some(deadline),
            _ => None,
        }
    }

    pub(super) fn expire(&mut self, now: Instant, outward: &mut Outward) {
        self.begin_compression_if_due(now, outward);
    }

    /// Compression begins behind the last question about the terminal: some clients lose an answer that crosses it.
    fn begin_compression_if_due(&mut self, now: Instant, outward: &mut Outward) {
        let Compression::Until(deadline) = self.compression else { return };
        let (options, terminal) = (&self.options, option::TERMINAL_TYPE);
        let asked = options.is_asked(Side::Client, terminal)
            || options.is_on(Side::Client, terminal) && !self.terminal.is_over();
        if !asked || now >= deadline {
            self.compression = Compression::On;
            outward.push(&[IAC, SB, option::MCCP2, IAC, SE]);
            outward.compress(true);
        }
    }
}

/// An engine while it receives.
pub(super) struct Receiving<'a> {
    pub engine: &'a mut Engine,
    pub now: Instant,
    pub inward: &'a mut dyn FnMut(Message<'_>),
    pub outward: &'a mut Outward,
}

impl Receiver for Receiving<'_> {
    fn most_bytes(&self, option: u8) -> Option<usize> {
        let options = &self.engine.options;
        let on = options.is_on(Side::Client, option) || options.is_on(Side::Server, option);
        on.then_some(if option == byte::option::GMCP { MOST_GMCP_BYTES } else { MOST_BYTES })
    }

    fn event(&mut self, event: Event<'_>) {
        let Receiving { engine, now, inward, outward } = self;
        if !matches!(event, Event::Text(_)) {
            engine.client.speaks_telnet = true;
        }
        // Whatever comes, it comes from a machine that is there.
        if std::mem::take(&mut engine.probed) {
            inward(Message::Client(ClientEvent::Alive));
        }
        match event {
            Event::Text(text) => inward(Message::Bytes(text)),
            Event::Negotiation { verb, option } => engine.negotiate(verb, option, *now, *inward, outward),
            Event::Subnegotiation { option, payload } => {
                engine.subnegotiate(option, payload, *now, *inward, outward);
            }
            Event::Command(command) => engine.command(command, *inward, outward),
        }
    }
}

/// Appends a subnegotiation, with each 255 in its payload doubled.
pub(super) fn subnegotiation(option: u8, payload: &[u8], outward: &mut Outward) {
    let wire = outward.bytes_mut();
    wire.extend([IAC, SB, option]);
    for &byte in payload {
        wire.push(byte);
        if byte == IAC {
            wire.push(IAC);
        }
    }
    wire.extend([IAC, SE]);
}
