//! The world's actions, and those that result from them.

use std::time::Duration;

use dolmen::ConsoleInput;

use super::{Server, WORLD_TIMER};
use crate::endpoint::Order;
use crate::world::{Action, Departure, World};

impl<W: World> Server<W> {
    /// Carries out the world's actions, and the actions that result from them.
    pub(super) fn carry_out(&mut self) {
        while !self.actions.is_empty() {
            self.call += 1;
            let mut doing = std::mem::replace(&mut self.actions, std::mem::take(&mut self.doing));
            self.note_releases(&doing);
            for action in doing.drain(..) {
                match action {
                    Action::Send { user, text } => self.send(user, text),
                    Action::Probe { user } => {
                        let (call, share) = (self.call, self.share_of_protocols(user));
                        self.order(user, Order::Probe { call, share });
                    }
                    Action::SendBytes { user, bytes } => {
                        let share = self.share_of(user);
                        self.order(user, Order::Bytes { bytes, share });
                    }
                    Action::Prompt { user, text } => self.ask(user, text, false),
                    Action::AskPassword { user, prompt } => self.ask(user, prompt.into(), true),
                    Action::Answered { user } => {
                        let (call, share) = (self.call, self.share_of_protocols(user));
                        self.order(user, Order::Answered { call, share });
                    }
                    Action::Gmcp { user, package, data } => self.send_gmcp(user, package, data),
                    Action::ScreenReader { user, on } => self.order(user, Order::ScreenReader(on)),
                    Action::Disconnect { user } => self.depart(user, Departure::Disconnected),
                    Action::Hold { user, on } => self.hold(user, on),
                    Action::LoggedOn { user } => self.logged_on(user),
                    Action::Console { text } => self.answer(&text),
                    Action::Chatter { text } => self.chatter(&text),
                    Action::Hush { on } => {
                        if let Some(console) = &mut self.console {
                            console.hush(&mut self.reactor, on);
                        }
                    }
                    Action::Ask { prompt, echo } => {
                        if let Some(console) = &mut self.console {
                            console.ask(&mut self.reactor, &prompt, echo);
                        }
                    }
                    Action::SetTimer { after } => self.set_world_timer(after),
                    Action::EndConsole => {
                        self.console_input(ConsoleInput::EndOfInput);
                        if let Some(console) = self.console.as_mut().filter(|console| !console.is_terminal())
                        {
                            console.ignore_rest_of_script();
                        }
                    }
                    Action::Shutdown => self.shut_down(),
                    Action::Operate(operation) => self.operate(operation),
                }
            }
            self.doing = doing;
        }
    }

    fn set_world_timer(&mut self, after: Duration) {
        if !self.world_timer.is_some_and(|timer| self.reactor.set_timer(timer, after)) {
            self.world_timer = Some(self.reactor.add_timer(after, WORLD_TIMER));
        }
    }
}
