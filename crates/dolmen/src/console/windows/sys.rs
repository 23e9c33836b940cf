//! Safe wrappers of console functions.

use std::io;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};

use super::super::line_reader::PressedKey;
use windows_sys::Win32::Foundation::{ERROR_OPERATION_ABORTED, SetLastError};
use windows_sys::Win32::System::Console::{
    CONSOLE_MODE, CONSOLE_READCONSOLE_CONTROL, CONSOLE_SCREEN_BUFFER_INFO, COORD, ENHANCED_KEY,
    FillConsoleOutputCharacterW, GetConsoleMode, GetConsoleScreenBufferInfo, GetNumberOfConsoleInputEvents,
    INPUT_RECORD, INPUT_RECORD_0, KEY_EVENT, KEY_EVENT_RECORD, KEY_EVENT_RECORD_0, LEFT_CTRL_PRESSED,
    PeekConsoleInputW, ReadConsoleInputW, ReadConsoleW, SetConsoleCursorPosition, SetConsoleMode,
    WriteConsoleInputW, WriteConsoleW,
};

/// The console's mode; an error if it is not a console.
pub(super) fn mode(console: &OwnedHandle) -> io::Result<CONSOLE_MODE> {
    let mut mode = 0;
    // SAFETY: the handle is open and `mode` is writable.
    check(unsafe { GetConsoleMode(console.as_raw_handle(), &mut mode) })?;
    Ok(mode)
}

pub(super) fn set_mode(console: &OwnedHandle, mode: CONSOLE_MODE) -> io::Result<()> {
    // SAFETY: the handle is open.
    check(unsafe { SetConsoleMode(console.as_raw_handle(), mode) })
}

/// Reads a line, or up to a wake-up character. The first `kept` units of the buffer are the line so far. `None`: Ctrl-C
/// or Ctrl-Break has ended the read.
pub(super) fn read_line(
    console: &OwnedHandle,
    buffer: &mut [u16],
    kept: usize,
    wake_mask: u32,
) -> io::Result<Option<usize>> {
    assert!(kept < buffer.len());
    let mut count = 0;
    let control = CONSOLE_READCONSOLE_CONTROL {
        nLength: size_of::<CONSOLE_READCONSOLE_CONTROL>() as u32,
        nInitialChars: kept as u32,
        dwCtrlWakeupMask: wake_mask,
        dwControlKeyState: 0,
    };
    // The call succeeds with nothing in either case, and only the error code tells why.
    // SAFETY: sets a value of this thread.
    unsafe { SetLastError(0) };
    // SAFETY: the buffer has room for as many units as given, and the first `kept` of them are initialised; all
    // pointers are valid for the length of the call.
    check(unsafe {
        ReadConsoleW(
            console.as_raw_handle(),
            buffer.as_mut_ptr().cast(),
            buffer.len() as u32,
            &mut count,
            &control,
        )
    })?;
    if count == 0 && io::Error::last_os_error().raw_os_error() == Some(ERROR_OPERATION_ABORTED as i32) {
        return Ok(None);
    }
    Ok(Some((count as usize).min(buffer.len())))
}

/// Reads the available records; none if there are none.
pub(super) fn read_records(console: &OwnedHandle, records: &mut [INPUT_RECORD]) -> io::Result<usize> {
    let (mut there, mut count) = (0, 0);
    // SAFETY: the handle is open and `there` is writable.
    check(unsafe { GetNumberOfConsoleInputEvents(console.as_raw_handle(), &mut there) })?;
    if there == 0 {
        return Ok(0);
    }
    // SAFETY: `records` has room for as many as given. It returns immediately when there is at least one.
    check(unsafe {
        ReadConsoleInputW(console.as_raw_handle(), records.as_mut_ptr(), records.len() as u32, &mut count)
    })?;
    Ok(count as usize)
}

/// The scan code of keys that we press ourselves. No keyboard has it.
const OUR_SCAN_CODE: u16 = 0x7DD7;

