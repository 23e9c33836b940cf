//! The operator's line editor at real terminals, with a VT emulator for the screen. Mostly on Linux: a Windows console has its
//! own.
#![cfg(target_os = "linux")]

#[path = "console_rig/mod.rs"]
mod rig;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use rig::{Call, Link, Terminal, console, program, wine};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// A console with a prompt; none under Wine.
fn prompted() -> Option<(Terminal, Link)> {
    if wine() {
        return None;
    }
    let (terminal, link) = console("line");
    link.order("prompt > ");
    terminal.shows(&["> "]);
    Some((terminal, link))
}

/// The text of a line that the probe reports.
fn line_of(reported: &str) -> &str {
    reported
        .strip_prefix("line \"")
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or_else(|| panic!("{reported}"))
}

#[test]
fn hc58_emoji_over_a_rows_end_are_shown_and_erased_whole() {
    let Some((terminal, link)) = prompted() else { return };
    let rockets = "🚀".repeat(45);
    terminal.type_in(&rockets);
    let rows = [format!("> {}", "🚀".repeat(39)), "🚀".repeat(6)];
    terminal.shows(&[&rows[0], &rows[1]]);
    link.order("print above");
    terminal.shows(&["above", &rows[0], &rows[1]]);
    terminal.until_cursor((2, 12));
    terminal.type_in(&"\x7f".repeat(7));
    terminal.shows(&["above", &format!("> {}", "🚀".repeat(38))]);
    terminal.until_cursor((1, 78));
    terminal.type_in("✅⚡⭐🟢🫠");
    terminal.shows(&["above", &format!("> {}✅", "🚀".repeat(38)), "⚡⭐🟢🫠"]);
    link.order("print again");
    terminal.shows(&["above", "again", &format!("> {}✅", "🚀".repeat(38)), "⚡⭐🟢🫠"]);
    terminal.type_in("\r");
    link.expect(&format!("line \"{}✅⚡⭐🟢🫠\"", "🚀".repeat(38)));
}

