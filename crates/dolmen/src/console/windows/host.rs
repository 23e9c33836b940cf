//! The console of the system, as the reader of lines uses it.

use std::io;
use std::os::windows::io::{AsHandle as _, OwnedHandle};
use std::sync::Arc;

use windows_sys::Win32::System::Console::{
    CONSOLE_MODE, ENABLE_ECHO_INPUT, ENABLE_EXTENDED_FLAGS, ENABLE_INSERT_MODE, ENABLE_LINE_INPUT,
    ENABLE_PROCESSED_INPUT, ENABLE_QUICK_EDIT_MODE, ENABLE_WINDOW_INPUT,
};

use super::super::ConsoleMode;
use super::super::line_reader::{Host, WAKE, read_ends};
use super::sys;

pub(super) struct ConsoleHost {
    pub(super) console: OwnedHandle,
    /// Standard output, if it is a console: the thread that reads lines writes its text, because it knows what is on the
    /// screen.
    screen: Option<OwnedHandle>,
    original: CONSOLE_MODE,
}

impl ConsoleHost {
    pub(super) fn new(console: OwnedHandle, original: CONSOLE_MODE) -> Arc<ConsoleHost> {
        let stdout = io::stdout().as_handle().try_clone_to_owned().ok();
        let screen = stdout.filter(|stdout| sys::screen(stdout).is_ok());
        Arc::new(ConsoleHost { console, screen, original })
    }

    pub(super) fn has_screen(&self) -> bool {
        self.screen.is_some()
    }

    /// Presses the keys that end a read.
    pub(super) fn end_read(&self) -> io::Result<()> {
        sys::press(&self.console, read_ends())
    }
}

impl Host for Arc<ConsoleHost> {
    fn read_line(&self, buffer: &mut [u16], kept: usize) -> io::Result<Option<usize>> {
        sys::read_line(&self.console, buffer, kept, 1 << WAKE)
    }

    /// The operator's own settings are left alone.
    fn set_mode(&self, mode: ConsoleMode, echo: bool) -> io::Result<()> {
        let kept = self.original & (ENABLE_EXTENDED_FLAGS | ENABLE_INSERT_MODE | ENABLE_QUICK_EDIT_MODE);
        let ours = match mode {
            ConsoleMode::Line if echo => ENABLE_PROCESSED_INPUT | ENABLE_LINE_INPUT | ENABLE_ECHO_INPUT,
            ConsoleMode::Line => ENABLE_PROCESSED_INPUT | ENABLE_LINE_INPUT,
            ConsoleMode::Raw => ENABLE_WINDOW_INPUT,
        };
        sys::set_mode(&self.console, kept | ours)
    }

    fn write(&self, text: &str) -> io::Result<()> {
        self.screen.as_ref().map_or(Ok(()), |screen| sys::write(screen, text))
    }

    fn erase_back(&self, cells: usize) -> io::Result<()> {
        self.screen.as_ref().map_or(Ok(()), |screen| sys::erase_back(screen, cells))
    }

    fn is_at_line_start(&self) -> bool {
        let screen = self.screen.as_ref().and_then(|screen| sys::screen(screen).ok());
        screen.is_none_or(|screen| screen.dwCursorPosition.X == 0)
    }

    fn window_size(&self) -> Option<(u16, u16)> {
        sys::window_size(self.screen.as_ref()?)
    }
}
