//! [`drop_each`]: values of the caller's types, whose destructors may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Drops values one by one, also those after one whose destructor panics. A collection that is dropped with two of them ends
/// the process.
pub(crate) fn drop_each<T>(values: impl Iterator<Item = T>) {
    for value in values {
        if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
            tracing::error!(target: "dolmen", "a destructor has panicked at the end of a crew or of a member");
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::resume_unwind;

    use super::*;

    struct Bomb<'a>(&'a mut u32);

    impl Drop for Bomb<'_> {
        fn drop(&mut self) {
            *self.0 += 1;
            // Without the panic hook, which would print a message.
            resume_unwind(Box::new("a destructor"));
        }
    }

    #[test]
    fn all_values_are_dropped_though_each_destructor_panics() {
        let mut dropped = [0; 3];
        drop_each(dropped.iter_mut().map(Bomb));
        assert_eq!(dropped, [1; 3]);
    }
}