#[test]
fn hc58_what_terminals_disagree_about_is_placed() {
    let Some((terminal, link)) = prompted() else { return };
    // This emulator draws four cells.
    terminal.type_in("a👩\u{200d}🚀b");
    terminal.until("the last character", |rows| rows[0].trim_end().ends_with('b'));
    terminal.until_cursor((0, 6));
    terminal.type_in("\x1b[D\x1b[D\x1b[D\x1b[C");
    terminal.until_cursor((0, 3));
    link.order("print above");
    terminal.until("the line", |rows| rows[0].trim_end() == "above" && rows[1].trim_end().ends_with('b'));
    terminal.until_cursor((1, 3));
    terminal.type_in("\x1b[3~");
    terminal.shows(&["above", "> ab"]);
    terminal.type_in("\r");
    link.expect(r#"line "ab""#);
}

#[test]
fn hc58_combining_marks_half_width_and_other_scripts_are_shown_as_typed() {
    let Some((terminal, link)) = prompted() else { return };
    // What is typed, how many cells it takes, and what the key Backspace leaves.
    for (text, cells, left) in [
        ("cafe\u{301}", 4, "caf"),
        ("ｱｲｳ", 3, "ｱｲ"),
        ("فاطمة", 5, "فاطم"),
        ("שרה", 3, "שר"),
        ("日本", 4, "日"),
    ] {
        terminal.type_in(text);
        terminal.shows(&[&format!("> {text}")]);
        terminal.until_cursor((0, 2 + cells));
        terminal.type_in("\x7f");
        terminal.shows(&[&format!("> {left}")]);
        terminal.type_in("\r");
        assert_eq!(line_of(&link.next()), left);
        terminal.type_in("\x0c");
        terminal.shows(&["> "]);
    }
}

#[test]
fn a_wrapped_line_is_edited_with_output_above_it() {
    let Some((terminal, link)) = prompted() else { return };
    let long = "0123456789".repeat(20);
    terminal.type_in(&long);
    let rows = [format!("> {}", &long[..78]), long[78..158].to_owned(), long[158..].to_owned()];
    terminal.shows(&[&rows[0], &rows[1], &rows[2]]);
    terminal.type_in("\x01");
    terminal.until_cursor((0, 2));
    link.order("print above");
    terminal.shows(&["above", &rows[0], &rows[1], &rows[2]]);
    terminal.until_cursor((1, 2));
    terminal.type_in("x\x1b[3~");
    terminal.shows(&["above", &format!("> x{}", &long[1..78]), &rows[1], &rows[2]]);
    terminal.type_in("\x05!");
    link.order("print more");
    terminal.shows(&["above", "more", &format!("> x{}", &long[1..78]), &rows[1], &format!("{}!", rows[2])]);
    terminal.type_in("\r");
    assert_eq!(line_of(&link.next()), format!("x{}!", &long[1..]));
}

#[test]
fn a_resize_in_mid_line_erases_nothing_above_it() {
    let Some((terminal, link)) = prompted() else { return };
    link.order("print above");
    let long = "0123456789".repeat(12);
    terminal.type_in(&long);
    terminal.shows(&["above", &format!("> {}", &long[..78]), &long[78..]]);
    for (columns, reported) in [(50, "resized 50 24"), (130, "resized 130 24"), (30, "resized 30 24")] {
        terminal.resize(columns, 24);
        link.expect(reported);
        link.order("print again");
        let (mut rows, mut rest) = (Vec::new(), format!("> {long}"));
        while rest.len() > columns.into() {
            let tail = rest.split_off(columns.into());
            rows.push(std::mem::replace(&mut rest, tail));
        }
        rows.push(rest);
        terminal.until("the line in its rows", |shown| {
            let shown: Vec<&str> =
                shown.iter().map(|row| row.trim_end()).filter(|row| !row.is_empty()).collect();
            shown[0] == "above" && shown.ends_with(&rows.iter().map(String::as_str).collect::<Vec<_>>())
        });
    }
    terminal.type_in("!\r");
    assert_eq!(line_of(&link.next()), format!("{long}!"));
}

/// A file in the folder for temporary files, removed in the end.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_thousand_lines_of_history_are_kept_across_sessions() {
    let Some((mut terminal, link)) = prompted() else { return };
    let path = std::env::temp_dir().join(format!("dolmen-editor-history-{}", std::process::id()));
    let file = TemporaryFile(path);
    let history = format!("history {}", file.0.display());
    link.order(&history);
    for number in 0..1100 {
        terminal.type_in(&format!("line {number}\r"));
        assert_eq!(line_of(&link.next()), format!("line {number}"));
    }
    // A line that the program has just handled may be a password that was typed ahead.
    link.order("sync");
    link.order("sync");
    link.order("echo off");
    terminal.type_in("secret\r");
    link.expect(r#"line "secret""#);
    link.order("echo on");
    terminal.type_in(&"\x1b[A".repeat(1000));
    terminal.until("the oldest line", |rows| rows.iter().any(|row| row.trim_end() == "> line 100"));
    terminal.type_in("\x1b[A and more\r");
    link.expect(r#"line "line 100 and more""#);
    link.order("return 0");
    assert!(terminal.wait().success());
    let mode = std::fs::metadata(&file.0).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&file.0).expect("it is there").contains("secret"));
    drop(terminal);
    let (terminal, link) = prompted().expect("a console");
    link.order(&history);
    terminal.type_in("\x10\x10");
    terminal.shows(&["> line 1099"]);
    terminal.type_in("\r");
    link.expect(r#"line "line 1099""#);
}

#[test]
fn a_line_that_was_left_is_not_typed_again() {
    let Some((terminal, link)) = prompted() else { return };
    terminal.type_in("a\x16\x7fb");
    terminal.shows(&["> a^?b"]);
    link.send("remove");
    link.expect("removed true");
    link.send("console line");
    link.expect("console terminal");
    terminal.type_in("!\r");
    assert_eq!(line_of(&link.next()), r"a\u{7f}b!");
    link.order("prompt > ");
    terminal.type_in("half");
    terminal.until("half a line", |rows| rows.iter().any(|row| row.trim_end() == "> half"));
    link.send("remove");
    link.expect("removed true");
    link.send("console raw");
    let reported = [link.next(), link.next()];
    assert!(reported.iter().any(|line| line.contains("\"half\"")), "{reported:?}");
}

#[test]
fn a_paste_of_64_kib_is_quick_and_whole() {
    let Some((terminal, link)) = prompted() else { return };
    let words = "The quick brown fox 🚀 grüßt ";
    let paste = words.repeat(64 * 1024 / words.len());
    terminal.type_in(&format!("\x1b[200~{paste}\x1b[201~"));
    terminal.until("its end", |rows| rows.iter().rev().any(|row| row.contains("grüßt")));
    terminal.type_in("\r");
    assert!(line_of(&link.next()) == paste, "something is not what was pasted");
    let written = terminal.raw().len();
    assert!(written < 4 * paste.len(), "{written} bytes for {}", paste.len());
    // A script: each of its lines is a line, and what its last line lacks is an Enter.
    let script: String = (0..1000).map(|number| format!("say {number}\x07\r")).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| terminal.type_in(&format!("\x1b[200~{script}last\x1b[201~")));
        for number in 0..1000 {
            assert_eq!(line_of(&link.next()), format!(r"say {number}\u{{7}}"));
        }
    });
    link.silent(std::time::Duration::from_millis(100));
    terminal.type_in("\r");
    link.expect(r#"line "last""#);
}

