//! One call of a world: what it may read, and the actions it asks for.

use std::sync::Arc;
use std::time::Duration;

use super::{Operation, Status, UserId};
// For the links in the documentation.
#[cfg(doc)]
use super::{Client, World};
use crate::telnet::json_string;

/// An action that a world asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Show a text to a user.
    Send {
        /// Who sees it.
        user: UserId,
        /// The text; lines end in a line feed.
        text: Arc<str>,
    },
    /// Send bytes to a user of a port of kind `binary`.
    SendBytes {
        /// Who gets them.
        user: UserId,
        /// The bytes, which are sent unchanged.
        bytes: Arc<[u8]>,
    },
    /// Ask a user for a line.
    Prompt {
        /// Who is asked.
        user: UserId,
        /// The text before what is typed.
        text: Arc<str>,
    },
    /// Ask a user for a line that the client does not show.
    AskPassword {
        /// Who is asked.
        user: UserId,
        /// The text before what is typed.
        prompt: String,
    },
    /// Send a message of GMCP.
    Gmcp {
        /// Whose client gets it.
        user: UserId,
        /// The name of the message.
        package: Arc<str>,
        /// JSON, or nothing.
        data: Arc<str>,
    },
    /// What the user was asked is answered, and not by a line.
    Answered {
        /// The user.
        user: UserId,
    },
    /// Ask a user's client for a sign of life.
    Probe {
        /// The user.
        user: UserId,
    },
    /// A program reads the user's screen aloud, or does not.
    ScreenReader {
        /// Whose screen.
        user: UserId,
        /// Whether it is read.
        on: bool,
    },
    /// Disconnect a user, after all earlier output.
    Disconnect {
        /// The user to disconnect.
        user: UserId,
    },
    /// Process no further lines of a user, or process them again.
    Hold {
        /// Whose lines.
        user: UserId,
        /// Whether they wait.
        on: bool,
    },
    /// A user has a name, or another one: the time for that is not limited any more.
    LoggedOn {
        /// The user.
        user: UserId,
    },
    /// Show an answer on the operator's console.
    Console {
        /// The text; lines end in a line feed.
        text: String,
    },
    /// Show on the operator's console what players do.
    Chatter {
        /// The text; lines end in a line feed.
        text: String,
    },
    /// Show the operator neither what players do nor the log, or show both again.
    Hush {
        /// Whether it is not shown.
        on: bool,
    },
    /// Ask the operator for a line.
    Ask {
        /// The prompt in front of the line.
        prompt: String,
        /// Whether the typed text is shown.
        echo: bool,
    },
    /// Call the world after a time.
    SetTimer {
        /// The time.
        after: Duration,
    },
    /// Do the same as at the end of the console's input.
    EndConsole,
    /// Shut the server down in order.
    Shutdown,
    /// Do something else with the server.
    Operate(Operation),
}

/// One call of a world: the data it may read, and the actions it asks for.
#[derive(Debug)]
pub struct Turn<'a> {
    users: &'a [UserId],
    status: Status,
    actions: &'a mut Vec<Action>,
}

