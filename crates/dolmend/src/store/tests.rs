//! Tests of the tables, in memory and on disk.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::networks::NetworkMap;
use super::*;
use crate::address::canonical_network;
use crate::duration::{in_words, parse_duration};
use crate::names::Name;

fn ban(target: &str, until: Option<UnixSeconds>) -> Ban {
    let target = Target::parse(target, 64).unwrap_or_else(|problem| panic!("{target}: {problem}"));
    Ban { target, reason: format!("because of {until:?}"), since: 1, until }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn name(text: &str) -> Name {
    Name::check(text).expect("a name")
}

/// Keeps a name.
fn keep(store: &mut Store, who: &str, hash: &str, now: UnixSeconds) -> Change {
    let keep = |accounts: &mut Accounts| accounts.keep(&name(who), hash.into(), now);
    store.change_accounts(keep).expect("there is room").1
}

/// Posts a note.
fn post(store: &mut Store, author: &str, account: AccountId, text: &str, now: UnixSeconds) -> Change {
    store.change_board(|board| board.post(author, account, text, now)).expect("there is room").1
}

#[test]
fn what_is_refused_is_no_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(folder.path()).expect("a new store");
    store.change_bans(|bans| bans.add(ban("Ann", None), 0)).expect("there is room");
    store.save().expect("the disk takes it");
    let wrong = |target| Ban { target, reason: String::new(), since: 1, until: None };
    let too_wide = wrong(Target::Network("0.0.0.0/0".parse().expect("a network")));
    assert_eq!(store.change_bans(|bans| bans.add(too_wide, 0)).err(), Some(BadBan::TooWide));
    let no_name = wrong(Target::Name("two words".into()));
    assert_eq!(store.change_mutes(|mutes| mutes.add(no_name, 0)).err(), Some(BadBan::NotName));
    assert!(store.change_bans(|bans| bans.remove(&Target::Name("Bob".into())).ok_or(())).is_err());
    assert!(store.change_board(|board| board.remove(999).ok_or(())).is_err());
    assert!(store.change_accounts(|accounts| accounts.remove("bob")).is_none());
    assert!(store.change_accounts(|accounts| accounts.used("bob", None, 5)).is_none());
    assert!(store.next_write().is_none(), "nothing is to be written");
}

#[test]
fn an_address_is_banned_by_each_network_that_contains_it() {
    let mut bans = Bans::default();
    for target in ["192.0.2.0/24", "192.0.2.7", "2001:db8::1", "2001:db8:1::/48", "::ffff:198.51.100.0/120"] {
        bans.add(ban(target, None), 0).expect("there is room");
    }
    let found = |text: &str| bans.check_address(address(text), 0).map(|ban| ban.target.to_string());
    for (text, target) in [
        ("192.0.2.7", Some("192.0.2.7")),
        ("192.0.2.8", Some("192.0.2.0/24")),
        ("::ffff:192.0.2.8", Some("192.0.2.0/24")),
        ("64:ff9b::192.0.2.8", Some("192.0.2.0/24")),
        ("192.0.3.1", None),
        ("2001:db8::ffff", Some("2001:db8::/64")),
        ("2001:db8:0:1::1", None),
        ("2001:db8:1:2::3", Some("2001:db8:1::/48")),
        ("198.51.100.9", Some("198.51.100.0/24")),
    ] {
        assert_eq!(found(text).as_deref(), target, "{text}");
    }
}

