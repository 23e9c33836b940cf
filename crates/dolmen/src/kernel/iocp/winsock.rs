//! Winsock's start and end.
//!
//! Microsoft Learn: "WSAStartup".

use windows_sys::Win32::Networking::WinSock::{WSACleanup, WSADATA, WSAStartup};

use super::super::Fault;
use super::status;

/// `WSAStartup`, undone when dropped. The standard library has its own; a reactor may be the first to use Winsock.
pub(crate) struct Winsock;

impl Winsock {
    pub(crate) fn start() -> Result<Winsock, Fault> {
        let mut data = WSADATA::default();
        // SAFETY: `data` is writable for the length of the call.
        match unsafe { WSAStartup(0x0202, &mut data) } {
            0 => Ok(Winsock),
            code => Err(status::from_code(code)),
        }
    }
}

impl Drop for Winsock {
    fn drop(&mut self) {
        // SAFETY: pairs with the successful `WSAStartup`.
        unsafe { WSACleanup() };
    }
}
