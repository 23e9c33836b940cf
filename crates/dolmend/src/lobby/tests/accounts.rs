//! Kept names, passwords, and dead links.

use super::*;
use crate::lobby::login::{ANSWER_SECONDS, ANSWERED_SECONDS};

const PASSWORD: &str = "open sesame";

#[test]
fn a_kept_name_needs_its_password() {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, PASSWORD);
    play.net_dead(1, Departure::PeerClosed);
    play.connect(2);
    let asked = play.answer(2, "ANN");
    assert!(asked.starts_with("Ann is kept.") && asked.ends_with("Password: "), "{asked}");
    let wrong = play.answer(2, "open sesam");
    assert!(wrong.starts_with("That is not the password. The next try is possible in 1 second"), "{wrong}");
    assert!(wrong.ends_with("Password: "));
    let early = play.answer(2, PASSWORD);
    assert_eq!(early, "After wrong passwords you have to wait for 1 second.\nPassword: ");
    play.wait(1);
    assert!(play.answer(2, PASSWORD).starts_with("Hello, Ann. You are alone here"));
}

#[test]
fn enter_alone_chooses_another_name() {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, PASSWORD);
    play.connect(2);
    play.line(2, "ann");
    assert_eq!(play.answer(2, ""), NAME_PROMPT);
    assert!(play.answer(2, "Bob").starts_with("Hello, Bob."));
}

/// A lobby with a kept name that is reserved: it was not yet when its player took it.
fn with_reserved_name(name: &str) -> Play {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, PASSWORD);
    let new = Name::check_kept(name).expect("letters");
    assert!(new.is_reserved());
    play.lobby.store.change_accounts(|accounts| accounts.rename("ann", &new)).expect("it is kept");
    play
}

#[test]
fn a_name_that_was_reserved_later_still_belongs_to_its_player() {
    let mut play = with_reserved_name("Sysop");
    play.connect(2);
    assert!(play.answer(2, "sysop").starts_with("Sysop is kept."));
    assert!(play.answer(2, PASSWORD).starts_with("Hello, Sysop."));
    play.line(2, "unkeep");
    play.net_dead(2, Departure::PeerClosed);
    play.connect(3);
    assert_eq!(play.answer(3, "Sysop"), format!("That name is reserved.\n{NAME_PROMPT}"), "no one's");

    let mut play = with_reserved_name("Sysop");
    play.connect(2);
    assert_eq!(play.answer(2, "Sys0p"), format!("That name is reserved.\n{NAME_PROMPT}"), "another one");
    play.wait(400 * 86_400);
    assert_eq!(play.answer(2, "Sysop"), format!("That name is reserved.\n{NAME_PROMPT}"), "it has expired");

    let mut play = with_reserved_name("Sysop");
    play.connect(2);
    play.actions.clear();
    let mut turn = Turn::new(&play.users, Status::default(), &mut play.actions);
    play.lobby.credentials(&mut turn, UserId(2), "Sysop", PASSWORD);
    play.results();
    assert!(play.seen(2).contains("Hello, Sysop."), "by the client");
    assert!(play.answer(1, "ignore Sysop").starts_with("You do not hear Sysop any more"));
    assert_eq!(play.console("rename Sysop Root"), "That name is reserved.\n");
    assert_eq!(play.console("rename Sysop SYSOP"), "Sysop is called SYSOP now.\n");
}

#[test]
fn names_like_a_kept_one_are_refused_although_it_is_away() {
    let mut play = Play::with(&["Iain"]);
    play.keep(1, PASSWORD);
    play.net_dead(1, Departure::PeerClosed);
    play.connect(2);
    let answer = play.answer(2, "lain");
    assert_eq!(
        answer,
        format!("lain looks too much like Iain, which belongs to another player.\n{NAME_PROMPT}")
    );
}

#[test]
fn names_like_a_present_one_are_refused() {
    let mut play = Play::with(&["Amold"]);
    play.connect(2);
    assert!(play.answer(2, "Arnold").starts_with("Arnold looks too much like Amold, who is here."));
}