#[test]
fn bans_expire_and_are_listed_in_the_order_of_entry() {
    let mut bans = Bans::default();
    bans.add(ban("192.0.2.7", Some(100)), 0).expect("there is room");
    bans.add(ban("192.0.2.0/24", None), 0).expect("there is room");
    bans.add(ban("Ann", Some(50)), 0).expect("there is room");
    let found = |bans: &Bans, now| bans.check_address(address("192.0.2.7"), now).map(|ban| ban.until);
    assert_eq!(found(&bans, 99), Some(Some(100)));
    assert_eq!(found(&bans, 100), Some(None), "the wider one stays");
    assert!(bans.check_name(&name("ANN"), 49).is_some());
    assert!(bans.check_name(&name("Ann"), 50).is_none());
    let targets = |bans: &Bans| bans.iter().map(|ban| ban.target.to_string()).collect::<Vec<_>>();
    assert_eq!(targets(&bans), ["192.0.2.7", "192.0.2.0/24", "Ann"]);
    // A ban that is made again is the latest.
    bans.add(ban("192.0.2.7", Some(200)), 0).expect("there is room");
    assert_eq!(targets(&bans), ["192.0.2.0/24", "Ann", "192.0.2.7"]);
    assert_eq!(bans.remove_expired(60), 1);
    assert!(bans.remove(&Target::parse("192.0.2.0/24", 64).expect("a network")).is_some());
    assert!(bans.remove(&Target::parse("192.0.2.0/24", 64).expect("a network")).is_none());
    assert_eq!(targets(&bans), ["192.0.2.7"]);
}

#[test]
fn a_banned_name_takes_its_look_alikes_along() {
    let mut bans = Bans::default();
    bans.add(ban("Iain", None), 0).expect("there is room");
    for (typed, banned) in [("iain", true), ("lain", true), ("Ian", false)] {
        assert_eq!(bans.check_name(&name(typed), 0).is_some(), banned, "{typed}");
    }
    assert!(bans.remove(&Target::Name("IAIN".into())).is_some());
    assert!(bans.check_name(&name("lain"), 0).is_none());
}

#[test]
fn bans_of_names_that_look_alike_do_not_lift_each_other() {
    for second_ends in ["by time", "by the operator", "with a ban of a third"] {
        let mut bans = Bans::default();
        bans.add(ban("Bob", None), 0).expect("there is room");
        bans.add(ban("B0b", Some(100)), 0).expect("there is room");
        match second_ends {
            "by time" => assert_eq!(bans.remove_expired(100), 1),
            "by the operator" => assert!(bans.remove(&Target::Name("B0b".into())).is_some()),
            _ => {
                bans.add(ban("b0B", None), 100).expect("there is room");
                assert!(bans.remove(&Target::Name("B0B".into())).is_some());
            }
        }
        for typed in ["Bob", "B0b"] {
            assert!(
                bans.check_name(&name(typed), 200).is_some(),
                "{typed}, when the second ended {second_ends}"
            );
        }
        assert!(bans.remove(&Target::Name("Bob".into())).is_some());
        assert!(bans.check_name(&name("B0b"), 200).is_none());
    }
}

#[test]
fn targets_that_make_no_sense_are_refused_with_a_text() {
    for (typed, problem) in [
        ("0.0.0.0/0", BadBan::TooWide),
        ("::/8", BadBan::TooWide),
        ("::ffff:0.0.0.0/96", BadBan::TooWide),
        ("192.0.2.0/33", BadBan::NotNetwork),
        ("Ann/3", BadBan::NotNetwork),
        ("two words", BadBan::NotName),
        ("", BadBan::NotName),
        ("192.0.2", BadBan::NotName),
    ] {
        assert_eq!(Target::parse(typed, 64), Err(problem), "{typed:?}");
        assert!(problem.to_string().ends_with('.'));
    }
}

