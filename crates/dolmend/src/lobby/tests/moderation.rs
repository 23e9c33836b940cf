//! Bans, mutes and names, by the operator.

use super::*;

#[test]
fn a_banned_address_is_disconnected_and_refused_until_it_is_unbanned() {
    let mut play = Play::with(&["Ann"]);
    assert_eq!(play.connect_from(2, [192, 0, 2, 9]), Admission::Accept);
    assert_eq!(
        play.console("ban 192.0.2.0/24 2d no robots"),
        "192.0.2.0/24 is banned for another 2 days: no robots.\nOne user was disconnected.\n"
    );
    assert_eq!(play.disconnected(), [2]);
    assert_eq!(play.seen(2), "\nYou are banned for another 2 days: no robots.\n");
    let Admission::Refuse(text) = play.connect_from(3, [192, 0, 2, 77]) else { panic!("let in") };
    assert_eq!(text, "Your address is banned for another 2 days: no robots.\n");
    assert_eq!(play.console("unban 192.0.2.0/24"), "192.0.2.0/24 is no longer banned.\n");
    assert_eq!(play.connect_from(4, [192, 0, 2, 77]), Admission::Accept);
    assert_eq!(play.console("unban 192.0.2.0/24"), "192.0.2.0/24 is not banned; 'bans' lists who is.\n");
}

#[test]
fn a_banned_name_is_refused_with_its_look_alikes() {
    let mut play = Play::with(&["Iain", "Bob"]);
    assert_eq!(
        play.console("ban iain"),
        "Iain is banned until further notice.\nOne user was disconnected.\n"
    );
    assert_eq!(play.disconnected(), [1]);
    play.net_dead(1, Departure::Disconnected);
    play.connect(3);
    for name in ["Iain", "lain"] {
        let answer = play.answer(3, name);
        assert_eq!(answer, format!("The name {name} is banned until further notice.\n{NAME_PROMPT}"));
    }
}

#[test]
fn a_user_is_banned_by_number() {
    let mut play = Play::with(&["Ann"]);
    assert_eq!(play.connect_from(2, [192, 0, 2, 9]), Admission::Accept);
    assert!(play.console("ban #2 1h").starts_with("192.0.2.9 is banned for another 1 hour.\n"));
    assert_eq!(play.console("ban #9"), "Nobody has the number #9.\n");
}

#[test]
fn bans_are_listed_in_their_order_with_what_is_left_of_them() {
    let mut play = Play::new();
    assert_eq!(play.console("bans"), "There are no bans.\n");
    play.console("ban Zoe 30m");
    play.console("ban 2001:db8::7 shouting a lot");
    play.console("ban 192.0.2.1 1s");
    play.wait(60);
    assert_eq!(
        play.console("bans"),
        "  Zoe for another 29 minutes, since 1 minute\n  2001:db8::/64 until further notice: shouting a lot, since 1 minute\n"
    );
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, "203.0.113.0/24 no\n198.51.100.0/24 no\n").expect("written");
    let text = format!("ban list : {}\n", file.path().display());
    let config =
        Config::from_text("my.conf", text.as_bytes(), std::path::Path::new("")).expect("a good file");
    assert_eq!(play.reconfigure(&config), Ok(()));
    assert!(play.console("bans").ends_with("  and 2 networks of the ban list\n"));
    assert_eq!(
        play.connect_from(1, [203, 0, 113, 1]),
        Admission::Refuse("Your address is banned until further notice: no.\n".into())
    );
}

#[test]
fn nonsense_is_not_banned() {
    let mut play = Play::with(&["Ann"]);
    for (line, answer) in [
        ("ban 0.0.0.0/0", "That is too much of the internet"),
        ("ban 192.0.2.0/99", "This is not a network"),
        ("ban two/words", "This is not a network"),
        ("ban !", "This is no address"),
        ("ban", "Usage: ban"),
        ("mute", "Usage: mute"),
    ] {
        assert!(play.console(line).starts_with(answer), "{line}: {}", play.console(line));
    }
    assert_eq!(play.disconnected(), [0u64; 0]);
    assert_eq!(play.console("bans"), "There are no bans.\n");
}

