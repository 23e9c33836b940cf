//! Windows calls that a caller of the library makes itself, and the keys of an operator.

use std::ffi::{CStr, c_char};
use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::windows::io::{AsRawHandle as _, AsRawSocket as _, FromRawHandle as _, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::Socket;
use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_IO_PENDING, INVALID_HANDLE_VALUE, WAIT_OBJECT_0,
};
use windows_sys::Win32::Networking::WinSock::{
    SO_REUSE_UNICASTPORT, SOCKET, SOCKET_ERROR, SOL_SOCKET, WSA_IO_PENDING, WSABUF, WSAGetLastError,
    WSAGetOverlappedResult, WSASend, setsockopt,
};
use windows_sys::Win32::Storage::FileSystem::{PIPE_ACCESS_OUTBOUND, ReadFile};
use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, COORD, CTRL_LOGOFF_EVENT, GetConsoleScreenBufferInfo, INPUT_RECORD,
    INPUT_RECORD_0, KEY_EVENT, KEY_EVENT_RECORD, KEY_EVENT_RECORD_0, ReadConsoleOutputCharacterW, STD_HANDLE,
    STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, SetConsoleCtrlHandler, SetStdHandle, WriteConsoleInputW,
    WriteConsoleW,
};
use windows_sys::Win32::System::IO::{GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Pipes::{CreateNamedPipeW, CreatePipe, PIPE_TYPE_BYTE};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;
use windows_sys::Win32::System::SystemInformation::OSVERSIONINFOW;
use windows_sys::Win32::System::Threading::{
    CreateEventW, GetCurrentProcessId, SetEvent, WaitForSingleObject,
};

/// The version of Wine, if this is Wine.
pub fn wine_version() -> Option<String> {
    // SAFETY: the names end with a zero. Where the function exists, it takes nothing and returns a text that is constant.
    unsafe {
        let ntdll = GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
        let function = GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast())?;
        let function = std::mem::transmute::<
            unsafe extern "system" fn() -> isize,
            unsafe extern "C" fn() -> *const c_char,
        >(function);
        Some(CStr::from_ptr(function()).to_string_lossy().into_owned())
    }
}

/// The version of Windows, with the number of its build.
pub fn windows_version() -> String {
    let size = size_of::<OSVERSIONINFOW>() as u32;
    let mut version = OSVERSIONINFOW { dwOSVersionInfoSize: size, ..Default::default() };
    // SAFETY: the structure is writable, and has the size that it states.
    unsafe { RtlGetVersion(&mut version) };
    format!("{}.{}.{}", version.dwMajorVersion, version.dwMinorVersion, version.dwBuildNumber)
}

/// The session of this process. Services are in session 0.
pub fn session() -> io::Result<u32> {
    let mut session = 0;
    // SAFETY: the number is writable.
    check(unsafe { ProcessIdToSessionId(GetCurrentProcessId(), &mut session) })?;
    Ok(session)
}

/// Whether the system has notified this process of a user's log-off since [`record_log_offs`].
static LOGGED_OFF: AtomicBool = AtomicBool::new(false);

/// Records log-offs, and leaves them to the handlers that were installed before. The system calls the newest handler first.
pub fn record_log_offs() -> io::Result<()> {
    unsafe extern "system" fn record(event: u32) -> i32 {
        if event == CTRL_LOGOFF_EVENT {
            LOGGED_OFF.store(true, Ordering::Release);
        }
        0
    }
    // SAFETY: the handler is a function of this program, for good.
    check(unsafe { SetConsoleCtrlHandler(Some(record), 1) })
}

pub fn has_logged_off() -> bool {
    LOGGED_OFF.load(Ordering::Acquire)
}

/// Makes the console of this process its standard input and output, and returns both.
pub fn use_console() -> io::Result<(File, File)> {
    let open = |name| File::options().read(true).write(true).open(name);
    let (keyboard, screen) = (open("CONIN$")?, open("CONOUT$")?);
    set_standard(STD_INPUT_HANDLE, &keyboard)?;
    set_standard(STD_OUTPUT_HANDLE, &screen)?;
    Ok((keyboard, screen))
}

