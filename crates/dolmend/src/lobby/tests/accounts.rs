//! Kept names, passwords, and dead links.

use super::*;
use crate::lobby::login::SILENT_SECONDS;

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

#[test]
fn a_dead_link_is_taken_over_from_the_same_address_once_it_is_silent() {
    let mut play = Play::with(&["Ann", "Bob"]);
    play.connect(3);
    let answer = play.answer(3, "Ann");
    let expected =
        "Somebody here is called Ann already.\nIf that is a dead connection of yours, type the name again in";
    assert!(answer.starts_with(expected), "{answer}");
    play.wait(SILENT_SECONDS);
    // Others learn nothing of it, however long they wait.
    assert_eq!(play.connect_from(4, [192, 0, 2, 1]), Admission::Accept);
    let answer = play.answer(4, "ann");
    assert_eq!(answer, format!("Somebody here is called ann already.\n{NAME_PROMPT}"));
    assert!(play.answer(3, "ann").starts_with("Welcome back, Ann."));
    assert_eq!(play.disconnected(), [1]);
}

#[test]
fn a_link_that_speaks_is_not_dead() {
    let mut play = Play::with(&["Ann"]);
    play.connect(2);
    play.wait(SILENT_SECONDS);
    play.line(1, "");
    assert!(play.answer(2, "Ann").contains("called Ann already"));
    assert_eq!(play.disconnected(), [0u64; 0]);
}

#[test]
fn guessing_ends_in_a_ban_that_says_when_it_is_over() {
    let mut play = Play::with(&["Ann"]);
    play.keep(1, PASSWORD);
    let attacker = [192, 0, 2, 66];
    assert_eq!(play.connect_from(2, attacker), Admission::Accept);
    play.line(2, "Ann");
    for _ in 0..5 {
        assert!(play.answer(2, "guess").contains("not the password"));
        play.wait(60);
    }
    let answer = play.answer(2, "guess");
    assert_eq!(answer, "\nYou are banned for another 15 minutes: too many wrong passwords.\n");
    assert_eq!(play.disconnected(), [2]);
    play.net_dead(2, Departure::Disconnected);
    let Admission::Refuse(text) = play.connect_from(3, attacker) else { panic!("let in") };
    assert!(text.starts_with("Your address is banned for another 1"), "{text}");
    assert!(text.ends_with(": too many wrong passwords.\n"), "{text}");
    assert_eq!(play.connect_from(4, [192, 0, 2, 67]), Admission::Accept, "only that address");
    play.wait(15 * 60);
    assert_eq!(play.connect_from(5, attacker), Admission::Accept);
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
    assert!(play.lobby.verifying.is_empty());
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
    std::fs::remove_dir(&state).expect("it is empty");
    play.connect(1);
    play.line(1, "Ann");
    let answer = play.answer(1, "post Hello, all");
    assert!(answer.contains("number 1.\nIt could not be saved"), "{answer}");
}
