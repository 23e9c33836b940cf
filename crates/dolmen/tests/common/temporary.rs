//! Files of a test, and their contents.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The path of a file that is removed with its test.
pub struct Temp(pub PathBuf);

impl Temp {
    /// A path without a file.
    pub fn new() -> Temp {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Temp(std::env::temp_dir().join(format!("dolmen-files-{}-{number}", std::process::id())))
    }

    /// A file with these bytes, open for reading and writing.
    pub fn with(bytes: &[u8]) -> (Temp, Arc<File>) {
        let temp = Temp::new();
        File::create(&temp.0).expect("a temporary file").write_all(bytes).expect("write");
        let file = OpenOptions::new().read(true).write(true).open(&temp.0).expect("open");
        (temp, Arc::new(file))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Bytes of which each block differs from the others.
pub fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 + at / 251) as u8).collect()
}
