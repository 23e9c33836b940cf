//! The name that is recorded for an address: the one call that the standard library does not have.
//!
//! Manual pages: getnameinfo(3), gai_strerror(3). Microsoft Learn: "GetNameInfoW".

use std::io;
use std::net::IpAddr;

/// The longest name, with its terminator: `NI_MAXHOST`.
const MOST_UNITS: usize = 1025;

#[cfg(unix)]
pub(super) fn name_of(ip: IpAddr) -> io::Result<String> {
    use std::ffi::CStr;

    let mut name = [0 as libc::c_char; MOST_UNITS];
    let call = |address: *const libc::sockaddr, len: usize, name: &mut [libc::c_char]| {
        // SAFETY: `address` points to a socket address of `len` bytes, and the name is written within its slice, whose
        // length is passed. No service is asked for.
        unsafe {
            libc::getnameinfo(
                address,
                len as libc::socklen_t,
                name.as_mut_ptr(),
                name.len() as libc::socklen_t,
                std::ptr::null_mut(),
                0,
                libc::NI_NAMEREQD,
            )
        }
    };
    let code = match ip {
        IpAddr::V4(ip) => {
            // SAFETY: all zeroes is a valid value of this structure of integers.
            let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            address.sin_family = libc::AF_INET as libc::sa_family_t;
            address.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
            call((&raw const address).cast(), size_of_val(&address), &mut name)
        }
        IpAddr::V6(ip) => {
            // SAFETY: as above.
            let mut address: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            address.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            address.sin6_addr.s6_addr = ip.octets();
            call((&raw const address).cast(), size_of_val(&address), &mut name)
        }
    };
    match code {
        0 => {
            let bytes = name.map(|unit| unit as u8);
            let text = CStr::from_bytes_until_nul(&bytes).ok().and_then(|text| text.to_str().ok());
            text.map(str::to_owned).ok_or_else(not_text)
        }
        libc::EAI_SYSTEM => Err(io::Error::last_os_error()),
        libc::EAI_NONAME => Err(no_name()),
        code => {
            // SAFETY: the function returns a static text for any code.
            let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
            Err(io::Error::other(text.to_string_lossy().into_owned()))
        }
    }
}

#[cfg(windows)]
pub(super) fn name_of(ip: IpAddr) -> io::Result<String> {
    use crate::kernel::Fault;
    use windows_sys::Win32::Networking::WinSock::{
        AF_INET, AF_INET6, GetNameInfoW, NI_NAMEREQD, SOCKADDR_IN, SOCKADDR_IN6, WSAHOST_NOT_FOUND,
        WSANO_DATA,
    };

    // It keeps Winsock started in this thread's call, also when the reactor is dropped meanwhile.
    let _winsock = crate::kernel::Winsock::start().map_err(Fault::to_io)?;
    let mut name = [0_u16; MOST_UNITS];
    let call = |address: *const core::ffi::c_void, len: usize, name: &mut [u16]| {
        // SAFETY: `address` points to a socket address of `len` bytes, and the name is written within its slice, whose
        // length is passed. No service is asked for.
        unsafe {
            GetNameInfoW(
                address.cast(),
                len as i32,
                name.as_mut_ptr(),
                name.len() as u32,
                std::ptr::null_mut(),
                0,
                NI_NAMEREQD as i32,
            )
        }
    };
    let code = match ip {
        IpAddr::V4(ip) => {
            let mut address = SOCKADDR_IN { sin_family: AF_INET, ..Default::default() };
            address.sin_addr.S_un.S_addr = u32::from_ne_bytes(ip.octets());
            call((&raw const address).cast(), size_of_val(&address), &mut name)
        }
        IpAddr::V6(ip) => {
            let mut address = SOCKADDR_IN6 { sin6_family: AF_INET6, ..Default::default() };
            address.sin6_addr.u.Byte = ip.octets();
            call((&raw const address).cast(), size_of_val(&address), &mut name)
        }
    };
    match code {
        0 => {
            let end = name.iter().position(|&unit| unit == 0).unwrap_or(name.len());
            String::from_utf16(&name[..end]).map_err(|_| not_text())
        }
        WSAHOST_NOT_FOUND | WSANO_DATA => Err(no_name()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

fn no_name() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the address has no name")
}

fn not_text() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the name of the address is not text")
}
