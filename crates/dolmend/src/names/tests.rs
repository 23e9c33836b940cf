//! Tests of names.

use proptest::prelude::*;

use super::*;

fn refused(typed: &str) -> BadName {
    Name::check(typed).expect_err(typed)
}

fn name(typed: &str) -> Name {
    Name::check(typed).unwrap_or_else(|reason| panic!("{typed:?}: {reason}"))
}

#[test]
fn names_of_many_scripts_are_fine() {
    for typed in [
        "a",
        "Ann",
        "Åsa",
        "Ольга",
        "Ἀθηνᾶ",
        "美咲",
        "みさき",
        "美サキ",
        "ミカー",
        "O'Neil",
        "Jean-Luc",
        "R2D2",
        "नेहा",
        "हिन्दी",
        "தமிழ்",
        "ไทย",
        "မောင်",
        "علي",
        "עברית",
        "Հայկ",
        "ქეთი",
        "ᏣᎳᎩ",
        "민준",
        "Kim민준",
        "Nguyễn",
        "ትግስት",
        "abcdefghijklmnopqrst",
    ] {
        assert_eq!(name(typed).shown(), typed);
    }
    assert_eq!(name("  Ann \t").shown(), "Ann");
}

#[test]
fn a_name_is_shown_in_normal_form() {
    for (typed, shown) in [
        ("A\u{301}nna", "Ánna"),
        ("Ａｎｎ", "Ann"),
        ("ﬁona", "fiona"),
        ("O\u{2019}Neil", "O'Neil"),
        ("Jean\u{2011}Luc", "Jean-Luc"),
        ("ﾐｶ", "ミカ"),
        ("Ⅷ", "VIII"),
    ] {
        assert_eq!(name(typed).shown(), shown, "{typed:?}");
    }
}

#[test]
fn others_are_refused_for_a_reason() {
    for (typed, reason) in [
        ("", BadName::Empty),
        ("   ", BadName::Empty),
        ("abcdefghijklmnopqrstu", BadName::TooLong),
        ("美咲美咲美咲美咲美咲美", BadName::TooLong),
        ("two words", BadName::NotLetters),
        ("1up", BadName::NotLetters),
        ("-x", BadName::NotLetters),
        ("x-", BadName::NotLetters),
        ("x--y", BadName::NotLetters),
        ("x'-y", BadName::NotLetters),
        ("\u{301}a", BadName::NotLetters),
        ("a-\u{301}", BadName::NotLetters),
        ("a\u{20dd}", BadName::NotLetters), // An enclosing circle.
        ("a\u{1b}[31m", BadName::NotLetters),
        ("\u{fffd}", BadName::NotLetters),
        ("\u{2800}", BadName::NotLetters), // A Braille pattern without dots.
        ("😀", BadName::NotLetters),
        ("🅐nn", BadName::NotLetters),
        ("a\u{a0}b", BadName::NotLetters),
        ("a\u{202e}b", BadName::Invisible),
        ("a\u{200b}b", BadName::Invisible),
        ("a\u{200d}b", BadName::Invisible),
        ("a\u{ad}b", BadName::Invisible),
        ("\u{3164}", BadName::Invisible),
        ("\u{ffa0}", BadName::Invisible),
        ("\u{115f}\u{1160}", BadName::Invisible),
        ("Ann\u{fe0f}", BadName::Invisible),
        ("Ann\u{e0041}", BadName::Invisible),
        ("a\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}", BadName::TooManyMarks),
        ("Аnn", BadName::MixedScripts), // The А is Cyrillic.
        ("Тhe", BadName::MixedScripts),
        ("οlga", BadName::MixedScripts), // The ο is Greek.
        ("नnehα", BadName::MixedScripts),
        ("Root", BadName::Reserved),
        ("OPERATOR", BadName::Reserved),
        ("Ｏｐｅｒａｔｏｒ", BadName::Reserved),
        ("0perator", BadName::NotLetters),
        ("Operat0r", BadName::Reserved),
        ("ſystem", BadName::Reserved),
        ("AIl", BadName::Reserved),
        ("Adrnin", BadName::Reserved),
        ("Somebody", BadName::Reserved),
        ("The", BadName::Reserved),
        ("нoѕt", BadName::MixedScripts),
    ] {
        assert_eq!(refused(typed), reason, "{typed:?}");
    }
}

#[test]
fn a_refusal_is_one_line() {
    for reason in [
        BadName::Empty,
        BadName::TooLong,
        BadName::NotLetters,
        BadName::Invisible,
        BadName::TooManyMarks,
        BadName::MixedScripts,
        BadName::Reserved,
    ] {
        let text = reason.to_string();
        assert!(text.ends_with('.') && !text.contains('\n') && text.len() < 110, "{text}");
    }
}

#[test]
fn case_does_not_make_another_name() {
    for (one, other) in [("ÅSA", "åsa"), ("ΣΟΦΟΣ", "σοφος"), ("Weiß", "WEISS"), ("iain", "IAIN")]
    {
        assert_eq!(key(one), key(other), "{one} {other}");
    }
    assert_ne!(key("Asa"), key("Åsa"));
    assert_eq!(key("A\u{301}nna"), name("Ánna").key());
}

