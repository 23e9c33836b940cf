//! The files of transmissions, which the system reads until their packets.
//!
//! They are beside the cells and not in them: a connection that only receives has a cell, and would pay for the room.
//! There are few at a time ([`Kernel::most_transmits`](super::Kernel::most_transmits)).

use super::operation::{OpHandle, OpKind, Returned};

/// The transmissions that have not ended, each with the file that it reads.
pub(super) struct Transmits<F> {
    pending: Vec<(OpHandle, F)>,
}

impl<F> Default for Transmits<F> {
    fn default() -> Self {
        Transmits { pending: Vec::new() }
    }
}

impl<F> Transmits<F> {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Keeps a file open for an operation that is about to be submitted.
    pub(super) fn lend(&mut self, handle: OpHandle, file: F) -> &F {
        self.pending.push((handle, file));
        &self.pending.last().expect("it was just added").1
    }

    /// An operation has ended, and the system has released its file, if it is a transmission.
    pub(super) fn take_back(&mut self, returned: &Returned) {
        if returned.kind == OpKind::Transmit {
            let at = self.pending.iter().position(|(handle, _)| *handle == returned.handle);
            self.pending.swap_remove(at.expect("a transmission has a file"));
        }
    }
}

impl<F> Drop for Transmits<F> {
    fn drop(&mut self) {
        // Their operations are leaked: the system may go on to read the files, and by the numbers of the handles.
        self.pending.drain(..).for_each(|(_, file)| std::mem::forget(file));
    }
}