#[test]
fn a_list_of_networks_is_matched_after_the_operators_own() {
    let list =
        NetworkList::parse("\u{feff}# cloud\r\n203.0.113.0/24  no clouds\r\n\r\n2001:db8::5/128\r\n", 64);
    let mut bans = Bans::default();
    bans.set_list(list.expect("a list"));
    let reason = |text: &str| bans.check_address(address(text), 0).map(|ban| ban.reason.clone());
    assert_eq!(reason("203.0.113.9").as_deref(), Some("no clouds"));
    assert_eq!(reason("2001:db8::5").as_deref(), Some(""));
    assert_eq!(reason("2001:db8::6"), None);
    assert_eq!(bans.len(), 0, "they are not the store's");
    let lines = NetworkList::parse("192.0.2.0/24\nnonsense here\n# no\n1.2.3\n", 64).expect_err("bad lines");
    assert_eq!(lines.iter().map(|bad| bad.line).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn a_configured_store_has_the_folder_and_the_ban_list() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = NetworkList::parse("192.0.2.0/24 no\n", 64).expect("a list");
    let store = Store::configured(Some(folder.path()), list).expect("a store");
    assert!(store.bans().check_address(address("192.0.2.1"), 0).is_some());
    assert_eq!(store.folder(), Some(folder.path()));
}

#[test]
fn a_list_of_a_hundred_thousand_networks_costs_a_few_looks() {
    let mut text = String::new();
    for number in 0..100_000u32 {
        let [_, a, b, c] = number.to_be_bytes();
        text.push_str(&format!("10.{a}.{b}.{c} no\n"));
    }
    let mut bans = Bans::default();
    bans.set_list(NetworkList::parse(&text, 64).expect("a list"));
    assert_eq!(bans.list().len(), 100_000);
    // With one prefix length in use there is one look for an address. A search through the list would take minutes.
    let begun = std::time::Instant::now();
    let hits = (0..200_000u32).filter(|&number| {
        let [_, a, b, c] = number.to_be_bytes();
        bans.check_address(IpAddr::from([10, a, b, c]), 0).is_some()
    });
    assert_eq!(hits.count(), 100_000);
    assert!(begun.elapsed().as_secs() < 60);
}

#[test]
fn notes_are_numbered_bounded_and_removed() {
    let mut board = Board::default();
    for number in 1..=10 {
        assert_eq!(board.post("Ann", 1, "hello\u{1b}[2J", number), Ok(number));
    }
    assert_eq!(board.post("Anna", 1, "one more", 11), Err(BoardFull::Author), "whatever the name is now");
    assert_eq!(board.get(3).map(|note| note.text.as_str()), Some("hello[2J"));
    assert!(board.remove(3).is_some() && board.remove(3).is_none());
    assert_eq!(board.post("Ann", 1, "fits", 12), Ok(11));
    let posted = (0..600).filter(|number| board.post("Bob", 2 + number / 5, &"x".repeat(3_000), 13).is_ok());
    assert_eq!(posted.count(), 490, "a full board refuses");
    assert_eq!(board.post("Cid", 900, "no", 14), Err(BoardFull::Board));
    assert_eq!((board.iter().len(), board.get(1).is_some()), (500, true), "and the oldest note stays");
    assert!(board.iter().all(|note| note.text.len() <= 2_000));
}

#[test]
fn an_account_keeps_its_number_and_no_other_gets_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(folder.path()).expect("a new store");
    for (who, now) in [("Ann", 5), ("Bob", 6)] {
        keep(&mut store, who, "$argon2id$x", now);
    }
    store.change_accounts(|accounts| accounts.rename("ann", &name("Anna"))).expect("it is kept");
    keep(&mut store, "Anna", "$argon2id$y", 9);
    let anna = store.accounts().get("anna").cloned().expect("it is kept");
    assert_eq!((anna.id, anna.since, anna.hash.as_str()), (1, 5, "$argon2id$y"));
    let bob = store.change_accounts(|accounts| accounts.remove("bob")).expect("it was kept").0.id;
    post(&mut store, "Bob", bob, "mine", 7);
    store.save().expect("the disk takes it");
    drop(store);
    let mut store = Store::open(folder.path()).expect("it is readable");
    keep(&mut store, "Bob", "$argon2id$x", 10);
    assert_ne!(store.accounts().get("bob").map(|account| account.id), Some(bob), "a note refers to it");
}

