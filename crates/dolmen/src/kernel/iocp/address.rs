//! Addresses as Winsock has them, and the memory of those that an operation lends to the system.

use std::net::SocketAddr;
use std::ptr::NonNull;

use windows_sys::Win32::Networking::WinSock::*;

/// An address as Winsock has it.
#[derive(Clone, Copy)]
pub(super) struct SockAddr {
    pub(super) storage: SOCKADDR_STORAGE,
    pub(super) len: i32,
}

impl SockAddr {
    /// Room for any address, for the system to write to.
    pub(super) fn room() -> SockAddr {
        SockAddr { storage: SOCKADDR_STORAGE::default(), len: size_of::<SOCKADDR_STORAGE>() as i32 }
    }

    pub(super) fn new(address: SocketAddr) -> SockAddr {
        let mut storage = SOCKADDR_STORAGE::default();
        let to = &raw mut storage;
        let len = match address {
            SocketAddr::V4(v4) => {
                let ip = IN_ADDR { S_un: IN_ADDR_0 { S_addr: u32::from(*v4.ip()).to_be() } };
                let (sin_family, sin_port) = (AF_INET, v4.port().to_be());
                // SAFETY: the storage has room for, and the alignment of, every address.
                unsafe {
                    to.cast::<SOCKADDR_IN>().write(SOCKADDR_IN {
                        sin_family,
                        sin_port,
                        sin_addr: ip,
                        sin_zero: [0; 8],
                    });
                }
                size_of::<SOCKADDR_IN>()
            }
            SocketAddr::V6(v6) => {
                let six = SOCKADDR_IN6 {
                    sin6_family: AF_INET6,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: IN6_ADDR { u: IN6_ADDR_0 { Byte: v6.ip().octets() } },
                    Anonymous: SOCKADDR_IN6_0 { sin6_scope_id: v6.scope_id() },
                };
                // SAFETY: as above.
                unsafe { to.cast::<SOCKADDR_IN6>().write(six) };
                size_of::<SOCKADDR_IN6>()
            }
        };
        SockAddr { storage, len: len as i32 }
    }
}

/// The address of an operation, handled through raw pointers, because the system uses it while the operation is pending.
pub(crate) struct AddressCell {
    pub(super) address: SockAddr,
    /// What a receive of datagrams has found out besides.
    pub(super) flags: u32,
    /// The room in the buffer of a receive of datagrams.
    pub(super) room: usize,
}

/// Cells of operations that are over, for the next ones [p15].
#[derive(Default)]
pub(super) struct AddressCells {
    free: Vec<NonNull<AddressCell>>,
}

impl AddressCells {
    fn take(&mut self) -> NonNull<AddressCell> {
        self.free.pop().unwrap_or_else(|| {
            NonNull::from(Box::leak(Box::new(AddressCell { address: SockAddr::room(), flags: 0, room: 0 })))
        })
    }

    /// A cell for an address that the system writes.
    pub(super) fn for_receive(&mut self) -> NonNull<AddressCell> {
        let cell = self.take();
        // SAFETY: a cell that was free has no other user.
        unsafe { ((*cell.as_ptr()).address, (*cell.as_ptr()).flags) = (SockAddr::room(), 0) };
        cell
    }

    /// A cell with an address that the system reads.
    pub(super) fn for_send(&mut self, to: SocketAddr) -> NonNull<AddressCell> {
        let cell = self.take();
        // SAFETY: a cell that was free has no other user.
        unsafe { (*cell.as_ptr()).address = SockAddr::new(to) };
        cell
    }

    /// Takes back a cell whose operation is over, and returns the address in it.
    ///
    /// # Safety
    ///
    /// The cell is of an operation that has completed, or was never begun.
    pub(super) unsafe fn give_back(&mut self, cell: NonNull<AddressCell>) -> Option<SocketAddr> {
        // SAFETY: nothing else uses the cell any more, and its address has as many bytes as it says.
        let address = unsafe {
            let SockAddr { storage, len } = (*cell.as_ptr()).address;
            socket_address((&raw const storage).cast(), len)
        };
        self.free.push(cell);
        address
    }
}

impl Drop for AddressCells {
    fn drop(&mut self) {
        for cell in self.free.drain(..) {
            // SAFETY: a cell in the list has no other user, and came from a Box in `take`.
            drop(unsafe { Box::from_raw(cell.as_ptr()) });
        }
    }
}

/// # Safety
///
/// `address` is null or points to `len` bytes of a socket address.
pub(super) unsafe fn socket_address(address: *const SOCKADDR, len: i32) -> Option<SocketAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: the family comes first in every address.
    let family = unsafe { (&raw const (*address).sa_family).read_unaligned() };
    if family == AF_INET && len as usize >= size_of::<SOCKADDR_IN>() {
        // SAFETY: the family and the length say that it is one of these.
        let v4 = unsafe { address.cast::<SOCKADDR_IN>().read_unaligned() };
        // SAFETY: every view of the union is plain bytes.
        let ip = u32::from_be(unsafe { v4.sin_addr.S_un.S_addr });
        return Some(SocketAddr::from((std::net::Ipv4Addr::from(ip), u16::from_be(v4.sin_port))));
    }
    if family == AF_INET6 && len as usize >= size_of::<SOCKADDR_IN6>() {
        // SAFETY: as above.
        let v6 = unsafe { address.cast::<SOCKADDR_IN6>().read_unaligned() };
        // SAFETY: every view of the unions is plain bytes.
        let (ip, scope) = unsafe { (v6.sin6_addr.u.Byte, v6.Anonymous.sin6_scope_id) };
        let port = u16::from_be(v6.sin6_port);
        return Some(std::net::SocketAddrV6::new(ip.into(), port, v6.sin6_flowinfo, scope).into());
    }
    None
}
