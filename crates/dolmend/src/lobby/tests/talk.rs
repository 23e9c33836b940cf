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
    assert!(play.answer(1, "join ＨＥＬＰ").starts_with("You hear the channel help;"));
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
    let refused = play.answer(1, "post Hello");
    assert_eq!(refused, "A note needs an author: keep your name with a password first, by 'keep'.\n");
    play.keep(1, "open sesame");
    play.keep(2, "open sesame");
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
    play.keep(1, "open sesame");
    play.line(1, "post hello");
    assert_eq!(play.answer(2, "notes"), "One note is on the board:\n1: Ann, 0 seconds ago: hello\n");
    play.line(2, "screenreader off");
    assert_eq!(play.answer(2, "who"), "2 are here:\n  Ann\n  Bob (you)\n");
}

#[test]
fn a_note_belongs_to_the_account_and_not_to_who_has_the_name_now() {
    let mut play = Play::with(&["Ann", "Bob"]);
    play.keep(1, "open sesame");
    play.line(1, "post mine");
    play.line(1, "post another of mine");
    play.console("rename Ann Anna");
    assert_eq!(play.answer(1, "remove 2"), "Note 2 is removed.\n");
    play.line(1, "unkeep");
    assert_eq!(play.answer(1, "remove 1"), "That note is not yours.\n");
    play.net_dead(1, Departure::PeerClosed);
    play.connect(3);
    play.line(3, "Ann");
    play.keep(3, "something else");
    assert_eq!(play.answer(3, "remove 1"), "That note is not yours.\n");
    assert_eq!(play.console("unpost 1"), "Note 1 of Ann is removed.\n");
}

#[test]
fn an_address_posts_a_few_notes_a_day() {
    let mut play = Play::new();
    for (number, name) in (1..).zip(["Ann", "Bob", "Cid"]) {
        assert_eq!(play.connect_from(number, [192, 0, 2, 1]), Admission::Accept);
        play.line(number, name);
        play.keep(number, "open sesame");
    }
    let posted = |play: &mut Play, number| {
        (0..10).filter(|_| play.answer(number, "post hello").starts_with("Your note")).count()
    };
    assert_eq!([1, 2, 3].map(|number| posted(&mut play, number)), [10, 10, 0]);
    assert_eq!(play.answer(3, "post hello"), "Enough notes were posted from your address today.\n");
    play.wait(86_400);
    assert_eq!(posted(&mut play, 3), 10);
}

/// The user's client has said this.
fn client(play: &mut Play, number: u64, client: &Client) {
    let mut turn = Turn::new(&play.users, Status::default(), &mut play.actions);
    play.lobby.terminal_type(&mut turn, UserId(number), client);
}

#[test]
fn names_and_channels_are_coloured_for_clients_with_colours_and_plain_for_screen_readers() {
    let mut play = Play::with(&["Ann", "Bob", "Cid", "Dan"]);
    let colours = Client { colours: Colours::Sixteen, ..Client::default() };
    client(&mut play, 2, &colours);
    client(&mut play, 3, &Client { screen_reader: true, ..colours });
    (1..=4).for_each(|number| play.line(number, "join chat"));
    let name = "\x1b[1;36mAnn\x1b[0m";
    for (line, coloured, plain) in [
        ("say hi", format!("{name} says: hi\n"), "Ann says: hi\n"),
        (":waves", format!("{name} waves\n"), "Ann waves\n"),
        ("#chat hi", format!("\x1b[33m[chat]\x1b[0m {name}: hi\n"), "[chat] Ann: hi\n"),
    ] {
        play.answer(1, line);
        assert_eq!([2, 3, 4].map(|number| play.seen(number)), [&coloured, plain, plain], "{line}");
    }
    play.answer(1, "tell bob hi");
    assert_eq!(play.seen(2), format!("{name} tells you: hi\n"));
    assert_eq!(play.answer(2, "history chat"), format!("\x1b[33m[chat]\x1b[0m {name}: hi\n"));
    assert_eq!(play.answer(4, "history chat"), "[chat] Ann: hi\n");
}

#[test]
fn clients_that_asked_for_it_are_told_which_channel_a_line_is_from() {
    let mut play = Play::with(&["Ann", "Bob", "Cid"]);
    for number in [1, 2] {
        client(&mut play, number, &Client { gmcp: true, channels: true, ..Client::default() });
    }
    play.line(1, "join chat");
    play.line(2, "join chat");
    for (line, channel) in [("say a \"b\"", "say"), ("tell bob a \"b\"", "tell"), ("#chat a \"b\"", "chat")] {
        play.answer(1, line);
        let told = play.actions.iter().filter_map(|action| match action {
            Action::Gmcp { user, package, data } => Some((user.0, &**package, &**data)),
            _ => None,
        });
        let data = format!(r#"{{"channel":"{channel}","talker":"Ann","text":"a \"b\""}}"#);
        let mut told: Vec<_> = told.collect();
        told.sort();
        assert_eq!(told, [1, 2].map(|user| (user, "Comm.Channel.Text", data.as_str())), "{line}");
    }
    play.line(2, "ignore ann");
    play.answer(1, "say hi");
    assert!(!play.actions.iter().any(|action| matches!(action, Action::Gmcp { user: UserId(2), .. })));
}
