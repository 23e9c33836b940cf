//! One user's side of the protocols, without the connection: a stack of [layers](crate::layer), bytes to lines and text
//! to bytes.
//!
//! The server calls it in turns: any number of [`receive`](Session::receive) and [`send`](Session::send), and then one
//! [`flush`](Session::flush). All of them append bytes for the connection to a buffer of the caller.

mod lines;
mod prompt;
mod style;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod traces;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::PortKind;
use crate::layer::{Compressed, Layer, Mccp, Message, Output, Outward, Stack};
use crate::line::{Line, LineAssembler};
use crate::telnet::{Client, ClientEvent, Colours, Encoder, Settings, Telnet};
use lines::Lines;
use prompt::{Due, Prompt};

/// How many lines may wait before the server stops reading from this user.
const MOST_WAITING_LINES: usize = 64;

/// The number of waiting lines at which the server reads again. Well below the other mark, so that it does not stop and
/// start reading for each line.
const FEW_WAITING_LINES: usize = 16;

/// How many events may wait before the server stops reading from this user.
const MOST_WAITING_EVENTS: usize = 16;

/// What a session is built from.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The protocol of the port.
    pub kind: PortKind,
    /// The most bytes that a line may have.
    pub line_length_bytes: usize,
    /// What is different on this port, or for this peer.
    pub settings: Settings,
}

/// The layers between the bytes of one connection and the lines and texts of a world.
#[derive(Debug)]
pub struct Session {
    /// The layers whose messages are bytes: a place for a PROXY header, TLS and WebSocket; MCCP2.
    stack: Stack,
    /// `None` on a port with plain lines.
    telnet: Option<Telnet>,
    lines: Lines,
    prompt: Prompt,
    /// The client on a port with plain lines.
    plain: Client,
    /// Received lines that wait for their turn.
    waiting: VecDeque<Line>,
    /// Facts and requests that wait for the server.
    events: VecDeque<ClientEvent>,
    /// The next line is a password.
    hidden: bool,
    /// No line was received yet.
    unspoken: bool,
    /// The call of the world whose output was sent last.
    call: u64,
    /// Outputs on their way to the stack. Kept so that an output costs no allocation.
    outward: Outward,
}

impl Session {
    /// A session with these options.
    pub fn new(options: Options) -> Session {
        let Options { kind, line_length_bytes, settings } = options;
        let (telnet, encoder) = match kind {
            PortKind::Telnet => (Some(Telnet::new(settings)), Encoder::telnet()),
            PortKind::Ascii | PortKind::Binary => (None, Encoder::ascii()),
        };
        let mut stack = Stack::default();
        if telnet.is_some() && settings.compress {
            stack.push(Box::new(Mccp::new()));
        }
        let mut lines = Lines { assembler: LineAssembler::new(line_length_bytes), encoder };
        lines.assembler.set_encoding(settings.encoding);
        lines.encoder.set_encoding(settings.encoding);
        Session {
            stack,
            telnet,
            lines,
            prompt: Prompt::default(),
            plain: Client { encoding: settings.encoding, ..Client::default() },
            waiting: VecDeque::new(),
            events: VecDeque::new(),
            hidden: false,
            unspoken: true,
            call: 0,
            outward: Outward::default(),
        }
    }

    /// Another limit for the bytes of a line.
    pub fn set_line_length(&mut self, bytes: usize) {
        self.lines.assembler.set_limit(bytes);
    }

    /// Appends the opening, which is sent with the greeting.
    pub fn open(&mut self, wire: &mut Vec<u8>) {
        if let Some(telnet) = &mut self.telnet {
            telnet.open(&mut self.outward);
            self.stack.send(&mut self.outward, wire);
        }
    }