#[test]
fn a_name_without_its_player_is_free_after_a_documented_time() {
    const DAY: u64 = 86_400;
    let mut accounts = Accounts::default();
    accounts.keep(&name("Ann"), "$argon2id$x".into(), 0);
    let expired = |accounts: &Accounts, now| accounts.get("ann").map(|account| account.has_expired(now));
    assert_eq!(expired(&accounts, 30 * DAY - 1), Some(false));
    assert_eq!(expired(&accounts, 30 * DAY), Some(true), "never used");
    assert!(!accounts.is_news("ann", None, DAY - 1) && accounts.is_news("ann", None, DAY));
    accounts.used("ann", None, DAY);
    assert_eq!(expired(&accounts, 366 * DAY - 1), Some(false));
    assert_eq!(expired(&accounts, 366 * DAY), Some(true));
    let source: IpNet = "192.0.2.1/32".parse().expect("a network");
    assert!(accounts.is_news("ann", Some(source), DAY));
    accounts.used("ann", Some(source), DAY);
    assert!(!accounts.is_news("ann", Some(source), DAY));
}

#[test]
fn a_full_table_of_names_is_freed_of_those_that_no_one_uses() {
    let mut accounts = Accounts::default();
    let numbered = |number: u64| {
        let letters = (0..4).map(|place| (b'a' + (number / 26u64.pow(place) % 26) as u8) as char);
        name(&format!("Xx{}", letters.collect::<String>()))
    };
    let mut kept = 0;
    // Names that look alike share a place of the index, not of the table.
    while accounts.keep(&numbered(kept), "$argon2id$x".into(), 1_000).is_some() {
        kept += 1;
    }
    assert_eq!(accounts.len(), 20_000);
    accounts.used(numbered(7).key(), None, 2_000);
    assert!(accounts.keep(&name("Ann"), "$argon2id$x".into(), 1_000 + 30 * 86_400).is_some());
    assert_eq!(accounts.len(), 2, "the one that was used, and the new one");
}

#[test]
fn more_unreadable_lines_than_can_be_kept_aside_refuse_the_start_and_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, aside) = (folder.path().join("bans.jsonl"), folder.path().join("bans.jsonl.unreadable"));
    let text = "not a ban, and not short at all\n".repeat(40_000);
    std::fs::write(&file, &text).expect("written");
    let problem = Store::open(folder.path()).expect_err("refused");
    assert!(
        problem.contains("bans.jsonl") && problem.contains("40000 of its lines cannot be read"),
        "{problem}"
    );
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), text);
    assert!(!aside.exists());
    // Neither in the files that are read before it.
    let notes = folder.path().join("notes.jsonl");
    std::fs::rename(&file, &notes).expect("it is there");
    std::fs::write(&file, "nonsense\n").expect("written");
    assert!(Store::open(folder.path()).expect_err("refused").contains("notes.jsonl"));
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "nonsense\n");
    assert!(!aside.exists());
    std::fs::remove_file(&notes).expect("it is there");
    // The same when a few lines are one too many.
    std::fs::write(&file, "nonsense\n").expect("written");
    let full = "x".repeat((1 << 20) - 5);
    std::fs::write(&aside, &full).expect("written");
    assert!(Store::open(folder.path()).expect_err("refused").contains("move both files away"));
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "nonsense\n");
    assert_eq!(std::fs::read_to_string(&aside).expect("it is there"), full);
}

