//! Tests of the lobby without sockets.

use std::net::SocketAddr;
use std::time::Duration;

use dolmen::{Events, Reactor, Token};

use super::*;
use crate::config::PortKind;
use crate::world::{Action, Status};

mod accounts;
mod moderation;
mod talk;

/// A lobby, and the actions since the last check.
struct Play {
    lobby: Lobby,
    /// For the results of the lobby's threads.
    reactor: Reactor,
    users: Vec<UserId>,
    actions: Vec<Action>,
    /// The users whose lines wait.
    held: Vec<UserId>,
}

impl Play {
    fn new() -> Play {
        let mut config = Config::built_in().expect("the shipped file loads");
        config.mud_name = "Testhall".into();
        Play::of(Lobby::new(&config))
    }

    fn of(mut lobby: Lobby) -> Play {
        let reactor = Reactor::new().expect("a reactor");
        lobby.clock = Clock::manual(1_800_000_000);
        lobby.started(&Channels::new(&reactor, Token(1)));
        Play { lobby, reactor, users: Vec::new(), actions: Vec::new(), held: Vec::new() }
    }

    /// A user connects and gets this number.
    fn connect(&mut self, number: u64) {
        assert_eq!(self.connect_from(number, [127, 0, 0, 1]), Admission::Accept);
    }

    /// A user connects from this address.
    fn connect_from(&mut self, number: u64, address: [u8; 4]) -> Admission {
        let user = UserId(number);
        let peer = SocketAddr::from((address, 1000 + number as u16));
        // As the server does.
        if let Some(text) = self.lobby.ban_of(peer.ip()) {
            return Admission::Refuse(text);
        }
        let admission = self.lobby.connect(&ConnectInfo { user, peer, kind: PortKind::Telnet });
        if admission == Admission::Accept {
            self.users.push(user);
            self.lobby.logon(&mut Turn::new(&self.users, Status::default(), &mut self.actions), user);
        }
        admission
    }

    /// A user sends a line, and every result that the lobby waits for comes.
    fn line(&mut self, number: u64, line: &str) {
        self.line_only(number, line);
        self.results();
    }

    fn line_only(&mut self, number: u64, line: &str) {
        let mut turn = Turn::new(&self.users, Status::default(), &mut self.actions);
        self.lobby.process_input(&mut turn, UserId(number), line);
    }

    /// Waits until no user is held.
    fn results(&mut self) {
        let mut looked_at = 0;
        let mut events = Events::with_capacity(4);
        loop {
            looked_at = self.note_held(looked_at);
            if self.held.is_empty() {
                return;
            }
            self.reactor.wait(&mut events, Some(Duration::from_secs(30))).expect("the wait works");
            assert!(events.drain().next().is_some(), "no result came");
            self.lobby.results(&mut Turn::new(&self.users, Status::default(), &mut self.actions));
        }
    }

    /// Notes whom the actions from this one on hold and release. Returns how many actions there are.
    fn note_held(&mut self, first: usize) -> usize {
        for action in &self.actions[first..] {
            match *action {
                Action::Hold { user, on: true } => self.held.push(user),
                Action::Hold { user, on: false } => self.held.retain(|&held| held != user),
                _ => {}
            }
        }
        self.actions.len()
    }

    /// What a user sees of a line.
    fn answer(&mut self, number: u64, line: &str) -> String {
        self.actions.clear();
        self.line(number, line);
        self.seen(number)
    }

    /// Time passes.
    fn wait(&mut self, seconds: u64) {
        self.lobby.clock.advance(seconds);
    }

    /// A player keeps the name with a password.
    fn keep(&mut self, number: u64, password: &str) {
        self.line(number, "keep");
        self.line(number, password);
        let answer = self.answer(number, password);
        assert!(answer.contains("is yours"), "{answer}");
        self.actions.clear();
    }

