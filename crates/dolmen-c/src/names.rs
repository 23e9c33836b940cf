//! Look-ups of names: what a C program asked for, and the call of its function with the result.

use std::collections::{HashMap, VecDeque};
use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::net::SocketAddr;
use std::ptr::null;

use dolmen::LookupId;
use dolmen::raw::ReactorApi;

use crate::boundary::Failure;
use crate::platform::Platform;
use crate::reactor::{CONSOLE, Inner};
use crate::types::io_reactor_resolved_t;

/// The function of a caller, without the `NULL` that the header's type allows.
type Callback = unsafe extern "C" fn(*mut c_void, *const *const c_void, *const c_int, c_int, *const c_char);

#[derive(Default)]
pub(crate) struct Names {
    asked: HashMap<LookupId, (Callback, *mut c_void)>,
    /// For the end of the wait: the caller's functions may call the library.
    resolved: VecDeque<Resolved>,
}

/// A result, and whom it is for.
pub(crate) struct Resolved {
    callback: Callback,
    context: *mut c_void,
    result: io::Result<Vec<SocketAddr>>,
}

impl Names {
    pub(crate) fn ask(&mut self, lookup: LookupId, callback: io_reactor_resolved_t, context: *mut c_void) {
        self.asked.insert(lookup, (callback.expect("it was checked"), context));
    }

    pub(crate) fn resolved(&mut self, lookup: LookupId, result: io::Result<Vec<SocketAddr>>) {
        if let Some((callback, context)) = self.asked.remove(&lookup) {
            self.resolved.push_back(Resolved { callback, context, result });
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        !self.resolved.is_empty()
    }

    pub(crate) fn next(&mut self) -> Option<Resolved> {
        self.resolved.pop_front()
    }
}

impl<P: Platform> Inner<P> {
    pub(crate) fn resolve(
        &mut self,
        host: &str,
        port: u16,
        callback: io_reactor_resolved_t,
        context: *mut c_void,
    ) -> Result<(), Failure> {
        let lookup = self.reactor.resolve(host, port, CONSOLE)?;
        self.names.ask(lookup, callback, context);
        Ok(())
    }
}

/// A `sockaddr_in` or a `sockaddr_in6`, in the system's form.
#[repr(C, align(8))]
struct Address {
    bytes: [u8; 28],
    len: c_int,
}

impl Address {
    fn new(address: SocketAddr) -> Address {
        const AF_INET: u16 = 2;
        const AF_INET6: u16 = if cfg!(windows) { 23 } else { 10 };
        let mut bytes = [0; 28];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, len) = match address {
            SocketAddr::V4(v4) => {
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                (AF_INET, 16)
            }
            SocketAddr::V6(v6) => {
                bytes[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                (AF_INET6, 28)
            }
        };
        bytes[..2].copy_from_slice(&family.to_ne_bytes());
        Address { bytes, len }
    }
}

impl Resolved {
    /// Calls the caller's function. No reference to the reactor may exist, because it may call the library.
    ///
    /// # Safety
    ///
    /// The caller of io_reactor_resolve() has guaranteed that the function may be called.
    pub(crate) unsafe fn deliver(self) {
        let Resolved { callback, context, result } = self;
        match result {
            Ok(found) => {
                let addresses: Vec<Address> = found.into_iter().map(Address::new).collect();
                let pointers: Vec<*const c_void> =
                    addresses.iter().map(|address| (&raw const address.bytes).cast()).collect();
                let lengths: Vec<c_int> = addresses.iter().map(|address| address.len).collect();
                let count = c_int::try_from(addresses.len()).unwrap_or(c_int::MAX);
                // SAFETY: the caller guarantees that the function may be called. The arrays have `count` entries at least,
                // and live until it returns.
                unsafe { callback(context, pointers.as_ptr(), lengths.as_ptr(), count, null()) };
            }
            Err(error) => {
                let text = error.to_string().replace('\0', "");
                let text = CString::new(text).unwrap_or_default();
                // SAFETY: as above; the text ends in a zero byte and lives until the function returns.
                unsafe { callback(context, null(), null(), 0, text.as_ptr()) };
            }
        }
    }
}
