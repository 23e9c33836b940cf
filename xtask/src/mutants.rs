//! The copy of the workspace that has the deliberate bugs.
//!
//! The product has none. Each file of `crates/sim/mutants` is a patch for one source file, which puts the bugs of that
//! file in, each behind a switch. The copy is `b` below `target/mutants`, and `a` beside it is the same without the
//! patches. Only files that have changed are written, so that the next build compiles no more than it has to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::bench;
use crate::process::{Result, Run};

/// Where the patches are: the path of a source file, and `.patch`.
const PATCHES: &str = "crates/sim/mutants";

/// What may have deliberate bugs.
const PRODUCT: [&str; 2] = ["crates/dolmen/src/", "crates/dolmen-c/src/"];

/// Lines of context in a patch. More would tie it to code that the bug does not concern.
const CONTEXT: &str = "--unified=2";

fn folder(name: &str) -> PathBuf {
    Path::new(&bench::target_folder()).join("mutants").join(name)
}

/// Brings the copy up to date, and returns its folder.
pub fn tree() -> Result<PathBuf> {
    let (plain, fresh, tree) = (folder("a"), folder("fresh"), folder("b"));
    let names = workspace_files()?;
    copy(&names, Path::new("."), &plain)?;
    // Patched apart, so that a file whose patch has not changed is not written again.
    let _ = fs::remove_dir_all(&fresh);
    copy(&names, Path::new("."), &fresh)?;
    let ceiling = fs::canonicalize(folder("")).map_err(|error| error.to_string())?;
    let mut rejected = Vec::new();
    for patch in names.iter().filter(|name| name.starts_with(PATCHES) && name.ends_with(".patch")) {
        let path = fs::canonicalize(patch).map_err(|error| format!("{patch}: {error}"))?;
        // Outside of a repository, as git takes it, a patch applies to the files of the current folder.
        let apply = Run::new("git -C")
            .args([fresh.display().to_string()])
            .args(["apply", "--whitespace=nowarn", "--reject"])
            .args([path.display().to_string()])
            .env("GIT_CEILING_DIRECTORIES", ceiling.display().to_string());
        if let Err(error) = apply.output() {
            rejected.push(format!("{patch}: {error}"));
        }
    }
    let patched: BTreeSet<String> = if rejected.is_empty() { names } else { files_below(&fresh)? };
    copy(&patched, &fresh, &tree)?;
    if rejected.is_empty() {
        return Ok(tree);
    }
    Err(format!(
        "the code of these bugs has changed:\n{}\nPut them in by hand in {} (each `.rej` file there has what could not \
         be applied), and save that with `cargo xtask mutants --save`",
        rejected.join("\n"),
        tree.display()
    ))
}

/// Writes the patches anew, from the differences of the copy. The two folders are of the same moment, whatever has
/// changed in the workspace since.
pub fn save() -> Result<()> {
    let (plain, tree) = (folder("a"), folder("b"));
    let names = files_below(&plain)?;
    let names: Vec<&String> =
        names.iter().filter(|name| PRODUCT.iter().any(|folder| name.starts_with(folder))).collect();
    if names.is_empty() {
        return Err("there is no copy to save: make it with `cargo xtask mutants --copy`".to_owned());
    }
    let _ = fs::remove_dir_all(PATCHES);
    for name in names {
        if fs::read(plain.join(name)).ok() == fs::read(tree.join(name)).ok() {
            continue;
        }
        let diff = Run::new("git -C")
            .args([folder("").display().to_string()])
            .args(["diff", "--no-index", "--no-prefix", "--no-color", CONTEXT])
            .args([format!("a/{name}"), format!("b/{name}")])
            .output_of_comparison()?;
        let diff: String = diff
            .lines()
            .filter(|line| !line.starts_with("diff --git") && !line.starts_with("index "))
            .flat_map(|line| [line, "\n"])
            .collect();
        write_if_changed(&Path::new(PATCHES).join(format!("{name}.patch")), diff.as_bytes())?;
        println!("    {PATCHES}/{name}.patch");
    }
    Ok(())
}

/// Everything that git tracks or would track, which is what a build needs.
fn workspace_files() -> Result<BTreeSet<String>> {
    let files = Run::new("git ls-files -z --cached --others --exclude-standard").output()?;
    Ok(files.split_terminator('\0').filter(|name| Path::new(name).is_file()).map(str::to_owned).collect())
}

/// Makes the second folder hold these files of the first, and no others.
fn copy(names: &BTreeSet<String>, from: &Path, to: &Path) -> Result<()> {
    for name in names {
        let text = fs::read(from.join(name)).map_err(|error| format!("{name}: {error}"))?;
        write_if_changed(&to.join(name), &text)?;
    }
    for name in files_below(to)?.difference(names) {
        fs::remove_file(to.join(name)).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

fn write_if_changed(path: &Path, text: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if fs::read(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    fs::write(path, text).map_err(failed)
}

/// The names of all files in a folder and its folders.
fn files_below(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(names) };
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            names.extend(files_below(&path)?.into_iter().map(|below| format!("{name}/{below}")));
        } else {
            names.insert(name);
        }
    }
    Ok(names)
}
