//! Dolmend (work in progress).
