//! The state of each option: the Q method of RFC 1143.
//!
//! Both sides of each of the 256 options have a state. A request that confirms the state gets no reply, and neither does
//! one that repeats what was refused already, so two programs that insist can never keep each other busy.
//!
//! The server's side of ECHO is not among them: see `echo.rs`.

use super::byte::{DO, DONT, WILL, WONT};

/// The state of one side of one option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Off.
    #[default]
    No,
    /// Off, and the peer's request was refused. A repeated one gets no reply.
    Refused,
    /// On.
    Yes,
    /// On as soon as the peer agrees.
    WantYes,
}

/// Whose side of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's: WILL and WONT from the client, DO and DONT from the server.
    Client,
    /// The server's: DO and DONT from the client, WILL and WONT from the server.
    Server,
}

/// What follows from a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reaction {
    /// The verb of the reply, if one is due.
    pub reply: Option<u8>,
    /// The option is on or off now and was not before, or the peer has refused to have it on.
    pub change: Option<bool>,
}

/// The options of one connection.
#[derive(Debug, Clone)]
pub struct Options {
    client: [State; 256],
    server: [State; 256],
    /// How often the client may still switch on an option that was off.
    agreements_left: u8,
}

/// How often a client may switch options on that were off. The Q method ends every exchange between two sides that follow
/// it; a side that does not follow it could change its mind indefinitely, and one that agrees to both sides of an option
/// would do so with it.
const MOST_AGREEMENTS: u8 = 16;

impl Default for Options {
    fn default() -> Options {
        Options { client: [State::No; 256], server: [State::No; 256], agreements_left: MOST_AGREEMENTS }
    }
}

impl Options {
    /// Whether this side of an option is on.
    pub fn is_on(&self, side: Side, option: u8) -> bool {
        self.states(side)[usize::from(option)] == State::Yes
    }

    /// Whether the client has not answered a request yet.
    pub fn is_asked(&self, side: Side, option: u8) -> bool {
        self.states(side)[usize::from(option)] == State::WantYes
    }

    /// Asks for an option. Returns the verb to send, or `None` if it is on or asked for already.
    pub fn request(&mut self, side: Side, option: u8) -> Option<u8> {
        let state = self.state(side, option);
        match state {
            State::No | State::Refused => {
                *state = State::WantYes;
                Some(verb(side, true))
            }
            State::Yes | State::WantYes => None,
        }
    }

    /// Takes a request of the client. `agree` is whether an option that is off may be on.
    pub fn receive(&mut self, request: u8, option: u8, agree: bool) -> Reaction {
        let side = if matches!(request, WILL | WONT) { Side::Client } else { Side::Server };
        let agree = agree && self.agreements_left > 0;
        let state = self.state(side, option);
        let agrees_now = agree && matches!((*state, request), (State::No | State::Refused, WILL | DO));
        let (next, reply, change) = match request {
            WILL | DO => match *state {
                State::No | State::Refused if agree => (State::Yes, Some(true), Some(true)),
                State::No => (State::Refused, Some(false), None),
                State::Refused => (State::Refused, None, None),
                State::Yes => (State::Yes, None, None),
                State::WantYes => (State::Yes, None, Some(true)),
            },
            WONT | DONT => match *state {
                State::No | State::Refused => (State::No, None, None),
                State::Yes => (State::No, Some(false), Some(false)),
                State::WantYes => (State::No, None, Some(false)),
            },
            _ => return Reaction::default(),
        };
        *state = next;
        self.agreements_left -= u8::from(agrees_now);
        Reaction { reply: reply.map(|on| verb(side, on)), change }
    }

    fn states(&self, side: Side) -> &[State; 256] {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    fn state(&mut self, side: Side, option: u8) -> &mut State {
        let states = match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        &mut states[usize::from(option)]
    }
}

/// The server's verb for this state of a side.
fn verb(side: Side, on: bool) -> u8 {
    match (side, on) {
        (Side::Client, true) => DO,
        (Side::Client, false) => DONT,
        (Side::Server, true) => WILL,
        (Side::Server, false) => WONT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(options: &mut Options, verb: u8) -> Option<u8> {
        options.receive(verb, 7, false).reply
    }

    #[test]
    fn a_settled_state_is_never_answered() {
        let mut options = Options::default();
        assert_eq!(options.request(Side::Server, 7), Some(WILL));
        assert_eq!(options.request(Side::Server, 7), None);
        assert_eq!(options.receive(DO, 7, true), Reaction { reply: None, change: Some(true) });
        assert_eq!(options.receive(DO, 7, true), Reaction::default());
        assert!(options.is_on(Side::Server, 7) && !options.is_on(Side::Client, 7));
        assert_eq!(options.receive(DONT, 7, true), Reaction { reply: Some(WONT), change: Some(false) });
        assert_eq!(options.receive(DONT, 7, true), Reaction::default());
        assert_eq!(options.receive(DO, 7, true), Reaction { reply: Some(WILL), change: Some(true) });
    }

    #[test]
    fn a_refusal_is_said_once_for_each_request() {
        let mut options = Options::default();
        assert_eq!(reply(&mut options, DO), Some(WONT));
        assert_eq!(reply(&mut options, DO), None);
        assert_eq!(reply(&mut options, DONT), None);
        assert_eq!(reply(&mut options, DO), Some(WONT));
        assert_eq!(reply(&mut options, WILL), Some(DONT), "the other side is another option");
    }

    #[test]
    fn a_refused_offer_is_reported() {
        let mut options = Options::default();
        assert_eq!(options.request(Side::Client, 24), Some(DO));
        assert_eq!(options.receive(WONT, 24, true), Reaction { reply: None, change: Some(false) });
    }
}
