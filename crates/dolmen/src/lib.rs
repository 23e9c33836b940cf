//! Dolmen (work in progress).
