//! The C samples of `docs/c-guide.md`: they compile, each with the header that its chapter is about.

use std::fmt::Write as _;
use std::path::Path;

use crate::process::{Result, Run};

const GUIDE: &str = "docs/c-guide.md";

/// The chapter whose samples are for `async_runtime.h`. All others are for `io_reactor.h`, and so is a sample that begins
/// with "```c io_reactor.h".
const ASYNC_CHAPTER: &str = "## From `async_runtime.h`";

/// The samples for each of the headers, as one file that follows `crates/dolmen-c/tests/c/guide.h`.
#[derive(Default)]
struct Samples {
    io_reactor: String,
    async_runtime: String,
}

/// Compiles them, with warnings. The compiler reports the lines of the guide.
pub fn check(compiler: impl Fn() -> Run, folder: &Path) -> Result<()> {
    let text = std::fs::read_to_string(GUIDE).map_err(|error| format!("{GUIDE}: {error}"))?;
    let samples = Samples::of(&text)?;
    for (name, define, code) in [
        ("guide", "", samples.io_reactor),
        ("async_guide", "#define CHECK_ASYNC_RUNTIME\n", samples.async_runtime),
    ] {
        if code.is_empty() {
            return Err(format!("{GUIDE} has no sample for {name}"));
        }
        let source = folder.join(format!("{name}.c"));
        std::fs::write(&source, format!("{define}#include \"guide.h\"\n{code}"))
            .map_err(|error| format!("{}: {error}", source.display()))?;
        // No sample is called.
        let compiler =
            compiler().args(["-std=c99", "-Wno-unused-function", "-Wno-unused-variable", "-fsyntax-only"]);
        compiler.args([source.display().to_string()]).run()?;
    }
    Ok(())
}

impl Samples {
    fn of(guide: &str) -> Result<Samples> {
        let mut samples = Samples::default();
        let (mut chapter, mut begun) = ("", None);
        for (number, line) in (1..).zip(guide.lines()) {
            if let Some(asynchronous) = begun {
                let code = if asynchronous { &mut samples.async_runtime } else { &mut samples.io_reactor };
                if line == "```" {
                    begun = None;
                } else {
                    writeln!(code, "{line}").expect("a string takes any text");
                }
            } else if line.starts_with("## ") {
                chapter = line;
            } else if let Some(header) =
                line.strip_prefix("```c").filter(|rest| ["", " io_reactor.h"].contains(rest))
            {
                let asynchronous = chapter == ASYNC_CHAPTER && header.is_empty();
                let code = if asynchronous { &mut samples.async_runtime } else { &mut samples.io_reactor };
                writeln!(code, "#line {} \"{GUIDE}\"", number + 1).expect("a string takes any text");
                begun = Some(asynchronous);
            } else if line.starts_with("```c ") {
                return Err(format!("{GUIDE}, line {number}: a sample for another header: {line}"));
            }
        }
        match begun {
            None => Ok(samples),
            Some(_) => Err(format!("{GUIDE}: the last sample has no end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_sorted_by_chapter_and_keep_their_lines() {
        let guide = "# T\n```c\na;\n```\n## From `async_runtime.h`\n```console\n$ x\n```\n```c\nb;\n```\n```c io_reactor.h\nc;\n```\n";
        let samples = Samples::of(guide).unwrap();
        assert_eq!(samples.io_reactor, "#line 3 \"docs/c-guide.md\"\na;\n#line 13 \"docs/c-guide.md\"\nc;\n");
        assert_eq!(samples.async_runtime, "#line 10 \"docs/c-guide.md\"\nb;\n");
    }

    #[test]
    fn a_sample_without_an_end_or_for_another_header_is_refused() {
        assert!(Samples::of("```c\na;\n").is_err());
        assert!(Samples::of("```c other.h\na;\n```\n").is_err());
    }
}