    fn console(&mut self, line: &str) -> String {
        self.actions.clear();
        let mut turn = Turn::new(&self.users, Status::default(), &mut self.actions);
        self.lobby.console_line(&mut turn, line);
        let texts = self.actions.iter().filter_map(|action| match action {
            Action::Console { text } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// The time of the lobby's timer is over.
    fn timer_expired(&mut self) {
        self.lobby.timer_expired(&mut Turn::new(&self.users, Status::default(), &mut self.actions));
    }

    /// What the operator sees of the results that come next.
    fn console_result(&mut self) -> String {
        let mut events = Events::with_capacity(4);
        self.reactor.wait(&mut events, Some(Duration::from_secs(30))).expect("the wait works");
        assert!(events.drain().next().is_some(), "no result came");
        self.lobby.results(&mut Turn::new(&self.users, Status::default(), &mut self.actions));
        let texts = self.actions.iter().filter_map(|action| match action {
            Action::Console { text } => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    fn reconfigure(&mut self, config: &Config) -> Result<(), String> {
        let mut turn = Turn::new(&self.users, Status::default(), &mut self.actions);
        self.lobby.reconfigured(&mut turn, config)
    }

    fn net_dead(&mut self, number: u64, why: Departure) {
        self.users.retain(|user| user.0 != number);
        let mut turn = Turn::new(&self.users, Status::default(), &mut self.actions);
        self.lobby.net_dead(&mut turn, UserId(number), why);
    }

    /// Players with these names, numbered from 1.
    fn with(names: &[&str]) -> Play {
        let mut play = Play::new();
        for (number, name) in (1..).zip(names) {
            play.connect(number);
            play.line(number, name);
        }
        play.actions.clear();
        play
    }

    /// The text that a user saw since the last check of any user.
    fn seen(&self, number: u64) -> String {
        let texts = self.actions.iter().filter_map(|action| match action {
            Action::Send { user, text } if user.0 == number => Some(&**text),
            Action::AskPassword { user, prompt } if user.0 == number => Some(&**prompt),
            _ => None,
        });
        texts.collect()
    }

    fn disconnected(&self) -> Vec<u64> {
        let users = self.actions.iter().filter_map(|action| match action {
            Action::Disconnect { user } => Some(user.0),
            _ => None,
        });
        users.collect()
    }
}

#[test]
fn a_newcomer_is_greeted_and_asked_for_a_name() {
    let mut play = Play::new();
    play.connect(1);
    assert_eq!(play.seen(1), "Welcome to Testhall!\n\nBy what name shall we call you? ");
    play.actions.clear();
    play.line(1, "Ann");
    assert_eq!(play.seen(1), "Hello, Ann. You are alone here; type 'help' for what you can do.\n");
}

#[test]
fn one_who_comes_and_goes_all_the_time_does_not_fill_the_screens_of_others() {
    let mut play = Play::with(&["Ann"]);
    let mut shown = String::new();
    for number in 2..=101 {
        assert_eq!(play.connect_from(number, [192, 0, 2, 1]), Admission::Accept);
        play.actions.clear();
        play.line(number, "Eve");
        play.line(number, "quit");
        play.net_dead(number, Departure::Disconnected);
        shown += &play.seen(1);
    }
    assert_eq!(shown, "Eve has arrived.\nEve has left.\n".repeat(5));
    play.connect_from(200, [198, 51, 100, 1]);
    play.actions.clear();
    play.line(200, "Bob");
    assert_eq!(play.seen(1), "Bob has arrived.\n", "from elsewhere");
}

#[test]
fn the_message_of_the_day_is_shown_below_the_greeting() {
    let mut config = Config::built_in().expect("the shipped file loads");
    config.motd = Some("\u{feff}Mind the step.\n\n".into());
    let lobby = Lobby::new(&config);
    assert!(lobby.greeting.contains("Mind the step.\n\nBy what name"), "{}", lobby.greeting);
}

#[test]
fn a_bad_or_taken_name_is_asked_for_again() {
    let mut play = Play::with(&["Ann"]);
    play.connect(2);
    for (typed, reason) in [
        ("two words", "A name begins with a letter"),
        ("", "has a name"),
        ("root", "reserved"),
        ("ANN", "already"),
    ] {
        play.actions.clear();
        play.line(2, typed);
        assert!(play.seen(2).contains(reason), "{typed}: {}", play.seen(2));
        assert!(play.seen(2).ends_with(NAME_PROMPT));
        assert_eq!(play.seen(1), "");
    }
    play.line(2, "Bob");
    assert_eq!(play.seen(1), "Bob has arrived.\n");
}

#[test]
fn a_user_without_a_name_can_leave_and_hears_nothing() {
    let mut play = Play::with(&["Ann"]);
    play.connect(2);
    play.actions.clear();
    play.line(1, "say secret");
    assert_eq!(play.seen(2), "");
    play.line(2, "quit");
    assert_eq!(play.disconnected(), [2]);
    play.net_dead(2, Departure::Disconnected);
    assert!(!play.seen(1).contains("has left"));
}

#[test]
fn saying_and_emoting_reach_everybody() {
    let mut play = Play::with(&["Ann", "Bob", "Åsa"]);
    play.line(1, "say hello  there");
    assert_eq!(play.seen(1), "You say: hello  there\n");
    assert_eq!(play.seen(2), "Ann says: hello  there\n");
    assert_eq!(play.seen(3), "Ann says: hello  there\n");
    play.actions.clear();
    play.line(3, ":waves");
    for number in 1..=3 {
        assert_eq!(play.seen(number), "Åsa waves\n");
    }
}

#[test]
fn telling_reaches_one() {
    let mut play = Play::with(&["Ann", "Bob", "Åsa"]);
    play.line(1, "tell ÅSA hi");
    assert_eq!(play.seen(1), "You tell Åsa: hi\n");
    assert_eq!(play.seen(2), "");
    assert_eq!(play.seen(3), "Ann tells you: hi\n");
    play.actions.clear();
    play.line(1, "tell nemo hi");
    assert_eq!(play.seen(1), "Nobody here is called nemo.\n");
    play.actions.clear();
    play.line(1, "tell ann hi");
    assert_eq!(play.seen(1), "You tell yourself: hi\n");
}

#[test]
fn the_list_has_those_with_a_name() {
    let mut play = Play::with(&["Ann", "Bob"]);
    play.connect(3);
    play.actions.clear();
    play.line(2, "who");
    assert_eq!(play.seen(2), "2 are here:\n  Ann\n  Bob (you)\n");
}

#[test]
fn quitting_says_good_bye_first_and_frees_the_name() {
    let mut play = Play::with(&["Ann", "Bob"]);
    play.line(1, "quit");
    assert_eq!(play.seen(1), "Good-bye, Ann.\n");
    assert!(matches!(play.actions.last(), Some(Action::Disconnect { user: UserId(1) })));
    play.net_dead(1, Departure::Disconnected);
    assert_eq!(play.seen(2), "Ann has left.\n");
    play.connect(3);
    play.actions.clear();
    play.line(3, "ann");
    assert!(play.seen(3).starts_with("Hello, ann. One other is here"));
    play.line(1, "say ghost");
    assert_eq!(play.seen(1), "");
}

#[test]
fn nothing_typed_and_nonsense_do_no_harm() {
    let mut play = Play::with(&["Ann"]);
    play.line(1, "");
    assert_eq!(play.seen(1), "");
    play.line(1, "xyzzy now");
    assert_eq!(play.seen(1), "There is no command 'xyzzy' here; 'help' lists what there is.\n");
    play.actions.clear();
    play.line(1, "tell Bob");
    assert_eq!(play.seen(1), "Usage: tell NAME TEXT\n");
}

#[test]
fn control_characters_are_never_shown_to_anybody() {
    let mut play = Play::with(&["Ann", "Bob"]);
    for line in
        ["say \u{1b}[2Jx", ":\u{9b}2Jx", "tell bob \u{7}x", "tell \u{1b}c x", "\u{1b}c", "say \u{8}\u{7f}"]
    {
        play.line(1, line);
    }
    play.console("say \u{1b}[2J");
    play.console("kick \u{1b}[2J");
    for action in &play.actions {
        let text = match action {
            Action::Send { text, .. } => &**text,
            Action::Console { text } | Action::Chatter { text } => text,
            _ => continue,
        };
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}

#[test]
fn the_operator_sees_who_is_connected() {
    let mut play = Play::with(&["Ann"]);
    play.connect(2);
    play.actions.clear();
    assert_eq!(
        play.console("who"),
        "2 are connected:\n  #1 Ann from 127.0.0.1:1001 (telnet)\n  #2 (no name yet) from 127.0.0.1:1002 (telnet)\n"
    );
    assert_eq!(Play::new().console("users"), "Nobody is connected.\n");
}

#[test]
fn the_operator_can_tell_everybody() {
    let mut play = Play::with(&["Ann"]);
    play.connect(2);
    play.actions.clear();
    assert_eq!(play.console("say back soon"), "Told 2 users.\n");
    assert_eq!(play.seen(1), "The operator says: back soon\n");
    assert_eq!(play.seen(2), "The operator says: back soon\n");
    assert_eq!(play.console("tell ANN  back \u{1b}now"), "Told ANN.\n");
    assert_eq!((play.seen(1).as_str(), play.seen(2).as_str()), ("The operator tells you: back now\n", ""));
    assert_eq!(play.console("tell #2 hurry"), "Told #2.\n");
    assert_eq!(play.seen(2), "The operator tells you: hurry\n");
    assert_eq!(play.console("tell Zoe hello"), "Nobody here is called Zoe.\n");
}

#[test]
fn the_operator_can_disconnect_a_player_by_name_or_number() {
    let mut play = Play::with(&["Ann"]);
    play.connect(2);
    play.actions.clear();
    assert_eq!(play.console("kick ANN"), "ANN was disconnected.\n");
    assert_eq!(play.disconnected(), [1]);
    assert_eq!(play.seen(1), "\nThe operator has disconnected you.\n");
    play.actions.clear();
    assert_eq!(play.console("kick #2 go  away"), "#2 was disconnected.\n");
    assert_eq!(play.seen(2), "\nThe operator has disconnected you: go  away.\n");
    assert_eq!(play.disconnected(), [2]);
    play.actions.clear();
    assert_eq!(play.console("kick Zoe because"), "Nobody here is called Zoe.\n");
    play.actions.clear();
    assert_eq!(play.console("kick #9"), "Nobody here is called #9.\n");
    assert_eq!(play.disconnected(), [0u64; 0]);
}

#[test]
fn the_operator_can_ask_for_help_and_counts_and_end_it_all() {
    let mut play = Play::new();
    assert!(play.console("help").contains("kick NAME"));
    assert_eq!(play.console("help stats"), "  stats            counters since the start\n");
    assert!(play.console("help frobnicate").contains("no command 'frobnicate'"));
    play.actions.clear();
    assert!(play.console("stats").contains("\nusers=0\n"));
    play.actions.clear();
    assert!(play.console("frobnicate").contains("no command 'frobnicate'"));
    play.console("shutdown");
    assert_eq!(play.actions.last(), Some(&Action::Shutdown));
}

#[test]
fn the_operator_can_hush_the_players_and_is_reminded_of_it() {
    let mut play = Play::with(&["Ann"]);
    let ask = |prompt: &str| Action::Ask { prompt: prompt.into(), echo: true };
    assert_eq!(play.console("hush"), "");
    assert_eq!(play.actions, [Action::Hush { on: true }, ask("hushed> ")]);
    play.actions.clear();
    play.console("hush off");
    assert_eq!(play.actions, [Action::Hush { on: false }, ask("> ")]);
    assert_eq!(play.console("hush everybody"), "Usage: hush [on|off]\n");
}

#[test]
fn players_messages_are_no_answers_to_the_operator() {
    let mut play = Play::with(&["Ann"]);
    let mut turn = Turn::new(&play.users, Status::default(), &mut play.actions);
    play.lobby.console_opened(&mut turn, true);
    play.actions.clear();
    play.line(1, "say hello");
    assert!(
        play.actions.contains(&Action::Chatter { text: "Ann says: hello\n".into() }),
        "{:?}",
        play.actions
    );
    assert!(!play.actions.iter().any(|action| matches!(action, Action::Console { .. })));
}

#[test]
fn at_the_end_nobody_is_told_that_the_others_left() {
    let mut play = Play::with(&["Ann", "Bob"]);
    play.net_dead(1, Departure::Shutdown);
    assert_eq!(play.seen(2), "");
}
