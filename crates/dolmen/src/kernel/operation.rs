//! The memory of operations, and who owns each of them.
//!
//! Each operation is a cell that never moves. The code handles it through raw pointers only, because while it is
//! pending a kernel (in the case of IOCP the real one) reads and writes it without the compiler's knowledge: a `&mut`
//! to it would claim an exclusive access that does not exist.
//!
//! Cells lie in blocks. A block is allocated when the cells run out and is not freed before the table, so an address
//! that was once a cell's stays a cell's as long as the reactor lives. The owner of a cell is recorded outside the
//! blocks and not in the cell. Both together make it possible to recognise a pointer that the system returns *without
//! reading through it*: by comparing it with the ranges of the blocks, and by looking up the record; see
//! [`OperationTable::arrive`].
//!
//! A memory checker cannot detect the use of a cell on the free list: the memory is allocated. So the simulated kernel
//! has blocks of one cell, each a separate allocation. Under Miri such a block is freed when its operation ends, and
//! under AddressSanitizer (`--cfg dolmen_asan`) a free cell is poisoned.

use std::cell::Cell;
use std::mem::{MaybeUninit, needs_drop};
use std::num::NonZeroU32;
use std::ops::Range;
use std::ptr::NonNull;

use super::Kernel;
use super::lent::Lent;

pub(crate) type OpPtr<K> = NonNull<Operation<K>>;

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpKind {
    Receive,
    Send,
    Transmit,
    Accept,
    Connect,
    Watch,
    Poll,
    ReceiveFrom,
    SendTo,
}

/// Who may touch a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// It is on the free list.
    Free,
    Engine,
    /// Pending.
    Kernel,
    /// The system has returned its packet, and the kernel decodes it or has done so.
    Arrived,
}

/// One operation.
#[repr(C)]
pub(crate) struct Operation<K: Kernel> {
    /// First, so that the address in a packet is the operation's.
    pub(super) header: K::Header,
    /// Send: the bytes. Receive: the buffer that was lent in advance, if the kernel needs one; the packet brings it.
    pub(super) lent: Option<Lent>,
    /// Send: the range of the bytes to send.
    offset: u32,
    end: u32,
    /// The index of its record.
    index: u32,
}

/// The state of a cell that can be read without touching it.
struct Record {
    generation: NonZeroU32,
    /// The table slot of the source that it is for.
    slot: u32,
    kind: OpKind,
    owner: Cell<Owner>,
}

/// The bytes that a send must send.
///
/// # Safety
///
/// The operation is a send owned by the caller, which is the kernel. The operation stays at its address until its
/// packet, and so do the bytes.
pub(super) unsafe fn bytes_to_send<K: Kernel>(op: OpPtr<K>) -> *const [u8] {
    // SAFETY: the cell is the caller's; these fields are written by the table only, before the submission.
    let (lent, part) = unsafe {
        let cell = op.as_ptr();
        (&(*cell).lent, (*cell).offset as usize..(*cell).end as usize)
    };
    &raw const lent.as_ref().expect("a send has bytes").as_slice()[part]
}

/// Identifies a submitted operation. It becomes stale, harmlessly, when the operation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpHandle {
    index: u32,
    generation: NonZeroU32,
}

/// The contents of a cell that was taken back.
pub(super) struct Returned {
    pub(super) handle: OpHandle,
    pub(super) kind: OpKind,
    pub(super) slot: u32,
    pub(super) lent: Option<Lent>,
}

/// All operations of one reactor.
pub(super) struct OperationTable<K: Kernel> {
    blocks: Blocks<K>,
    /// One for each cell.
    records: Vec<Record>,
    free: Vec<u32>,
    in_kernel: usize,
}

impl<K: Kernel> OperationTable<K> {
    pub(super) fn new() -> Self {
        OperationTable { blocks: Blocks::new(), records: Vec::new(), free: Vec::new(), in_kernel: 0 }
    }

    /// How many operations are pending in the kernel.
    pub(super) fn in_kernel(&self) -> usize {
        self.in_kernel
    }