impl<'a> Turn<'a> {
    /// A turn with these users. The world's actions are appended to `actions`.
    pub fn new(users: &'a [UserId], status: Status, actions: &'a mut Vec<Action>) -> Turn<'a> {
        Turn { users, status, actions }
    }

    /// Shows a text to a user; lines end in a line feed. It has no effect if the user has departed.
    ///
    /// Colours (SGR sequences, such as `"\x1b[1;31m"`) become the nearest that the user's client shows, or nothing.
    ///
    /// Make an `Arc<str>` once to send the same text to many users.
    pub fn send(&mut self, user: UserId, text: impl Into<Arc<str>>) {
        self.actions.push(Action::Send { user, text: text.into() });
    }

    /// Sends bytes to a user of a port of kind `binary`, unchanged. It has no effect for users of other ports, or if the
    /// user has departed.
    pub fn send_bytes(&mut self, user: UserId, bytes: impl Into<Arc<[u8]>>) {
        self.actions.push(Action::SendBytes { user, bytes: bytes.into() });
    }

    /// Asks a user for a line: `text` stays unfinished, and the cursor behind it. Whatever follows, also in this call,
    /// begins on a line of its own.
    ///
    /// Whatever a call of the world leaves unfinished is a prompt, also a text that was sent otherwise. It is marked for
    /// clients that know marks, and shown again behind other output, until the user has sent a line.
    pub fn prompt(&mut self, user: UserId, text: impl Into<Arc<str>>) {
        self.actions.push(Action::Prompt { user, text: text.into() });
    }

    /// Asks a user for a line that the client does not show. It arrives as any other, by
    /// [`World::process_input`]. On a port without telnet it is shown.
    pub fn ask_password(&mut self, user: UserId, prompt: impl Into<String>) {
        self.actions.push(Action::AskPassword { user, prompt: prompt.into() });
    }

    /// What the user was asked last is answered, and not by a line: by [`World::credentials`]. The prompt is not shown
    /// again behind other output, and what is typed is shown again where it was hidden.
    pub fn answered(&mut self, user: UserId) {
        self.actions.push(Action::Answered { user });
    }

    /// Sends a message of GMCP, such as `Room.Info` and JSON. It has no effect if the client does not take any.
    pub fn gmcp(&mut self, user: UserId, package: impl Into<Arc<str>>, data: impl Into<Arc<str>>) {
        self.actions.push(Action::Gmcp { user, package: package.into(), data: data.into() });
    }

    /// Tells users' clients, by GMCP, what a player has said on a channel, so that they can show it in a window of its
    /// own. The line itself is sent as usual. Clients that want it have said so: [`Client::channels`].
    pub fn channel(
        &mut self,
        users: impl IntoIterator<Item = UserId>,
        channel: &str,
        player: &str,
        text: &str,
    ) {
        let mut users = users.into_iter().peekable();
        if users.peek().is_none() {
            return;
        }
        let [channel, player, text] = [channel, player, text].map(json_string);
        let data: Arc<str> = format!(r#"{{"channel":{channel},"talker":{player},"text":{text}}}"#).into();
        let package: Arc<str> = "Comm.Channel.Text".into();
        for user in users {
            self.gmcp(user, Arc::clone(&package), Arc::clone(&data));
        }
    }

    /// Asks a user's client for a sign of life, which it gives without its player:
    /// [`World::client_answered`]. It has no effect for a client that does not speak telnet.
    pub fn probe(&mut self, user: UserId) {
        self.actions.push(Action::Probe { user });
    }

    /// Reports to a user's client how the login by [`World::credentials`] ended: with success, or why not.
    pub fn login_result(&mut self, user: UserId, result: Result<(), &str>) {
        let data = match result {
            Ok(()) => r#"{"success":true}"#.to_string(),
            Err(why) => format!(r#"{{"success":false,"message":{}}}"#, json_string(why)),
        };
        self.gmcp(user, "Char.Login.Result", data);
    }

    /// A program reads the user's screen aloud, or does not: the user has said so in words. Prompts are then not shown
    /// again behind other output.
    pub fn set_screen_reader(&mut self, user: UserId, on: bool) {
        self.actions.push(Action::ScreenReader { user, on });
    }

    /// Shows a text to every user, including those who are still logging on.
    pub fn broadcast(&mut self, text: impl Into<Arc<str>>) {
        let text = text.into();
        self.actions.extend(self.users.iter().map(|&user| Action::Send { user, text: Arc::clone(&text) }));
    }

    /// Disconnects a user, after all earlier output. The world gets [`World::net_dead`] as for any other departure.
    pub fn disconnect(&mut self, user: UserId) {
        self.actions.push(Action::Disconnect { user });
    }

    /// Processes no further lines of a user until [`release`](Turn::release), not even the end of their connection: the
    /// world waits for a result of its own, such as a verified password, and the lines that the user has sent already
    /// belong after it. What is more than the server keeps is left in the network.
    pub fn hold(&mut self, user: UserId) {
        self.actions.push(Action::Hold { user, on: true });
    }

    /// Processes the lines of a user again. It has no effect on one who is not held.
    pub fn release(&mut self, user: UserId) {
        self.actions.push(Action::Hold { user, on: false });
    }

    /// A user has given a name, or whatever this world asks for, or has another name. Where [`World::has_login`] says so,
    /// the server disconnects a user for whom this is not called after the login timeout. The log takes the name from
    /// [`World::name_of`] here.
    pub fn logged_on(&mut self, user: UserId) {
        self.actions.push(Action::LoggedOn { user });
    }

    /// Has [`World::timer_expired`] called after this time, once. A world has one timer: to set it again replaces the
    /// time.
    pub fn set_timer(&mut self, after: Duration) {
        self.actions.push(Action::SetTimer { after });
    }

    /// Shows an answer on the operator's console, before [`chatter`](Turn::chatter) that waits.
    pub fn console(&mut self, text: impl Into<String>) {
        self.actions.push(Action::Console { text: text.into() });
    }

    /// Shows on the operator's console what players do and say. Where the terminal is too slow for it, or the operator has
    /// hushed it, lines are left out, and the console reports how many.
    pub fn chatter(&mut self, text: impl Into<String>) {
        self.actions.push(Action::Chatter { text: text.into() });
    }

    /// Shows the operator neither [`chatter`](Turn::chatter) nor the log, except warnings and errors, or shows both again.
    /// The console answers, with the number of lines that were left out.
    pub fn hush(&mut self, on: bool) {
        self.actions.push(Action::Hush { on });
    }

    /// Asks the operator for a line: from here on `prompt` stands before the typed text, which is shown only with
    /// `echo`. For a terminal; otherwise it has no effect.
    pub fn ask(&mut self, prompt: impl Into<String>, echo: bool) {
        self.actions.push(Action::Ask { prompt: prompt.into(), echo });
    }

    /// Does the same as at the end of the console's input: a script ends, and the server with it; a terminal stays.
    pub fn end_console(&mut self) {
        self.actions.push(Action::EndConsole);
    }

    /// Shuts the server down in order.
    pub fn shutdown(&mut self) {
        self.actions.push(Action::Shutdown);
    }

    /// Asks something of the server itself.
    pub fn operate(&mut self, operation: Operation) {
        self.actions.push(Action::Operate(operation));
    }

    /// The connected users, in the order of their arrival.
    pub fn users(&self) -> &[UserId] {
        self.users
    }

    /// The server's counters, as of the beginning of this turn.
    pub fn status(&self) -> &Status {
        &self.status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_keep_their_order_and_a_broadcast_reaches_everyone() {
        let users = [UserId(1), UserId(2)];
        let mut actions = Vec::new();
        let mut turn = Turn::new(&users, Status::default(), &mut actions);
        turn.send(UserId(2), "a\n");
        turn.broadcast("b\n");
        turn.disconnect(UserId(1));
        turn.shutdown();
        let send = |user, text: &str| Action::Send { user: UserId(user), text: text.into() };
        assert_eq!(
            actions,
            [
                send(2, "a\n"),
                send(1, "b\n"),
                send(2, "b\n"),
                Action::Disconnect { user: UserId(1) },
                Action::Shutdown
            ]
        );
    }
}
