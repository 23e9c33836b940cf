//! The settings of a terminal in each state, and whether it is one that the line editor can draw on.
//!
//! termios(3), tty_ioctl(4).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

use crate::console::ConsoleMode;
use crate::console::editor::SpecialKeys;

/// Where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Display {
    /// Not to a terminal.
    Elsewhere,
    /// To a terminal that knows no escape sequences.
    Dumb,
    /// To a terminal that does.
    Capable,
}

impl Display {
    /// `term`: the environment's `TERM`.
    pub(super) fn new(is_terminal: bool, term: Option<&OsStr>) -> Display {
        match term {
            _ if !is_terminal => Display::Elsewhere,
            Some(name) if !name.is_empty() && name != "dumb" => Display::Capable,
            _ => Display::Dumb,
        }
    }
}

/// The settings that the terminal had when it was opened, and those made from them.
pub(super) struct Modes {
    pub(super) original: Termios,
    /// The editor has the terminal in line mode. Otherwise the kernel's own editing has it.
    edits: bool,
}

impl Modes {
    /// The editor keeps off a terminal that cannot show what it draws, and off one that was silent: its echo is another
    /// program's, or unwanted.
    pub(super) fn of(terminal: &OwnedFd, display: Display) -> io::Result<Modes> {
        let original = tcgetattr(terminal)?;
        let edits = display == Display::Capable && original.local_modes.contains(LocalModes::ECHO);
        Ok(Modes { original, edits })
    }

    pub(super) fn edits(&self) -> bool {
        self.edits
    }

    /// The terminal's special characters.
    pub(super) fn special_keys(&self) -> SpecialKeys {
        let code = |index| self.original.special_codes[index];
        SpecialKeys {
            erase: code(SpecialCodeIndex::VERASE),
            kill: code(SpecialCodeIndex::VKILL),
            erase_word: code(SpecialCodeIndex::VWERASE),
            end: code(SpecialCodeIndex::VEOF),
            literal: code(SpecialCodeIndex::VLNEXT),
        }
    }

    /// Sets the terminal up. This discards no typed input [hc27]. In the background it does nothing, because there it would
    /// stop the process.
    pub(super) fn apply(&self, terminal: &OwnedFd, mode: ConsoleMode, echo: bool) -> io::Result<()> {
        if is_foreground(terminal.as_fd()) {
            tcsetattr(terminal, OptionalActions::Now, &self.settings(mode, echo))?;
        }
        Ok(())
    }

    fn settings(&self, mode: ConsoleMode, echo: bool) -> Termios {
        let mut settings = self.original.clone();
        if mode == ConsoleMode::Raw {
            // Output stays cooked: raw mode concerns keys only.
            let output = settings.output_modes;
            settings.make_raw();
            settings.output_modes = output;
            return settings;
        }
        settings.local_modes |= LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        settings.input_modes |= InputModes::ICRNL;
        settings.input_modes &= !(InputModes::INLCR | InputModes::IGNCR);
        if self.edits {
            settings.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHONL);
            // In a pasted text a return and a line feed are one line end.
            settings.input_modes &= !InputModes::ICRNL;
            settings.special_codes[SpecialCodeIndex::VMIN] = 1;
            settings.special_codes[SpecialCodeIndex::VTIME] = 0;
        } else if !echo && settings.local_modes.contains(LocalModes::ECHO) {
            settings.local_modes &= !LocalModes::ECHO;
            // The end of the line is not secret, and the next output belongs on a new line.
            settings.local_modes |= LocalModes::ECHONL;
        }
        settings
    }
}

/// Whether the terminal is ours to read and to set up. Also true where there is no job control.
pub(super) fn is_foreground(terminal: BorrowedFd<'_>) -> bool {
    tcgetpgrp(terminal).map_or(true, |group| group == rustix::process::getpgrp())
}