    /// Takes a cell for one operation, owned by the engine. `part`: the part of the bytes to send, for a send.
    pub(super) fn take(&mut self, kind: OpKind, slot: u32, lent: Option<Lent>, part: Range<u32>) -> OpPtr<K> {
        let index = self.free.pop().unwrap_or_else(|| self.grow());
        let record = &mut self.records[index as usize];
        assert_eq!(record.owner.get(), Owner::Free, "operation {index} was on the free list and in use");
        (record.kind, record.slot) = (kind, slot);
        record.owner.set(Owner::Engine);
        let op = self.blocks.open(index);
        let (offset, end) = (part.start, part.end);
        // SAFETY: the cell is our memory with room for an operation, and it was free, so nothing else refers to it.
        unsafe { op.write(Operation { header: K::Header::default(), lent, offset, end, index }) };
        op
    }

    /// Allocates the cells of another block, and returns one of them. The others move to the free list. There is no
    /// limit but memory [hc37].
    fn grow(&mut self) -> u32 {
        let first = u32::try_from(self.records.len()).expect("fewer than 2^32 operations");
        self.blocks.add();
        self.records.extend((0..K::CELLS_PER_BLOCK).map(|_| Record {
            generation: NonZeroU32::MIN,
            slot: 0,
            kind: OpKind::Receive,
            owner: Cell::new(Owner::Free),
        }));
        // Room for every cell, so that putting one back never allocates [p15].
        self.free.reserve(self.records.len() - self.free.len());
        self.free.extend((first + 1..self.records.len() as u32).rev());
        first
    }

    /// Records that the kernel owns the cell from now on. Called before the submission, which may complete at any
    /// moment [hc02].
    pub(super) fn lend(&mut self, op: OpPtr<K>) -> OpHandle {
        // SAFETY: the cell was just taken, so the engine owns it (asserted below), and the kernel is not touching it
        // yet.
        let index = unsafe { (*op.as_ptr()).index };
        let record = &self.records[index as usize];
        assert_eq!(record.owner.get(), Owner::Engine, "operation {index} was submitted twice");
        record.owner.set(Owner::Kernel);
        self.in_kernel += 1;
        OpHandle { index, generation: record.generation }
    }

    /// Ends an operation: the cell may be taken again.
    ///
    /// # Safety
    ///
    /// The kernel has released the cell for good, and `op` is the pointer that was lent.
    pub(super) unsafe fn take_back(&mut self, op: OpPtr<K>) -> Returned {
        // SAFETY: the caller guarantees that the kernel has released it, so this is the only access. The contents that
        // are moved out of the cell are not read again before `take` has filled it anew.
        let Operation { lent, index, .. } = unsafe { op.read() };
        let record = &mut self.records[index as usize];
        let owner = record.owner.replace(Owner::Free);
        assert!(matches!(owner, Owner::Kernel | Owner::Arrived), "operation {index} ended twice");
        self.in_kernel -= 1;
        let handle = OpHandle { index, generation: record.generation };
        let returned = Returned { handle, kind: record.kind, slot: record.slot, lent };
        record.generation = record.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.blocks.close(index);
        self.free.push(index);
        returned
    }

    /// The cell of a handle, if that operation is still pending.
    pub(super) fn pending(&self, handle: OpHandle) -> Option<OpPtr<K>> {
        let record = self.records.get(handle.index as usize)?;
        let pending = record.generation == handle.generation && record.owner.get() == Owner::Kernel;
        pending.then(|| self.blocks.cell(handle.index))
    }
}

/// Recognition of packets.
#[cfg_attr(not(windows), allow(dead_code))] // Epoll gets no pointers from the system.
impl<K: Kernel> OperationTable<K> {
    /// The pending operation at an address that the system has returned in a packet, and its kind, if that `fits`. From
    /// here on it is no longer pending, so a second packet of the same operation is not recognised.
    ///
    /// Nothing is read at the address [hc41].
    pub(super) fn arrive(&self, address: usize, fits: impl Fn(OpKind) -> bool) -> Option<(OpPtr<K>, OpKind)> {
        let index = self.blocks.index_of(address)?;
        let record = &self.records[index as usize];
        if record.owner.get() != Owner::Kernel || !fits(record.kind) {
            return None;
        }
        record.owner.set(Owner::Arrived);
        Some((self.blocks.cell(index), record.kind))
    }

    /// An operation that has arrived continues and is pending again.
    pub(super) fn resume(&self, op: OpPtr<K>) {
        let index = self.blocks.index_of(op.addr().get()).expect("it has arrived");
        let owner = self.records[index as usize].owner.replace(Owner::Kernel);
        assert_eq!(owner, Owner::Arrived, "operation {index} continues without a packet");
    }

