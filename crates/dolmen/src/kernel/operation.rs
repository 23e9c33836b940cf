//! The memory of operations.
//!
//! Each operation is a cell of its own on the heap that never moves. It is handled through raw pointers only, because
//! while it is pending a kernel (in the case of IOCP the real one) reads and writes it behind the compiler's back: a
//! `&mut` to it would claim what is not so. Cells are recycled through a free list and freed with the table.

use std::num::NonZeroU32;
use std::ptr::NonNull;

use super::Kernel;
use super::buffer::Buffer;

pub(crate) type OpPtr<K> = NonNull<Operation<K>>;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpKind {
    Receive,
    Send,
    Accept,
    Watch,
    Poll,
}

/// In whose hands a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hands {
    Nobody,
    Engine,
    Kernel,
}

/// One operation.
#[repr(C)]
pub(crate) struct Operation<K: Kernel> {
    /// First, so that the address a packet brings back is the operation's.
    pub(super) header: K::Header,
    pub(super) buffer: Option<Buffer>,
    /// Send: how much of the buffer has gone out before.
    pub(super) offset: u32,
    /// The table slot of the connection, listener or watch it is for.
    owner: u32,
    index: u32,
    generation: NonZeroU32,
    pub(super) kind: OpKind,
    hands: Hands,
}

/// Names a submitted operation. Goes stale, harmlessly, when the operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpHandle {
    index: u32,
    generation: NonZeroU32,
}

/// What a cell held when it was taken back.
pub(super) struct Returned {
    pub(super) handle: OpHandle,
    pub(super) kind: OpKind,
    pub(super) owner: u32,
    pub(super) buffer: Option<Buffer>,
}

/// All operations of one reactor: the cells, and which of them are whose.
pub(super) struct OperationTable<K: Kernel> {
    cells: Vec<OpPtr<K>>,
    free: Vec<u32>,
    in_kernel: usize,
}

impl<K: Kernel> OperationTable<K> {
    pub(super) fn new() -> Self {
        OperationTable { cells: Vec::new(), free: Vec::new(), in_kernel: 0 }
    }

    /// How many operations are pending in the kernel.
    pub(super) fn in_kernel(&self) -> usize {
        self.in_kernel
    }

    /// A cell for one operation, in the engine's hands.
    pub(super) fn take(&mut self, kind: OpKind, owner: u32, buffer: Option<Buffer>, offset: u32) -> OpPtr<K> {
        let index = self.free.pop().unwrap_or_else(|| self.grow());
        let op = self.cells[index as usize];
        // SAFETY: a cell on the free list is in nobody's hands, so nothing else refers to it, and cells live as long
        // as the table.
        unsafe {
            let cell = &mut *op.as_ptr();
            assert_eq!(cell.hands, Hands::Nobody, "operation {index} was on the free list and in use");
            cell.hands = Hands::Engine;
            cell.kind = kind;
            cell.owner = owner;
            cell.buffer = buffer;
            cell.offset = offset;
            cell.header = K::Header::default();
        }
        op
    }

    fn grow(&mut self) -> u32 {
        let index = u32::try_from(self.cells.len()).expect("fewer than 2^32 operations");
        let cell = Box::new(Operation {
            header: K::Header::default(),
            buffer: None,
            offset: 0,
            owner: 0,
            index,
            generation: NonZeroU32::MIN,
            kind: OpKind::Receive,
            hands: Hands::Nobody,
        });
        self.cells.push(NonNull::from(Box::leak(cell)));
        // Room for every cell, so that putting one back never allocates.
        self.free.reserve(self.cells.len() - self.free.len());
        index
    }

    /// Notes that the kernel has the cell from now on. Called before the submission, which may complete at any moment.
    pub(super) fn lend(&mut self, op: OpPtr<K>) -> OpHandle {
        // SAFETY: the cell is in the engine's hands (asserted), so the kernel is not touching it yet.
        unsafe {
            let cell = &mut *op.as_ptr();
            assert_eq!(cell.hands, Hands::Engine, "operation {} was submitted twice", cell.index);
            cell.hands = Hands::Kernel;
            self.in_kernel += 1;
            OpHandle { index: cell.index, generation: cell.generation }
        }
    }

    /// Takes a cell back after its packet, or after a submission that was not Pending, and recycles it.
    ///
    /// # Safety
    ///
    /// The kernel is done with the cell for good.
    pub(super) unsafe fn take_back(&mut self, op: OpPtr<K>) -> Returned {
        // SAFETY: the caller vouches that the kernel let go, so this is the only reference.
        let cell = unsafe { &mut *op.as_ptr() };
        assert_eq!(cell.hands, Hands::Kernel, "operation {} ended twice", cell.index);
        self.in_kernel -= 1;
        let returned = Returned {
            handle: OpHandle { index: cell.index, generation: cell.generation },
            kind: cell.kind,
            owner: cell.owner,
            buffer: cell.buffer.take(),
        };
        cell.hands = Hands::Nobody;
        cell.generation = cell.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.free.push(cell.index);
        returned
    }

    /// The cell of a handle, if that operation is still pending.
    pub(super) fn pending(&self, handle: OpHandle) -> Option<OpPtr<K>> {
        let op = *self.cells.get(handle.index as usize)?;
        // SAFETY: cells live as long as the table. These two fields are the table's own: no kernel writes them, and
        // they are read in place, without a reference to the rest of the cell.
        let (generation, hands) = unsafe { ((*op.as_ptr()).generation, (*op.as_ptr()).hands) };
        (generation == handle.generation && hands == Hands::Kernel).then_some(op)
    }
}

impl<K: Kernel> Drop for OperationTable<K> {
    fn drop(&mut self) {
        for op in self.cells.drain(..) {
            // SAFETY: read in place, as in `pending`.
            let hands = unsafe { (*op.as_ptr()).hands };
            if hands == Hands::Kernel {
                // It may still be written to. Memory that is lost is a nuisance; memory written after it was freed
                // is somebody else's data gone wrong.
                tracing::error!(target: "io_reactor", "the kernel kept an operation past the end; leaking it");
                continue;
            }
            // SAFETY: the cell came out of a Box in `grow`, nobody has it, and it leaves the table here.
            drop(unsafe { Box::from_raw(op.as_ptr()) });
        }
    }
}