/// On Windows each message interrupts the system's read of the line.
#[test]
fn hc27_a_typist_beside_ten_thousand_messages_loses_nothing() {
    let (terminal, link) = console("line");
    link.order("prompt > ");
    terminal.shows(&["> "]);
    let messages: u32 = if wine() { 1_000 } else { 10_000 };
    let line = "say grüße, 🚀 ".repeat(25);
    let each = messages as usize / line.chars().count();
    let mut orders = link.orders();
    let typed = std::thread::scope(|scope| {
        scope.spawn(|| {
            let text: String = (0..messages).map(|number| format!("print message {number}\n")).collect();
            std::io::Write::write_all(&mut orders, text.as_bytes()).expect("the probe is there");
        });
        // One key for each of some messages.
        let mut keys = line.chars();
        for number in 0..messages {
            link.expect(&format!("ok print message {number}"));
            if number as usize % each == 0 {
                keys.next().into_iter().for_each(|key| terminal.type_in(&key.to_string()));
            }
        }
        assert_eq!(keys.next(), None);
        terminal.type_in("\r");
        link.next()
    });
    assert_eq!(line_of(&typed), line);
    let last = format!("message {}", messages - 1);
    terminal.until("the last message", |rows| rows.iter().any(|row| row.trim_end() == last));
    if wine() {
        // It draws the screen anew, and not each message.
        return;
    }
    let shown = terminal.raw();
    let number = |row: &str| row.rsplit_once("message ")?.1.trim().parse::<u32>().ok();
    assert!(shown.lines().filter_map(number).eq(0..messages), "each message once and in order");
}

#[test]
fn broken_characters_in_mid_line_take_nothing_along() {
    let Some((terminal, link)) = prompted() else { return };
    link.order("print above");
    terminal.type_bytes(b"\xe9\xc3\xa9");
    // The emulator leaves the replacement character out.
    terminal.shows(&["above", "> é"]);
    assert!(terminal.raw().ends_with("> \u{fffd}é"), "{:?}", terminal.raw());
    terminal.type_in("\r");
    link.expect("line \"\u{fffd}é\"");
}