    /// Whether an operation that was pending has not arrived since.
    pub(super) fn is_pending(&self, op: OpPtr<K>) -> bool {
        let index = self.blocks.index_of(op.addr().get());
        index.is_some_and(|index| self.records[index as usize].owner.get() == Owner::Kernel)
    }
}

impl<K: Kernel> Drop for OperationTable<K> {
    fn drop(&mut self) {
        for (index, record) in (0..).zip(&self.records) {
            if record.owner.get() != Owner::Free {
                // The kernel may still write to it. Lost memory is a nuisance; memory written after it was freed is
                // corrupted data elsewhere [hc01, hc32, p14].
                tracing::error!(target: "dolmen", "the kernel kept an operation past the end; leaking it");
                self.blocks.leak_block_of(index);
            }
        }
    }
}

/// The memory that the cells lie in.
struct Blocks<K: Kernel> {
    /// In the order of the cells' numbers.
    by_number: Vec<Block<K>>,
    /// Where each block starts, and its number, in the order of the addresses. Without the blocks that are freed at the
    /// moment.
    by_address: Vec<(usize, u32)>,
}

struct Block<K: Kernel> {
    /// `None`: freed between two operations, or leaked.
    cells: Option<NonNull<Operation<K>>>,
}

impl<K: Kernel> Blocks<K> {
    const CELL_BYTES: usize = {
        assert!(!needs_drop::<K::Header>(), "a cell that was taken back is not dropped");
        size_of::<Operation<K>>()
    };

    /// Under Miri a block of one cell is freed when its operation ends.
    const FREED_WHEN_CLOSED: bool = cfg!(miri) && K::CELLS_PER_BLOCK == 1;

    fn new() -> Self {
        Blocks { by_number: Vec::new(), by_address: Vec::new() }
    }

    fn add(&mut self) {
        self.by_number.push(Block { cells: None });
        if !Self::FREED_WHEN_CLOSED {
            self.allocate(self.by_number.len() - 1);
        }
    }

    fn allocate(&mut self, number: usize) {
        let cells = Box::<[Operation<K>]>::new_uninit_slice(K::CELLS_PER_BLOCK);
        let cells: NonNull<[MaybeUninit<Operation<K>>]> = NonNull::from(Box::leak(cells));
        let first = cells.cast::<Operation<K>>();
        poison(first, K::CELLS_PER_BLOCK);
        let at = self.by_address.partition_point(|&(start, _)| start < first.addr().get());
        self.by_address.insert(at, (first.addr().get(), number as u32));
        self.by_number[number].cells = Some(first);
    }

    fn free(&mut self, number: usize) {
        let Some(first) = self.by_number[number].cells.take() else { return };
        self.by_address.retain(|&(_, other)| other as usize != number);
        unpoison(first, K::CELLS_PER_BLOCK);
        let cells = first.cast::<MaybeUninit<Operation<K>>>();
        let cells = NonNull::slice_from_raw_parts(cells, K::CELLS_PER_BLOCK);
        // SAFETY: it came out of a Box of this very type in `allocate`, and leaves the table here. Its cells are free,
        // so nothing refers to them and they contain nothing to be dropped.
        drop(unsafe { Box::from_raw(cells.as_ptr()) });
    }

    fn cell(&self, index: u32) -> OpPtr<K> {
        let (number, at) = (index as usize / K::CELLS_PER_BLOCK, index as usize % K::CELLS_PER_BLOCK);
        let first = self.by_number[number].cells.expect("the block of an operation is there");
        // SAFETY: a block has that many cells.
        unsafe { first.add(at) }
    }

    /// Makes a free cell accessible.
    fn open(&mut self, index: u32) -> OpPtr<K> {
        let number = index as usize / K::CELLS_PER_BLOCK;
        if Self::FREED_WHEN_CLOSED && self.by_number[number].cells.is_none() {
            self.allocate(number);
        }
        let cell = self.cell(index);
        unpoison(cell, 1);
        cell
    }

    /// From here on using the cell is an error, which a memory checker detects.
    fn close(&mut self, index: u32) {
        if Self::FREED_WHEN_CLOSED {
            return self.free(index as usize / K::CELLS_PER_BLOCK);
        }
        poison(self.cell(index), 1);
    }

