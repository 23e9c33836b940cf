//! The functions of the library: what the headers declare is what it exports, no less and no more.
//!
//! The headers are the source. The module-definition file that Windows installations have is made of them, and what the
//! linkers have exported is compared with them.

use std::collections::BTreeSet;

use super::headers::HEADERS;
use super::library::Library;
use super::tests::Tests;
use super::{LINUX_ONLY, SOURCES};
use crate::process::{Result, Run, find_program};
use crate::steps::Outcome;

/// What the names of all exported functions begin with.
const PREFIXES: [&str; 2] = ["io_reactor_", "async_runtime_"];

const READOBJ: &str = "llvm-readobj --coff-exports";

type Names = BTreeSet<String>;

impl Library {
    /// The functions of the headers, on the library's system.
    pub(super) fn functions(&self) -> Result<Names> {
        let mut names = Names::new();
        for header in HEADERS {
            // Unit tests run in the folder of this package.
            let place = crate::workspace_root().join(SOURCES).join("include").join(header);
            let text = std::fs::read_to_string(&place);
            let text = text.map_err(|error| format!("{}: {error}", place.display()))?;
            names.extend(declared(&text, self.windows()).map_err(|error| format!("{header}: {error}"))?);
        }
        Ok(names)
    }

    /// The module-definition file, of which each Windows linker makes an import library of its own kind.
    pub(super) fn module_definition(&self) -> Result<String> {
        let mut text = format!(
            "; For an import library for MSVC: lib /def:io_reactor.def /machine:x64 /out:io_reactor.lib\n\
             LIBRARY {}\nEXPORTS\n",
            self.files()[1]
        );
        for name in self.functions()? {
            text += &format!("    {name}\n");
        }
        Ok(text)
    }

    /// What the shared library exports.
    fn exported(&self) -> Result<Names> {
        let library = self.folder.join(self.files()[1]).display().to_string();
        if cfg!(windows) {
            return Ok(in_export_blocks(&Run::new(READOBJ).args([library]).output()?));
        }
        if self.windows() {
            let dump = Run::new("x86_64-w64-mingw32-objdump -p").args([library]).output()?;
            let table =
                dump.lines().skip_while(|line| !line.contains("[Ordinal/Name Pointer] Table")).skip(1);
            return Ok(table.map_while(last_word).collect());
        }
        let dump = Run::new("nm -D --defined-only").args([library]).output()?;
        Ok(dump.lines().filter_map(last_word).collect())
    }

    /// What the import library that cargo has built brings from the DLL.
    fn imported(&self) -> Result<Names> {
        let library = self.folder.join(self.files()[2]).display().to_string();
        let dump = Run::new("x86_64-w64-mingw32-nm").args([library]).output()?;
        let names = dump.lines().filter_map(last_word);
        Ok(names.filter_map(|name| name.strip_prefix("__imp_").map(str::to_owned)).collect())
    }
}

/// On a Windows machine only this is tested of the C library, if LLVM is installed there.
pub(super) fn test_on_windows(host: &str) -> Result<Outcome> {
    if find_program(&["llvm-readobj"]).is_none() {
        return Ok(Outcome::Skipped(format!(
            "{LINUX_ONLY}; and there is no llvm-readobj in PATH, which would compare the library's exports with the \
             headers: install LLVM"
        )));
    }
    let library = Library::build(host, host, false)?;
    compare(&library.functions()?, &library.exported()?, library.files()[1])?;
    Ok(Outcome::Skipped(format!("{LINUX_ONLY}; the exports of the library are the headers' functions")))
}

impl Tests<'_> {
    /// The shared library exports the headers' functions, and nothing else; on Windows both ways of linking to it bring
    /// the same ones.
    pub(super) fn exports(&self) -> Result<()> {
        let library = self.library;
        let declared = library.functions()?;
        let [_, shared, import] = library.files();
        compare(&declared, &library.exported()?, shared)?;
        if library.windows() {
            compare(&declared, &library.imported()?, import)?;
            compare(&declared, &defined(&library.module_definition()?), "io_reactor.def")?;
        }
        println!("    {shared} exports the {} functions of the headers", declared.len());
        Ok(())
    }
}

/// `exporter` has what the headers declare, and nothing else.
fn compare(declared: &Names, exported: &Names, exporter: &str) -> Result<()> {
    let list = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let missing = list(declared.difference(exported).collect());
    let foreign = list(exported.difference(declared).collect());
    if !missing.is_empty() {
        return Err(format!("{exporter} does not export {missing}, which a header declares for this system"));
    }
    if !foreign.is_empty() {
        return Err(format!("{exporter} exports {foreign}, which no header declares for this system"));
    }
    if declared.is_empty() {
        return Err("no header declares a function".to_owned());
    }
    Ok(())
}