#[test]
fn words_are_completed_by_the_programs_own_list() {
    let Some((terminal, link)) = prompted() else { return };
    link.order("complete shutdown shout kick");
    terminal.type_in("k\tnow s\t\t");
    terminal.shows(&["> kick now sh"]);
    terminal.type_in("\t");
    terminal.shows(&["shutdown  shout", "> kick now sh"]);
    terminal.type_in("u\t\r");
    link.expect(r#"line "kick now shutdown ""#);
}

#[test]
fn ctrl_c_marks_the_line_that_it_discards() {
    let Some((terminal, link)) = prompted() else { return };
    terminal.type_in("shutdown");
    terminal.shows(&["> shutdown"]);
    terminal.type_in("\x03");
    link.expect("interrupt");
    terminal.shows(&["> shutdown^C", "> "]);
}

/// A probe at a terminal with these settings, and what it has written when a line was typed with output above it.
fn plain_session(term: &str, echo: bool) -> (Terminal, Link) {
    let call = Call::new();
    let mut command = program("examples", "console_probe");
    let terminal = Terminal::start_with(command.arg(call.address()), |command| {
        command.env("TERM", term);
    });
    let link = call.accept();
    link.expect("ready");
    let mut settings = tcgetattr(&terminal.slave).expect("settings");
    settings.local_modes.set(LocalModes::ECHO, echo);
    tcsetattr(&terminal.slave, OptionalActions::Now, &settings).expect("settings");
    link.send("console line");
    link.expect("console terminal");
    link.order("prompt > ");
    terminal.shows(&["> "]);
    (terminal, link)
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    if wine() {
        return;
    }
    for term in ["dumb", ""] {
        let (terminal, link) = plain_session(term, true);
        terminal.type_in("helpx\x7f me");
        terminal.shows(&["> help me"]);
        link.order("print news");
        terminal.until("the news", |rows| rows[1].trim_end() == "news");
        terminal.type_in("\r");
        link.expect(r#"line "help me""#);
        link.order("echo off");
        terminal.type_in("secret\r");
        link.expect(r#"line "secret""#);
        link.order("echo on");
        terminal.type_in("seen\r");
        link.expect(r#"line "seen""#);
        terminal.until("the echo", |rows| rows.iter().any(|row| row.trim_end() == "> seen"));
        let shown = terminal.raw();
        assert!(!shown.contains('\x1b') && !shown.contains("secret"), "{shown:?}");
    }
}

#[test]
fn a_terminal_whose_echo_was_off_stays_silent() {
    if wine() {
        return;
    }
    let (terminal, link) = plain_session("xterm", false);
    let echoes = || tcgetattr(&terminal.slave).expect("settings").local_modes.contains(LocalModes::ECHO);
    assert!(!echoes());
    terminal.type_in("help\r");
    link.expect(r#"line "help""#);
    link.order("echo off");
    link.order("echo on");
    link.order("print news");
    link.order("mode raw");
    link.order("mode line");
    assert!(!echoes());
    terminal.until("the news", |rows| rows.iter().any(|row| row.trim_end() == "news"));
    assert!(!terminal.raw().contains("help") && !terminal.raw().contains('\x1b'), "{:?}", terminal.raw());
}

/// A shell at a terminal. Its own line editor would write escape sequences as well.
fn shell() -> Terminal {
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noprofile", "--noediting", "-i"]).env("PS1", "shell: ");
    let terminal = Terminal::start(&mut shell);
    terminal.until("the shell", |rows| rows[0].starts_with("shell:"));
    terminal
}

fn shows_row(terminal: &Terminal, expected: &str) {
    terminal.until(expected, |rows| rows.iter().any(|row| row.trim_end() == expected));
}

#[test]
fn a_process_in_the_background_leaves_the_shells_line_alone() {
    if wine() {
        return;
    }
    let (terminal, call) = (shell(), Call::new());
    let probe = program("examples", "console_probe");
    terminal.type_in(&format!("{} {} &\r", probe.get_program().display(), call.address()));
    let link = call.accept();
    link.expect("ready");
    let settings = terminal.settings();
    link.send("console line");
    link.expect("console terminal");
    link.order("prompt > ");
    terminal.type_in("echo hal");
    terminal.until("half a command", |rows| rows.iter().any(|row| row.trim_end() == "shell: echo hal"));
    link.order("print Ann says: hello");
    link.order("print Ann says: good-bye");
    terminal.until("both texts", |rows| rows.iter().any(|row| row.trim_end() == "Ann says: good-bye"));
    assert!(!terminal.raw().contains('\x1b'), "{:?}", terminal.raw());
    assert_eq!(terminal.settings(), settings);
    terminal.type_in("lo\r");
    shows_row(&terminal, "hallo");
    terminal.type_in("fg\r");
    // The shell names the job, and the next output shows the line.
    terminal.until("the job", |rows| rows.iter().filter(|row| row.contains("console_probe")).count() > 1);
    link.order("print now here");
    terminal.type_in("half");
    shows_row(&terminal, "> half");
    link.order("print more");
    terminal.until("the line below the output", |rows| {
        let rows: Vec<&str> = rows.iter().map(|row| row.trim_end()).filter(|row| !row.is_empty()).collect();
        rows.ends_with(&["now here", "more", "> half"])
    });
    terminal.type_in(" a line\r");
    link.expect(r#"line "half a line""#);
    link.order("return 0");
    terminal.type_in("exit\r");
}

#[test]
fn what_was_typed_before_ctrl_z_is_shown_again_and_edited() {
    if wine() {
        return;
    }
    let (terminal, call) = (shell(), Call::new());
    let settings = terminal.settings();
    let probe = program("examples", "console_probe");
    terminal.type_in(&format!("{} {}\r", probe.get_program().display(), call.address()));
    let link = call.accept();
    link.expect("ready");
    link.send("console line");
    link.expect("console terminal");
    link.order("prompt > ");
    terminal.type_in("partial txt\x1b[D\x1b[D");
    shows_row(&terminal, "> partial txt");
    link.order("sync");
    terminal.type_in("\x1a");
    terminal.until("the shell's prompt below its message", |rows| {
        let last = rows.iter().map(|row| row.trim_end()).rfind(|row| !row.is_empty());
        rows.iter().any(|row| row.contains("Stopped")) && last == Some("shell:")
    });
    assert_eq!(terminal.settings(), settings);
    terminal.type_in("echo hallo\r");
    shows_row(&terminal, "hallo");
    terminal.type_in("fg\r");
    link.expect("continued");
    terminal.until("the line again", |rows| {
        rows.iter().filter(|row| row.trim_end() == "> partial txt").count() == 2
    });
    terminal.type_in("e\r");
    link.expect(r#"line "partial text""#);
    let shown = terminal.raw();
    let last = |mark: &str| shown.rfind(mark);
    assert!(last("\x1b[?2004h") > last("\x1b[?2004l"), "pasted text is marked again");
    assert_eq!(shown.matches("\x1b[?2004l").count(), 1, "and was not while the shell had the terminal");
    link.order("return 0");
    terminal.type_in("exit\r");
}
