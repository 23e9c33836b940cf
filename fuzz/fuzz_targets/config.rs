//! Configuration files: any bytes. No panic; what is accepted is printed and read back as the same, and what is refused is
//! refused for reasons that a terminal can show.

#![no_main]

use std::path::Path;

use dolmend::config::{Config, ConfigError};
use libfuzzer_sys::fuzz_target;

fn read(text: &[u8]) -> Result<Config, ConfigError> {
    // Relative paths lead to no files.
    Config::from_text("fuzz.conf", text, Path::new("/no/such/folder"))
}

fuzz_target!(|text: &[u8]| {
    match read(text) {
        Ok(config) => {
            let printed = config.to_text();
            let mut again = read(printed.as_bytes()).expect("what is printed is good");
            // They were asked for by the printed file.
            again.ports_are_built_in = config.ports_are_built_in;
            assert_eq!(again, config);
            assert_eq!(again.to_text(), printed);
            let other = Config::built_in().expect("it is good");
            assert_eq!(config.changes_to(&other).len(), other.changes_to(&config).len());
        }
        Err(error) => {
            let lines = text.split(|&byte| byte == b'\n').count();
            assert!(!error.problems.is_empty());
            assert!(error.problems.iter().all(|problem| problem.line.is_some_and(|line| line <= lines)));
            let shown = error.to_string();
            assert!(!shown.contains(|c: char| c.is_control() && c != '\n' || ('\u{2028}'..='\u{202e}').contains(&c)));
        }
    }
});