#[test]
fn the_operator_may_write_bans_and_a_wrong_line_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bans.jsonl");
    let mut store = Store::open(folder.path()).expect("a new store");
    store.change_bans(|bans| bans.add(ban("192.0.2.7", None), 0)).expect("there is room");
    // What is not on the disk yet is newer than the file.
    store.read_bans_again().map(|read| store.replace_bans(read).len()).expect("it can be read");
    assert_eq!(store.bans().len(), 1);
    store.save().expect("the disk takes it");
    let mut text = std::fs::read_to_string(&file).expect("it is there");
    text.push_str(
        "{\"target\":{\"name\":\"Ann\"}}\n{\"target\":{\"network\":\"10.1.0.0/16\"},\"reason\":\"no\"}\n",
    );
    // An address alone is one.
    text.push_str("{\"target\":{\"network\":\"198.51.100.7\"}}\n");
    std::fs::write(&file, &text).expect("written");
    store.set_ban_list(NetworkList::parse("203.0.113.0/24\n", 64).expect("a list"));
    store.read_bans_again().map(|read| store.replace_bans(read).len()).expect("it can be read");
    assert_eq!((store.bans().len(), store.bans().list().len()), (4, 1));
    assert!(store.bans().check_name(&name("Ann"), 0).is_some());
    for (wrong, why) in [
        ("nonsense", "at column 2"),
        ("{\"target\":{\"network\":\"0.0.0.0/0\"}}", "too much of the internet: "),
        ("{\"target\":{\"network\":\"here\"}}", "'here' is neither a network, such as"),
        ("{\"target\":{\"name\":\"Eve\"},\"until\":\"tomorrow\"}", "invalid type: string \"tomorrow\""),
        ("{\"name\":\"Eve\"}", "missing field `target`"),
    ] {
        std::fs::write(&file, format!("{text}{wrong}\n")).expect("written");
        let problem = store.read_bans_again().expect_err("a wrong line");
        assert!(problem.contains("bans.jsonl:6: this is not a ban: ") && problem.contains(why), "{problem}");
    }
    std::fs::remove_file(&file).expect("it is there");
    store.read_bans_again().map(|read| store.replace_bans(read).len()).expect("no file is no bans");
    assert!(store.bans().is_empty());
}

#[test]
fn a_file_that_somebody_else_has_changed_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bans.jsonl");
    let mut store = Store::open(folder.path()).expect("a new store");
    assert!(!store.was_edited(Table::Bans));
    for line in ["{\"target\":{\"name\":\"Ann\"}}\n", "{\"target\":{\"name\":\"Annabel\"}}\n"] {
        std::fs::write(&file, line).expect("written");
        assert!(store.was_edited(Table::Bans) && !store.was_edited(Table::Mutes));
        store.read_bans_again().map(|read| store.replace_bans(read).len()).expect("it can be read");
        assert!(!store.was_edited(Table::Bans));
    }
    store.change_bans(|bans| bans.add(ban("Bob", None), 0)).expect("there is room");
    assert!(!store.was_edited(Table::Bans), "ours is on the way");
    store.save().expect("the disk takes it");
    assert!(!store.was_edited(Table::Bans));
    drop(store);
    assert!(!Store::open(folder.path()).expect("it is readable").was_edited(Table::Bans));
}

#[test]
fn a_write_does_not_take_the_place_of_a_file_that_was_edited() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bans.jsonl");
    let mut store = Store::open(folder.path()).expect("a new store");
    let add = |store: &mut Store, who| {
        store.change_bans(|bans| bans.add(ban(who, None), 0)).expect("there is room").1
    };
    let zoe = add(&mut store, "Zoe");
    let write = store.next_write().expect("a change");
    // The operator writes while ours is in flight.
    let line = "{\"target\":{\"name\":\"Bob\"}}\n";
    std::fs::write(&file, line).expect("written");
    let problem = store.written(write.run()).expect_err("it was edited");
    assert!(problem.contains("bans.jsonl was edited") && problem.contains("'reload'"), "{problem}");
    assert_eq!(store.safety(zoe), Safety::Edited);
    assert!(store.was_edited(Table::Bans));
    store.retry();
    let again = store.next_write().expect("it is tried again");
    store.written(again.run()).expect_err("it was edited");
    assert!(store.save().expect_err("also at the end").contains("bans.jsonl was edited"));
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), line);
    assert_eq!(std::fs::read_dir(&folder).expect("it is there").filter_map(Result::ok).count(), file_count());
    // The file is in force then, and what is not in it is named.
    let read = store.read_bans_again().expect("it can be read");
    let dropped = store.replace_bans(read);
    assert!(dropped.len() == 1 && dropped[0].ends_with("these entries are not in it: Zoe"), "{dropped:?}");
    let targets = |store: &Store| store.bans().iter().map(|ban| ban.target.to_string()).collect::<Vec<_>>();
    assert_eq!(targets(&store), ["Bob"]);
    assert!(!store.was_edited(Table::Bans) && store.next_write().is_none());
    let eve = add(&mut store, "Eve");
    store.save().expect("the disk takes it");
    assert_eq!(store.safety(eve), Safety::Saved);
    // A file that was removed has nothing to lose.
    std::fs::remove_file(&file).expect("it is there");
    add(&mut store, "Ida");
    store.save().expect("the disk takes it");
    drop(store);
    assert_eq!(targets(&Store::open(folder.path()).expect("it is readable")), ["Bob", "Eve", "Ida"]);
}