#[test]
fn the_password_takes_a_character_over_from_anywhere_at_any_time() {
    let mut play = Play::with(&["Ann", "Bob"]);
    play.keep(1, PASSWORD);
    play.line(1, "ignore Bob");
    play.line(1, "join chat");
    assert_eq!(play.connect_from(3, [192, 0, 2, 1]), Admission::Accept);
    play.line(3, "Ann");
    let answer = play.answer(3, PASSWORD);
    assert!(
        answer.starts_with("Welcome back, Ann. Your older connection was closed. One other is here"),
        "{answer}"
    );
    assert!(play.seen(1).contains("another connection"));
    assert_eq!(play.disconnected(), [1]);
    assert_eq!(play.seen(2), "", "nobody came or went");
    play.net_dead(1, Departure::Disconnected);
    assert_eq!(play.seen(2), "");
    // It is the same character.
    assert_eq!(play.answer(3, "who"), "2 are here:\n  Bob\n  Ann (you)\n");
    play.answer(2, "say hello");
    assert_eq!(play.seen(3), "");
    assert_eq!(play.answer(3, "#chat hi"), "[chat] Ann: hi\n");
    assert_eq!(play.answer(1, "say ghost"), "");
}

const HOME: [u8; 4] = [192, 0, 2, 1];

/// Ann, number 1, and a newcomer, number 2, from one address.
fn ann_and_another_at(address: [u8; 4]) -> Play {
    let mut play = Play::new();
    for number in [1, 2] {
        assert_eq!(play.connect_from(number, address), Admission::Accept);
    }
    play.line(1, "Ann");
    play
}

fn client_answers(play: &mut Play, number: u64) {
    let mut turn = Turn::new(&play.users, Status::default(), &mut play.actions);
    play.lobby.client_answered(&mut turn, UserId(number));
}

#[test]
fn a_link_that_does_not_answer_is_taken_over_from_the_same_address() {
    let mut play = ann_and_another_at(HOME);
    let answer = play.answer(2, "Ann");
    let dead =
        "Somebody here is called Ann already.\nIf that is a dead connection of yours, type the name again in";
    assert_eq!(answer, format!("{dead} 25 seconds.\n{NAME_PROMPT}"));
    assert_eq!(
        play.seen(1),
        "Somebody at your address wants your name; press Enter within 25 seconds to keep it.\n"
    );
    assert!(play.actions.contains(&Action::Probe { user: UserId(1) }));
    play.wait(ANSWER_SECONDS - 1);
    assert_eq!(play.answer(2, "Ann"), format!("{dead} 1 second.\n{NAME_PROMPT}"));
    assert_eq!(play.seen(1), "", "it is asked once");
    play.wait(1);
    // Others learn nothing of it, and ask nothing.
    assert_eq!(play.connect_from(3, [192, 0, 2, 9]), Admission::Accept);
    assert_eq!(play.answer(3, "ann"), format!("Somebody here is called ann already.\n{NAME_PROMPT}"));
    assert!(play.answer(2, "ann").starts_with("Welcome back, Ann."));
    assert_eq!(play.disconnected(), [1]);
}

#[test]
fn a_player_who_is_silent_and_answers_keeps_the_name() {
    for by_client in [false, true] {
        let mut play = ann_and_another_at(HOME);
        play.wait(3_600);
        play.line(2, "Ann");
        play.actions.clear();
        if by_client {
            client_answers(&mut play, 1);
        } else {
            assert_eq!(play.answer(1, ""), "You keep your name.\n");
            assert_eq!(play.answer(1, ""), "", "that was the answer");
        }
        let answered = "Somebody here is called Ann already. That player has just answered.\n";
        for seconds in [0, ANSWERED_SECONDS - 1] {
            play.wait(seconds);
            assert_eq!(play.answer(2, "Ann"), format!("{answered}{NAME_PROMPT}"));
            assert_eq!((play.seen(1).as_str(), play.disconnected().len()), ("", 0));
        }
        // Since then the machine may have vanished.
        play.wait(1);
        assert!(play.answer(2, "Ann").contains("type the name again in 25 seconds"));
        assert!(play.seen(1).starts_with("Somebody at your address wants your name"));
        play.wait(ANSWER_SECONDS);
        assert!(play.answer(2, "Ann").starts_with("Welcome back, Ann."));
    }
}

#[test]
fn any_line_is_an_answer() {
    let mut play = ann_and_another_at(HOME);
    play.line(1, "keep");
    play.line(2, "Ann");
    assert_eq!(play.answer(1, PASSWORD), "The same again: ");
    play.wait(ANSWER_SECONDS);
    assert!(play.answer(2, "Ann").contains("has just answered"));
}

#[test]
fn where_many_players_have_one_address_nothing_is_taken_over_without_a_password() {
    let exempt: [(&str, [u8; 4]); 2] = [("no limits", [127, 0, 0, 1]), ("a trusted proxy", [10, 0, 0, 1])];
    for (what, address) in exempt {
        let mut play = Play::new();
        play.lobby.limits.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")].into();
        for number in [1, 2] {
            assert_eq!(play.connect_from(number, address), Admission::Accept);
        }
        play.line(1, "Ann");
        for _ in 0..2 {
            let answer = play.answer(2, "Ann");
            assert_eq!(answer, format!("Somebody here is called Ann already.\n{NAME_PROMPT}"), "{what}");
            assert_eq!(play.seen(1), "", "{what}");
            play.wait(3_600);
        }
        play.keep(1, PASSWORD);
        play.line(2, "Ann");
        assert!(play.answer(2, PASSWORD).starts_with("Welcome back, Ann."), "{what}");
    }
}

