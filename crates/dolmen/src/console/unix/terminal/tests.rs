//! Moments that no one can hit by typing, at a pseudo-terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::super::reader::reopen;
use super::*;
use crate::console::blocking_write::Stream;
use crate::kernel::mailbox::{Mailbox, NullSignal};

/// When a test gives up.
const TEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Not for a standard stream.
impl Stream for File {
    fn wait_for_room(&self, most: Duration) -> bool {
        crate::console::wait_for_room(self, most)
    }
}

/// A user at a terminal.
struct FakeUser {
    master: File,
    slave: OwnedFd,
    screen: vt100::Parser,
    raw: Vec<u8>,
}

impl FakeUser {
    fn new() -> FakeUser {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let slave = ioctl_tiocgptpeer(&master, flags).expect("its other end");
        FakeUser { master: master.into(), slave, screen: vt100::Parser::new(24, 80, 0), raw: Vec::new() }
    }

    /// The user's terminal, opened, with a prompt on it.
    fn opens(&mut self, display: Display) -> Terminal {
        let another = || self.slave.try_clone().expect("a descriptor");
        let inbox = Inbox::new(Mailbox::new(Box::new(NullSignal), 1));
        // As standard output: once more, without blocking.
        let direct = reopen(OpenOptions::new().write(true), self.slave.as_raw_fd());
        let output = Output::start(&inbox, File::from(another()), direct).expect("an output");
        let screen = reopen(OpenOptions::new().write(true), self.slave.as_raw_fd()).map(OwnedFd::from);
        let terminal = Terminal::open(another(), &inbox, ConsoleMode::Line, output, display, screen);
        let mut terminal = terminal.expect("a terminal");
        terminal.set_prompt("> ").expect("a prompt");
        self.sees("> ");
        terminal
    }

    fn types(&mut self, keys: &[u8]) {
        self.master.write_all(keys).expect("the terminal takes it");
    }

    /// Waits until the screen shows this, and the cursor is at its end.
    #[track_caller]
    fn sees(&mut self, expected: &str) {
        let row = expected.matches('\n').count();
        loop {
            let (shown, cursor) = (self.screen.screen().contents(), self.screen.screen().cursor_position());
            if shown == expected.trim_end_matches('\n') && usize::from(cursor.0) == row {
                return;
            }
            let mut buffer = [0; 4096];
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            let timeout = Timespec::try_from(TEST_TIMEOUT).expect("a few seconds");
            let count = rustix::event::poll(&mut fds, Some(&timeout)).expect("poll");
            assert!(count > 0, "{shown:?} is shown, not {expected:?}");
            let count = self.master.read(&mut buffer).expect("it shows something");
            self.raw.extend_from_slice(&buffer[..count]);
            self.screen.process(&buffer[..count]);
        }
    }

    fn settings(&self) -> String {
        format!("{:?}", tcgetattr(&self.slave).expect("settings"))
    }
}

/// The next input is this. Waits for it, and lets the terminal read it.
#[track_caller]
fn reads(terminal: &mut Terminal, expected: Input) {
    let input = loop {
        if let Some(input) = terminal.inbox.pop() {
            break input;
        }
        let mut fds = [PollFd::new(&terminal.reader.fd, PollFlags::IN)];
        let timeout = Timespec::try_from(TEST_TIMEOUT).expect("a few seconds");
        assert!(rustix::event::poll(&mut fds, Some(&timeout)).expect("poll") > 0, "nothing was typed");
        terminal.ready();
    };
    assert_eq!(input, expected);
}

#[test]
fn the_end_of_one_terminal_leaves_another_as_it_is() {
    let (mut first_user, mut second_user) = (FakeUser::new(), FakeUser::new());
    let found = second_user.settings();
    let (first, mut second) = (first_user.opens(Display::Capable), second_user.opens(Display::Capable));
    second.set_mode(ConsoleMode::Raw).expect("raw");
    let raw = second_user.settings();
    assert_ne!(raw, found);
    drop(first);
    assert_eq!(second_user.settings(), raw, "the end of the first");
    drop(second);
    assert_eq!(second_user.settings(), found, "its own end");
}

#[test]
fn the_kernel_edits_where_the_editor_could_not_draw() {
    for (display, echo) in [(Display::Dumb, true), (Display::Capable, false)] {
        let mut user = FakeUser::new();
        let mut settings = tcgetattr(&user.slave).expect("settings");
        settings.local_modes.set(LocalModes::ECHO, echo);
        tcsetattr(&user.slave, OptionalActions::Now, &settings).expect("settings");
        let mut terminal = user.opens(display);
        user.types(b"helpx\x7f me\r");
        reads(&mut terminal, Input::Line("help me".into()));
        terminal.print("news").expect("room");
        // The kernel has erased the character.
        user.sees(if echo { "> help me\n> \nnews\n> " } else { "> > \nnews\n> " });
        terminal.set_echo(false).expect("an echo");
        terminal.set_echo(true).expect("an echo");
        assert_eq!(tcgetattr(&user.slave).expect("settings").local_modes.contains(LocalModes::ECHO), echo);
        user.types(b"half");
        terminal.set_mode(ConsoleMode::Raw).expect("raw");
        user.types(b"x\r");
        let mut typed = String::new();
        while !typed.ends_with('\r') {
            terminal.ready();
            if let Some(Input::Bytes(more)) = terminal.inbox.pop() {
                typed.push_str(&more);
            }
        }
        assert_eq!(typed, "halfx\r");
        drop(terminal);
        assert!(!user.raw.contains(&b'\x1b'), "{:?}", String::from_utf8_lossy(&user.raw));
    }
}

