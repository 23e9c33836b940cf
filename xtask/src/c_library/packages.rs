//! The installed library, used by pkg-config and by CMake.

use std::path::Path;

use super::library::soname;
use super::tests::Tests;
use crate::process::{Result, Run};

impl Tests<'_> {
    /// Installed into a folder, and used from there by pkg-config and CMake.
    pub(super) fn installed(&self) -> Result<()> {
        let prefix = self.folder.join("prefix");
        self.library.install(&prefix)?;
        let prefix = prefix.display().to_string();
        if !self.library.windows() {
            let package = |what: &str| {
                let asked = Run::new(&format!("pkg-config {what} io_reactor"));
                asked.env("PKG_CONFIG_PATH", format!("{prefix}/lib/pkgconfig")).output()
            };
            let headers = package("--cflags")?;
            // The shared library; the static one in a program that is otherwise dynamic; all static.
            for (name, flags, libraries) in [
                ("echo-shared", "", package("--libs")?),
                ("echo-static", "", package("--variable=static")?),
                ("echo-all-static", "-static", package("--static --libs")?),
            ] {
                let program = self.folder.join(name).display().to_string();
                let rpath = format!("-Wl,-rpath,{prefix}/lib");
                Run::new("cc -o")
                    .args([program.as_str(), "examples/c/echo.c", &rpath])
                    .args(flags.split_whitespace().chain(headers.split_whitespace()))
                    .args(libraries.split_whitespace())
                    .run()?;
                let needed = Run::new("readelf -d").args([program.as_str()]).output()?;
                let shared = needed.contains(&format!("[{}]", soname()));
                if shared != (name == "echo-shared") {
                    return Err(format!("{name} is linked to the wrong library:\n{needed}"));
                }
                self.echoes(Path::new(&program))?;
            }
        }
        let build = self.folder.join("cmake").display().to_string();
        let cross = [
            "-DCMAKE_SYSTEM_NAME=Windows",
            "-DCMAKE_C_COMPILER=x86_64-w64-mingw32-gcc",
            "-DCMAKE_FIND_ROOT_PATH_MODE_PACKAGE=BOTH",
        ];
        Run::new("cmake -S examples/c -B")
            .args([build.clone(), format!("-DCMAKE_PREFIX_PATH={prefix}")])
            .args(if self.library.windows() { &cross[..] } else { &[] }.iter().copied())
            .run()?;
        Run::new("cmake --build").args([build]).run()
    }
}