    /// Takes bytes from the client. Appends the protocols' immediate replies to `wire`.
    pub fn receive(&mut self, bytes: &[u8], now: Instant, wire: &mut Vec<u8>) {
        let Session { stack, telnet, lines, prompt, waiting, events, .. } = self;
        let mut queue = |message: Message<'_>| match message {
            Message::Line(line) => waiting.push_back(line),
            Message::Client(event) => push_event(events, event),
            Message::Replied => prompt.overwritten(),
            // Lines have taken everything else.
            _ => {}
        };
        let mut inward = |message: Message<'_>, outward: &mut Outward| {
            // Lines reply nothing.
            let mut nothing = Outward::default();
            let mut to_lines = |message: Message<'_>| lines.receive(message, now, &mut queue, &mut nothing);
            match telnet {
                Some(telnet) => telnet.receive(message, now, &mut to_lines, outward),
                None => to_lines(message),
            }
        };
        stack.receive(bytes, now, &mut inward, wire);
    }

    /// The client will send nothing more: its last text counts as a line even without a line end.
    pub fn finish(&mut self) {
        self.waiting.extend(self.lines.assembler.finish());
    }

    /// The line whose turn it is. Behind a password, appends to `wire` what shows typed text again.
    pub fn next_line(&mut self, wire: &mut Vec<u8>) -> Option<Line> {
        let line = self.waiting.pop_front()?;
        self.unspoken = false;
        self.prompt.answered();
        if std::mem::take(&mut self.hidden) {
            self.send(Output::ShowTyping(true), wire);
            // The client has not shown the line end either.
            self.send(Output::Text("\n"), wire);
        }
        Some(line)
    }

    /// The question is answered without a line: the prompt is over, and typed text is shown again.
    pub fn answered(&mut self, wire: &mut Vec<u8>) {
        self.prompt.settle();
        if self.prompt.is_in_the_way_of("x") {
            self.send(Output::Text("\n"), wire);
        }
        self.prompt.answered();
        if std::mem::take(&mut self.hidden) {
            self.send(Output::ShowTyping(true), wire);
        }
    }

    /// A fact about the client that is new, or a request of it.
    pub fn next_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Whether a fact or a request waits.
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether no line was taken yet: a crawler asks with its first.
    pub fn is_at_first_line(&self) -> bool {
        self.unspoken
    }

    /// Whether a line waits.
    pub fn has_line(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether so much waits that the server should stop reading.
    pub fn is_behind(&self) -> bool {
        self.waiting.len() >= MOST_WAITING_LINES || self.events.len() >= MOST_WAITING_EVENTS
    }

    /// Whether so little waits that the server should read again.
    pub fn has_caught_up(&self) -> bool {
        self.waiting.len() <= FEW_WAITING_LINES && self.events.is_empty()
    }

    /// The server did not read from the client for this time. It does not count as silence of the client's.
    pub fn paused(&mut self, time: Duration) {
        if let Some(telnet) = &mut self.telnet {
            telnet.paused(time);
        }
    }

    /// Whether layers hold back what is sent, until [`flush`](Session::flush).
    pub fn holds_back(&self) -> bool {
        !self.stack.is_transparent()
    }

    /// What the client has said about itself.
    pub fn client(&self) -> &Client {
        self.telnet.as_ref().map_or(&self.plain, Telnet::client)
    }

    /// Whether a program reads the screen aloud, which the player may also have said in words.
    pub fn set_screen_reader(&mut self, on: bool) {
        self.telnet.as_mut().map_or(&mut self.plain, Telnet::client_mut).screen_reader = on;
    }

    /// Appends the wire form of an output to `wire`.
    pub fn send(&mut self, output: Output<'_>, wire: &mut Vec<u8>) {
        if let Output::Text(text) = output {
            if self.prompt.is_in_the_way_of(text) {
                self.lines.send(Output::Text("\n"), &mut self.outward);
            }
            self.prompt.sent(text);
            let text = style::fit(text, self.client().colours);
            self.lines.send(Output::Text(&text), &mut self.outward);
        } else if let Some(telnet) = &mut self.telnet {
            telnet.send(output, &mut self.outward);
        }
        self.stack.send(&mut self.outward, wire);
    }

    /// Asks for a line that the client does not show: a password.
    pub fn ask_password(&mut self, prompt: &str, wire: &mut Vec<u8>) {
        self.hidden = true;
        self.ask(prompt, wire);
        self.send(Output::ShowTyping(false), wire);
    }

    /// Asks for a line: the text is a prompt from here on, and whatever follows begins on a line of its own.
    pub fn ask(&mut self, prompt: &str, wire: &mut Vec<u8>) {
        self.send(Output::Text(prompt), wire);
        self.prompt.settle();
    }

    /// What follows is from this call of the world. An unfinished line of an earlier one is a prompt, and grows no more.
    pub(crate) fn in_call(&mut self, call: u64) {
        if std::mem::replace(&mut self.call, call) != call {
            self.prompt.settle();
        }
    }

    /// The turn is over: marks the prompt or shows it again, and appends what the layers hold back.
    pub fn flush(&mut self, now: Instant, wire: &mut Vec<u8>) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.expire(now, wire);
        }
        let due = self.prompt.due(!self.client().screen_reader);
        if let Some(due) = due {
            if let Due::Again(prompt) = due {
                let prompt = style::fit(&prompt, self.client().colours);
                self.lines.send(Output::Text(&prompt), &mut self.outward);
            }
            if let Some(telnet) = &mut self.telnet {
                telnet.send(Output::EndOfPrompt, &mut self.outward);
            }
        }
        self.stack.flush(&mut self.outward, wire);
    }

    /// The session ends in order: appends its last bytes.
    pub fn end(&mut self, why: &str, wire: &mut Vec<u8>) {
        let data = crate::telnet::json_string(why);
        self.send(Output::Gmcp { package: "Core.Goodbye", data: &data }, wire);
        self.stack.end(&mut self.outward, wire);
    }

    /// When [`expire`](Session::expire) is to be called, if nothing happens until then. [`flush`](Session::flush) does so
    /// too.
    pub fn deadline(&self) -> Option<Instant> {
        let telnet = self.telnet.as_ref().and_then(|telnet| telnet.deadline());
        [telnet, self.stack.deadline()].into_iter().flatten().min()
    }

    /// The deadline has passed.
    pub fn expire(&mut self, now: Instant, wire: &mut Vec<u8>) {
        if let Some(telnet) = &mut self.telnet {
            telnet.expire(now, &mut self.outward);
            self.stack.send(&mut self.outward, wire);
        }
        self.stack.expire(now, wire);
    }

    /// Whether a layer wants the connection to be closed after the output so far.
    pub fn wants_close(&self) -> bool {
        self.stack.wants_close()
    }

    /// What was compressed since this was last asked.
    pub fn take_compressed(&mut self) -> Compressed {
        self.stack.take_compressed()
    }

    /// The state on which the wire form of a text depends, if it is the same for every session in this state. `None` for
    /// one that encrypts or compresses, and has a form of its own.
    pub(crate) fn text_state(&self, text: &str) -> Option<TextState> {
        let (encoder, breaks) = (self.lines.encoder, self.prompt.is_in_the_way_of(text));
        let colours = self.client().colours;
        self.stack.is_transparent().then_some(TextState { encoder, breaks, colours })
    }

    /// A text has been encoded by another session in the same state, which is in this state now.
    pub(crate) fn sent_shared(&mut self, text: &str, after: TextState) {
        self.lines.encoder = after.encoder;
        self.prompt.sent(text);
    }
}

/// Adds an event. Of facts that still wait the world gets the latest: a window is dragged, or a client says more and more
/// about itself.
fn push_event(events: &mut VecDeque<ClientEvent>, event: ClientEvent) {
    use std::mem::discriminant;
    let is_a_fact = matches!(
        event,
        ClientEvent::WindowSize(_)
            | ClientEvent::TerminalType
            | ClientEvent::TakesLogin
            | ClientEvent::ServerStatus
    );
    let same = |other: &&mut ClientEvent| discriminant(*other) == discriminant(&event);
    match events.iter_mut().find(same).filter(|_| is_a_fact) {
        Some(other) => *other = event,
        None => events.push_back(event),
    }
}

/// The state on which the wire form of a text depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextState {
    encoder: Encoder,
    /// Whether a line end comes first.
    breaks: bool,
    colours: Colours,
}
