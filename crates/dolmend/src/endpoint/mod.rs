//! The server's end of one connection: everything that concerns no other one. On the thread of a member of the
//! [crew](dolmen::Crew), or without threads on the game's, it is the same.
//!
//! Bytes become lines, bytes of strangers and floods become nothing, texts become bytes, and what is not read is left out.
//! The server gets an [`Input`] for each thing that it has to know, and sends an [`Order`] for each thing that it wants.
//!
//! | file | has |
//! |---|---|
//! | `mod.rs` | the codec: what happens, and when it is looked at again |
//! | `input.rs` | bytes on their way in: the PROXY header, strangers, budgets, turns |
//! | `output.rs` | texts on their way out, and what becomes of them when they are not read |
//! | `messages.rs` | what crosses between the server and an endpoint |
//!
//! # Turns
//!
//! The server has at most one line of a user, and at most one fact or request of the client, and takes them in turns with
//! those of all others. With the answer it asks for the next one. So a user who pastes a book waits here, or in the network,
//! and the server's memory is bounded whatever clients send.

mod input;
mod messages;
mod output;

use std::sync::Arc;
use std::time::Instant;

use dolmen::{Codec, Link};

use crate::config::PortKind;
use crate::layer::Output;
use crate::limits::{Backlog, StreamLimits};
use crate::proxy::HeaderReader;
use crate::session::{Options, Session};
use crate::shared_text::SharedText;

pub(crate) use messages::{Input, Order, Rules, Share, Traffic, Turn, What};

/// What the endpoints of one thread share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The text that is being shown to many users.
    text: SharedText,
    /// A buffer for wire bytes, so that a line costs no allocation.
    wire: Vec<u8>,
}

/// How far the connection has come.
#[derive(Debug)]
enum Stage {
    /// A trusted proxy has not named its player yet.
    Header(HeaderReader),
    /// The server has not let it in. Bytes that have come already wait.
    Outside(Vec<u8>),
    /// It is a user's.
    Inside,
    /// The server is to end it. Input does not count any more.
    Over,
}

/// When the endpoint looks again at something.
#[derive(Debug, Default)]
struct Looks {
    /// Whether the next line may be passed on.
    turn: Option<Instant>,
    /// Whether bytes may be read.
    read: Option<Instant>,
    /// Whether the user reads.
    backlog: Option<Instant>,
}

/// The server's end of one connection.
#[derive(Debug)]
pub(crate) struct Endpoint {
    kind: PortKind,
    session: Session,
    rules: Arc<Rules>,
    traffic: Arc<Traffic>,
    limits: StreamLimits,
    backlog: Backlog,
    stage: Stage,
    looks: Looks,
    /// The server waits for a line, and for a fact or a request of the client.
    line_is_due: bool,
    event_is_due: bool,
    /// It will with the next flush.
    next_line: bool,
    next_event: bool,
    /// The client will send nothing more, and this has been reported to the server.
    input_has_ended: bool,
    /// The same, before the server has let it in.
    has_ended_outside: bool,
    end_is_reported: bool,
    /// The server lets more be read: the budget of the address is not spent.
    may_read: bool,
    /// Since when nothing is read.
    paused_since: Option<Instant>,
    /// Bytes that were received since the last input.
    unreported: u64,
    /// The lines wait for something in the world.
    is_held: bool,
    /// An answer was sent since the last flush.
    has_answered: bool,
}

impl Endpoint {
    /// The endpoint of a connection that has just been accepted. With `proxied`, a trusted proxy names the player first.
    pub(crate) fn new(
        options: Options,
        limits: StreamLimits,
        rules: Arc<Rules>,
        traffic: Arc<Traffic>,
        proxied: bool,
    ) -> Endpoint {
        let stage = if proxied { Stage::Header(HeaderReader::default()) } else { Stage::Outside(Vec::new()) };
        Endpoint {
            kind: options.kind,
            session: Session::new(options),
            rules,
            traffic,
            limits,
            backlog: Backlog::default(),
            stage,
            looks: Looks::default(),
            line_is_due: false,
            event_is_due: false,
            next_line: false,
            next_event: false,
            input_has_ended: false,
            has_ended_outside: false,
            end_is_reported: false,
            may_read: true,
            paused_since: None,
            unreported: 0,
            is_held: false,
            has_answered: false,
        }
    }

    fn is_inside(&self) -> bool {
        matches!(self.stage, Stage::Inside)
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    fn deliver(&mut self, what: What, link: &mut Link<'_, Self>) {
        let received = std::mem::take(&mut self.unreported);
        link.deliver(Input { received, what });
    }

    /// Has the server end the connection.
    fn end(&mut self, what: What, link: &mut Link<'_, Self>) {
        if !self.is_over() {
            self.stage = Stage::Over;
            self.deliver(what, link);
        }
    }

    /// The connection is a user's from now on.
    fn welcome(&mut self, link: &mut Link<'_, Self>) {
        let Stage::Outside(waiting) = std::mem::replace(&mut self.stage, Stage::Inside) else { return };
        // It leaves with the greeting.
        self.write(Share::Answer, link, |session, wire| session.open(wire));
        link.set_reading(true);
        if !waiting.is_empty() {
            self.take(&waiting, link);
        }
        if self.has_ended_outside {
            self.finish_input(link);
        }
    }

    /// The client will send nothing more: its last text counts as a line even without a line end.
    fn finish_input(&mut self, link: &mut Link<'_, Self>) {
        self.session.finish();
        self.input_has_ended = true;
        self.give_turn(link);
    }

    fn change_rules(&mut self, rules: Arc<Rules>, link: &mut Link<'_, Self>) {
        let old = std::mem::replace(&mut self.rules, rules);
        self.session.set_line_length(self.rules.line_length_bytes);
        if old.rates != self.rules.rates {
            self.limits.change_rates(&self.rules, link.now());
        }
        if old.keepalive != self.rules.keepalive {
            if let Some(stream) = link.stream() {
                crate::keepalive::keep_alive(stream, self.rules.keepalive);
            }
        }
        // Who has waited under the old rate may have a turn.
        self.give_turn(link);
        self.adjust_reading(link);
    }
}

impl Codec for Endpoint {
    type Message = Input;
    type Reply = Order;
    type Shared = Shared;

