//! What the system and this kernel need at the start of each operation.

use std::mem::offset_of;
use std::ptr::NonNull;

use windows_sys::Win32::Networking::WinSock::SOCKET;
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::accept::AcceptCell;
use super::address::AddressCell;
use super::bridge::Bridge;
use super::polled::Polled;
use super::{super::operation::Operation, Iocp};

#[derive(Default)]
#[repr(C)]
pub(crate) struct Header {
    /// Owned by the system while the operation is pending.
    pub(super) overlapped: OVERLAPPED,
    /// Ours, and written before the submission: the packet may come before the submitting call returns.
    pub(super) extra: Extra,
}

/// What the kernel needs to continue when the packet comes.
#[derive(Clone, Copy, Default)]
pub(super) enum Extra {
    #[default]
    None,
    /// The socket, for the real receive that follows one of zero bytes.
    Receive {
        socket: SOCKET,
        skips: bool,
        /// From then on the socket may be closed, and its number reused, so no receive follows.
        cancelled: bool,
    },
    Accept(NonNull<AcceptCell>),
    Connect(NonNull<AddressCell>),
    Datagram(NonNull<AddressCell>),
    Watch(NonNull<Bridge>),
    /// Sources outlive their operations.
    Poll(NonNull<Polled>),
}

// An operation's address is its OVERLAPPED's.
const _: () = assert!(offset_of!(Operation<Iocp>, header) == 0);
const _: () = assert!(offset_of!(Header, overlapped) == 0);