/// Presses keys, in one call: no other key comes between them.
pub(super) fn press(console: &OwnedHandle, keys: &[PressedKey]) -> io::Result<()> {
    let records: Vec<INPUT_RECORD> = keys
        .iter()
        .map(|&PressedKey { key, unit, ctrl }| INPUT_RECORD {
            EventType: KEY_EVENT as u16,
            Event: INPUT_RECORD_0 {
                KeyEvent: KEY_EVENT_RECORD {
                    bKeyDown: 1,
                    wRepeatCount: 1,
                    wVirtualKeyCode: key,
                    wVirtualScanCode: OUR_SCAN_CODE,
                    uChar: KEY_EVENT_RECORD_0 { UnicodeChar: unit },
                    dwControlKeyState: if ctrl { LEFT_CTRL_PRESSED } else { ENHANCED_KEY },
                },
            },
        })
        .collect();
    let mut count = 0;
    // SAFETY: the number of records is the one given.
    check(unsafe {
        WriteConsoleInputW(console.as_raw_handle(), records.as_ptr(), records.len() as u32, &mut count)
    })
}

/// Takes out the keys of [`press`] that wait before any other.
pub(super) fn discard_pressed_keys(console: &OwnedHandle) -> io::Result<()> {
    let mut records = [INPUT_RECORD::default(); 64];
    loop {
        let mut count = 0;
        // SAFETY: `records` has room for as many as given. It returns immediately.
        check(unsafe {
            PeekConsoleInputW(console.as_raw_handle(), records.as_mut_ptr(), records.len() as u32, &mut count)
        })?;
        let is_pressed = |record: &&INPUT_RECORD| {
            // SAFETY: the type says that it is a key event, and all its fields are plain numbers.
            u32::from(record.EventType) == KEY_EVENT && is_ours(unsafe { &record.Event.KeyEvent })
        };
        let ours = records[..count as usize].iter().take_while(is_pressed).count();
        if ours == 0 {
            return Ok(());
        }
        read_records(console, &mut records[..ours])?;
    }
}

/// Whether [`press`] has pressed the key.
pub(super) fn is_ours(key: &KEY_EVENT_RECORD) -> bool {
    key.wVirtualScanCode == OUR_SCAN_CODE
}

pub(super) fn write(screen: &OwnedHandle, text: &str) -> io::Result<()> {
    // A line feed alone keeps the column where another program has set DISABLE_NEWLINE_AUTO_RETURN.
    let units: Vec<u16> = text.replace("\r\n", "\n").replace('\n', "\r\n").encode_utf16().collect();
    let mut left = &units[..];
    while !left.is_empty() {
        // Older consoles copy written text through 64 KiB. No piece ends within a character.
        let mut length = left.len().min(8192);
        if length < left.len() && (0xD800..0xDC00).contains(&left[length - 1]) {
            length -= 1;
        }
        let mut count = 0;
        // SAFETY: `left` has at least `length` units.
        check(unsafe {
            WriteConsoleW(screen.as_raw_handle(), left.as_ptr(), length as u32, &mut count, std::ptr::null())
        })?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        left = &left[(count as usize).min(left.len())..];
    }
    Ok(())
}

pub(super) fn screen(screen: &OwnedHandle) -> io::Result<CONSOLE_SCREEN_BUFFER_INFO> {
    let mut info = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: the handle is open and `info` is writable.
    check(unsafe { GetConsoleScreenBufferInfo(screen.as_raw_handle(), &mut info) })?;
    Ok(info)
}

/// Columns and rows of the window of a screen.
pub(super) fn window_size(console: &OwnedHandle) -> Option<(u16, u16)> {
    let window = screen(console).ok()?.srWindow;
    let cells = |first: i16, last: i16| u16::try_from(i32::from(last) - i32::from(first) + 1).ok();
    Some((cells(window.Left, window.Right)?, cells(window.Top, window.Bottom)?))
}

/// Erases the `cells` before the cursor from the screen, and moves the cursor to where they began.
pub(super) fn erase_back(console: &OwnedHandle, cells: usize) -> io::Result<()> {
    let info = screen(console)?;
    let columns = i64::from(info.dwSize.X.max(1));
    let cursor = i64::from(info.dwCursorPosition.Y) * columns + i64::from(info.dwCursorPosition.X);
    let start = (cursor - cells as i64).max(0);
    let position = COORD { X: (start % columns) as i16, Y: (start / columns) as i16 };
    let mut count = 0;
    // SAFETY: the handle is open and `count` is writable; cells outside the screen are skipped.
    check(unsafe {
        FillConsoleOutputCharacterW(
            console.as_raw_handle(),
            u16::from(b' '),
            (cursor - start) as u32,
            position,
            &mut count,
        )
    })?;
    // SAFETY: the handle is open; an impossible position is refused.
    check(unsafe { SetConsoleCursorPosition(console.as_raw_handle(), position) })
}

fn check(succeeded: i32) -> io::Result<()> {
    if succeeded == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
