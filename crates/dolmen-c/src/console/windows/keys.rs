//! Key presses in a console's input, which has records of other kinds as well.

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Console::{INPUT_RECORD, KEY_EVENT, PeekConsoleInputW, ReadConsoleInputW};

/// Whether the console has a key press. Records before the first one are removed: they would keep the handle signalled,
/// and no caller reads them [hc26].
pub(super) fn has_key(stdin: HANDLE) -> bool {
    // SAFETY: all-zero bytes are a valid record.
    let mut records: [INPUT_RECORD; 64] = unsafe { std::mem::zeroed() };
    loop {
        let mut count = 0;
        // SAFETY: there is room for the number of records given.
        let peeked =
            unsafe { PeekConsoleInputW(stdin, records.as_mut_ptr(), records.len() as u32, &mut count) };
        if peeked == 0 || count == 0 {
            return false;
        }
        let others = records[..count as usize].iter().take_while(|record| !is_key(record)).count();
        if others > 0 {
            let mut taken = 0;
            // SAFETY: as above. It does not block, as these records are available and there is no other reader.
            unsafe { ReadConsoleInputW(stdin, records.as_mut_ptr(), others as u32, &mut taken) };
            if taken == 0 {
                return false;
            }
        }
        if others < count as usize {
            return true;
        }
    }
}

fn is_key(record: &INPUT_RECORD) -> bool {
    const ALT: u16 = 0x12;
    if record.EventType != KEY_EVENT as u16 {
        return false;
    }
    // SAFETY: the record's type says that this member is the valid one, and its character is plain bits.
    let (key, character) = unsafe {
        let key = record.Event.KeyEvent;
        (key, key.uChar.UnicodeChar)
    };
    // A character that was typed as a number arrives with the key-up of Alt.
    key.bKeyDown != 0 || (key.wVirtualKeyCode == ALT && character != 0)
}
