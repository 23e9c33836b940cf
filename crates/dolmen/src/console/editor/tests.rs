use super::bindings::USUAL;
use super::screen::emulator::{Draws, Emulator};
use super::*;

const WINDOW: Window = Window { columns: 40, rows: 10 };

/// An operator at a terminal.
struct Operator {
    editor: Editor,
    terminal: Emulator,
    inputs: Vec<Input>,
}

impl Operator {
    fn new() -> Operator {
        let mut editor = Editor::new(USUAL, WINDOW);
        editor.set_shown(true);
        editor.prompt_mut().push_str("> ");
        let terminal = Emulator::new(WINDOW.columns, WINDOW.rows, Draws::TwoCells);
        let mut operator = Operator { editor, terminal, inputs: Vec::new() };
        operator.change(|editor, screen| editor.draw(screen));
        operator
    }

    fn change(&mut self, change: impl FnOnce(&mut Editor, &mut String)) {
        let mut screen = String::new();
        change(&mut self.editor, &mut screen);
        // As the terminal's settings have it.
        self.terminal.write(&screen.replace("\r\n", "\n").replace('\n', "\r\n"));
    }

    /// Types, a byte at a time.
    fn types(&mut self, keys: &str) {
        keys.bytes().for_each(|byte| drop(self.sends(&[byte])));
    }

    /// Sends bytes in one read. Returns what is written.
    fn sends(&mut self, bytes: &[u8]) -> String {
        let mut screen = String::new();
        self.editor.feed(bytes, &mut screen, |input| self.inputs.push(input));
        self.terminal.write(&screen);
        screen
    }

    fn set_echo(&mut self, echo: bool) {
        self.change(|editor, screen| {
            editor.set_echo(echo);
            editor.draw(screen);
        });
    }

    #[track_caller]
    fn shows(&self, rows: &[&str], cursor: (usize, usize)) {
        let rows: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
        assert_eq!(
            (self.terminal.rows(), self.terminal.cursor),
            (rows.iter().map(|&row| row.into()).collect(), cursor)
        );
    }
}

fn line(text: &str) -> Input {
    Input::Line(text.into())
}

/// The inputs of some keys, which come byte by byte and in one piece.
#[track_caller]
fn edit(keys: &[u8]) -> Vec<Input> {
    let (mut slow, mut quick) = (Operator::new(), Operator::new());
    for byte in keys {
        slow.sends(&[*byte]);
    }
    quick.sends(keys);
    assert_eq!(slow.inputs, quick.inputs);
    assert_eq!((slow.terminal.rows(), slow.terminal.cursor), (quick.terminal.rows(), quick.terminal.cursor));
    slow.inputs
}

#[test]
fn lines_are_edited() {
    for (keys, expected) in [
        ("grüßx\x7fe\r", "grüße"),
        ("one two  \x17three\r", "one three"),
        ("one\x15two\n", "two"),
        ("\x7f\x7fa\r", "a"),
        ("a\x16\x7fb\r", "a\x7fb"),
        ("two\x16\r\r", "two\r"),
        ("helo\x1b[Dl\x1b[HO\x1b[Fw\r", "Ohellow"),
        ("abc\x01\x1b[3~\x05d\r", "bcd"),
        ("one two\x1bb\x0bthree \x19\r", "one three two"),
        ("one two\x1b[1;5D\x1b[1;5D\x1bd\x05\x08\x08\r", " t"),
        ("a-b c\x1b\x7fx\r", "a-b x"),
        ("abc\x02\x02\x04\x06d\r", "acd"),
        ("e\u{301}🚀\x7f\x7fx\r", "x"),
    ] {
        assert_eq!(edit(keys.as_bytes()), [line(expected)], "{keys:?}");
    }
}

#[test]
fn the_end_counts_on_a_line_of_its_own() {
    assert_eq!(edit(b"\x04"), [Input::End]);
    assert_eq!(edit(b"a\x04b\r\x04"), [line("ab"), Input::End]);
}

#[test]
fn broken_characters_are_replaced_and_what_follows_is_kept() {
    assert_eq!(edit(b"\xe9\xc3\xa9\r"), [line("\u{fffd}é")]);
    assert_eq!(edit(b"\xc3a\xff\r"), [line("\u{fffd}a\u{fffd}")]);
    assert_eq!(edit(b"\xc3\r"), [line("\u{fffd}")]);
}

#[test]
fn a_line_without_end_is_cut_once() {
    let mut typed = vec![b'x'; LONGEST_LINE_BYTES - 1];
    typed.extend("🎲yz\rnext\r".as_bytes());
    let mut operator = Operator::new();
    typed.chunks(4096).for_each(|piece| drop(operator.sends(piece)));
    let cut = Input::LineCut("x".repeat(LONGEST_LINE_BYTES - 1));
    assert_eq!(operator.inputs, [cut, line("next")]);
}