fn are_similar(one: &str, other: &str) -> bool {
    let mut names = Registry::default();
    names.insert(name(one), ());
    names.similar(&name(other)).is_some()
}

#[test]
fn names_that_look_alike_are_similar() {
    for (one, other) in [
        ("Aca", "Аса"),   // The second is all Cyrillic.
        ("Iain", "lain"), // A capital i, and an l.
        ("Arnold", "Amold"),
        ("Ann", "ANN"),
        ("Bo0", "BoO"),
        ("AHHA", "АННА"),
    ] {
        assert!(are_similar(one, other) && are_similar(other, one), "{one} {other}");
    }
    for (one, other) in [("Neil", "Nell"), ("Ann", "Anna"), ("Asa", "Åsa"), ("Ольга", "Olga")] {
        assert!(!are_similar(one, other) && !are_similar(other, one), "{one} {other}");
    }
}

#[test]
fn a_registry_finds_names_by_key_and_similar_ones() {
    let mut names = Registry::default();
    names.insert(name("Iain"), 1);
    names.insert(name("Ann"), 2);
    assert_eq!(names.get(&key("IAIN")), Some(&1));
    assert_eq!(names.get(&key("lain")), None, "it looks like another, and is not the same");
    assert_eq!(names.similar(&name("lain")).map(|(name, value)| (name.shown(), *value)), Some(("Iain", 1)));
    names.insert(name("ANN"), 3);
    assert_eq!((names.len(), names.get(&key("ann"))), (2, Some(&3)));
    assert_eq!(names.remove(&key("iain")), Some(1));
    assert!(names.similar(&name("lain")).is_none());
    assert_eq!(names.remove(&key("iain")), None);
}

proptest! {
    #[test]
    fn no_text_is_a_trap(typed in any::<String>()) {
        let _ = key(&typed);
        if let Ok(name) = Name::check(&typed) {
            prop_assert!((1..=MAX_WIDTH).contains(&name.shown().width()));
            prop_assert!(!name.shown().chars().any(|c| c.is_control() || c.is_whitespace() || characters::is_invisible(c)));
        }
    }

    #[test]
    fn a_name_that_passed_passes_again_as_itself(typed in "[\\pL\\pM\\p{Nd}'-]{1,12}") {
        if let Ok(name) = Name::check(&typed) {
            let again = Name::check(name.shown());
            prop_assert_eq!(again.as_ref(), Ok(&name));
            prop_assert_eq!(key(&typed), name.key());
        }
    }

    #[test]
    fn composed_and_decomposed_are_one_name(typed in "[\\pL\\pM]{1,8}") {
        let decomposed: String = typed.nfd().collect();
        let one = Name::check(&typed).map(|name| name.shown);
        let other = Name::check(&decomposed).map(|name| name.shown);
        prop_assert_eq!(one, other);
    }

    #[test]
    fn an_invisible_character_is_refused_anywhere(place in 0..4usize, which in 0..IGNORED.len()) {
        let mut typed: Vec<char> = "Anna".chars().collect();
        typed.insert(place, IGNORED[which]);
        let typed: String = typed.into_iter().collect();
        prop_assert_eq!(Name::check(&typed), Err(BadName::Invisible));
    }

    #[test]
    fn case_never_matters(typed in "[a-zA-Z]{1,20}") {
        prop_assert_eq!(key(&typed.to_uppercase()), key(&typed.to_lowercase()));
    }
}

/// Some of the invisible characters.
const IGNORED: [char; 8] =
    ['\u{ad}', '\u{34f}', '\u{200b}', '\u{200d}', '\u{2060}', '\u{3164}', '\u{feff}', '\u{e0020}'];

#[test]
fn nothing_passes_for_a_reserved_name() {
    for typed in [
        "The-operator",
        "TheOperator",
        "Operators",
        "Operator2",
        "Oper\u{e1}tor",
        "Adm1n",
        "Admln",
        "Owner",
        "Sysop",
        "Mod",
        "Mods",
        "Oper4tor",
        "The-Adm1ns-7",
        "Op3rator",
        "ROOT",
        "Ro'ot",
        "MSSP-REQUEST",
        "mssp-request",
        "GET",
        "Post",
        "HEAD",
        "ssh",
        "Ping",
    ] {
        assert_eq!(Name::check(typed), Err(BadName::Reserved), "{typed}");
        assert!(Name::check_kept(typed).is_ok(), "{typed}");
    }
    for typed in [
        "Ali", "Hal", "Theo", "Theme", "Thea", "Mes", "Modesto", "Godiva", "Ruth", "Bess", "Opera", "Owen",
        "Rooth", "Admira", "Hosta", "Yousef", "Ann2",
    ] {
        assert!(Name::check(typed).is_ok(), "{typed}");
    }
}