/// Six wrong passwords of number 2 for the kept name Ann. The last answer.
fn guess_six_times(play: &mut Play) -> String {
    play.line(2, "Ann");
    for _ in 0..5 {
        assert!(play.answer(2, "guess").contains("not the password"));
        play.wait(60);
    }
    play.answer(2, "guess")
}

#[test]
fn guessing_closes_the_login_by_password_and_nothing_else() {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, PASSWORD);
    for number in [2, 3] {
        assert_eq!(play.connect_from(number, HOME), Admission::Accept);
    }
    play.line(3, "Bob");
    let answer = guess_six_times(&mut play);
    assert!(
        answer.starts_with("That is not the password. The next try is possible in 15 minutes;"),
        "{answer}"
    );
    assert_eq!(play.disconnected(), [0u64; 0]);
    assert!(play.answer(3, "say still here").starts_with("You say"));
    assert!(play.answer(2, PASSWORD).starts_with("After wrong passwords you have to wait for 15 minutes."));
    // Others may come from there, without a password.
    assert_eq!(play.connect_from(4, HOME), Admission::Accept);
    assert!(play.answer(4, "Cid").starts_with("Hello, Cid."));
    assert_eq!(play.console("bans"), "There are no bans.\n");
    play.wait(15 * 60);
    assert!(play.answer(2, PASSWORD).starts_with("Welcome back, Ann."));
}

#[test]
fn guessing_from_an_exempt_address_closes_nothing() {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, PASSWORD);
    play.connect(2);
    assert!(guess_six_times(&mut play).contains("possible in 10 seconds"));
    play.wait(10);
    assert!(play.answer(2, PASSWORD).starts_with("Welcome back, Ann."));
}

#[test]
fn those_who_come_at_the_same_time_from_one_address_all_come_in() {
    let mut play = Play::with(&["Ann", "Bob", "Cid"]);
    for number in 1..=3 {
        play.keep(number, PASSWORD);
    }
    for (number, name) in (4..).zip(["Ann", "Bob", "Cid", "Ann"]) {
        assert_eq!(play.connect_from(number, HOME), Admission::Accept);
        play.line(number, name);
    }
    play.actions.clear();
    for number in 4..=7 {
        play.line_only(number, PASSWORD);
    }
    play.results();
    for number in 4..=7 {
        assert!(play.seen(number).starts_with("Welcome back"), "{}", play.seen(number));
    }
    assert!(play.lobby.logins.is_empty());
}

#[test]
fn many_tries_at_the_same_time_are_one_guess_and_wait_in_a_bounded_queue() {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, PASSWORD);
    for number in 2..42 {
        assert_eq!(play.connect_from(number, HOME), Admission::Accept);
        play.line(number, "Ann");
    }
    play.actions.clear();
    for number in 2..42 {
        play.line_only(number, "guess");
    }
    play.results();
    let count = |text: &str| (2..42).filter(|&number| play.seen(number).contains(text)).count();
    assert_eq!(count("not the password"), 1);
    assert_eq!(count("After wrong passwords you have to wait"), 32);
    assert_eq!(count("Too many players are coming in"), 7);
    assert!(play.lobby.logins.is_empty());
}

#[test]
fn one_who_leaves_the_queue_is_not_waited_for() {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, PASSWORD);
    for number in 2..=4 {
        assert_eq!(play.connect_from(number, HOME), Admission::Accept);
        play.line(number, "Ann");
    }
    play.actions.clear();
    (2..=4).for_each(|number| play.line_only(number, PASSWORD));
    play.net_dead(3, Departure::LoginTimeout);
    // The server forgets the user who was held.
    play.actions.push(Action::Hold { user: UserId(3), on: false });
    play.results();
    assert!(play.seen(2).starts_with("Welcome back") && play.seen(4).starts_with("Welcome back"));
    assert_eq!(play.seen(3), "");
    assert!(play.lobby.logins.is_empty());
}