/// Makes a file the standard input of this process. It has to stay open.
pub fn set_stdin(file: &File) -> io::Result<()> {
    set_standard(STD_INPUT_HANDLE, file)
}

fn set_standard(which: STD_HANDLE, file: &File) -> io::Result<()> {
    // SAFETY: the caller keeps the handle open.
    check(unsafe { SetStdHandle(which, file.as_raw_handle()) })
}

/// A key: the virtual key, its character, and the state of the control keys.
#[derive(Clone, Copy)]
pub struct Key(pub u16, pub u16, pub u32);

/// Presses and releases keys, as the keyboard would.
pub fn press(keyboard: &File, keys: &[Key]) -> io::Result<()> {
    /// A console of old takes 64 KiB at a time.
    const MOST_RECORDS: usize = 1024;
    let record = |key: &Key, down: bool| INPUT_RECORD {
        EventType: KEY_EVENT as u16,
        Event: INPUT_RECORD_0 {
            KeyEvent: KEY_EVENT_RECORD {
                bKeyDown: down.into(),
                wRepeatCount: 1,
                wVirtualKeyCode: key.0,
                wVirtualScanCode: 0,
                uChar: KEY_EVENT_RECORD_0 { UnicodeChar: key.1 },
                dwControlKeyState: key.2,
            },
        },
    };
    let records: Vec<INPUT_RECORD> =
        keys.iter().flat_map(|key| [record(key, true), record(key, false)]).collect();
    for records in records.chunks(MOST_RECORDS) {
        // The console takes all of them or none. A key that holds it, or that ends a hold, is not in its count.
        let mut count = 0;
        // SAFETY: the number of records is the one given, and the count is writable.
        check(unsafe {
            WriteConsoleInputW(keyboard.as_raw_handle(), records.as_ptr(), records.len() as u32, &mut count)
        })?;
    }
    Ok(())
}

/// Writes a text to a console, and waits while the console is held.
pub fn write_console(screen: &File, text: &str) -> io::Result<()> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut count = 0;
    // SAFETY: the number of units is the one given, and the count is writable; the last argument is reserved.
    check(unsafe {
        WriteConsoleW(screen.as_raw_handle(), units.as_ptr(), units.len() as u32, &mut count, null())
    })
}

