use super::emulator::{Draws, Emulator};
use super::*;

const WINDOW: Window = Window { columns: 20, rows: 8 };

/// A screen, and the terminal that shows it.
struct Shown {
    screen: Screen,
    terminal: Emulator,
    prompt: &'static str,
}

impl Shown {
    fn new(draws: Draws) -> Shown {
        let terminal = Emulator::new(WINDOW.columns, WINDOW.rows, draws);
        let mut shown = Shown { screen: Screen::new(WINDOW), terminal, prompt: "> " };
        shown.print("above\n");
        shown
    }

    /// Draws a line whose cursor is at the bar. Returns what was written.
    fn draw(&mut self, line: &str) -> String {
        let mut text = String::new();
        self.screen.draw(view(self.prompt, line), &mut text);
        self.terminal.write(&text);
        text
    }

    fn print(&mut self, text: &str) {
        let mut screen = String::new();
        self.screen.erase(&mut screen);
        self.terminal.write(&(screen + &text.replace('\n', "\r\n")));
        self.screen.written(text);
    }

    fn finish(&mut self) {
        let mut screen = String::new();
        self.screen.finish("", &mut screen);
        self.terminal.write(&screen);
    }

    #[track_caller]
    fn shows(&self, rows: &[&str], cursor: (usize, usize)) {
        assert_eq!(
            (self.terminal.rows(), self.terminal.cursor),
            (rows.iter().map(|&row| row.into()).collect(), cursor)
        );
    }
}

fn view<'a>(prompt: &'a str, line: &'a str) -> View<'a> {
    let (before_cursor, after_cursor) = line.split_once('|').expect("a cursor");
    View { prompt, before_cursor, after_cursor }
}

#[test]
fn a_change_writes_only_what_has_changed() {
    let mut shown = Shown::new(Draws::TwoCells);
    assert_eq!(shown.draw("|"), "> ");
    assert_eq!(shown.draw("a|"), "a");
    assert_eq!(shown.draw("ab|"), "b");
    assert_eq!(shown.draw("ab|"), "");
    assert_eq!(shown.draw("a|b"), "\x1b[4G");
    assert_eq!(shown.draw("ax|b"), "\x1b[Jxb\x1b[5G");
    assert_eq!(shown.draw("|"), "\x1b[3G\x1b[J");
    shown.shows(&["above", "> "].map(str::trim_end), (1, 2));
}

#[test]
fn hc58_rows_end_where_the_terminal_ends_them() {
    for draws in [Draws::TwoCells, Draws::FourCells] {
        let mut shown = Shown::new(draws);
        // Eighteen cells beside the prompt: a full row, and a cursor below it.
        shown.draw("123456789012345678|");
        shown.shows(&["above", "> 123456789012345678"], (2, 0));
        shown.draw("123456789012345678a|");
        shown.shows(&["above", "> 123456789012345678", "a"], (2, 1));
        // A wide character that does not fit into the row.
        shown.draw("12345678901234567🚀|");
        shown.shows(&["above", "> 12345678901234567", "🚀"], (2, 2));
        shown.draw("12345678901234567|");
        shown.shows(&["above", "> 12345678901234567"], (1, 19));
        let rockets = "🚀".repeat(45);
        shown.draw(&format!("{rockets}|"));
        let rows = ["🚀".repeat(9), "🚀".repeat(10), "🚀".repeat(6)];
        let expected = ["above", &format!("> {}", rows[0]), &*rows[1], &*rows[1], &*rows[1], &*rows[2]];
        shown.shows(&expected, (5, 12));
        shown.print("more\n");
        shown.draw(&format!("{rockets}|"));
        shown.shows(&[&expected[..1], &["more"], &expected[1..]].concat(), (6, 12));
        shown.print("gone\n");
        shown.shows(&["above", "more", "gone"], (3, 0));
    }
}

