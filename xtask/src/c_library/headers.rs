//! The two headers: together with other headers, and in every standard of C and C++.

use super::SOURCES;
use super::tests::Tests;
use crate::process::Result;

/// In the library's `include` folder.
pub(super) const HEADERS: [&str; 2] = ["io_reactor.h", "async_runtime.h"];

/// Each way in which a program may include a header; see tests/c/includes.c.
const ORDERS: [&str; 6] =
    ["PLAIN", "OWN_TYPE_FIRST", "MACRO_TYPE", "SUPPRESSED", "WINSOCK_FIRST", "WINDOWS_LAST"];

/// The ways in which a program may not; see tests/c/async_includes.c.
const REFUSED_ORDERS: [&str; 2] = ["OTHER_HEADER_FIRST", "OTHER_HEADER_LAST"];

/// A program for each header, with the standards in which it is compiled; and whether each is C++.
const PROGRAMS: [(&str, &[(bool, &str)]); 2] = [
    ("includes", &[(false, "-std=c89"), (false, "-std=c99"), (false, "-std=c11"), (true, "-std=c++17")]),
    (
        "async_includes",
        &[
            (false, "-std=c99"),
            (false, "-std=c11"),
            (false, "-std=c2x"),
            (true, "-std=c++11"),
            (true, "-std=c++17"),
            (true, "-std=c++23"),
        ],
    ),
];

impl Tests<'_> {
    /// Each header in every order, in its standards; and both in one file, which they refuse.
    pub(super) fn includes(&self) -> Result<()> {
        for (name, standards) in PROGRAMS {
            for order in ORDERS {
                for &(plus, standard) in standards {
                    let language = if plus { ["-x", "c++"] } else { ["-x", "c"] };
                    let define = format!("-DORDER_{order}");
                    let flags = [standard, &define, language[0], language[1]];
                    let program = self.compile(plus, name, &flags, &["-x", "none"])?;
                    self.start(&program, &[])?;
                }
            }
        }
        for order in REFUSED_ORDERS {
            let source = format!("{SOURCES}/tests/c/async_includes.c");
            let compiler = self.compiler(false).args(["-std=c99", "-fsyntax-only"]);
            let compiled = compiler.args([format!("-DORDER_{order}"), source]).output();
            match compiled {
                Err(complaint) if complaint.contains("include one of the two in a file") => {}
                other => return Err(format!("both headers in one file ({order}): {other:?}")),
            }
        }
        Ok(())
    }

    /// A program whose `struct timeval` is wider than the library's cannot be compiled, and the compiler says why.
    pub(super) fn refuse_wide_times(&self) -> Result<()> {
        for (name, _) in PROGRAMS {
            for (plus, standard) in [(false, "-std=c89"), (false, "-std=c2x"), (true, "-std=c++17")] {
                let source = format!("{SOURCES}/tests/c/{name}.c");
                let language = if plus { "c++" } else { "c" };
                let wide = ["-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64", "-fsyntax-only", "-x", language];
                let compiler = self.compiler(plus).args([standard, "-DORDER_PLAIN"]).args(wide);
                match compiler.args([source]).output() {
                    Err(complaint) if complaint.contains("_is_for_programs_without_TIME_BITS_64") => {}
                    other => return Err(format!("{name}, {standard}, with wide times: {other:?}")),
                }
            }
        }
        Ok(())
    }
}