/// The table's file, and on Windows that of the lock.
fn file_count() -> usize {
    if cfg!(windows) { 2 } else { 1 }
}

#[test]
fn a_write_whose_result_was_lost_is_not_taken_for_the_operators() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(folder.path()).expect("a new store");
    store.change_bans(|bans| bans.add(ban("Zoe", None), 0)).expect("there is room");
    drop(store.next_write().expect("a change").run());
    store.save().expect("the disk takes it");
    assert!(!store.was_edited(Table::Bans));
}

#[test]
fn the_length_of_an_ipv6_prefix_holds_for_bans_too() {
    let target = |typed, bits| Target::parse(typed, bits).expect("a target").to_string();
    assert_eq!(target("2001:db8:1:2ff::1", 56), "2001:db8:1:200::/56");
    assert_eq!(target("2001:db8:1:2ff::1", 128), "2001:db8:1:2ff::1");
    assert_eq!(target("2001:db8:1:2ff::1/128", 56), "2001:db8:1:2ff::1");
    let mut bans = Bans::default();
    bans.set_list(NetworkList::parse("2001:db8:1:2ff::1 no\n", 56).expect("a list"));
    assert!(bans.check_address(address("2001:db8:1:2aa::9"), 0).is_some());
    assert!(bans.check_address(address("2001:db8:1:3aa::9"), 0).is_none());
}

#[test]
fn a_list_has_a_bounded_length() {
    let mut text = String::new();
    for number in 0..=200_000u32 {
        let [_, a, b, c] = number.to_be_bytes();
        text.push_str(&format!("10.{a}.{b}.{c}\n"));
    }
    let problems = NetworkList::parse(&text, 64).expect_err("one too many");
    assert!(problems[0].line == 200_001 && problems[0].problem.contains("more than 200000"), "{problems:?}");
    let wide = NetworkList::parse("0.0.0.0/0 everybody\n", 64).expect_err("too wide");
    assert_eq!(wide[0].problem, "0.0.0.0/0 is too much of the internet");
    assert_eq!(wide[0].correction, "a network has at least /8, or /16 of IPv6");
}

#[test]
fn everything_is_there_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("made").join("state");
    let mut store = Store::open(&state).expect("a new store");
    store.change_bans(|bans| bans.add(ban("192.0.2.0/24", None), 0)).expect("there is room");
    store.change_mutes(|bans| bans.add(ban("Bob", Some(u64::MAX)), 0)).expect("there is room");
    post(&mut store, "Ann", 1, "grüße \"quoted\"", 7);
    let change = keep(&mut store, "Åsa", "$argon2id$x", 8);
    assert_eq!(store.safety(change), Safety::Pending);
    store.save().expect("the disk takes it");
    assert_eq!(store.safety(change), Safety::Saved);
    assert!(store.next_write().is_none());
    let tables = |store: &Store| {
        let bans = |bans: &Bans| bans.iter().cloned().collect::<Vec<_>>();
        (bans(store.bans()), bans(store.mutes()), store.board().iter().cloned().collect::<Vec<_>>())
    };
    let before = tables(&store);

    drop(store);
    let again = Store::open(&state).expect("it is readable");
    assert_eq!(tables(&again), before);
    assert_eq!(again.accounts().get(&crate::names::key("ÅSA")).map(|account| account.since), Some(8));
}

#[test]
fn a_folder_is_one_stores_until_that_is_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(folder.path()).expect("a new store");
    let problem = Store::open(folder.path()).expect_err("it is locked");
    assert!(
        problem.contains("another dolmend is using the state folder") && problem.contains("stop that one"),
        "{problem}"
    );
    store.change_bans(|bans| bans.add(ban("Ann", None), 0)).expect("there is room");
    store.save().expect("the disk takes it");
    drop(store);
    assert_eq!(Store::open(folder.path()).expect("it is free").bans().len(), 1);
}

