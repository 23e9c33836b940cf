//! The console, through real terminals and pipes, on Linux and (see `console_rig`) under Wine.
#![cfg(target_os = "linux")]

#[path = "fixtures/line_script.rs"]
mod line_script;
#[path = "console_rig/mod.rs"]
mod rig;

use std::time::Duration;

use rig::{console, wine};

#[test]
fn a_line_is_typed_edited_and_delivered() {
    let (terminal, link) = console("line");
    link.order("prompt > ");
    terminal.shows(&["> "]);
    terminal.type_in("helpx\x7f me");
    terminal.shows(&["> help me"]);
    link.silent(Duration::from_millis(50));
    terminal.type_in("\r");
    link.expect(r#"line "help me""#);
    terminal.shows(&["> help me", "> "]);
}

#[test]
fn a_line_that_was_being_typed_is_kept_when_the_console_is_given_up() {
    let (terminal, link) = console("line");
    link.order("prompt > ");
    terminal.type_in("half a li");
    terminal.shows(&["> half a li"]);
    link.send("remove");
    link.expect("removed true");
    link.send("console line");
    link.expect("console terminal");
    link.order("prompt > ");
    terminal.type_in("ne\r");
    link.expect(r#"line "half a line""#);
}

/// The simulated consoles of Windows run the same script: where Wine agrees with it, they are checked.
#[test]
fn editing_keys_make_the_lines_of_the_script() {
    let (terminal, link) = console("line");
    let on_windows = line_script::ON_WINDOWS.iter().filter(|_| wine());
    for (script, line) in line_script::EVERYWHERE.iter().chain(on_windows) {
        let keys: String = line_script::pieces(script).into_iter().map(sent_by_a_terminal).collect();
        terminal.type_in(&format!("{keys}\r"));
        link.expect(&format!("line {line:?}"));
    }
}

fn sent_by_a_terminal(piece: line_script::Piece<'_>) -> String {
    let sequence = match piece {
        line_script::Piece::Character(c) => return c.to_string(),
        line_script::Piece::Key(name) => match name {
            "Left" => "\x1b[D",
            "Right" => "\x1b[C",
            "Home" => "\x1b[H",
            "End" => "\x1b[F",
            "Delete" => "\x1b[3~",
            "Backspace" => "\x7f",
            "CtrlLeft" => "\x1b[1;5D",
            "CtrlRight" => "\x1b[1;5C",
            "CtrlHome" => "\x1b[1;5H",
            "CtrlEnd" => "\x1b[1;5F",
            other => panic!("no such key: {other}"),
        },
    };
    sequence.to_owned()
}

#[test]
fn accents_and_emoji_arrive_whole() {
    let (terminal, link) = console("line");
    terminal.type_in("grüße 🎲 日本\r");
    link.expect(r#"line "grüße 🎲 日本""#);
    link.order("mode raw");
    terminal.type_in("é🎲");
    let mut keys = String::new();
    while keys != "é🎲" {
        let reported = link.next();
        keys.push_str(reported.strip_prefix("bytes \"").expect("keys").strip_suffix('"').expect("quoted"));
        assert!("é🎲".starts_with(&keys), "{keys}");
    }
}

#[test]
fn output_appears_above_the_line_being_typed() {
    let (terminal, link) = console("line");
    link.order("prompt > ");
    terminal.type_in("half a li");
    terminal.shows(&["> half a li"]);
    link.order("print Somebody has arrived.");
    terminal.shows(&["Somebody has arrived.", "> half a li"]);
    terminal.type_in("nex\x7f");
    terminal.shows(&["Somebody has arrived.", "> half a line"]);
    link.order("print And another one.");
    terminal.shows(&["Somebody has arrived.", "And another one.", "> half a line"]);
    assert_eq!(terminal.cursor(), (2, 13));
    terminal.type_in("\x7f\x7fne\r");
    link.expect(r#"line "half a line""#);
    terminal.shows(&["Somebody has arrived.", "And another one.", "> half a line", "> "]);
}

#[test]
fn a_switch_in_mid_line_keeps_what_was_typed() {
    let (terminal, link) = console("line");
    terminal.type_in("abc");
    terminal.shows(&["abc"]);
    link.order("mode raw");
    link.expect(r#"bytes "abc""#);
    terminal.type_in("d");
    link.expect(r#"bytes "d""#);
    link.order("mode line");
    terminal.type_in("ef\r");
    link.expect(r#"line "ef""#);
}

#[test]
fn a_password_is_not_shown() {
    let (terminal, link) = console("line");
    link.order("prompt Password: ");
    link.order("echo off");
    terminal.shows(&["Password: "]);
    terminal.type_in("secret\r");
    link.expect(r#"line "secret""#);
    link.order("echo on");
    link.order("prompt > ");
    terminal.type_in("seen");
    terminal.shows(&["Password:", "> seen"]);
    assert!(!terminal.raw().contains("secret"));
}

#[test]
fn what_was_typed_unseen_stays_unseen() {
    let (terminal, link) = console("line");
    link.order("prompt > ");
    terminal.shows(&["> "]);
    link.order("echo off");
    // The input below this line is typed without echo.
    link.order("print off");
    terminal.shows(&["off", "> "]);
    if wine() {
        // The text is in the console when this returns; through the terminal the test could not know when.
        link.order("press text hunter2");
    } else {
        terminal.type_in("hunter2");
        link.silent(Duration::from_millis(200));
    }
    link.order("echo on");
    link.order("print above");
    terminal.shows(&["off", "above", "> "]);
    terminal.type_in("x");
    terminal.shows(&["off", "above", "> x"]);
    link.order("print again");
    terminal.shows(&["off", "above", "again", "> x"]);
    terminal.type_in("\r");
    link.expect(r#"line "hunter2x""#);
    terminal.type_in("seen");
    terminal.shows(&["off", "above", "again", "> x", "> seen"]);
    link.order("print more");
    terminal.shows(&["off", "above", "again", "> x", "more", "> seen"]);
    assert!(!terminal.raw().contains("hunter"));
}

#[test]
fn hc29_the_end_of_input_is_distinguished_and_more_may_follow() {
    let (terminal, link) = console("line");
    terminal.type_in(if wine() { "\x1a\r" } else { "\x04" });
    link.expect("end");
    terminal.type_in("more\r");
    link.expect(r#"line "more""#);
}

#[test]
fn hc29_ctrl_c_is_an_interrupt_and_no_end() {
    for mode in ["line", "raw"] {
        let (terminal, link) = console(mode);
        if wine() {
            assert_eq!(link.order_reporting("press ctrl-c"), ["interrupt"]);
        } else {
            terminal.type_in("\x03");
            link.expect("interrupt");
        }
        terminal.type_in("x\r");
        let rest = if mode == "raw" { r"x\r" } else { "x" };
        assert!(link.next().contains(rest));
    }
}

#[test]
fn hc29_ctrl_c_voids_the_line_and_nothing_that_was_typed_after_it() {
    let (terminal, link) = console("line");
    link.order("prompt > ");
    for turn in 0..20 {
        // Alternates between a line with output above it and one without. Different text each time: text of an earlier turn on the screen must not count as this one's.
        let void = format!("abc{turn}");
        terminal.type_in(&void);
        let shown = format!("> {void}");
        terminal.until("the line", |rows| rows.iter().any(|row| row.trim_end().ends_with(&shown)));
        if turn % 2 == 1 {
            link.order("print x");
        }
        if wine() {
            assert_eq!(link.order_reporting("press ctrl-c"), ["interrupt"]);
            terminal.type_in("def\r");
        } else {
            // During its wait, or before its next one.
            link.send(if turn % 4 < 2 { "sync" } else { "busy 20" });
            terminal.type_in("\x03def\r");
            let reported: Vec<String> =
                (0..3).map(|_| link.next()).filter(|reported| !reported.starts_with("ok ")).collect();
            assert_eq!(reported, ["interrupt", r#"line "def""#]);
            continue;
        }
        link.expect(r#"line "def""#);
    }
}

/// The typed text, from the reports.
fn typed(reported: &str) -> String {
    let (what, text) = reported.split_once(' ').expect("two words");
    assert!(["line", "bytes"].contains(&what), "{reported}");
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).expect("quoted").to_owned()
}

#[test]
fn hc27_a_thousand_switches_while_the_operator_types_lose_nothing() {
    let (terminal, link) = console("line");
    let mut came = String::new();
    let mut sent = String::new();
    let characters: Vec<char> = "abcdefghijklmnopqrstuvwxyzäöü€".chars().collect();
    for turn in 0..1000 {
        let keys: String = (0..turn % 3).map(|key| characters[(turn * 7 + key) % characters.len()]).collect();
        terminal.type_in(&keys);
        sent.push_str(&keys);
        let mode = if turn % 2 == 0 { "mode raw" } else { "mode line" };
        link.order_among(mode).iter().for_each(|reported| came.push_str(&typed(reported)));
    }
    terminal.type_in("!\r");
    while !came.ends_with('!') {
        came.push_str(&typed(&link.next()));
    }
    assert_eq!(came, sent + "!");
}

#[test]
fn hc27_switches_faster_than_the_program_waits_lose_nothing() {
    let (terminal, link) = console("line");
    let keys: String = (0..2000u32).map(|number| char::from(b'a' + (number % 26) as u8)).collect();
    let mut came = String::new();
    for piece in keys.as_bytes().chunks(100) {
        terminal.type_bytes(piece);
        link.order_among("switch 50").iter().for_each(|reported| came.push_str(&typed(reported)));
    }
    terminal.type_in("!\r");
    while !came.ends_with('!') {
        came.push_str(&typed(&link.next()));
    }
    assert_eq!(came, keys + "!");
}

#[test]
fn hc27_printing_while_the_operator_types_loses_nothing() {
    let (terminal, link) = console("line");
    link.order("prompt > ");
    let keys: String = (0..300u32).map(|number| char::from(b'a' + (number % 26) as u8)).collect();
    for (turn, piece) in keys.as_bytes().chunks(15).enumerate() {
        terminal.type_bytes(piece);
        link.order(&format!("print output {turn}"));
        if piece.len() == 15 && turn % 4 == 3 {
            terminal.type_in("\r");
            assert_eq!(typed(&link.next()), &keys[(turn - 3) * 15..][..60]);
        }
    }
    terminal.until("the last output", |rows| rows.iter().any(|row| row.trim_end() == "output 19"));
}

#[test]
fn a_paste_of_64_kib_arrives_whole() {
    for mode in ["line", "raw"] {
        let (terminal, link) = console(mode);
        let line = "The quick brown fox jumps over the lazy dog 0123456789 grüße\r";
        let count = 64 * 1024 / line.len() + 1;
        let typist = std::thread::scope(|scope| {
            let terminal = &terminal;
            let typist = scope.spawn(move || (0..count).for_each(|_| terminal.type_in(line)));
            let text = if mode == "line" { line.trim_end().to_owned() } else { line.replace('\r', r"\r") };
            let mut came = String::new();
            while came.len() < count * text.len() {
                came.push_str(&typed(&link.next()));
            }
            assert!(came == text.repeat(count), "{mode}: something is not what was typed");
            typist.join()
        });
        typist.expect("all was typed");
    }
}

#[test]
fn lines_typed_between_waits_arrive_whole() {
    let (terminal, link) = console("line");
    link.send("busy 500");
    std::thread::scope(|scope| {
        // More than the inbox holds: the reader has to wait, and to go on.
        scope.spawn(|| (0..1000).for_each(|number| terminal.type_in(&format!("{number}\r"))));
        link.expect("ok busy 500");
        for number in 0..1000 {
            assert_eq!(typed(&link.next()), number.to_string());
        }
    });
}

#[test]
fn keys_that_are_no_characters_are_sequences_in_raw_mode() {
    let (terminal, link) = console("raw");
    for (keys, reported) in
        [("\x1b[A", r#"bytes "\u{1b}[A""#), ("\r", r#"bytes "\r""#), ("\t", r#"bytes "\t""#)]
    {
        terminal.type_in(keys);
        link.expect(reported);
    }
    terminal.type_in("\x7f");
    link.expect(r#"bytes "\u{7f}""#);
}

#[test]
fn a_resize_is_reported() {
    let (terminal, link) = console("raw");
    if wine() {
        // Wine makes no record of a change of the pseudo-terminal.
        assert_eq!(link.order_reporting("press resize"), ["resized 80 24"]);
        // With a change of mode, also if no record has reported the change.
        link.order("window 50 20");
        assert_eq!(link.order_reporting("mode line"), ["resized 50 20"]);
        // The system withholds the record while a line is edited: the change is still reported with the line.
        link.order("window 60 20");
        terminal.type_in("x\r");
        link.expect("resized 60 20");
        link.expect(r#"line "x""#);
        // And with output.
        link.order("window 70 20");
        assert_eq!(link.order_reporting("print x"), ["resized 70 20"]);
        // Also with output that follows other output, so that no read comes between.
        let orders =
            [format!("print {}", "x".repeat(50_000)), "window 72 20".to_owned(), "print y".to_owned()];
        link.send(&orders.join("\n"));
        let mut reported: Vec<String> = (0..=orders.len()).map(|_| link.next()).collect();
        reported.retain(|reported| !orders.iter().any(|order| *reported == format!("ok {order}")));
        assert_eq!(reported, ["resized 72 20"]);
    } else {
        terminal.resize(100, 30);
        link.expect("resized 100 30");
        link.order("mode line");
        terminal.resize(90, 20);
        link.expect("resized 90 20");
    }
}

#[test]
fn the_console_is_one_and_can_be_given_up_and_taken_again() {
    let (terminal, link) = console("line");
    link.send("console line");
    link.expect("error AlreadyRegistered");
    terminal.type_in("half");
    terminal.shows(&["half"]);
    link.send("remove");
    link.expect("removed true");
    link.send("remove");
    link.expect("removed false");
    link.send("console raw");
    link.expect("console terminal");
    terminal.type_in("x");
    let mut came = String::new();
    while !came.ends_with('x') {
        came.push_str(&typed(&link.next()));
    }
}

#[test]
fn the_reactor_goes_on_while_the_operator_types() {
    let (terminal, link) = console("line");
    link.order("tick 1");
    terminal.type_in("half a line");
    terminal.shows(&["half a line"]);
    let ticks = || {
        link.send("ticks");
        let reported = link.next();
        reported.strip_prefix("ticks ").and_then(|count| count.parse::<u64>().ok()).expect("a number")
    };
    let before = ticks();
    while ticks() < before + 20 {}
    terminal.type_in("\r");
    link.expect(r#"line "half a line""#);
}

#[test]
fn hc31_a_silent_terminal_costs_nothing() {
    let (terminal, link) = console("line");
    link.order("prompt > ");
    rig::costs_nothing(&terminal.child, &link, Duration::from_secs(5));
    link.order("mode raw");
    rig::costs_nothing(&terminal.child, &link, Duration::from_secs(1));
}

#[test]
fn hc26_records_that_are_not_keys_cost_a_wake_at_most_and_make_no_event() {
    if !wine() {
        // A terminal has bytes and no records. Its only other event is a change of size.
        let (terminal, link) = console("raw");
        let before = link.waits();
        terminal.resize(81, 24);
        link.expect("resized 81 24");
        link.silent(Duration::from_millis(100));
        let after = link.waits();
        assert!(after - before <= 3, "{} waits", after - before);
        return;
    }
    let (terminal, link) = console("raw");
    for what in ["focus", "mouse", "menu", "release", "shift"] {
        let before = link.waits();
        link.order(&format!("press {what}"));
        link.silent(Duration::from_millis(100));
        let after = link.waits();
        // The order, the record, and the query.
        assert!(after - before <= 3, "{what}: {} waits", after - before);
    }
    rig::costs_nothing(&terminal.child, &link, Duration::from_millis(500));
}

#[test]
fn hc28_a_surrogate_pair_with_key_ups_in_between_is_one_character() {
    let (terminal, link) = console("raw");
    if wine() {
        for (what, character) in [("dice", "🎲"), ("alt-e", "é")] {
            assert_eq!(link.order_reporting(&format!("press {what}")), [format!("bytes {character:?}")]);
        }
    }
    if wine() {
        // Wine's console decodes each read of its terminal separately, and breaks characters that arrive in pieces.
        terminal.type_in("🎲x");
    } else {
        // Byte by byte, as over a slow line.
        for byte in "🎲x".bytes() {
            terminal.type_bytes(&[byte]);
        }
    }
    let mut came = String::new();
    while came != "🎲x" {
        came.push_str(&typed(&link.next()));
        assert!("🎲x".starts_with(&came), "{came}");
    }
}

#[test]
fn history_comes_back_with_the_arrow_keys() {
    let (terminal, link) = console("line");
    link.order("prompt > ");
    terminal.type_in("first\r");
    link.expect(r#"line "first""#);
    terminal.type_in("second\r");
    link.expect(r#"line "second""#);
    terminal.type_in("\x1b[A\x1b[A");
    terminal.shows(&["> first", "> second", "> first"]);
    link.order("print Output in between.");
    terminal.shows(&["> first", "> second", "Output in between.", "> first"]);
    terminal.type_in(" again\r");
    link.expect(r#"line "first again""#);
}

#[test]
fn keys_in_mid_line_edit_the_line() {
    let (terminal, link) = console("line");
    // A step left, insert, print in between, Home and insert.
    terminal.type_in("helo\x1b[Dl");
    terminal.shows(&["hello"]);
    link.order("print x");
    terminal.shows(&["x", "hello"]);
    terminal.type_in("\x1b[HO\r");
    link.expect(r#"line "Ohello""#);
    if !wine() {
        terminal.type_in("one two\x17three\r");
        link.expect(r#"line "one three""#);
        terminal.type_in("gone\x15kept\r");
        link.expect(r#"line "kept""#);
    }
}

/// Another program has left the terminal's open file non-blocking, and the terminal is slow.
#[test]
fn hc51_output_to_a_non_blocking_terminal_is_shown_whole() {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let (terminal, link) = console("line");
    let flags = fcntl_getfl(&terminal.slave).expect("flags");
    fcntl_setfl(&terminal.slave, flags | OFlags::NONBLOCK).expect("flags");
    link.order("prompt > ");
    let filler = "x".repeat(if wine() { 50 } else { 500 });
    let print = || {
        for text in 0..400 {
            link.order(&format!("print text {text}: {filler}"));
        }
    };
    // More than a terminal holds. Wine's console shows it in another process, which needs no reader.
    if wine() {
        print()
    } else {
        terminal.unread(print)
    }
    terminal.until("the last text", |rows| rows.iter().any(|row| row.contains("text 399: ")));
    terminal.type_in("x\r");
    link.expect(r#"line "x""#);
    if !wine() {
        let shown = terminal.raw();
        let mut rest = shown.as_str();
        for text in 0..400 {
            let expected = format!("text {text}: {filler}\r\n");
            let at = rest.find(&expected).unwrap_or_else(|| panic!("text {text} is not shown"));
            rest = &rest[at + expected.len()..];
        }
    }
}

#[test]
fn a_line_longer_than_a_row_is_kept_whole_by_output() {
    let (terminal, link) = console("line");
    link.order("prompt > ");
    let long = "0123456789".repeat(12);
    terminal.type_in(&long);
    let (first, second) = (format!("> {}", &long[..78]), &long[78..]);
    terminal.shows(&[&first, second]);
    link.order("print above");
    terminal.shows(&["above", &first, second]);
    terminal.type_in("!\r");
    assert_eq!(typed(&link.next()), format!("{long}!"));
}

#[test]
fn hc32_a_reactor_is_dropped_a_thousand_times_while_its_console_is_read() {
    let (terminal, link) = rig::probe();
    let before = terminal.settings();
    let open =
        || std::fs::read_dir(format!("/proc/{}/fd", terminal.child.id())).expect("descriptors").count();
    link.order("churn 10");
    let descriptors = open();
    // A few at a time: the deadline applies to one order.
    (0..99).for_each(|_| link.order("churn 10"));
    assert!(open() <= descriptors + 2, "{} descriptors, {descriptors} before", open());
    assert_eq!(terminal.settings(), before);
    link.send("console line");
    link.expect("console terminal");
    terminal.type_in("still here\r");
    link.expect(r#"line "still here""#);
}

#[test]
fn the_terminals_open_file_stays_as_others_know_it() {
    let (terminal, link) = rig::probe();
    let flags = || rustix::fs::fcntl_getfl(&terminal.slave).expect("flags");
    let before = flags();
    for mode in ["line", "raw"] {
        link.send(&format!("console {mode}"));
        link.expect("console terminal");
        terminal.type_in("x\r");
        assert!(link.next().contains('x'));
        assert_eq!(flags(), before, "{mode}");
        if mode == "raw" {
            // Enter may arrive separately.
            link.send("sync");
            while link.next() != "ok sync" {}
        }
        link.send("remove");
        link.expect("removed true");
    }
}

/// The example programs, at a real terminal.
mod examples {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::rig::{Terminal, program};

    #[test]
    fn keys_shows_what_is_pressed() {
        let mut terminal = Terminal::start(&mut program("examples", "keys"));
        terminal.until("the greeting", |rows| rows[0].contains("is a terminal"));
        terminal.type_in("a");
        terminal.until("the key", |rows| rows[1].trim_end() == r#"a            "a""#);
        terminal.type_in("q");
        assert!(terminal.wait().success());
        assert_eq!(terminal.settings(), terminal.before);
    }

    #[test]
    fn console_chat_connects_the_host_with_the_guests() {
        let mut terminal = Terminal::start(program("examples", "console_chat").arg("127.0.0.1:0"));
        let rows = terminal.until("the prompt", |rows| rows[1].trim_end() == "say>");
        let address = rows[0].trim_end().strip_prefix("listening ").expect("it listens").to_owned();
        let mut guest = TcpStream::connect(address).expect("it accepts");
        guest.set_read_timeout(Some(super::rig::DEADLINE)).expect("a deadline");
        terminal.type_in("wel");
        terminal.until("the guest", |rows| rows[1].contains("is here") && rows[2].trim_end() == "say> wel");
        guest.write_all(b"hello\n").expect("it reads");
        terminal.until("what the guest says", |rows| {
            rows[2].trim_end().ends_with(": hello") && rows[3].trim_end() == "say> wel"
        });
        terminal.type_in("come\r");
        let mut heard = [0; 14];
        guest.read_exact(&mut heard).expect("it answers");
        assert_eq!(&heard, b"host: welcome\n");
        terminal.type_in(if super::wine() { "\x1a\r" } else { "\x04" });
        assert!(terminal.wait().success());
    }
}