/// The functions that a header declares, on Windows or elsewhere.
///
/// Only conditions about `_WIN32` are decided. Both sides of any other are read: they are about compilers.
fn declared(header: &str, windows: bool) -> Result<Names> {
    let mut names = Names::new();
    // For each condition whether its present side is read, and whether its other one would be.
    let mut sides: Vec<(bool, bool)> = Vec::new();
    for line in without_comments(header)?.lines() {
        let Some(directive) = line.trim_start().strip_prefix('#') else {
            if sides.iter().all(|(this, _)| *this) {
                names.extend(called(line));
            }
            continue;
        };
        let directive: String = directive.chars().filter(|c| !c.is_whitespace()).collect();
        match directive.as_str() {
            "ifdef_WIN32" | "ifdefined(_WIN32)" => sides.push((windows, !windows)),
            "ifndef_WIN32" | "if!defined(_WIN32)" => sides.push((!windows, windows)),
            condition if condition.contains("_WIN32") && !condition.starts_with("define") => {
                return Err(format!("a condition that `cargo xtask` does not know: {line}"));
            }
            condition if condition.starts_with("if") => sides.push((true, true)),
            condition if condition.starts_with("elif") => match sides.last() {
                Some((true, true)) => {}
                _ => return Err(format!("a condition that `cargo xtask` does not know: {line}")),
            },
            "else" => {
                let (this, other) = sides.pop().ok_or("an #else without #if")?;
                sides.push((other, this));
            }
            "endif" => drop(sides.pop().ok_or("an #endif without #if")?),
            _ => {}
        }
    }
    Ok(names)
}

/// The library's names that a parenthesis follows, which in a header is a parameter list.
fn called(line: &str) -> impl Iterator<Item = String> {
    let pieces: Vec<&str> = line.split('(').collect();
    let before_parentheses = pieces[..pieces.len() - 1].iter();
    let words = before_parentheses.filter_map(|piece| {
        piece.trim_end().rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next()
    });
    let ours = words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)));
    ours.map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn without_comments(header: &str) -> Result<String> {
    let mut text = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        text += before;
        // A comment counts as a space.
        text.push(' ');
        rest = comment.split_once("*/").ok_or("a comment without an end")?.1;
    }
    text += rest;
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// The names that llvm-readobj prints.
fn in_export_blocks(dump: &str) -> Names {
    dump.lines().filter_map(|line| line.trim().strip_prefix("Name: ").map(str::to_owned)).collect()
}

/// The names in a module-definition file.
fn defined(definition: &str) -> Names {
    let lines = definition.lines().skip_while(|line| *line != "EXPORTS").skip(1);
    lines.map(|line| line.trim().to_owned()).collect()
}

fn last_word(line: &str) -> Option<String> {
    line.split_whitespace().last().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\
#ifndef IO_REACTOR_H
#if defined(__GNUC__) && !defined(__cplusplus)
__extension__
#endif
/* io_reactor_in_a_comment(), and
   io_reactor_in_another(void); */
typedef void (*io_reactor_callback_t)(void *context, int (*async_runtime_x)(int));
int io_reactor_both(void); // io_reactor_after()
int other_function(void);
#ifdef _WIN32
void *async_runtime_first(int a,
                          int b);
#else
int io_reactor_second (void);
#endif
# if !defined(_WIN32)
int async_runtime_third(void); int async_runtime_fourth(void);
#endif
#endif
";

    fn names(list: &[&str]) -> Names {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_header_declares_other_functions_on_windows() {
        assert_eq!(declared(HEADER, true).unwrap(), names(&["io_reactor_both", "async_runtime_first"]));
        let posix = ["io_reactor_both", "io_reactor_second", "async_runtime_third", "async_runtime_fourth"];
        assert_eq!(declared(HEADER, false).unwrap(), names(&posix));
    }

    #[test]
    fn unknown_conditions_about_the_system_are_refused() {
        for line in ["#if defined(_WIN32) && x", "#ifdef _WIN32\n#elif y", "#endif", "/* no end"] {
            declared(line, true).unwrap_err();
        }
    }

    #[test]
    fn a_function_that_only_the_header_has_is_found_and_one_that_only_the_library_has() {
        let header = names(&["io_reactor_a", "io_reactor_b"]);
        compare(&header, &header, "it").unwrap();
        let error = compare(&header, &names(&["io_reactor_a"]), "it").unwrap_err();
        assert!(error.starts_with("it does not export io_reactor_b, which"), "{error}");
        let error =
            compare(&header, &names(&["io_reactor_a", "io_reactor_b", "rust_panic"]), "it").unwrap_err();
        assert!(error.starts_with("it exports rust_panic, which no header"), "{error}");
        compare(&names(&[]), &names(&[]), "it").unwrap_err();
    }

    #[test]
    fn exports_are_read_from_what_llvm_prints() {
        let dump = "\nFile: io_reactor.dll\nFormat: COFF-x86-64\nArch: x86_64\nExport {\n  Ordinal: 1\n  \
                    Name: io_reactor_a\n  RVA: 0xB6D0\n}\nExport {\n  Ordinal: 2\n  Name: io_reactor_b\n}\n";
        assert_eq!(in_export_blocks(dump), names(&["io_reactor_a", "io_reactor_b"]));
    }

    #[test]
    fn the_definition_file_has_the_functions_of_windows_and_no_others() {
        let library = |target: &str| Library { target: target.to_owned(), folder: "nowhere".into() };
        let windows = library("x86_64-pc-windows-gnu");
        let definition = windows.module_definition().unwrap();
        assert_eq!(defined(&definition), windows.functions().unwrap());
        assert!(definition.contains("\nLIBRARY io_reactor.dll\nEXPORTS\n"), "{definition}");
        let here = library("x86_64-unknown-linux-gnu").functions().unwrap();
        let is_here = |name: &str| here.contains(name);
        assert!(
            !definition.contains("get_event_loop_handle") && is_here("async_runtime_get_event_loop_handle")
        );
        assert!(definition.contains("    async_runtime_get_iocp\n") && !is_here("async_runtime_get_iocp"));
    }
}