/// A file that root had made, by trying the configuration, would keep the server's user out.
#[cfg(unix)]
#[test]
fn the_lock_is_no_file_that_another_user_could_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a new store");
    assert_eq!(std::fs::read_dir(&folder).expect("it is there").count(), 0);
    drop(store);
    // One that cannot be opened, of an earlier version.
    std::fs::create_dir(folder.path().join("dolmend.lock")).expect("it can be made");
    assert!(Store::check(folder.path()).is_ok() && Store::open(folder.path()).is_ok());
}

#[cfg(unix)]
#[test]
fn only_the_servers_user_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let mut store = Store::open(&state).expect("a new store");
    keep(&mut store, "Ann", "$argon2id$x", 8);
    store.save().expect("the disk takes it");
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join("names.jsonl")), 0o600);
    // Whatever an interrupted write has left under the name of the next.
    let [next, elsewhere] = [state.join("names.jsonl.new"), folder.path().join("elsewhere")];
    std::fs::write(&elsewhere, "not ours").expect("written");
    let leave_link = || std::os::unix::fs::symlink(&elsewhere, &next).expect("a link");
    let leave_readable = || std::fs::write(&next, "half a ta").expect("written");
    for leave in [&leave_link as &dyn Fn(), &leave_readable] {
        leave();
        keep(&mut store, "Bob", "$argon2id$y", 9);
        store.save().expect("the disk takes it");
        let metadata = std::fs::symlink_metadata(state.join("names.jsonl")).expect("it is there");
        assert!(metadata.is_file() && metadata.permissions().mode() & 0o777 == 0o600);
        assert_eq!(std::fs::read_to_string(&elsewhere).expect("it is there"), "not ours");
    }
}

#[test]
fn one_write_of_a_table_is_in_flight_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(folder.path()).expect("a new store");
    post(&mut store, "Ann", 1, "one", 1);
    let first = store.next_write().expect("a change");
    let change = post(&mut store, "Ann", 1, "two", 2);
    assert!(store.next_write().is_none());
    store.change_bans(|bans| bans.add(ban("Zoe", None), 0)).expect("there is room");
    let other = store.next_write().expect("another table");
    store.written(first.run()).expect("the disk takes it");
    assert_eq!(store.safety(change), Safety::Pending);
    let second = store.next_write().expect("what came in the meantime");
    store.written(second.run()).expect("the disk takes it");
    store.written(other.run()).expect("the disk takes it");
    assert_eq!(store.safety(change), Safety::Saved);
}

#[test]
fn a_disk_that_refuses_is_reported_and_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let mut store = Store::open(&state).expect("a new store");
    // A folder in the place of the new file.
    let obstacle = state.join("notes.jsonl.new");
    std::fs::create_dir(&obstacle).expect("it can be made");
    let change = post(&mut store, "Ann", 1, "one", 1);
    assert!(store.save().expect_err("an obstacle").contains("notes"));
    assert_eq!(store.safety(change), Safety::Unsaved);
    assert!(store.next_write().is_none());
    store.retry();
    let again = store.next_write().expect("it is tried again").run();
    store.written(again).expect_err("the obstacle is there");
    std::fs::remove_dir(&obstacle).expect("it is empty");
    let later = post(&mut store, "Ann", 1, "two", 2);
    store.save().expect("the disk takes it");
    assert_eq!((store.safety(change), store.safety(later)), (Safety::Saved, Safety::Saved));
}

