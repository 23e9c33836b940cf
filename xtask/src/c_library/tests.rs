//! Programs in C and C++ against the library: compiled, linked and started.

use std::path::{Path, PathBuf};

use super::SOURCES;
use super::installation::{copy, make_folder};
use super::library::{LINUX_32, Library, soname};
use crate::process::{Result, Run};
use crate::retry::Programs;
use crate::wine::Wine;

/// Test programs are built beside the library.
pub(super) struct Tests<'a> {
    pub(super) library: &'a Library,
    pub(super) folder: PathBuf,
    pub(super) wine: Option<Wine>,
    pub(super) programs: Programs,
}

impl<'a> Tests<'a> {
    pub(super) fn new(library: &'a Library, wine: Option<Wine>, programs: Programs) -> Result<Tests<'a>> {
        let folder = library.folder.join("c-tests");
        make_folder(&folder)?;
        if library.windows() {
            copy(&library.folder.join("io_reactor.dll"), &folder)?;
        }
        Ok(Tests { library, folder, wine, programs })
    }

    pub(super) fn compile(&self, plus: bool, name: &str, flags: &[&str], after: &[&str]) -> Result<PathBuf> {
        let extension = if plus && !name.ends_with("includes") { "cpp" } else { "c" };
        let sanitized = if flags.contains(&"-DSANITIZED") { "-asan" } else { "" };
        let program = self.folder.join(format!("{name}{sanitized}.exe"));
        self.compiler(plus)
            .args(flags.iter().copied())
            .args([format!("{SOURCES}/tests/c/{name}.{extension}")])
            .args(after.iter().copied())
            .args(["-o".to_owned(), program.display().to_string()])
            .args(self.link())
            .run()?;
        Ok(program)
    }

    pub(super) fn compiler(&self, plus: bool) -> Run {
        let line = match (self.library.windows(), plus) {
            (false, false) => "gcc",
            (false, true) => "g++",
            (true, false) => "x86_64-w64-mingw32-gcc",
            (true, true) => "x86_64-w64-mingw32-g++",
        };
        let flags = "-g -Wall -Wextra -pedantic -Werror -Icrates/dolmen-c/include -Icrates/dolmen-c/tests/c";
        let system = if self.library.target == LINUX_32 {
            "-D_GNU_SOURCE -m32"
        } else if self.library.windows() {
            "-D__USE_MINGW_ANSI_STDIO -D_WIN32_WINNT=0x0601 -Wno-cast-function-type"
        } else {
            "-D_GNU_SOURCE"
        };
        Run::new(&format!("{line} {flags} {system}"))
    }

    pub(super) fn link(&self) -> Vec<String> {
        let folder = self.library.folder.display();
        if self.library.windows() {
            let import = self.library.folder.join(self.library.files()[2]);
            return vec![
                import.display().to_string(),
                "-lws2_32".to_owned(),
                "-static-libgcc".to_owned(),
                "-static-libstdc++".to_owned(),
            ];
        }
        vec![
            format!("-L{folder}"),
            "-lio_reactor".to_owned(),
            "-pthread".to_owned(),
            format!("-Wl,-rpath,{folder}"),
        ]
    }

    /// Whether the program starts with the shared library is what was asked for.
    pub(super) fn is_linked_to_shared(&self, program: &Path, expected: bool) -> Result<()> {
        let (reader, library) = if self.library.windows() {
            ("x86_64-w64-mingw32-objdump -p", format!("DLL Name: {}", self.library.files()[1]))
        } else {
            ("readelf -d", format!("[{}]", soname()))
        };
        let needed = Run::new(reader).args([program.display().to_string()]).output()?;
        if needed.contains(&library) == expected {
            return Ok(());
        }
        Err(format!("{} is linked to the wrong library:\n{needed}", program.display()))
    }

    pub(super) fn start(&self, program: &Path, args: &[&str]) -> Result<()> {
        self.programs.run(&name(program), || {
            let run = match self.wine.map(Wine::env) {
                Some((variable, which)) => Run::new("sh xtask/wine/runner.sh").env(variable, which),
                None => Run::new("env"),
            };
            run.args([program.display().to_string()]).args(args.iter().copied()).run()
        })
    }
}

/// `table`, from a path that ends in `table.exe`.
fn name(program: &Path) -> String {
    program.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

pub(super) fn standard(plus: bool) -> &'static str {
    if plus { "-std=c++17" } else { "-std=c99" }
}
