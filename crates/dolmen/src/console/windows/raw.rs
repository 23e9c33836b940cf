//! Raw mode: reads all available console records.
//!
//! A console's handle is signalled while it has any record: also for focus, mouse and menu, key releases and changes of
//! the window. All of them are taken out, or the handle would stay signalled indefinitely.

use std::io;
use std::os::windows::io::OwnedHandle;

use windows_sys::Win32::System::Console::{INPUT_RECORD, KEY_EVENT, WINDOW_BUFFER_SIZE_EVENT};

use super::super::keys::{KeyRecord, Keys};
use super::super::{Inbox, Input};
use super::sys;

/// Reads until nothing is left, or the inbox is full. Calls `size` when the window has changed.
pub(super) fn read(
    console: &OwnedHandle,
    keys: &mut Keys,
    inbox: &Inbox,
    size: impl Fn() -> Option<(u16, u16)>,
) -> io::Result<()> {
    let mut records = [INPUT_RECORD::default(); 128];
    while inbox.has_room() {
        let count = sys::read_records(console, &mut records)?;
        if count == 0 {
            break;
        }
        for record in &records[..count] {
            match u32::from(record.EventType) {
                KEY_EVENT => {
                    // SAFETY: the type says that it is a key event, and all its fields are plain numbers.
                    let key = unsafe { record.Event.KeyEvent };
                    if sys::is_ours(&key) {
                        continue;
                    }
                    let record = KeyRecord {
                        down: key.bKeyDown != 0,
                        repeat: key.wRepeatCount,
                        key: key.wVirtualKeyCode,
                        // SAFETY: both members of the union are plain numbers, and the wide functions fill this one.
                        unit: unsafe { key.uChar.UnicodeChar },
                        control: key.dwControlKeyState,
                    };
                    keys.feed(record, |input| inbox.push(input));
                }
                WINDOW_BUFFER_SIZE_EVENT => {
                    keys.flush(|input| inbox.push(input));
                    if let Some((columns, rows)) = size() {
                        inbox.push(Input::Resized { columns, rows });
                    }
                }
                // Focus, mouse and menu: of no use, but left there they would keep the handle signalled [hc26].
                _ => {}
            }
        }
        keys.flush(|input| inbox.push(input));
    }
    Ok(())
}
