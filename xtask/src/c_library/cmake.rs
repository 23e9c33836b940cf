//! The examples as a CMake project: with an installed library, and with one that it builds from the source.

use std::path::Path;

use super::installation::remove_folder;
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