#[test]
fn history_comes_back_with_the_line_that_was_being_typed() {
    let mut operator = Operator::new();
    operator.types("first\rsecond\rsecond\r\rhal\x1b[A");
    operator.shows(&["> first", "> second", "> second", ">", "> second"], (4, 8));
    operator.types("\x10");
    operator.shows(&["> first", "> second", "> second", ">", "> first"], (4, 7));
    operator.types("\x1b[A\x0e\x1b[B\x1b[Bf\r");
    assert_eq!(operator.inputs.last(), Some(&line("half")));
    operator.types("\x1b[A\x1b[A again\r");
    assert_eq!(operator.inputs.last(), Some(&line("second again")));
}

#[test]
fn the_history_is_searched() {
    let mut operator = Operator::new();
    operator.types("say one\rkick Ann\rsay two\r\x0chal\x12");
    operator.shows(&["(search) : hal"], (0, 14));
    operator.types("a");
    operator.shows(&["(search) a: say two"], (0, 19));
    operator.types("y\x12");
    operator.shows(&["(search) ay: say one"], (0, 20));
    operator.types("x");
    operator.shows(&["(not found) ayx: say one"], (0, 24));
    operator.types("\x7f\x7f\x7fAn\x01+\r");
    assert_eq!(operator.inputs.last(), Some(&line("+kick Ann")));
    operator.types("\x0chalf\x12s\x07!");
    operator.shows(&["> half!"], (0, 7));
    operator.types("\x12one\r");
    assert_eq!(operator.inputs.last(), Some(&line("say one")));
    operator.types("\x0c\x12on");
    operator.change(|editor, screen| editor.interrupt(screen));
    operator.shows(&["(search) on: say one^C", ">"], (1, 2));
}

#[test]
fn what_is_typed_without_echo_is_not_shown_and_not_kept() {
    let mut operator = Operator::new();
    operator.types("before\r");
    (0..3).for_each(|_| drop(operator.editor.settle_lines(true)));
    operator.set_echo(false);
    let before = operator.terminal.cursor;
    for key in ["s", "e", "c", "\x1b[D", "r", "\x15", "hunter2", "\x1b[A", "\t", "\x7f"] {
        assert_eq!(operator.sends(key.as_bytes()), "", "{key:?}");
    }
    assert_eq!(operator.terminal.cursor, before);
    operator.types("\r");
    operator.set_echo(true);
    operator.types("\x19\x1b[A");
    operator.shows(&["> before", ">", "> before"], (2, 8));
    assert_eq!(operator.inputs, [line("before"), line("hunter2c")]);
    // In mid-line.
    operator.set_echo(false);
    operator.types("x");
    operator.set_echo(true);
    operator.types("y\x1b[A\t");
    operator.shows(&["> before", ">", "> y"], (2, 4));
    operator.types("\r\x1b[A");
    operator.shows(&["> before", ">", "> y", "> before"], (3, 8));
}

#[test]
fn output_appears_above_the_line() {
    let mut operator = Operator::new();
    operator.types("half\x1b[D");
    operator.change(|editor, screen| editor.print("one\ntwo", screen));
    operator.shows(&["one", "two", "> half"], (2, 5));
}

#[test]
fn a_pasted_script_is_typed_lines_and_its_controls_are_text() {
    let mut operator = Operator::new();
    operator.sends(b"say \x1b[200~one\x03\nsay\ttwo\r\nthree\x1b[201~\x7f!\r");
    assert_eq!(operator.inputs, [line("say one\x03"), line("say\ttwo"), line("thre!")]);
    operator.shows(&["> say one^C", "> say two", "> thre!", "> "], (3, 2));
}

#[test]
fn a_paste_is_drawn_once_for_each_read() {
    let mut operator = Operator::new();
    let paste = format!("\x1b[200~{}\x1b[201~", "The quick brown fox 🚀 ".repeat(2600));
    let mut written = 0;
    for piece in paste.as_bytes().chunks(4096) {
        written += operator.sends(piece).len();
    }
    assert!(paste.len() > 60 * 1024 && written < 40 * 1024, "{} bytes for {}", written, paste.len());
    operator.sends(b"\r");
    assert_eq!(operator.inputs, [line(&"The quick brown fox 🚀 ".repeat(2600))]);
}