/// The last rows of a screen, down to the end of its window.
pub fn screen_text(screen: &File) -> io::Result<String> {
    const MOST_ROWS: i16 = 200;
    let mut info = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: the structure is writable.
    check(unsafe { GetConsoleScreenBufferInfo(screen.as_raw_handle(), &mut info) })?;
    let last = info.srWindow.Bottom.max(info.dwCursorPosition.Y);
    let mut row = vec![0u16; usize::try_from(info.dwSize.X).unwrap_or(0)];
    let mut text = String::new();
    for y in (last - MOST_ROWS).max(0)..=last {
        let mut count = 0;
        // SAFETY: the row has room for as many units as given.
        check(unsafe {
            ReadConsoleOutputCharacterW(
                screen.as_raw_handle(),
                row.as_mut_ptr(),
                row.len() as u32,
                COORD { X: 0, Y: y },
                &mut count,
            )
        })?;
        text.push_str(String::from_utf16_lossy(&row[..(count as usize).min(row.len())]).trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// An event that is reset by the wait that finds it set.
pub fn event() -> io::Result<OwnedHandle> {
    // SAFETY: the null pointers mean "no attributes" and "no name".
    owned(unsafe { CreateEventW(null(), 0, 0, null()) })
}

pub fn set(event: &OwnedHandle) -> io::Result<()> {
    // SAFETY: the handle is open.
    check(unsafe { SetEvent(event.as_raw_handle()) })
}

/// Sends bytes by an overlapped call, and waits for its end by its event. Returns how many were sent.
pub fn send_overlapped(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let event = event()?;
    let mut overlapped = OVERLAPPED { hEvent: event.as_raw_handle(), ..Default::default() };
    let buffer =
        WSABUF { len: u32::try_from(bytes.len()).unwrap_or(u32::MAX), buf: bytes.as_ptr().cast_mut() };
    let socket = stream.as_raw_socket() as SOCKET;
    // SAFETY: `overlapped` and the bytes outlive the operation, whose end the call below waits for; the system reads the
    // bytes only.
    let result = unsafe { WSASend(socket, &buffer, 1, null_mut(), 0, &mut overlapped, None) };
    // SAFETY: no pointers.
    if result == SOCKET_ERROR && unsafe { WSAGetLastError() } != WSA_IO_PENDING {
        return Err(io::Error::last_os_error());
    }
    let (mut sent, mut flags) = (0, 0);
    // SAFETY: the operation is the one above, and all pointers are valid. It waits.
    check(unsafe { WSAGetOverlappedResult(socket, &overlapped, &mut sent, 1, &mut flags) })?;
    Ok(sent as usize)
}

/// An anonymous pipe: the end to read, and the end to write.
pub fn pipe() -> io::Result<(File, File)> {
    let (mut read, mut write) = (null_mut(), null_mut());
    // SAFETY: both handles are writable; null means "no attributes", and 0 the usual size.
    check(unsafe { CreatePipe(&mut read, &mut write, null(), 0) })?;
    Ok((owned(read)?.into(), owned(write)?.into()))
}

/// A named pipe with one instance: the end to write.
pub fn named_pipe(name: &str) -> io::Result<File> {
    let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
    const BYTES: u32 = 4096;
    // SAFETY: the name ends with a zero; null means "no attributes".
    let pipe = unsafe {
        CreateNamedPipeW(name.as_ptr(), PIPE_ACCESS_OUTBOUND, PIPE_TYPE_BYTE, 1, BYTES, BYTES, 0, null())
    };
    if pipe == INVALID_HANDLE_VALUE { Err(io::Error::last_os_error()) } else { Ok(owned(pipe)?.into()) }
}

/// Reads by an overlapped call. 0 at the end of the input.
pub fn read_overlapped(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let event = event()?;
    // The lowest bit keeps the packet of this call from a completion port.
    let tagged = (event.as_raw_handle() as usize | 1) as *mut std::ffi::c_void;
    let mut overlapped = OVERLAPPED { hEvent: tagged, ..Default::default() };
    let length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    // SAFETY: `overlapped` and the buffer outlive the operation, whose end the calls below wait for.
    let started =
        unsafe { ReadFile(file.as_raw_handle(), buffer.as_mut_ptr(), length, null_mut(), &mut overlapped) };
    let is_end = |error: &io::Error| error.raw_os_error() == Some(ERROR_BROKEN_PIPE as i32);
    if started == 0 {
        let error = io::Error::last_os_error();
        if is_end(&error) {
            return Ok(0);
        }
        if error.raw_os_error() != Some(ERROR_IO_PENDING as i32) {
            return Err(error);
        }
    }
    // SAFETY: the handle is open.
    if unsafe { WaitForSingleObject(event.as_raw_handle(), u32::MAX) } != WAIT_OBJECT_0 {
        // The system would still write to the buffer.
        std::process::abort();
    }
    let mut count = 0;
    // SAFETY: the operation is the one above, and has ended.
    match check(unsafe { GetOverlappedResult(file.as_raw_handle(), &overlapped, &mut count, 0) }) {
        Err(error) if is_end(&error) => Ok(0),
        result => result.map(|()| count as usize),
    }
}

/// From now on Windows chooses the socket's port when it connects, and not when it is bound. Fails on systems without
/// the option.
pub fn choose_port_late(socket: &Socket) -> io::Result<()> {
    let on = 1_u32;
    // SAFETY: the socket is open, and the value is readable for its length.
    let result = unsafe {
        setsockopt(
            socket.as_raw_socket() as SOCKET,
            SOL_SOCKET,
            SO_REUSE_UNICASTPORT,
            (&raw const on).cast(),
            size_of::<u32>() as i32,
        )
    };
    check((result == 0).into())
}

fn owned(handle: *mut std::ffi::c_void) -> io::Result<OwnedHandle> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was just made, and has no other owner.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

fn check(succeeded: i32) -> io::Result<()> {
    if succeeded == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
