//! Channels, history, ignoring, notes, and screen readers.

use super::*;

#[test]
fn a_channel_is_heard_by_those_who_joined_it() {
    let mut play = Play::with(&["Ann", "Bob", "Zoe"]);
    assert_eq!(play.answer(1, "channels"), "There are no channels; 'join NAME' makes one.\n");
    assert_eq!(play.answer(1, "join Chat"), "You hear the channel chat; '#chat TEXT' speaks on it.\n");
    assert_eq!(play.answer(1, "join CHAT"), "You hear chat already.\n");
    play.line(2, "join chat");
    assert_eq!(play.answer(1, "#chat hello  all"), "[chat] Ann: hello  all\n");
    assert_eq!((play.seen(2).as_str(), play.seen(3).as_str()), ("[chat] Ann: hello  all\n", ""));
    assert_eq!(play.answer(3, "#chat me too"), "You do not hear chat; 'join chat' first.\n");
    assert_eq!(play.answer(3, "channels"), "There is one channel:\n  chat: 2 players\n");
    assert_eq!(play.answer(2, "channels"), "There is one channel:\n  chat: 2 players, which you hear\n");
    assert_eq!(play.answer(2, "history chat"), "[chat] Ann: hello  all\n");
    assert_eq!(play.answer(3, "history chat"), "You do not hear chat.\n");
    assert_eq!(play.answer(1, "leave chat"), "You hear chat no longer.\n");
    assert_eq!(play.answer(1, "leave chat"), "You do not hear chat.\n");
    play.net_dead(2, Departure::PeerClosed);
    assert!(play.answer(3, "channels").starts_with("There are no channels"));
}

#[test]
fn channels_are_bounded_and_well_named() {
    let mut play = Play::with(&["Ann"]);
    for number in 0..10u8 {
        let name = char::from(b'a' + number).to_string().repeat(3);
        assert!(play.answer(1, &format!("join {name}")).starts_with("You hear the channel"));
    }
    assert!(play.answer(1, "join zzz").starts_with("There is no room"));
    play.line(1, "leave aaa");
    assert!(play.answer(1, "join a\u{200b}b").starts_with("The name of a channel"));
    assert!(play.answer(1, "join help").starts_with("You hear the channel help"));
}

#[test]
fn what_was_said_can_be_read_again() {
    let mut play = Play::with(&["Ann"]);
    assert_eq!(play.answer(1, "history"), "Nothing was said yet.\n");
    for number in 0..60 {
        play.line(1, &format!("say {number}"));
    }
    play.line(1, ":waves");
    play.connect(2);
    play.line(2, "Bob");
    let history = play.answer(2, "history");
    assert_eq!(history.lines().count(), 50);
    assert!(
        history.starts_with("Ann says: 11\n") && history.ends_with("Ann says: 59\nAnn waves\n"),
        "{history}"
    );
}

#[test]
fn an_ignored_player_is_not_heard() {
    let mut play = Play::with(&["Ann", "Bob"]);
    play.line(1, "join chat");
    play.line(2, "join chat");
    assert_eq!(play.answer(1, "ignore"), "You hear everybody.\n");
    assert_eq!(play.answer(1, "ignore BOB"), "You do not hear BOB any more; the same again undoes it.\n");
    for line in ["say hello", ":waves", "#chat hello"] {
        play.answer(2, line);
        assert_eq!(play.seen(1), "", "{line}");
    }
    assert_eq!(play.answer(2, "tell ann hello"), "Ann does not listen to you.\n");
    assert_eq!(play.seen(1), "");
    assert_eq!(play.answer(1, "history"), "Nothing was said yet.\n");
    assert_eq!(play.answer(1, "ignore"), "You do not hear:\n  Bob\n");
    assert_eq!(play.answer(1, "ignore ann"), "You cannot help hearing yourself.\n");
    assert_eq!(play.answer(1, "ignore !"), "Nobody can be called !.\n");
    assert_eq!(play.answer(1, "ignore bob"), "You hear bob again.\n");
    play.answer(2, "say hello");
    assert_eq!(play.seen(1), "Bob says: hello\n");
}

#[test]
fn notes_are_posted_read_and_removed_by_their_author() {
    let mut play = Play::with(&["Ann", "Bob"]);
    assert_eq!(play.answer(1, "notes"), "The board is empty; 'post TEXT' pins a note to it.\n");
    let text = "Who has seen my hat? It is green, with a feather.";
    assert_eq!(play.answer(1, &format!("post {text}")), "Your note is on the board, as number 1.\n");
    play.line(2, "post Hello");
    play.wait(3_600);
    assert_eq!(
        play.answer(2, "notes"),
        "2 notes are on the board:\n  1: Ann, 1 hour ago: Who has seen my hat? It is green, with a ...\n  2: Bob, 1 hour ago: Hello\n"
    );
    assert_eq!(play.answer(2, "read #1"), format!("Note 1, by Ann, 1 hour ago:\n{text}\n"));
    assert_eq!(play.answer(2, "read hat"), "There is no note hat; 'notes' lists what there is.\n");
    assert_eq!(play.answer(2, "remove 1"), "That note is not yours.\n");
    assert_eq!(play.answer(1, "remove 1"), "Note 1 is removed.\n");
    assert_eq!(play.answer(1, "remove 1"), "There is no note 1.\n");
}

#[test]
fn a_screen_reader_gets_one_item_a_line() {
    let mut play = Play::with(&["Ann"]);
    play.connect(2);
    assert_eq!(play.answer(2, "ScreenReader"), format!("Lists will have one item a line.\n{NAME_PROMPT}"));
    play.line(2, "Bob");
    assert_eq!(play.answer(2, "who"), "2 are here:\nAnn\nBob, you\n");
    assert!(play.answer(2, "help").starts_with("say TEXT: everybody hears it"));
    play.line(1, "post hello");
    assert_eq!(play.answer(2, "notes"), "One note is on the board:\n1: Ann, 0 seconds ago: hello\n");
    play.line(2, "screenreader off");
    assert_eq!(play.answer(2, "who"), "2 are here:\n  Ann\n  Bob (you)\n");
}