    /// The number of the cell that starts at an address.
    fn index_of(&self, address: usize) -> Option<u32> {
        let after = self.by_address.partition_point(|&(start, _)| start <= address);
        let (start, number) = self.by_address[after.checked_sub(1)?];
        let (at, off) = ((address - start) / Self::CELL_BYTES, (address - start) % Self::CELL_BYTES);
        (off == 0 && at < K::CELLS_PER_BLOCK).then(|| number * K::CELLS_PER_BLOCK as u32 + at as u32)
    }

    fn leak_block_of(&mut self, index: u32) {
        self.by_number[index as usize / K::CELLS_PER_BLOCK].cells = None;
    }
}

impl<K: Kernel> Drop for Blocks<K> {
    fn drop(&mut self) {
        (0..self.by_number.len()).for_each(|number| self.free(number));
    }
}

#[cfg(dolmen_asan)]
unsafe extern "C" {
    fn __asan_poison_memory_region(start: *const std::ffi::c_void, bytes: usize);
    fn __asan_unpoison_memory_region(start: *const std::ffi::c_void, bytes: usize);
}

/// Tells AddressSanitizer that these cells must not be touched.
fn poison<K: Kernel>(first: OpPtr<K>, cells: usize) {
    #[cfg(dolmen_asan)]
    // SAFETY: the memory is ours, and used only through pointers for which `unpoison` was called.
    unsafe {
        __asan_poison_memory_region(first.as_ptr().cast(), cells * Blocks::<K>::CELL_BYTES);
    }
    let _ = (first, cells);
}

fn unpoison<K: Kernel>(first: OpPtr<K>, cells: usize) {
    #[cfg(dolmen_asan)]
    // SAFETY: as above.
    unsafe {
        __asan_unpoison_memory_region(first.as_ptr().cast(), cells * Blocks::<K>::CELL_BYTES);
    }
    let _ = (first, cells);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Native;

    const ANY: fn(OpKind) -> bool = |_| true;

    /// More than two blocks of operations, pending.
    fn pending() -> (OperationTable<Native>, Vec<OpPtr<Native>>) {
        let mut table = OperationTable::new();
        let count = 2 * Native::CELLS_PER_BLOCK as u32 + 40;
        let ops: Vec<_> = (0..count).map(|slot| table.take(OpKind::Receive, slot, None, 0..0)).collect();
        for &op in &ops {
            assert_eq!(table.arrive(op.addr().get(), ANY), None, "the engine still owns it");
            table.lend(op);
        }
        (table, ops)
    }

    #[test]
    fn hc41_a_pending_operation_is_recognised_by_its_address_and_once() {
        let (mut table, ops) = pending();
        for (slot, &op) in (0..).zip(&ops) {
            let address = op.addr().get();
            assert_eq!(table.arrive(address, |kind| kind == OpKind::Watch), None, "another kind");
            assert_eq!(table.arrive(address, ANY), Some((op, OpKind::Receive)));
            assert_eq!(table.arrive(address, ANY), None, "its packet is out");
            table.resume(op);
            assert!(table.is_pending(op));
            assert_eq!(table.arrive(address, ANY), Some((op, OpKind::Receive)));
            // SAFETY: only this test has it.
            assert_eq!(unsafe { table.take_back(op) }.slot, slot);
            assert_eq!(table.arrive(address, ANY), None, "it has ended");
        }
        assert_eq!(table.in_kernel(), 0);
    }

    #[test]
    fn hc41_an_address_that_is_not_the_start_of_a_pending_operation_is_none() {
        let (mut table, ops) = pending();
        let bytes = size_of::<Operation<Native>>();
        let mut starts: Vec<usize> = ops.iter().map(|op| op.addr().get()).collect();
        starts.sort_unstable();
        for &start in &starts {
            for inside in 1..bytes {
                assert_eq!(table.arrive(start + inside, ANY), None, "{inside} bytes into an operation");
            }
        }
        for outside in [0, 1, 8, usize::MAX, starts[0] - bytes, starts[0] - 1] {
            assert_eq!(table.arrive(outside, ANY), None, "{outside:#x}");
        }
        // The rest of the third block is free, and the memory after it is not ours.
        let last = ops.last().expect("there are some").addr().get();
        for after in 1..2 * Native::CELLS_PER_BLOCK {
            let address = last + after * bytes;
            if starts.binary_search(&address).is_err() {
                assert_eq!(table.arrive(address, ANY), None, "{after} operations behind the last");
            }
        }
        for op in ops {
            // SAFETY: only this test has it.
            unsafe { table.take_back(op) };
        }
    }
}
