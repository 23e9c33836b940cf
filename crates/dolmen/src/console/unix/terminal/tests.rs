//! Moments that no one can hit by typing, at a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec};
use rustix::io::ioctl_fionread;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

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
}

impl FakeUser {
    /// A user's terminal, with a prompt on it, and the line in the kernel.
    fn new() -> (FakeUser, Terminal) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let slave = ioctl_tiocgptpeer(&master, flags).expect("its other end");
        let another = || slave.try_clone().expect("a descriptor");
        let inbox = Inbox::new(Mailbox::new(Box::new(NullSignal), 1));
        let output = Output::start(&inbox, File::from(another()), Some(another().into())).expect("an output");
        let mut terminal = Terminal::open(another(), &inbox, ConsoleMode::Line, output).expect("a terminal");
        terminal.screen = true;
        terminal.set_prompt("> ").expect("a prompt");
        assert!(terminal.editor.is_none());
        let mut user = FakeUser { master: master.into(), slave, screen: vt100::Parser::new(24, 80, 0) };
        user.sees("> ");
        (user, terminal)
    }

    fn types(&mut self, keys: &[u8]) {
        self.master.write_all(keys).expect("the terminal takes it");
    }

    /// Waits until this many bytes can be read from the terminal, which is the editor's.
    #[track_caller]
    fn has_typed(&self, bytes: u64) {
        let started = Instant::now();
        // Typed input takes a moment, and a poll reports the first byte only.
        while ioctl_fionread(&self.slave).expect("a number") != bytes {
            assert!(started.elapsed() < TEST_TIMEOUT, "not so many");
            std::thread::yield_now();
        }
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
            assert!(awaits(self.master.as_fd()), "{shown:?} is shown, not {expected:?}");
            let count = self.master.read(&mut buffer).expect("it shows something");
            self.screen.process(&buffer[..count]);
        }
    }
}

/// Waits for something to read. Returns false when nothing comes.
fn awaits(fd: BorrowedFd<'_>) -> bool {
    let timeout = Timespec::try_from(TEST_TIMEOUT).expect("a few seconds");
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&timeout)).expect("poll") > 0
}

#[test]
fn a_line_typed_while_the_kernel_gets_the_terminal_back_is_shown() {
    for echo in [true, false] {
        let (mut user, mut terminal) = FakeUser::new();
        terminal.set_echo(echo).expect("an echo");
        terminal.borrow_line().expect("the line");
        // The point where `return_line` has found nothing, and has not told the kernel yet.
        user.types(b"quit\r");
        user.has_typed(5);
        terminal.editor = None;
        terminal.apply().expect("settings");
        terminal.ready();
        assert_eq!(terminal.inbox.pop(), Some(Input::Line("quit".into())));
        user.sees(if echo { "> quit\n> " } else { "> \n> " });
        assert!(terminal.editor.is_none());
    }
}

#[test]
fn a_line_ended_while_the_editor_gets_the_terminal_is_shown() {
    for echo in [true, false] {
        let (mut user, mut terminal) = FakeUser::new();
        terminal.set_echo(echo).expect("an echo");
        // Shown by the kernel, and followed by a whole line.
        user.types(b"one\rtw");
        user.sees(if echo { "> one\ntw" } else { "> \n" });
        // The point where `borrow_line` has told the kernel, and has not read yet.
        terminal.editor = Some(Editor::new(terminal.edit_keys()));
        terminal.apply().expect("settings");
        user.types(b"o\rth");
        user.has_typed(10);
        terminal.read(false);
        let lines = std::iter::from_fn(|| terminal.inbox.pop());
        assert_eq!(lines.collect::<Vec<_>>(), ["one", "two"].map(|line| Input::Line(line.into())));
        terminal.print("news").expect("room");
        user.sees(if echo { "> one\n> two\nnews\n> th" } else { "> \n> \nnews\n> " });
    }
}

#[test]
fn the_end_of_one_terminal_leaves_another_as_it_is() {
    let (_first, first) = FakeUser::new();
    let (second_user, mut second) = FakeUser::new();
    let settings = || format!("{:?}", tcgetattr(&second_user.slave).expect("settings"));
    let found = settings();
    second.set_mode(ConsoleMode::Raw).expect("raw");
    let raw = settings();
    assert_ne!(raw, found);
    drop(first);
    assert_eq!(settings(), raw, "the end of the first");
    drop(second);
    assert_eq!(settings(), found, "its own end");
}
