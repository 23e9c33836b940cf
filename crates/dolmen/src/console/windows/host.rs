//! The console of the system, as the reader of lines uses it.

use std::io;
use std::os::windows::io::{AsHandle as _, OwnedHandle};
use std::sync::Arc;

use windows_sys::Win32::System::Console::{
    CONSOLE_MODE, ENABLE_ECHO_INPUT, ENABLE_EXTENDED_FLAGS, ENABLE_INSERT_MODE, ENABLE_LINE_INPUT,
    ENABLE_PROCESSED_INPUT, ENABLE_QUICK_EDIT_MODE, ENABLE_WINDOW_INPUT, ENHANCED_KEY, LEFT_CTRL_PRESSED,
};

use super::super::ConsoleMode;
use super::super::line_reader::{Host, WAKE};
use super::sys;

const KEY_END: u16 = 0x23;
const KEY_6: u16 = 0x36;

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

    /// Presses the keys that end a read with the text typed so far, which a cancel would lose [hc27].
    ///
    /// End comes first: with the cursor in the text, one edition of the console cuts off what stands behind it, and the
    /// other puts the control character over it. It comes twice, because a console that is held (Ctrl-S, Pause) is
    /// released by the first key, and drops it [hc54].
    pub(super) fn press_keys_that_end_a_read(&self) -> io::Result<()> {
        let end = (KEY_END, 0, ENHANCED_KEY);
        sys::press(&self.console, &[end, end, (KEY_6, WAKE, LEFT_CTRL_PRESSED)])
    }
}

impl Host for Arc<ConsoleHost> {
    fn read_line(&self, buffer: &mut [u16], kept: usize) -> io::Result<usize> {
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

    fn window_size(&self) -> Option<(u16, u16)> {
        sys::window_size(self.screen.as_ref()?)
    }
}