#[test]
fn who_guesses_at_a_name_from_everywhere_does_not_keep_its_player_out() {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, PASSWORD);
    // The player's home, where somebody else guesses as well.
    assert_eq!(play.connect_from(2, HOME), Admission::Accept);
    play.line(2, "Ann");
    assert!(play.answer(2, PASSWORD).starts_with("Welcome back"));
    play.net_dead(2, Departure::PeerClosed);
    for number in 3..20 {
        assert_eq!(play.connect_from(number, [10, number as u8, 0, 1]), Admission::Accept);
        play.line(number, "Ann");
        assert!(play.answer(number, "guess").contains("not the password"));
    }
    assert_eq!(play.connect_from(20, [192, 0, 2, 77]), Admission::Accept);
    play.line(20, "Ann");
    assert!(play.answer(20, "guess").contains("not the password"));
    for (number, address) in [(21, HOME), (22, [172, 16, 0, 1])] {
        assert_eq!(play.connect_from(number, address), Admission::Accept);
        play.line(number, "Ann");
        let answer = play.answer(number, PASSWORD);
        assert!(answer.starts_with("Hello, Ann.") || answer.starts_with("Welcome back"), "{answer}");
    }
}

#[test]
fn the_operator_resets_a_password_and_gives_names_up() {
    let mut play = Play::with(&["Ann"]);
    assert_eq!(play.console("password Ann"), "Ann is not kept.\n");
    assert_eq!(play.console("unkeep Ann"), "Ann is not kept.\n");
    play.keep(1, PASSWORD);
    assert_eq!(play.console("password ann"), "");
    let shown = play.console_result();
    let password = shown.strip_prefix("The password of Ann is ").expect("it is shown");
    let password = password.split(' ').next().expect("a word").to_string();
    play.connect(2);
    play.line(2, "Ann");
    assert!(play.answer(2, PASSWORD).contains("not the password"));
    play.wait(60);
    assert!(play.answer(2, &password).starts_with("Welcome back"));
    assert_eq!(play.console("unkeep ANN"), "Ann is kept no longer.\n");
    assert!(play.seen(2).contains("kept no longer"));
    play.net_dead(2, Departure::PeerClosed);
    play.connect(3);
    assert!(play.answer(3, "Ann").starts_with("Hello, Ann."));
}

#[test]
fn a_kept_name_whose_player_is_away_for_a_year_is_free_again() {
    const DAY: u64 = 86_400;
    let mut play = Play::with(&["Ann", "Iain"]);
    play.keep(1, PASSWORD);
    play.keep(2, PASSWORD);
    // Being here is use.
    play.wait(400 * DAY);
    play.connect(3);
    assert!(play.answer(3, "Ann").ends_with("Password: "));
    play.net_dead(1, Departure::PeerClosed);
    play.net_dead(2, Departure::PeerClosed);
    play.wait(364 * DAY);
    play.connect(4);
    assert!(play.answer(4, "Ann").ends_with("Password: "));
    play.wait(2 * DAY);
    play.connect(5);
    assert!(play.answer(5, "Ann").starts_with("Hello, Ann."));
    play.connect(6);
    assert!(play.answer(6, "lain").starts_with("Hello, lain."), "nor are names like it");
}

#[test]
fn lines_wait_while_a_password_is_verified() {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, PASSWORD);
    play.connect(2);
    play.line(2, "Ann");
    play.actions.clear();
    play.line_only(2, PASSWORD);
    assert_eq!(play.actions, [Action::Hold { user: UserId(2), on: true }]);
    // The user leaves meanwhile, so the result concerns no one.
    play.net_dead(2, Departure::Shutdown);
    play.results();
    assert_eq!(play.seen(2), "");
    assert_eq!(play.lobby.name_of(UserId(1)), Some("Ann"));
    assert!(play.lobby.logins.is_empty());
}

#[test]
fn a_right_password_does_not_count_any_more_when_its_name_was_banned_or_given_up_meanwhile() {
    for (command, reason) in [
        ("ban Ann", "The name Ann is banned until further notice."),
        ("unkeep Ann", "The name Ann is kept no longer."),
    ] {
        let mut play = Play::with(&["Ann"]);
        play.keep(1, PASSWORD);
        if command == "ban Ann" {
            play.net_dead(1, Departure::PeerClosed);
        }
        play.connect(2);
        play.line(2, "Ann");
        play.line_only(2, PASSWORD);
        play.note_held(0);
        play.console(command);
        play.results();
        assert_eq!(play.seen(2), format!("{reason}\n{NAME_PROMPT}"));
        assert_eq!((play.lobby.name_of(UserId(2)), play.disconnected()), (None, vec![]));
        assert!(play.answer(2, "Bob").starts_with("Hello, Bob."), "another name will do");
    }
}

