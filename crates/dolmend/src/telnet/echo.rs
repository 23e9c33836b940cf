//! ECHO: the client hides what is typed, only while a secret is asked for.
//!
//! The Q method gives an option time: it settles before it changes again. A password is no such option. It is hidden in
//! front of its field and shown again behind it, whether or not the client has answered, and a second field may follow
//! before the answer to the first has arrived. So the server's wish alone decides what is sent, and what the client says
//! never changes it: while typed text is hidden, no reply leaves that a client could take for the end of it.
//!
//! Answers are counted all the same. A client that asks for ECHO by itself is refused, as for every other option, but a
//! late answer is no request.

use super::byte::{DO, DONT, WILL, WONT};

/// The state of the option.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Echo {
    /// Typed text is hidden: the last verb that was sent is WILL.
    hidden: bool,
    /// What the client has agreed to last.
    agreed: bool,
    /// Changes that the client has not answered. They alternate, and the first differs from `agreed`.
    unanswered: u32,
    /// A request was refused; a repeated one gets no reply.
    refused: bool,
}

impl Echo {
    /// Hides typed text from here on, or shows it. Returns the verb to send, if this is a change.
    pub(super) fn hide(&mut self, hidden: bool) -> Option<u8> {
        if self.hidden == hidden {
            return None;
        }
        self.hidden = hidden;
        // A client that refused has nothing to take back, and does not answer.
        let is_news = hidden != (self.agreed ^ (self.unanswered % 2 == 1));
        if is_news {
            self.unanswered = self.unanswered.saturating_add(1);
        }
        Some(if hidden { WILL } else { WONT })
    }

    /// Takes DO or DONT. Returns the verb of the reply, if one is due.
    pub(super) fn receive(&mut self, verb: u8) -> Option<u8> {
        match (verb, self.agreed, self.unanswered) {
            (DO, false, 1..) => {
                self.agreed = true;
                self.unanswered -= 1;
            }
            // The answer to WONT was left out, and this is the one to the WILL behind it.
            (DO, true, 2..) => self.unanswered -= 2,
            (DO, _, 0) if !self.hidden && !self.refused => {
                self.refused = true;
                return Some(WONT);
            }
            (DONT, true, 1..) => {
                self.agreed = false;
                self.unanswered -= 1;
            }
            // A refusal. The WONT behind it, if there is one, gets no answer.
            (DONT, false, 1..) => self.unanswered = self.unanswered.saturating_sub(2),
            (DONT, _, 0) => (self.agreed, self.refused) = (false, false),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use proptest::prelude::*;

    /// A client that follows RFC 1143, and never asks by itself.
    #[derive(Debug, Default)]
    struct Model {
        masks: bool,
        /// It agrees to hide what is typed.
        agrees: bool,
    }

    impl Model {
        fn receive(&mut self, verb: u8) -> Option<u8> {
            match (verb, self.masks) {
                (WILL, false) if self.agrees => {
                    self.masks = true;
                    Some(DO)
                }
                (WILL, false) => Some(DONT),
                (WONT, true) => {
                    self.masks = false;
                    Some(DONT)
                }
                _ => None,
            }
        }
    }

    #[test]
    fn a_second_field_is_hidden_before_the_answers_to_the_first_arrive() {
        let mut echo = Echo::default();
        assert_eq!([true, false, true].map(|hidden| echo.hide(hidden)), [Some(WILL), Some(WONT), Some(WILL)]);
        assert_eq!([DO, DONT, DO].map(|late| echo.receive(late)), [None; 3]);
        assert_eq!(echo.hide(true), None, "it is hidden");
        assert_eq!((echo.hide(false), echo.receive(DONT)), (Some(WONT), None));
        // Off and settled: now it is a request, which is refused once.
        assert_eq!([DO, DO, DONT, DO].map(|verb| echo.receive(verb)), [Some(WONT), None, None, Some(WONT)]);
    }

    #[test]
    fn a_refusal_ends_the_wait_for_answers() {
        let mut echo = Echo::default();
        echo.hide(true);
        echo.hide(false);
        assert_eq!(echo.receive(DONT), None);
        assert_eq!(echo.receive(DO), Some(WONT), "a request, as nothing is unanswered");
    }

    /// What happens next between the two.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// The server begins or ends a field.
        Field,
        /// The next byte of the server reaches the client.
        Outward,
        /// The next byte of the client reaches the server.
        Inward,
        /// The client sends this, out of its own mind.
        Stray(u8),
    }

    fn steps(strays: bool) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Field),
            6 => Just(Step::Outward),
            6 => Just(Step::Inward),
            u32::from(strays) * 3 => prop_oneof![Just(DO), Just(DONT)].prop_map(Step::Stray),
        ];
        proptest::collection::vec(step, 0..80)
    }

    /// Both sides and what is under way between them.
    #[derive(Default)]
    struct Line {
        echo: Echo,
        client: Model,
        outward: VecDeque<u8>,
        inward: VecDeque<u8>,
        /// Replies of the server, without the begins and ends of fields.
        replies: usize,
    }

    impl Line {
        fn take(&mut self, step: Step) {
            match step {
                Step::Field => self.outward.extend(self.echo.hide(!self.echo.hidden)),
                Step::Outward => {
                    let verb = self.outward.pop_front();
                    self.inward.extend(verb.and_then(|verb| self.client.receive(verb)));
                }
                Step::Inward => {
                    let reply = self.inward.pop_front().and_then(|verb| self.echo.receive(verb));
                    assert!(reply.is_none() || !self.echo.hidden, "a reply while typed text is hidden");
                    self.replies += usize::from(reply.is_some());
                    self.outward.extend(reply);
                }
                Step::Stray(verb) => self.inward.push_back(verb),
            }
        }

        /// Lets everything arrive. Returns in how many steps.
        fn settle(&mut self) -> usize {
            (0..)
                .find(|_| {
                    let under_way = !self.outward.is_empty() || !self.inward.is_empty();
                    self.take(Step::Outward);
                    self.take(Step::Inward);
                    !under_way
                })
                .expect("it ends")
        }
    }

    proptest! {
        #[test]
        fn a_client_masks_exactly_while_a_field_is_asked_for(agrees: bool, steps in steps(false)) {
            let mut line = Line { client: Model { agrees, masks: false }, ..Line::default() };
            for step in steps {
                line.take(step);
                if line.outward.is_empty() {
                    prop_assert_eq!(line.client.masks, agrees && line.echo.hidden);
                }
            }
            line.settle();
            prop_assert_eq!(line.replies, 0, "every DO and DONT was an answer");
            prop_assert_eq!(line.echo.unanswered, 0);
            prop_assert_eq!(line.client.masks, agrees && line.echo.hidden);
        }

        #[test]
        fn whatever_a_client_says_it_masks_and_all_fall_silent(steps in steps(true)) {
            let mut line = Line { client: Model { agrees: true, masks: false }, ..Line::default() };
            for step in steps {
                line.take(step);
            }
            prop_assert!(line.settle() < 400);
            prop_assert_eq!(line.client.masks, line.echo.hidden);
        }
    }
}