#[test]
fn text_of_one_read_is_shown_in_one_write() {
    let mut user = FakeUser::new();
    let mut terminal = user.opens(Display::Capable);
    user.types("one\rgrüße\rth".as_bytes());
    reads(&mut terminal, Input::Line("one".into()));
    reads(&mut terminal, Input::Line("grüße".into()));
    user.sees("> one\n> grüße\n> th");
    terminal.print("news").expect("room");
    user.sees("> one\n> grüße\nnews\n> th");
}

#[test]
fn an_answer_overtakes_what_a_slow_terminal_has_not_been_sent() {
    let mut user = FakeUser::new();
    let mut terminal = user.opens(Display::Capable);
    user.types(b"who");
    let chatter = |number: u32| format!("Ann says: this is line {number} of many");
    // Nothing is read meanwhile.
    let mut lines = 0;
    while terminal.print(&chatter(lines)).is_ok() {
        lines += 1;
    }
    assert!(lines > 50_000, "{lines}");
    terminal.answer("the answer").expect("answers have room of their own");
    terminal.ready();
    terminal.flush().expect("a report");
    let (mut shown, mut drained) = (String::new(), false);
    let (last, started) = (chatter(lines - 1), Instant::now());
    while !drained || !shown.ends_with("> who") || !shown.contains(&last) {
        assert!(started.elapsed() < TEST_TIMEOUT, "it is not all shown");
        if state_of(user.master.as_fd()).expect("poll").contains(PollFlags::IN) {
            let mut buffer = [0; 4096];
            let count = user.master.read(&mut buffer).expect("it shows something");
            shown.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        terminal.room();
        drained |= terminal.inbox.pop() == Some(Input::Drained);
    }
    let at = shown.find("the answer").expect("it is shown");
    assert!(at < 64 << 10, "{at} bytes stood before it");
    let number_in = |line: &str| line.split_once("this is line ")?.1.split(' ').next()?.parse::<u32>().ok();
    let numbers = shown.lines().filter_map(number_in);
    assert!(numbers.eq(0..lines), "each line once, in order");
    assert!(shown.len() < lines as usize * 45, "the line is drawn once for many: {}", shown.len());
}

#[test]
fn half_a_character_of_raw_mode_begins_a_line() {
    let mut user = FakeUser::new();
    let mut terminal = user.opens(Display::Capable);
    terminal.set_mode(ConsoleMode::Raw).expect("raw");
    user.types(b"a\xc3");
    reads(&mut terminal, Input::Bytes("a".into()));
    terminal.set_mode(ConsoleMode::Line).expect("lines");
    user.types(b"\xa9\r");
    reads(&mut terminal, Input::Line("é".into()));
    user.sees("> é\n> ");
}

/// Types some keys, and lets the engine collect everything but signals.
fn collects(user: &mut FakeUser, terminal: &mut Terminal, keys: &str) {
    user.types(keys.as_bytes());
    for line in keys.split_terminator('\r') {
        reads(terminal, Input::Line(line.into()));
    }
    terminal.room();
}

#[test]
fn passwords_that_were_typed_ahead_are_not_in_the_file() {
    let path = std::env::temp_dir().join(format!("dolmen-typed-ahead-{}", std::process::id()));
    let mut user = FakeUser::new();
    let mut terminal = user.opens(Display::Capable);
    terminal.set_history_file(&path).expect("a file");
    collects(&mut user, &mut terminal, "one\r");
    terminal.room();
    terminal.room();
    collects(&mut user, &mut terminal, "passwd\rsecret\rsecret\r");
    terminal.room();
    terminal.set_echo(false).expect("no echo");
    collects(&mut user, &mut terminal, "secret\r");
    terminal.set_echo(true).expect("an echo");
    (0..3).for_each(|_| terminal.room());
    // The same file again: none of its lines is there twice.
    terminal.set_history_file(&path).expect("a file");
    collects(&mut user, &mut terminal, "quit\r");
    user.types(b"\x1b[A\x1b[A\x1b[A\r");
    reads(&mut terminal, Input::Line("one".into()));
    drop(terminal);
    let kept = std::fs::read_to_string(&path).expect("a file");
    let _ = std::fs::remove_file(&path);
    assert_eq!(kept, "one\nquit\n");
}

#[test]
fn pasted_text_is_not_marked_after_an_end_with_a_full_queue() {
    let mut user = FakeUser::new();
    let mut terminal = user.opens(Display::Capable);
    while terminal.print(&"Ann says: hello to everyone who is here\n".repeat(100)).is_ok() {}
    let mut master = user.master.try_clone().expect("a descriptor");
    let reader = std::thread::spawn(move || {
        let (mut end, mut buffer) = (Vec::new(), [0; 4096]);
        while !end.ends_with(restore::PASTE_OFF.as_bytes()) {
            let mut fds = [PollFd::new(&master, PollFlags::IN)];
            let timeout = Timespec::try_from(TEST_TIMEOUT).expect("a few seconds");
            let count = rustix::event::poll(&mut fds, Some(&timeout)).expect("poll");
            assert!(count > 0, "pasted text is still marked: {:?}", String::from_utf8_lossy(&end));
            let count = master.read(&mut buffer).expect("it shows something");
            end.extend_from_slice(&buffer[..count]);
            end.drain(..end.len().saturating_sub(100));
        }
    });
    drop(terminal);
    reader.join().expect("it is switched off");
}