#[test]
fn a_password_is_typed_twice_and_can_be_changed() {
    let mut play = Play::with(&["Ann"]);
    assert_eq!(play.answer(1, "keep"), "A password for your name: ");
    assert!(play.answer(1, "short").contains("6 to 200 characters. Nothing is changed."));
    play.line(1, "keep");
    assert_eq!(play.answer(1, ""), "Nothing is changed.\n");
    play.line(1, "keep");
    play.line(1, PASSWORD);
    assert_eq!(play.answer(1, "something else"), "These differ. Nothing is changed.\n");
    assert_eq!(play.answer(1, "unkeep"), "Your name is not kept.\n");
    play.keep(1, PASSWORD);
    assert_eq!(play.answer(1, "keep"), "New password: ");
    play.line(1, "another one");
    play.line(1, "another one");
    play.net_dead(1, Departure::PeerClosed);
    play.connect(2);
    play.line(2, "Ann");
    assert!(play.answer(2, "another one").starts_with("Hello, Ann."));
    assert_eq!(play.answer(2, "unkeep"), "The name Ann is kept no longer.\n");
    play.net_dead(2, Departure::PeerClosed);
    play.connect(3);
    assert!(play.answer(3, "Ann").starts_with("Hello, Ann."));
}

#[test]
fn a_player_who_chooses_a_password_hears_the_others() {
    let mut play = Play::with(&["Ann", "Bob"]);
    play.line(1, "keep");
    play.actions.clear();
    play.line(2, "say hello");
    assert_eq!(play.seen(1), "Bob says: hello\n");
}

#[test]
fn a_client_logs_in_with_both_at_once() {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, PASSWORD);
    play.connect(2);
    play.actions.clear();
    let mut turn = Turn::new(&play.users, Status::default(), &mut play.actions);
    play.lobby.log_in(&mut turn, UserId(2), "ann", PASSWORD);
    play.results();
    assert!(play.seen(2).contains("Welcome back, Ann."));
}

#[test]
fn a_client_may_try_again_after_a_wrong_password_and_a_wait() {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, PASSWORD);
    play.connect(2);
    let log_in = |play: &mut Play, password: &str| {
        play.actions.clear();
        let mut turn = Turn::new(&play.users, Status::default(), &mut play.actions);
        play.lobby.log_in(&mut turn, UserId(2), "Ann", password);
        assert_eq!(play.actions.first(), Some(&Action::Answered { user: UserId(2) }), "the prompt is over");
        play.results();
        let result = play.actions.iter().find_map(|action| match action {
            Action::Gmcp { data, .. } => Some(data.to_string()),
            _ => None,
        });
        result.expect("the client gets a result")
    };
    assert!(log_in(&mut play, "wrong one").contains("That is not the password."));
    assert!(log_in(&mut play, PASSWORD).contains("you have to wait for 1 second"));
    play.wait(1);
    assert_eq!(log_in(&mut play, PASSWORD), r#"{"success":true}"#);
}

#[test]
fn names_and_notes_outlive_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::built_in().expect("the shipped file loads");
    let open = || Lobby::with_store(&config, Store::open(folder.path()).expect("a store"));
    let mut play = Play::of(open());
    play.connect(1);
    play.line(1, "Ann");
    play.keep(1, PASSWORD);
    assert_eq!(play.answer(1, "post Hello, all"), "Your note is on the board, as number 1.\n");
    assert!(folder.path().join("notes.jsonl").exists(), "it was told when it was there");
    play.console("ban 192.0.2.0/24 2d no robots");
    drop(play);
    let mut play = Play::of(open());
    assert_eq!(
        play.connect_from(1, [192, 0, 2, 9]),
        Admission::Refuse("Your address is banned for another 2 days: no robots.\n".into())
    );
    play.connect(2);
    assert!(play.answer(2, "Ann").ends_with("Password: "));
    assert!(play.answer(2, PASSWORD).starts_with("Hello, Ann."));
    assert!(play.answer(2, "read 1").ends_with("Hello, all\n"));
}

#[test]
fn a_disk_that_refuses_is_admitted() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let config = Config::built_in().expect("the shipped file loads");
    let mut play = Play::of(Lobby::with_store(&config, Store::open(&state).expect("a store")));
    for table in ["names", "notes"] {
        // A folder in the place of the new file.
        std::fs::create_dir(state.join(format!("{table}.jsonl.new"))).expect("it can be made");
    }
    play.connect(1);
    play.line(1, "Ann");
    play.line(1, "keep");
    play.line(1, PASSWORD);
    assert!(play.answer(1, PASSWORD).contains("It could not be saved"));
    let answer = play.answer(1, "post Hello, all");
    assert!(answer.contains("number 1.\nIt could not be saved"), "{answer}");
}