    /// Nothing is read before the server has let the connection in: no budget holds until then.
    fn opened(&mut self, link: &mut Link<'_, Self>) {
        link.set_reading(matches!(self.stage, Stage::Header(_)));
    }

    fn received(&mut self, data: &[u8], link: &mut Link<'_, Self>) {
        self.traffic.received(data.len());
        match &mut self.stage {
            Stage::Header(_) => self.take_header(data, link),
            Stage::Outside(waiting) => waiting.extend_from_slice(data),
            Stage::Inside => self.take(data, link),
            Stage::Over => {}
        }
    }

    fn end_of_stream(&mut self, link: &mut Link<'_, Self>) {
        match self.stage {
            Stage::Header(_) => self.end(What::BadHeader("closed without a PROXY header"), link),
            Stage::Outside(_) => self.has_ended_outside = true,
            Stage::Inside => self.finish_input(link),
            Stage::Over => {}
        }
    }

    fn closed(&mut self, link: &mut Link<'_, Self>) {
        if self.is_inside() {
            self.deliver_rest(link);
        }
    }

    fn send(&mut self, order: Order, link: &mut Link<'_, Self>) {
        match order {
            Order::Welcome => self.welcome(link),
            Order::Text { text, call, share, is_shared } => {
                self.send_text(&text, call, share, is_shared, link)
            }
            Order::Gmcp { package, data, call, share } => self.send_gmcp(&package, &data, call, share, link),
            Order::Bytes { bytes, share } => self.send_bytes(&bytes, share, link),
            Order::Ask { prompt, is_hidden, call, share } => {
                self.write_in(call, share, link, |session, wire| {
                    if is_hidden { session.ask_password(&prompt, wire) } else { session.ask(&prompt, wire) }
                })
            }
            Order::Answered { call, share } => {
                self.write_in(call, share, link, |session, wire| session.answered(wire));
            }
            Order::Probe { call, share } => {
                self.write_in(call, share, link, |session, wire| session.send(Output::Probe, wire));
            }
            Order::ServerStatus { variables, call, share } => {
                let output = Output::ServerStatus(&variables);
                self.write_in(call, share, link, |session, wire| session.send(output, wire));
            }
            Order::ScreenReader(on) => self.session.set_screen_reader(on),
            Order::Hold(on) => {
                self.is_held = on;
                self.next_line |= !on && self.line_is_due;
            }
            Order::Next(Turn::Line) => self.next_line = true,
            Order::Next(Turn::Event) => self.next_event = true,
            Order::Read(on) => {
                self.may_read = on;
                self.adjust_reading(link);
            }
            Order::Rules(rules) => self.change_rules(rules, link),
            Order::Missing(texts) => self.report_missing(texts, link),
            Order::End(why) => self.say_good_bye(&why, link),
        }
    }

    fn flush(&mut self, link: &mut Link<'_, Self>) {
        self.flush_output(link);
        // Behind the prompt of the answer, which the next line answers.
        if self.next_line || self.next_event {
            self.line_is_due |= std::mem::take(&mut self.next_line);
            self.event_is_due |= std::mem::take(&mut self.next_event);
            self.give_turn(link);
            self.adjust_reading(link);
        }
        if self.unreported > 0 && self.is_inside() {
            self.deliver(What::Received, link);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if !self.is_inside() {
            return None;
        }
        let Looks { turn, read, backlog } = self.looks;
        let keepalive = self.limits.next_keepalive(&self.rules);
        [turn, read, backlog, keepalive, self.session.deadline()].into_iter().flatten().min()
    }

    fn expired(&mut self, link: &mut Link<'_, Self>) {
        let now = link.now();
        let is_over = |look: &mut Option<Instant>| look.take_if(|at| *at <= now).is_some();
        let (turn, read, backlog) =
            (is_over(&mut self.looks.turn), is_over(&mut self.looks.read), is_over(&mut self.looks.backlog));
        if backlog {
            self.look_at_backlog(link);
        }
        if self.session.deadline().is_some_and(|deadline| deadline <= now) {
            self.write(Share::Others, link, |session, wire| session.expire(now, wire));
        }
        if self.limits.keepalive_is_due(&self.rules, now) {
            self.write(Share::Others, link, |session, wire| session.send(Output::KeepAlive, wire));
        }
        if turn {
            self.give_turn(link);
        }
        if turn || read {
            self.adjust_reading(link);
        }
    }

    fn weight(order: &Order) -> usize {
        order.weight()
    }
}