#[test]
fn a_muted_player_is_not_heard_and_is_told_why() {
    let mut play = Play::with(&["Ann", "Bob"]);
    play.line(1, "join chat");
    assert_eq!(play.console("mute ann 10m shouting"), "Ann is muted for another 10 minutes: shouting.\n");
    for line in ["say hello", "'hello", ":waves", "tell bob hello", "#chat hello", "post hello", "join other"]
    {
        assert_eq!(
            play.answer(1, line),
            "The operator has muted you for another 10 minutes: shouting.\n",
            "{line}"
        );
        assert_eq!(play.seen(2), "", "{line}");
    }
    assert!(play.answer(1, "who").starts_with("2 are here"));
    assert_eq!(play.console("mutes"), "  Ann for another 10 minutes: shouting, since 0 seconds\n");
    assert_eq!(play.console("unmute Ann"), "Ann is no longer muted.\n");
    assert_eq!(play.answer(1, "say hello"), "You say: hello\n");
    play.console("mute 127.0.0.1 1m");
    assert!(play.answer(2, "say hello").starts_with("The operator has muted you for another 1 minute."));
    play.wait(60);
    assert_eq!(play.answer(2, "say hello"), "You say: hello\n");
}

#[test]
fn what_begins_like_a_length_of_a_ban_is_one_or_is_refused() {
    let mut play = Play::new();
    for word in ["1x", "0s", "0", "10days", "1.5h", "99999999999999999999", "9999w"] {
        for command in ["ban", "mute"] {
            let answer = play.console(&format!("{command} Eve {word} spam"));
            assert!(answer.starts_with(&format!("'{word}' is not a length of time: ")), "{answer}");
        }
    }
    assert_eq!(
        (play.console("bans"), play.console("mutes")),
        ("There are no bans.\n".into(), "There are no mutes.\n".into())
    );
    assert_eq!(play.console("ban Zoe 10"), "Zoe is banned for another 10 seconds.\n");
    assert_eq!(play.console("mute Zoe 60 loud"), "Zoe is muted for another 1 minute: loud.\n");
    assert_eq!(play.console("ban Eve spam 2d"), "Eve is banned until further notice: spam 2d.\n");
}

#[test]
fn a_player_is_renamed_and_keeps_the_password() {
    let mut play = Play::with(&["Ann", "Bob"]);
    play.keep(1, "open sesame");
    assert_eq!(play.console("rename Ann Bob"), "Bob is taken, or looks like a name that is.\n");
    assert_eq!(play.console("rename Ann root"), "That name is reserved.\n");
    assert_eq!(play.console("rename Zoe Ann"), "Nobody here is called Zoe.\n");
    assert_eq!(play.console("rename Ann Anna"), "Ann is called Anna now.\n");
    assert_eq!(play.seen(1), "The operator calls you Anna now.\n");
    assert_eq!(play.seen(2), "Ann is called Anna now.\n");
    assert_eq!(play.answer(1, "say hello"), "You say: hello\n");
    assert_eq!(play.seen(2), "Anna says: hello\n");
    play.net_dead(1, Departure::PeerClosed);
    play.connect(3);
    play.line(3, "anna");
    assert!(play.answer(3, "open sesame").starts_with("Hello, Anna."));
    play.connect(4);
    assert!(play.answer(4, "Ann").starts_with("Hello, Ann."));
}

#[test]
fn a_player_is_not_renamed_to_the_look_of_another() {
    // In small letters these differ, and `Iain` looks like `lain`.
    for kept in [false, true] {
        let mut play = Play::with(&["iain", "lain"]);
        if kept {
            play.keep(2, "open sesame");
            play.net_dead(2, Departure::PeerClosed);
        }
        assert_eq!(play.console("rename iain Iain"), "Iain is taken, or looks like a name that is.\n");
        assert_eq!(play.console("rename iain Ian"), "iain is called Ian now.\n");
    }
    let mut play = Play::with(&["Ann"]);
    assert_eq!(play.console("rename Ann ANN"), "Ann is called ANN now.\n");
}

#[test]
fn the_operator_removes_notes() {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, "open sesame");
    play.line(1, "post rude");
    assert_eq!(play.console("notes"), "One note is on the board:\n  1: Ann, 0 seconds ago: rude\n");
    assert_eq!(play.console("unpost 1"), "Note 1 of Ann is removed.\n");
    assert_eq!(play.console("unpost 1"), "There is no note 1.\n");
}

