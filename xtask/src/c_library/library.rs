//! The library as cargo builds it: its files and their names.

use std::path::PathBuf;

use super::installation::link;
use crate::process::{Result, Run};
use crate::targets;

/// The libraries that a Rust static library needs, as printed by `rustc --print native-static-libs`, except those that
/// a C compiler adds by itself, including libgcc_s, of which there is no static library.
pub(super) const UNIX_LIBS: &str = "-lutil -lrt -lpthread -lm -ldl";
pub(super) const WINDOWS_LIBS: &str = "-lkernel32 -lntdll -luserenv -lws2_32 -ldbghelp";

pub(super) const LINUX_32: &str = "i686-unknown-linux-gnu";

/// A built library.
pub(super) struct Library {
    pub(super) target: String,
    pub(super) folder: PathBuf,
}

impl Library {
    pub(super) fn build(target: &str, host: &str, release: bool) -> Result<Library> {
        let profile = release.then_some("--release");
        let flags = targets::flags(target, host);
        Run::new("cargo build --package dolmen-c")
            .args(profile)
            .args(flags.iter().map(String::as_str))
            .run()?;
        let mut folder =
            PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
        if !flags.is_empty() {
            folder.push(target);
        }
        folder.push(if release { "release" } else { "debug" });
        let folder =
            std::path::absolute(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let library = Library { target: target.to_owned(), folder };
        if !library.windows() {
            // A program that is linked here starts here.
            link("libio_reactor.so", &library.folder.join(soname()))?;
        }
        Ok(library)
    }

    pub(super) fn windows(&self) -> bool {
        self.target.contains("windows")
    }

    pub(super) fn msvc(&self) -> bool {
        self.target.ends_with("msvc")
    }

    /// The width of its pointers, in bytes.
    pub(super) fn pointer_bytes(&self) -> u32 {
        if ["i586", "i686"].iter().any(|processor| self.target.starts_with(processor)) { 4 } else { 8 }
    }

    /// The static library, the shared one, and the file against which programs link to use the shared one.
    pub(super) fn files(&self) -> [&'static str; 3] {
        match (self.windows(), self.msvc()) {
            (false, _) => ["libio_reactor.a", "libio_reactor.so", "libio_reactor.so"],
            (_, false) => ["libio_reactor.a", "io_reactor.dll", "libio_reactor.dll.a"],
            (_, true) => ["io_reactor.lib", "io_reactor.dll", "io_reactor.dll.lib"],
        }
    }
}

/// The name under which programs look for the shared library; the library's build script sets it.
pub(super) fn soname() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("libio_reactor.so.{}", version.split('.').next().unwrap_or("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmake_links_what_pkg_config_does() {
        let targets = crate::workspace_root().join("crates/dolmen-c/packaging/io_reactor-targets.cmake");
        let targets = std::fs::read_to_string(targets).unwrap();
        for libs in [UNIX_LIBS, WINDOWS_LIBS] {
            let names: Vec<&str> = libs.split(' ').filter_map(|lib| lib.strip_prefix("-l")).collect();
            let line = format!("INTERFACE_LINK_LIBRARIES \"{}\")", names.join(";"));
            assert!(targets.contains(&line), "no {line}");
        }
    }
}