#[test]
fn words_are_completed() {
    let mut operator = Operator::new();
    operator.types("a\tb\r");
    operator.editor.set_completer(Box::new(|line| {
        let candidates = ["shutdown", "shout", "kick"].map(String::from);
        let word = line.rsplit(' ').next().unwrap_or_default();
        candidates.into_iter().filter(|candidate| candidate.starts_with(word)).collect()
    }));
    operator.types("k\tnow s\t");
    operator.shows(&["> a b", "> kick now sh"], (1, 13));
    operator.types("\t");
    operator.shows(&["> a b", "> kick now sh"], (1, 13));
    operator.types("\t");
    operator.shows(&["> a b", "shutdown  shout", "> kick now sh"], (2, 13));
    operator.types("u\t!\r");
    assert_eq!(operator.inputs, [line("a\tb"), line("kick now shutdown !")]);
}

#[test]
fn an_interrupt_discards_the_line_and_shows_that() {
    let mut operator = Operator::new();
    operator.types("shutdown\x1b[D\x1b[");
    operator.change(|editor, screen| editor.interrupt(screen));
    operator.shows(&["> shutdown^C", ">"], (1, 2));
    operator.types("A\r");
    assert_eq!(operator.inputs, [line("A")]);
}

#[test]
fn ctrl_l_clears_the_screen_and_leaves_the_line() {
    let mut operator = Operator::new();
    operator.types("one\rtwo\x0c");
    operator.shows(&["> two"], (0, 5));
}

#[test]
fn what_was_typed_can_be_taken_out_and_given_back() {
    let mut operator = Operator::new();
    operator.sends("añ\x1b[D\x1b[Dx\x1b".as_bytes());
    assert_eq!(operator.editor.take(), "xañ\x1b".as_bytes());
    operator.types("next\r");
    assert_eq!(operator.inputs, [line("next")]);
}

#[test]
fn a_line_that_is_not_shown_is_edited_all_the_same() {
    let mut operator = Operator::new();
    operator.editor.set_shown(false);
    assert_eq!(operator.sends(b"one\x0c\x7f\rtw"), "");
    operator.editor.forget_screen(true);
    operator.editor.set_shown(true);
    operator.sends(b"o");
    operator.shows(&[">", "> two"], (1, 5));
    assert_eq!(operator.inputs, [line("on")]);
}

#[test]
fn a_password_that_was_typed_ahead_is_not_kept() {
    let mut operator = Operator::new();
    operator.types("before\r");
    let kept: Vec<String> = (0..3).flat_map(|_| operator.editor.settle_lines(true)).collect();
    assert_eq!(kept, ["before"]);
    operator.sends(b"passwd\rsecret\rother secret\rsec\x12");
    for _ in 0..2 {
        assert!(operator.editor.settle_lines(true).is_empty());
    }
    operator.set_echo(false);
    operator.sends(b"ret\r");
    operator.set_echo(true);
    operator.types("\x0c\x1b[A\x1b[A");
    operator.shows(&["> before"], (0, 8));
    operator.types("\x15\x12secret");
    operator.shows(&["(not found) secret: "], (0, 20));
    assert!(operator.editor.settle_last_lines().is_empty());
}

#[test]
fn a_line_that_was_left_is_text() {
    let mut operator = Operator::new();
    operator.editor.set_completer(Box::new(|_| vec!["completed".into()]));
    operator.editor.set_line("a\tb\x7f\r");
    operator.types("!\r");
    assert_eq!(operator.inputs, [line("a\tb\x7f\r!")]);
}

#[test]
fn output_above_a_long_line_leaves_what_is_seen_of_it() {
    let mut operator = Operator::new();
    operator.sends("0123456789🚀".repeat(100).as_bytes());
    operator.types("\x1bb\x01\x06");
    let (shown, cursor) = (operator.terminal.rows(), operator.terminal.cursor);
    operator.change(|editor, screen| editor.print("news", screen));
    let rows = operator.terminal.rows();
    assert_eq!((rows[0].as_str(), &rows[1..]), ("news", &shown[..]));
    assert_eq!(operator.terminal.cursor, (cursor.0 + 1, cursor.1));
    // A key that could not be shown is shown with the next text.
    let before = operator.editor.screen();
    operator.editor.feed(b"!", &mut String::new(), |_| {});
    operator.editor.set_screen(before);
    operator.change(|editor, screen| editor.print("more", screen));
    assert!(operator.terminal.rows()[1].starts_with("> 0!12"), "{:?}", operator.terminal.rows());
}

/// Its end mark went to the shell that had the terminal meanwhile.
#[test]
fn a_paste_that_a_stop_has_divided_does_not_turn_later_keys_into_text() {
    let mut operator = Operator::new();
    operator.types("\x1b[200~say tw");
    operator.change(|editor, screen| {
        editor.forget_screen(true);
        editor.draw(screen);
    });
    operator.types("o\x1b[D\x1b[D\x15\rlook\r");
    assert_eq!(operator.inputs, [Input::Line("wo".into()), Input::Line("look".into())]);
}