#[test]
fn hc58_the_cursor_is_right_whatever_a_terminal_draws() {
    for draws in [Draws::TwoCells, Draws::FourCells] {
        let mut shown = Shown::new(draws);
        shown.draw("a👩\u{200d}🚀|");
        assert_eq!(shown.terminal.cursor, (1, 5), "{draws:?}");
        shown.draw("a👩\u{200d}🚀bc|");
        assert_eq!(shown.terminal.cursor, (1, 7), "{draws:?}");
        assert!(shown.terminal.rows()[1].ends_with("bc"), "{:?}", shown.terminal.rows());
        shown.draw("a|👩\u{200d}🚀bc");
        assert_eq!(shown.terminal.cursor, (1, 3), "{draws:?}");
        // Near the end of a row it could be drawn into the next one.
        shown.draw("1234567890123456👩\u{200d}🚀|");
        assert_eq!(shown.terminal.cursor, (2, 2), "{draws:?}");
        shown.print("gone\n");
        shown.shows(&["above", "gone"], (2, 0));
    }
}

#[test]
fn hc58_combining_marks_and_other_scripts_keep_their_order() {
    for draws in [Draws::TwoCells, Draws::FourCells] {
        let mut shown = Shown::new(draws);
        for (text, cells) in [("e\u{301}e\u{301}", 2), ("ｱｲｳ", 3), ("שרה", 3), ("فاطمة", 5)] {
            shown.draw(&format!("{text}|"));
            shown.shows(&["above", &format!("> {text}")], (1, 2 + cells));
        }
    }
}

#[test]
fn hc58_no_control_character_reaches_the_terminal() {
    let mut shown = Shown::new(Draws::TwoCells);
    shown.draw("a\x1b[2J\t\x7f\u{9b}2J\r|");
    shown.shows(&["above", "> a^[[2J ^?\u{fffd}2J^M"], (1, 16));
}

#[test]
fn a_prompt_has_colours_and_lines() {
    let mut shown = Shown::new(Draws::TwoCells);
    let mut text = String::new();
    let prompt = "\x1b[1mfirst\x1b[0m\n\x1b[32m> \x1b[0m";
    shown.screen.draw(view(prompt, "ab|"), &mut text);
    shown.terminal.write(&text);
    shown.shows(&["above", "first", "> ab"], (2, 4));
    shown.draw("ab|");
    shown.shows(&["above", "> ab"], (1, 4));
}

#[test]
fn a_full_row_of_a_prompt_erases_nothing_above_it() {
    let mut shown = Shown::new(Draws::TwoCells);
    shown.prompt = "12345678901234567890\n> ";
    shown.draw("ab|");
    shown.shows(&["above", "12345678901234567890", "> ab"], (2, 4));
    shown.prompt = "\x1b[1m12345678901234567890\x1b[0m\n> ";
    shown.draw("ab|");
    shown.shows(&["above", "12345678901234567890", "> ab"], (2, 4));
    shown.print("more\n");
    shown.shows(&["above", "more"], (2, 0));
}

#[test]
fn a_line_of_more_rows_than_the_window_is_shown_around_the_cursor() {
    let mut shown = Shown::new(Draws::TwoCells);
    let long: String = (0..1000u32).map(|number| char::from(b'a' + (number % 26) as u8)).collect();
    let written = shown.draw(&format!("{long}|"));
    assert!(written.len() < 200, "{}", written.len());
    let rows = shown.terminal.rows();
    assert_eq!((rows.len(), shown.terminal.cursor), (8, (7, 2)));
    assert!(rows[7] == long[998..] && rows[0] == "above", "{rows:?}");
    shown.draw(&format!("|{long}"));
    assert_eq!(shown.terminal.cursor, (1, 2));
    assert_eq!(shown.terminal.rows()[1], format!("> {}", &long[..18]));
    shown.draw(&format!("{}|{}", &long[..500], &long[500..]));
    shown.print("more\n");
    shown.draw(&format!("{long}|"));
    assert_eq!(shown.terminal.rows()[0], "more");
    assert_eq!(shown.terminal.scrolled, ["above"]);
    shown.finish();
    assert_eq!(shown.terminal.cursor, (7, 0));
}

