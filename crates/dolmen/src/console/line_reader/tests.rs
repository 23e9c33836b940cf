use super::*;
use crate::kernel::mailbox::{Mailbox, NullSignal};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Returns from its reads what the test has listed, and keeps what they began with and what was set.
#[derive(Default)]
struct Script {
    reads: RefCell<VecDeque<Option<&'static str>>>,
    began_with: RefCell<Vec<String>>,
    modes: RefCell<Vec<(ConsoleMode, bool)>>,
}

impl Host for Rc<Script> {
    fn read_line(&self, buffer: &mut [u16], kept: usize) -> io::Result<Option<usize>> {
        self.began_with.borrow_mut().push(String::from_utf16_lossy(&buffer[..kept]));
        let result = self.reads.borrow_mut().pop_front().expect("a read that the test expects");
        Ok(result.map(|text| text.encode_utf16().zip(buffer).map(|(unit, place)| *place = unit).count()))
    }

    fn set_mode(&self, mode: ConsoleMode, echo: bool) -> io::Result<()> {
        self.modes.borrow_mut().push((mode, echo));
        Ok(())
    }

    fn write(&self, _text: &str) -> io::Result<()> {
        Ok(())
    }

    fn erase_back(&self, _cells: usize) -> io::Result<()> {
        Ok(())
    }

    fn is_at_line_start(&self) -> bool {
        true
    }

    fn window_size(&self) -> Option<(u16, u16)> {
        None
    }
}

struct Scripted {
    script: Rc<Script>,
    commands: Arc<Commands>,
    inbox: Arc<Inbox>,
    reader: LineReader<Rc<Script>>,
}

fn scripted(reads: &[Option<&'static str>]) -> Scripted {
    let script =
        Rc::new(Script { reads: RefCell::new(reads.iter().copied().collect()), ..Script::default() });
    let inbox = Inbox::new(Mailbox::new(Box::new(NullSignal), 1));
    let commands = Commands::new();
    let reader = LineReader::new(Rc::clone(&script), &commands, &inbox, ConsoleMode::Line);
    Scripted { script, commands, inbox, reader }
}

impl Scripted {
    fn push(&self, command: Command) {
        self.commands.push(command).expect("there is room");
    }

    /// Takes steps up to the end of the next read.
    fn read(&mut self) {
        assert_eq!(self.reader.step(), Step::Read);
        self.reader.read();
    }
}

/// Ctrl-C with a popup open, or between two reads, ends no read.
#[test]
fn an_interrupt_that_has_ended_no_read_discards_the_line() {
    let mut scripted = scripted(&[Some("abc\x1e"), Some("def\r\n")]);
    scripted.read();
    scripted.push(Command::Interrupted);
    scripted.read();
    assert_eq!(*scripted.script.began_with.borrow(), ["", ""]);
    assert_eq!(scripted.inbox.pop(), Some(Input::Line("def".into())));
}

#[test]
fn an_interrupt_that_has_ended_a_read_leaves_what_was_typed_after_it() {
    let mut scripted = scripted(&[None, Some("def\x1e"), Some("defg\r\n")]);
    scripted.read();
    scripted.read();
    // It was collected late: another command has ended a read meanwhile.
    scripted.push(Command::Interrupted);
    scripted.read();
    assert_eq!(*scripted.script.began_with.borrow(), ["", "", "def"]);
    assert_eq!(scripted.inbox.pop(), Some(Input::Line("defg".into())));
}

#[test]
fn a_line_after_one_that_was_cut_and_interrupted_is_whole() {
    const UNENDED: &str = concat!("0123456789abcdef", "0123456789abcdef");
    let mut scripted = scripted(&[None, Some("next\r\n")]);
    scripted.reader.before = UNENDED.repeat(LONGEST_LINE_BYTES / UNENDED.len() + 1).encode_utf16().collect();
    scripted.reader.lines(false);
    assert!(matches!(scripted.inbox.pop(), Some(Input::LineCut(_))));
    scripted.read();
    scripted.push(Command::Interrupted);
    scripted.read();
    assert_eq!(scripted.inbox.pop(), Some(Input::Line("next".into())));
}

#[test]
fn a_thread_that_is_left_behind_sets_up_nothing() {
    let mut scripted = scripted(&[]);
    scripted.push(Command::Echo(false));
    scripted.commands.abandon();
    scripted.push(Command::Quit);
    assert_eq!(scripted.reader.step(), Step::End);
    assert!(scripted.script.modes.borrow().is_empty());
}

#[test]
fn two_lines_in_one_result_are_two_lines() {
    let mut scripted = scripted(&[Some("first\r\nsecond\r\n")]);
    scripted.read();
    let lines = ["first", "second"].map(|line| Some(Input::Line(line.into())));
    assert_eq!([scripted.inbox.pop(), scripted.inbox.pop()], lines);
}

#[test]
fn tabs_and_control_characters_take_the_cells_that_the_console_gives_them() {
    let shown = |prompt, typed| {
        let shown = Shown::after(prompt, typed);
        (shown.text, shown.last_row_cells)
    };
    assert_eq!(shown("> ", "say"), ("say".into(), 5));
    assert_eq!(shown("> ", "say\tx"), ("say   x".into(), 9));
    assert_eq!(shown("first\n> ", "a\x07\x1bb"), ("a^G^[b".into(), 8));
    assert_eq!(shown("", "\t\t"), (" ".repeat(16), 16));
    assert_eq!(shown("> ", "日\t"), ("日    ".into(), 8));
}
