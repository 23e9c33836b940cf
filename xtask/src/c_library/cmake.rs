//! The examples as a CMake project: with an installed library, and with one that it builds from the source.

use std::path::Path;

use super::installation::{remove, remove_folder};
use super::pkg_config::PREFIX;
use super::tests::Tests;
use crate::bench::target_folder;
use crate::process::{Result, Run};

/// For programs of Windows, built here. The package is not in a folder of the cross compiler's.
const CROSS: [&str; 3] = [
    "-DCMAKE_SYSTEM_NAME=Windows",
    "-DCMAKE_C_COMPILER=x86_64-w64-mingw32-gcc",
    "-DCMAKE_FIND_ROOT_PATH_MODE_PACKAGE=BOTH",
];

impl Tests<'_> {
    /// `find_package` in a package that was moved after its installation.
    pub(super) fn cmake_package(&self, sysroot: &Path) -> Result<()> {
        let prefix = sysroot.join(PREFIX.trim_start_matches('/'));
        let place = format!("-DCMAKE_PREFIX_PATH={}", prefix.display());
        for kind in ["shared", "static"] {
            let build = self.cmake(&format!("cmake-installed-{kind}"), kind, &[&place])?;
            // Not one that is elsewhere on this machine.
            let cache = build.join("CMakeCache.txt");
            let found = std::fs::read_to_string(&cache);
            let found = found.map_err(|error| format!("{}: {error}", cache.display()))?;
            let line = format!("io_reactor_DIR:PATH={}", prefix.join(self.libdir()).display());
            if !found.contains(&line) {
                return Err(format!("CMake has found another package: {} has no {line}", cache.display()));
            }
        }
        Ok(())
    }

    /// The package's answers to requests, at last those of an incomplete one: its files are removed.
    pub(super) fn cmake_answers(&self, sysroot: &Path) -> Result<()> {
        const ALL: &str = "found 1, targets [io_reactor;static]";
        const NONE: &str = "found 0, targets []";
        for (request, bytes, expected) in [
            ("0.1", 8, ALL),
            ("0.1.0;EXACT", 8, ALL),
            // The next one may have functions that this one lacks.
            ("0.2", 8, NONE),
            ("1.0", 8, NONE),
            ("0.1", 4, NONE),
        ] {
            self.cmake_answer(sysroot, request, bytes, expected)?;
        }
        let libdir = sysroot.join(PREFIX.trim_start_matches('/')).join(self.libdir());
        let [archive, shared, _] = self.library.files();
        for (file, expected) in [
            (archive.to_owned(), "found 1, targets [io_reactor]"),
            (format!("{shared}.{}", env!("CARGO_PKG_VERSION")), NONE),
        ] {
            remove(&libdir.join(file))?;
            self.cmake_answer(sysroot, "0.1", 8, expected)?;
        }
        Ok(())
    }

    fn cmake_answer(&self, sysroot: &Path, request: &str, bytes: u32, expected: &str) -> Result<()> {
        let build = self.folder.join("cmake-answer");
        remove_folder(&build)?;
        let package =
            sysroot.join(PREFIX.trim_start_matches('/')).join(self.libdir()).join("cmake/io_reactor");
        let answer = Run::new("cmake -S crates/dolmen-c/tests/cmake -B")
            .args([build.display().to_string(), format!("-Dio_reactor_DIR={}", package.display())])
            .args([format!("-DREQUEST={request}"), format!("-DBYTES={bytes}")])
            .output()?;
        if answer.contains(&format!("answer: {expected}\n")) {
            return Ok(());
        }
        Err(format!(
            "CMake's request for version {request}, with pointers of {bytes} bytes, is not answered by {expected}:\n\
             {answer}"
        ))
    }

    /// `add_subdirectory` of the source. Cargo has built all of it already.
    pub(super) fn cmake_source(&self) -> Result<()> {
        let target = std::path::absolute(target_folder()).map_err(|error| error.to_string())?;
        let target = format!("-DIO_REACTOR_CARGO_TARGET_DIR={}", target.display());
        for kind in ["shared", "static"] {
            let source = ["-DIO_REACTOR_FROM_SOURCE=ON", "-DIO_REACTOR_CARGO_PROFILE=dev", &target];
            self.cmake(&format!("cmake-source-{kind}"), kind, &source)?;
        }
        Ok(())
    }

    /// Configures and builds the examples in a new folder, and tries one for each header.
    fn cmake(&self, name: &str, kind: &str, definitions: &[&str]) -> Result<std::path::PathBuf> {
        let build = self.folder.join(name);
        remove_folder(&build)?;
        let place = build.display().to_string();
        let target = if kind == "shared" { "io_reactor::io_reactor" } else { "io_reactor::static" };
        Run::new("cmake -S examples/c -B")
            .args([place.clone(), format!("-DIO_REACTOR_LIBRARY={target}")])
            .args(definitions.iter().copied())
            .args(if self.library.windows() { &CROSS[..] } else { &[] }.iter().copied())
            .run()?;
        Run::new("cmake --build").args([place]).run()?;
        let extension = if self.library.windows() { ".exe" } else { "" };
        for example in ["echo", "async_echo"] {
            let program = build.join(format!("{example}{extension}"));
            self.is_linked_to_shared(&program, kind == "shared")?;
            self.programs.run(&format!("{example}, {name}"), || self.echoes(&program))?;
        }
        Ok(build)
    }
}
