//! The DLL for programs that MSVC links: an import library made of the module-definition file, and programs linked with
//! it by a linker with Microsoft's command line.
//!
//! LLVM's tools stand for Microsoft's. `lld-link /lib /def:` is not used: releases before 16 do not know it. Microsoft's
//! own compiler is not needed for that: the objects of mingw's have the same format, and the programs do
//! without a C library.

use std::path::Path;

use super::library::Library;
use super::tests::Tests;
use super::{LINUX_ONLY, SOURCES};
use crate::install::Installer;
use crate::process::{Result, Run};
use crate::retry::Programs;
use crate::steps::Outcome;
use crate::targets;
use crate::wine::Wine;

/// What the programs need of the system.
const KERNEL32: &str = "LIBRARY kernel32.dll\nEXPORTS\n    ExitProcess\n";

/// One program for each header. If there is no such linker and none can be installed, the step is skipped.
pub fn test(installer: Installer, wine: Wine, programs: Programs) -> Result<Outcome> {
    let host = targets::host()?;
    if host != targets::LINUX {
        return Ok(Outcome::Skipped(format!("{LINUX_ONLY}, and this is {host}")));
    }
    if let Err(error) = installer.microsoft_linker() {
        return Ok(Outcome::Skipped(format!("NOT RUN: no linker for MSVC's import libraries. {error}")));
    }
    let library = Library::build(targets::WINDOWS_GNU, &host, false)?;
    let tests = Tests::new(&library, Some(wine), programs)?;
    let ours = tests.import_library("io_reactor", &library.module_definition()?)?;
    let systems = tests.import_library("kernel32", KERNEL32)?;
    for (name, header) in [("import_io_reactor", "IO_REACTOR"), ("import_async_runtime", "ASYNC_RUNTIME")] {
        let (object, program) =
            (tests.folder.join(format!("{name}.obj")), tests.folder.join(format!("{name}.exe")));
        tests
            .compiler(false)
            .args("-std=c99 -O1 -ffreestanding -fno-asynchronous-unwind-tables -c".split(' '))
            .args([format!("-DHEADER_{header}"), format!("{SOURCES}/tests/c/import_library.c")])
            .args(["-o".to_owned(), object.display().to_string()])
            .run()?;
        Run::new("lld-link /nologo /nodefaultlib /entry:start /subsystem:console")
            .args([out(&program), object.display().to_string(), ours.clone(), systems.clone()])
            .run()?;
        tests.is_linked_to_shared(&program, true)?;
        tests.start(&program, &[])?;
    }
    Ok(tests.programs.outcome())
}

impl Tests<'_> {
    /// The import library that this linker makes of a module-definition file.
    fn import_library(&self, name: &str, definition: &str) -> Result<String> {
        let place = self.folder.join(format!("{name}.def"));
        std::fs::write(&place, definition).map_err(|error| format!("{}: {error}", place.display()))?;
        let library = self.folder.join(format!("{name}.lib"));
        Run::new("llvm-dlltool -m i386:x86-64")
            .args(["-d".to_owned(), place.display().to_string()])
            .args(["-l".to_owned(), library.display().to_string()])
            .run()?;
        Ok(library.display().to_string())
    }
}

fn out(file: &Path) -> String {
    format!("/out:{}", file.display())
}