#[test]
fn a_resize_breaks_the_line_anew_and_leaves_what_is_above() {
    for columns in [8, 11, 15, 19, 21, 40, 80] {
        let mut shown = Shown::new(Draws::TwoCells);
        for line in ["123456789012345678901234567890|", "1234567890|12345678901234567890", "|🚀🚀"] {
            shown.terminal.resize(20);
            shown.print("more\n");
            shown.screen.window = WINDOW;
            shown.draw(line);
            shown.terminal.resize(columns);
            let mut text = String::new();
            let window = Window { columns, ..WINDOW };
            shown.screen.resize(window, true, &mut text);
            shown.screen.draw(view("> ", line), &mut text);
            shown.terminal.write(&text);
            let rows = shown.terminal.rows();
            let at = rows.iter().rposition(|row| row == "more").expect("it stays");
            let row_of_cursor = shown.terminal.cursor.0;
            let mut fresh = Emulator::new(columns, WINDOW.rows, Draws::TwoCells);
            let mut text = String::new();
            let mut screen = Screen::new(window);
            screen.draw(view("> ", line), &mut text);
            fresh.write(&text);
            assert_eq!(rows[at + 1..], fresh.rows(), "{columns} {line}");
            assert_eq!((row_of_cursor - at - 1, shown.terminal.cursor.1), fresh.cursor, "{columns} {line}");
        }
    }
}

/// Numbers that are different each time and the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn hc58_any_change_leaves_what_drawing_anew_would_show() {
    let alphabet = [
        "a",
        "b",
        " ",
        "🚀",
        "é",
        "e\u{301}",
        "日",
        "\t",
        "\x01",
        "ｱ",
        "ש",
        "👩\u{200d}🚀",
        "🇩🇪",
        "❤\u{fe0f}",
    ];
    let prompts = [
        "> ",
        "12345678901234567890\n> ",
        "\x1b[1m12345678901234567890\x1b[0m\n> ",
        "first\n> ",
        "1234567890123456789🚀\n\n> ",
    ];
    for (seed, prompt) in (0..80).zip(prompts.into_iter().cycle()) {
        let mut numbers = Numbers(seed);
        for draws in [Draws::TwoCells, Draws::FourCells] {
            let mut shown = Shown::new(draws);
            shown.prompt = prompt;
            let mut line: Vec<&str> = Vec::new();
            for _ in 0..60 {
                match numbers.below(4) {
                    0 if !line.is_empty() => drop(line.remove(numbers.below(line.len()))),
                    1 if line.len() > 5 => line.truncate(numbers.below(line.len())),
                    _ => {
                        for _ in 0..=numbers.below(8) {
                            line.insert(
                                numbers.below(line.len() + 1),
                                alphabet[numbers.below(alphabet.len())],
                            );
                        }
                    }
                }
                let cursor = if numbers.below(2) == 0 { line.len() } else { numbers.below(line.len() + 1) };
                let text = format!("{}|{}", line[..cursor].concat(), line[cursor..].concat());
                if numbers.below(10) == 0 {
                    shown.print("more\n");
                }
                shown.draw(&text);
                let first_row = match &shown.screen.row {
                    Row::Line(image) => image.first_row,
                    _ => 0,
                };
                let mut fresh = Shown::new(draws);
                fresh.prompt = prompt;
                fresh.screen.row = Row::Line(Image { first_row, ..Image::default() });
                fresh.draw(&text);
                let rows = shown.terminal.rows();
                let offset = shown.terminal.cursor.0 - (fresh.terminal.cursor.0 - 1);
                assert!(["above", "more"].contains(&&*rows[offset - 1]), "{seed} {text}: {rows:?}");
                assert_eq!(shown.terminal.cursor.1, fresh.terminal.cursor.1, "{seed} {text}");
                if draws == Draws::TwoCells {
                    assert_eq!(rows[offset..], fresh.terminal.rows()[1..], "{seed} {text}");
                }
            }
        }
    }
}
