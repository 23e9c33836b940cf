//! Gives the tests a number that changes with the reactor's sources, from which they derive seeds.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

fn main() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dolmen/src");
    println!("cargo::rerun-if-changed={}", sources.display());
    let mut hasher = DefaultHasher::new();
    hash(&sources, &mut hasher);
    println!("cargo::rustc-env=DOLMEN_SOURCE_HASH={}", hasher.finish() >> 32);
}

fn hash(folder: &Path, hasher: &mut impl Hasher) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .expect("the sources are there")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            hash(&entry, hasher);
        } else {
            std::fs::read(&entry).expect("the sources can be read").hash(hasher);
        }
    }
}