#[test]
fn lines_that_cannot_be_read_are_kept_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(folder.path()).expect("a new store");
    for text in ["one", "two", "three"] {
        post(&mut store, "Ann", 1, text, 1);
    }
    store.save().expect("the disk takes it");
    drop(store);
    let file = folder.path().join("notes.jsonl");
    let text = std::fs::read_to_string(&file).expect("it is there");
    let damaged = text.replace("\"two\"", "\"tw").replace('\n', "\r\n") + "\u{0}\u{0}\n{\"number\":1}\n";
    std::fs::write(&file, damaged).expect("written");
    for _ in 0..2 {
        let store = Store::open(folder.path()).expect("the rest is readable");
        assert_eq!(store.board().iter().map(|note| note.text.as_str()).collect::<Vec<_>>(), ["one", "three"]);
    }
    let aside = std::fs::read_to_string(folder.path().join("notes.jsonl.unreadable")).expect("kept");
    assert_eq!(aside.lines().count(), 3, "once each: {aside}");
    assert!(aside.contains("\"tw,") || aside.contains("\"tw}"), "{aside}");
}

#[test]
fn files_that_are_not_ours_are_refused_and_left_alone() {
    for (text, expected) in [
        ("{\"dolmend\":\"notes\",\"version\":2}\n", "newer dolmend"),
        ("{\"dolmend\":\"bans\",\"version\":1}\n", "file of bans"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("notes.jsonl");
        std::fs::write(&file, text).expect("written");
        let problem = Store::open(folder.path()).expect_err("refused");
        assert!(problem.contains(expected) && problem.contains("notes.jsonl"), "{problem}");
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), text);
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    assert!(Store::open(file.path()).expect_err("no folder").contains("state folder"));
}

#[test]
fn lengths_of_time_are_read_and_written() {
    for (text, seconds) in [
        ("90s", Some(90)),
        ("30m", Some(1_800)),
        ("2H", Some(7_200)),
        ("2d", Some(172_800)),
        ("1w", Some(604_800)),
        ("0d", None),
        ("d", None),
        ("", None),
        ("2", None),
        ("-2d", None),
        ("2é", None),
        ("99999999999999999999d", None),
        ("9999999w", None),
    ] {
        assert_eq!(parse_duration(text), seconds, "{text}");
    }
    for (seconds, words) in [
        (0, "0 seconds"),
        (1, "1 second"),
        (60, "1 minute"),
        (61, "1 minute and 1 second"),
        (7_200, "2 hours"),
        (86_401, "1 day"),
        (90_000, "1 day and 1 hour"),
        (2 * 604_800 + 86_400, "2 weeks and 1 day"),
    ] {
        assert_eq!(in_words(seconds), words);
    }
}

proptest! {
    #[test]
    fn no_file_is_a_trap(bytes in proptest::collection::vec(any::<u8>(), 0..400), table in 0..4usize) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = path_of(folder.path(), Table::ALL[table]);
        std::fs::write(&file, &bytes).expect("written");
        let store = Store::open(folder.path()).expect("damage is no error");
        prop_assert_eq!(store.board().iter().len() + store.bans().len() + store.mutes().len(), 0);
    }

    #[test]
    fn the_map_agrees_with_a_search(
        networks in proptest::collection::vec((any::<u32>(), 0..=32u8), 1..40),
        addresses in proptest::collection::vec(any::<u32>(), 1..40),
        gone in 0..40usize,
    ) {
        // Few addresses, so that networks contain each other.
        let network = |(bits, length): (u32, u8)| {
            canonical_network(IpNet::new(IpAddr::from((bits & 0x0303_0303).to_be_bytes()), length).expect("a length"))
        };
        let mut all: Vec<IpNet> = networks.into_iter().map(network).collect();
        all.sort();
        all.dedup();
        let mut map = NetworkMap::default();
        all.iter().for_each(|&network| map.insert(network, network));
        if gone < all.len() {
            let network = all.remove(gone);
            prop_assert_eq!(map.remove(network), Some(network));
        }
        prop_assert_eq!(map.len(), all.len());
        for bits in addresses {
            let address = IpAddr::from((bits & 0x0303_0303).to_be_bytes());
            let mut expected: Vec<IpNet> = all.iter().copied().filter(|net| net.contains(&address)).collect();
            expected.sort_by_key(|net| std::cmp::Reverse(net.prefix_len()));
            prop_assert_eq!(map.containing(address).copied().collect::<Vec<_>>(), expected);
        }
    }
}
