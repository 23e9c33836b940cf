//! The `dolmend` program.
fn main() {}
