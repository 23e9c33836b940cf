//! The store survives the death of its process: a child writes notes and bans, is killed at any moment, and everything
//! that it reported as written is there.
//!
//! `DOLMEN_KILLS` sets how often; the default is quick.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use dolmend::store::{Ban, Board, Store, Target};

/// Set for the child: the folder.
const FOLDER: &str = "DOLMEN_STORE_FOLDER";

#[test]
fn a_killed_server_loses_at_most_the_entry_in_flight() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        write_until_killed(Path::new(&folder));
    }
    let kills = std::env::var("DOLMEN_KILLS").map_or(20, |number| number.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let mut reported = 0;
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "a_killed_server_loses_at_most_the_entry_in_flight", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut next = || {
            let line = lines
                .by_ref()
                .map_while(Result::ok)
                .find_map(|line| line.strip_prefix("saved ")?.parse().ok());
            line.unwrap_or(u64::MAX)
        };
        // A different number of entries each time; where in the next one the kill arrives, the system decides.
        let mut last = reported;
        for _ in 0..=kill % 5 {
            last = next();
            assert_ne!(last, u64::MAX, "the child ended by itself");
        }
        child.kill().expect("it runs");
        child.wait().expect("it can be waited for");
        // What it reported before it died.
        last =
            std::iter::from_fn(|| Some(next()).filter(|&number| number != u64::MAX)).last().unwrap_or(last);

        let store = Store::open(folder.path()).expect("it is readable");
        let newest_note = store.board().iter().next_back().map_or(0, |note| note.number);
        let newest_ban = store.bans().iter().last().map_or(0, |ban| ban.since);
        for newest in [newest_note, newest_ban] {
            assert!((last..=last + 1).contains(&newest), "{last} was reported, and {newest} is there");
        }
        assert!(!folder.path().join("notes.jsonl.unreadable").exists());
        assert!(!folder.path().join("bans.jsonl.unreadable").exists());
        reported = newest_note;
    }
    assert!(reported >= kills);
}

/// Entry after entry. Each is one note and one ban, and is reported when both are on the disk.
fn write_until_killed(folder: &Path) -> ! {
    let mut store = Store::open(folder).expect("it is readable");
    // The tables are written one after the other, so one of them may be ahead.
    let mut number = store.board().iter().next_back().map_or(0, |note| note.number);
    let mut ban_number = store.bans().iter().last().map_or(0, |ban| ban.since);
    loop {
        if number <= ban_number {
            let post = |board: &mut Board| {
                // Of one account there are at most ten, and a full board takes no more.
                if board.iter().len() >= 400 {
                    let oldest = board.iter().next().map_or(0, |note| note.number);
                    board.remove(oldest).expect("it is there");
                }
                board.post("Ann", 1 + number % 60, &"x".repeat(500), number)
            };
            number = store.change_board(post).expect("there is room").0;
        }
        if ban_number < number {
            ban_number += 1;
            let [.., a, b] = ban_number.to_be_bytes();
            let target = Target::parse(&format!("10.1.{a}.{b}"), 64).expect("an address");
            let ban = Ban { target, reason: "for the test".into(), since: ban_number, until: None };
            store.change_bans(|bans| bans.add(ban, 0)).expect("there is room");
        }
        store.save().expect("the disk takes it");
        println!("saved {number}");
    }
}