#[test]
fn a_reload_disconnects_those_who_are_banned_from_then_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = Config::built_in().expect("the shipped file loads");
    let mut play = Play::of(Lobby::with_store(&config, Store::open(folder.path()).expect("a store")));
    for (number, address, name) in [(1, 1, "Ann"), (2, 2, "Bob"), (3, 3, "Cid")] {
        assert_eq!(play.connect_from(number, [192, 0, 2, address]), Admission::Accept);
        play.line(number, name);
    }
    let list = folder.path().join("list.txt");
    std::fs::write(&list, "192.0.2.1 no\n").expect("written");
    config = Config::from_text("my.conf", b"ban list : list.txt\n", folder.path()).expect("a good file");
    std::fs::write(folder.path().join("bans.jsonl"), "{\"target\":{\"name\":\"bob\"}}\n").expect("written");
    std::fs::write(folder.path().join("mutes.jsonl"), "nonsense\n").expect("written");
    play.actions.clear();
    let problem = play.reconfigure(&config).expect_err("a wrong line");
    assert!(problem.contains("mutes.jsonl:1: this is not a ban"), "{problem}");
    assert_eq!(play.actions, []);
    std::fs::write(folder.path().join("mutes.jsonl"), "{\"target\":{\"name\":\"Cid\"}}\n").expect("written");
    assert_eq!(play.reconfigure(&config), Ok(()));
    assert_eq!(play.disconnected(), [1, 2]);
    assert_eq!(play.seen(1), "\nYou are banned until further notice: no.\n");
    assert_eq!(play.answer(3, "say hello"), "The operator has muted you until further notice.\n");
    assert_eq!(play.console("bans"), "  bob until further notice\n  and one network of the ban list\n");
}

/// A lobby on disk, and its folder.
fn on_disk() -> (Play, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::built_in().expect("the shipped file loads");
    let store = Store::open(folder.path()).expect("a store");
    (Play::of(Lobby::with_store(&config, store)), folder)
}

#[test]
fn a_line_that_the_operator_has_written_is_not_lost_by_a_command() {
    let (mut play, folder) = on_disk();
    let file = folder.path().join("bans.jsonl");
    let line = "{\"target\":{\"name\":\"Bob\"}}\n";
    std::fs::write(&file, line).expect("written");
    for command in ["ban Zoe", "unban Zoe"] {
        let answer = play.console(command);
        assert!(
            answer.starts_with("Somebody has changed bans.jsonl since it was read; 'reload' first."),
            "{answer}"
        );
    }
    let config = Config::built_in().expect("the shipped file loads");
    assert_eq!(play.reconfigure(&config), Ok(()));
    play.console("ban Zoe");
    assert_eq!(play.console_result(), "Zoe is banned until further notice.\n");
    assert_eq!(play.console("bans").lines().count(), 2);
    let text = std::fs::read_to_string(&file).expect("it is there");
    assert!(text.contains("Bob") && text.contains("Zoe"), "{text}");
}

#[test]
fn a_line_that_the_operator_has_written_is_not_lost_when_the_disk_is_asked_again() {
    let (mut play, folder) = on_disk();
    let [file, obstacle] = ["bans.jsonl", "bans.jsonl.new"].map(|name| folder.path().join(name));
    std::fs::create_dir(&obstacle).expect("it can be made");
    play.console("ban Zoe");
    play.console_result();
    let line = "{\"target\":{\"name\":\"Bob\"}}\n";
    std::fs::write(&file, line).expect("written");
    assert!(play.console("ban Eve").starts_with("Somebody has changed bans.jsonl since it was read;"));
    std::fs::remove_dir(&obstacle).expect("it is empty");
    play.timer_expired();
    play.console_result();
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), line);
    play.actions.clear();
    let config = Config::built_in().expect("the shipped file loads");
    assert_eq!(play.reconfigure(&config), Ok(()));
    let said = |play: &Play| format!("{:?}", play.actions);
    assert!(
        said(&play).contains("bans.jsonl was edited while") && said(&play).contains("Zoe"),
        "{}",
        said(&play)
    );
    assert_eq!(play.console("bans"), "  Bob until further notice\n");
    play.actions.clear();
    std::fs::create_dir(&obstacle).expect("it can be made");
    play.console("ban Zoe");
    play.console_result();
    std::fs::remove_dir(&obstacle).expect("it is empty");
    play.lobby.finish().expect("no one has edited it since");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there").lines().count(), 3);
}

#[test]
fn an_answer_says_that_the_file_was_written_in_the_meantime() {
    let (mut play, folder) = on_disk();
    play.lobby.store.change_bans(|bans| bans.remove_expired(0).checked_add(1).ok_or(())).expect("a change");
    let in_flight = play.lobby.store.next_write().expect("a change");
    assert_eq!(play.console("ban Eve"), "", "it waits");
    let line = "{\"target\":{\"name\":\"Bob\"}}\n";
    std::fs::write(folder.path().join("bans.jsonl"), line).expect("written");
    play.lobby.store.written(in_flight.run()).expect_err("it was edited");
    play.timer_expired();
    let answer = play.console_result();
    assert!(answer.contains("Eve is banned until further notice.\nIt is in memory only: "), "{answer}");
    assert!(answer.contains("'reload' takes that file"), "{answer}");
}

/// In how many seconds the disk is asked again, by the actions since the last check.
fn delays(play: &Play) -> Vec<u64> {
    let timers = play.actions.iter().filter_map(|action| match action {
        Action::SetTimer { after } => Some(after.as_secs()),
        _ => None,
    });
    timers.collect()
}

#[test]
fn the_delay_grows_until_the_disk_has_everything() {
    let (mut play, folder) = on_disk();
    let obstacle = folder.path().join("bans.jsonl.new");
    std::fs::create_dir(&obstacle).expect("it can be made");
    play.console("ban Zoe");
    play.console_result();
    for delay in [1, 2, 4] {
        assert_eq!(delays(&play), [delay]);
        // Another table is no reason to begin again.
        play.console("mute Eve");
        assert_eq!(play.console_result(), "Eve is muted until further notice.\n");
        play.actions.clear();
        play.timer_expired();
        play.console_result();
    }
    for by_reload in [false, true] {
        play.actions.clear();
        if by_reload {
            // What the disk had not is no longer needed.
            std::fs::write(folder.path().join("bans.jsonl"), "{\"target\":{\"name\":\"Ida\"}}\n")
                .expect("written");
            let config = Config::built_in().expect("the shipped file loads");
            assert_eq!(play.reconfigure(&config), Ok(()));
            play.timer_expired();
        } else {
            std::fs::remove_dir(&obstacle).expect("it is empty");
            play.timer_expired();
            play.console_result();
            std::fs::create_dir(&obstacle).expect("it can be made");
        }
        play.console("ban Bob");
        play.console_result();
        assert_eq!(delays(&play), [1], "after a reload: {by_reload}");
        play.actions.clear();
        play.timer_expired();
        play.console_result();
        assert_eq!(delays(&play), [2]);
    }
}

#[test]
fn what_the_disk_refuses_is_said_and_tried_again_and_lost_at_the_end_only() {
    let (mut play, folder) = on_disk();
    let [file, obstacle] = ["bans.jsonl", "bans.jsonl.new"].map(|name| folder.path().join(name));
    std::fs::create_dir(&obstacle).expect("it can be made");
    assert_eq!(play.console("ban Zoe"), "");
    let answer = play.console_result();
    assert!(answer.starts_with("Zoe is banned until further notice.\nIt is in memory only: "), "{answer}");
    // It is tried again later each time, and not in between.
    for delay in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(delays(&play), [delay]);
        play.actions.clear();
        play.timer_expired();
        play.console_result();
    }
    play.actions.clear();
    std::fs::remove_dir(&obstacle).expect("it is empty");
    play.timer_expired();
    play.console_result();
    assert!(file.exists() && delays(&play).is_empty());
    std::fs::create_dir(&obstacle).expect("it can be made");
    play.console("ban Eve");
    let lost = play.lobby.finish().expect_err("an obstacle");
    assert!(lost.contains("cannot write bans") && lost.contains("is lost"), "{lost}");
}

#[test]
fn an_ipv6_address_is_banned_with_its_network_as_long_as_the_configuration_says() {
    let mut play = Play::new();
    play.lobby.limits.ipv6_prefix = 56;
    assert_eq!(
        play.console("ban 2001:db8:1:2ff::7"),
        "2001:db8:1:200::/56 is banned until further notice.\n"
    );
    play.lobby.limits.ipv6_prefix = 64;
    assert_eq!(
        play.console("unban 2001:db8:1:2ff::7"),
        "2001:db8:1:2ff::/64 is not banned, but is in 2001:db8:1:200::/56, which is.\n"
    );
}
