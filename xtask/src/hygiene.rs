//! Checks of the repository itself, which no compiler checks.
//!
//! A path of one machine in a comment, a package mirror in the lock file, a crate without the workspace's lints: each
//! is easy to commit and stays undetected until it is published.

use crate::layers;
use crate::packages::SHIPPED;
use crate::process::{Result, Run};
use crate::steps::Outcome;

/// Where every dependency in Cargo.lock has to come from.
const LOCKED_SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The texts that the manifests' `license` stands for.
pub const LICENCES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];

const NO_GIT: &str = "this is not a git checkout, or there is no git";

/// Checks that the committed Cargo.lock is complete.
///
/// `--locked` would be too late: the cargo that started this chore has already completed the file. So a change of the
/// file is the sign, unless a manifest has changed as well.
pub fn lock_file() -> Result<Outcome> {
    let Ok(changed) = Run::new("git diff --name-only HEAD -- Cargo.lock Cargo.toml */Cargo.toml").output()
    else {
        return Ok(Outcome::Skipped(NO_GIT.to_owned()));
    };
    if changed.lines().eq(["Cargo.lock"]) {
        return Err("the committed Cargo.lock is not what cargo makes of the manifests: commit the file as it is now, \
                    after a look at `git diff Cargo.lock`"
            .to_owned());
    }
    Ok(Outcome::Passed)
}

/// Checks all files that git tracks.
pub fn check() -> Result<Outcome> {
    let Ok(files) = Run::new("git ls-files -z").output() else {
        return Ok(Outcome::Skipped(NO_GIT.to_owned()));
    };
    let forbidden = forbidden_texts();
    let root = std::fs::read_to_string("Cargo.toml").map_err(|error| format!("Cargo.toml: {error}"))?;
    let mut faults = Vec::new();
    for name in files.split_terminator('\0') {
        // A file that is not UTF-8 is not text, and one that cannot be read is an uncommitted deletion.
        let Ok(text) = std::fs::read_to_string(name) else { continue };
        faults.extend(forbidden_in(name, &text, &forbidden));
        if name.ends_with("Cargo.lock") {
            faults.extend(foreign_sources(name, &text));
        }
        if name.ends_with("/Cargo.toml") {
            faults.extend(if is_workspace(&text) {
                missing_copies(name, &text, &root)
            } else {
                missing_inheritance(name, &text)
            });
        }
    }
    for licence in LICENCES {
        faults.extend(missing_licences(licence)?);
    }
    faults.extend(invented_figures()?);
    faults.extend(layers::check()?);
    match faults.len() {
        0 => Ok(Outcome::Passed),
        count => Err(format!("{count} faults in the repository:\n{}", faults.join("\n"))),
    }
}

/// Folders of one machine, and hosts of package registries and mirrors: a build finds these by its own configuration.
fn forbidden_texts() -> Vec<String> {
    // Assembled from pieces, since this file is checked as well.
    let mut texts = vec![
        ["/ro", "ot/"].concat(),
        ["/wo", "rk/"].concat(),
        ["index.cra", "tes.io"].concat(),
        ["static.cra", "tes.io"].concat(),
        ["static.ru", "st-lang.org"].concat(),
        ["deb.deb", "ian.org"].concat(),
        ["pyp", "i.org"].concat(),
        ["registry.np", "mjs.org"].concat(),
    ];
    let here = std::env::current_dir().ok().map(|path| path.display().to_string());
    let home = std::env::var("HOME").ok();
    // One-letter homes such as "/" are in every path.
    texts.extend([here, home].into_iter().flatten().filter(|path| path.len() > 4).map(|path| path + "/"));
    texts
}

fn forbidden_in(name: &str, text: &str, forbidden: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let found = forbidden.iter().find(|piece| stands_alone(line, piece));
        faults.extend(
            found.map(|piece| format!("{name}:{number}: `{piece}` does not belong in the repository")),
        );
    }
    faults
}

/// Whether `line` contains `piece`, and not as the rest of a longer path or name.
fn stands_alone(line: &str, piece: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    line.match_indices(piece).any(|(at, _)| !line[..at].ends_with(joins))
}

fn foreign_sources(name: &str, lock: &str) -> Vec<String> {
    let sources = lock.lines().filter_map(|line| line.strip_prefix("source = "));
    let foreign = sources.filter(|source| source.trim_matches('"') != LOCKED_SOURCE);
    foreign.map(|source| format!("{name}: a package comes from {source}")).collect()
}

/// The root and each shipped crate have the same licence. These are copies: git on Windows may check a symbolic link out as a
/// file with a path in it, and cargo would then put that into the package.
fn missing_licences(name: &str) -> Result<Vec<String>> {
    let text = std::fs::read(name).map_err(|error| format!("{name}: {error}"))?;
    let copies = SHIPPED.iter().map(|package| format!("crates/{package}/{name}"));
    let differs = |copy: &String| std::fs::read(copy).ok().as_ref() != Some(&text);
    Ok(copies.filter(differs).map(|copy| format!("{copy} is not the same as {name}")).collect())
}

/// The figures of the front page are those of a run, and `docs/benchmarks.md` has them.
fn invented_figures() -> Result<Vec<String>> {
    let read = |name: &str| std::fs::read_to_string(name).map_err(|error| format!("{name}: {error}"));
    Ok(figures_missing_in(&read("docs/benchmarks.md")?, &read("README.md")?))
}

/// The numbers in the last column of the table below `## Figures` have to occur in the other page.
fn figures_missing_in(measured: &str, page: &str) -> Vec<String> {
    let section = page.split("\n## ").find(|section| section.starts_with("Figures")).unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = rows.filter_map(|row| row.trim_end_matches(['|', ' ']).rsplit_once('|'));
    let numbers = cells.flat_map(|(_, cell)| numbers(cell));
    let missing = numbers.filter(|number| !self::numbers(measured).any(|other| other == *number));
    missing.map(|number| format!("README.md: the figure {number} is not in docs/benchmarks.md")).collect()
}

/// The numbers in a text. A comma separates thousands.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_digit() || ".,".contains(c)));
    words.map(|word| word.trim_matches(['.', ','])).filter(|word| !word.is_empty())
}

/// A package's lints and licence have to come from the workspace.
fn missing_inheritance(name: &str, manifest: &str) -> Vec<String> {
    let has = |wanted: &str| manifest.contains(wanted);
    let mut faults = Vec::new();
    if !has("[lints]\nworkspace = true") && !has("[lints]\r\nworkspace = true") {
        faults.push(format!(
            "{name}: the workspace's lints are not in force; add `[lints]` with `workspace = true`"
        ));
    }
    if !has("license.workspace = true") {
        faults.push(format!("{name}: no licence; add `license.workspace = true`"));
    }
    faults
}

fn is_workspace(manifest: &str) -> bool {
    manifest.lines().any(|line| line == "[workspace]")
}

/// A package outside the workspace inherits nothing, so it repeats the workspace's lints and licence.
fn missing_copies(name: &str, manifest: &str, root: &str) -> Vec<String> {
    let present: Vec<&str> = manifest.lines().collect();
    let mut in_lints = false;
    let lints = root.lines().filter(|line| {
        if line.starts_with('[') {
            in_lints = line.starts_with("[workspace.lints");
        }
        in_lints && !line.is_empty() && !line.starts_with('#')
    });
    let licence = root.lines().filter(|line| line.starts_with("license = "));
    let wanted = lints.chain(licence).map(|line| line.replace("[workspace.", "["));
    let missing = wanted.filter(|line| !present.contains(&line.as_str()));
    missing.map(|line| format!("{name}: `{line}` of the workspace around it is missing")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_path_is_found_and_a_relative_one_is_not() {
        let forbidden = ["/srv/me/".to_owned()];
        assert_eq!(forbidden_in("a", "x\nsee /srv/me/notes", &forbidden).len(), 1);
        assert_eq!(forbidden_in("a", "src/srv/me/notes.rs and ./srv/me/", &forbidden), [""; 0]);
    }

    #[test]
    fn the_line_of_a_fault_is_named() {
        let faults = forbidden_in("doc/a.md", "\n\n`/srv/me/x`\n", &["/srv/me/".to_owned()]);
        assert!(faults[0].starts_with("doc/a.md:3: "), "{faults:?}");
    }

    #[test]
    fn a_mirror_in_the_lock_file_is_found() {
        let good = format!("source = \"{LOCKED_SOURCE}\"\n");
        assert!(foreign_sources("Cargo.lock", &good).is_empty());
        assert_eq!(
            foreign_sources("Cargo.lock", &(good + "source = \"sparse+https://mirror.example/index/\"\n"))
                .len(),
            1
        );
    }

    #[test]
    fn a_package_inherits_lints_and_licence() {
        assert_eq!(
            missing_inheritance("p", "license.workspace = true\n\n[lints]\nworkspace = true\n"),
            [""; 0]
        );
        assert_eq!(missing_inheritance("p", "[package]\n").len(), 2);
    }

    #[test]
    fn a_figure_of_the_front_page_is_on_the_page_of_the_run() {
        let page = "# X\n\n## Figures\n\n| what | figure |\n|---|---|\n| 99 things | 1.5 µs, 3 calls |\n\n## Y\n| 7 |\n";
        assert_eq!(figures_missing_in("it took 1.5 µs and 3", page), [""; 0]);
        assert_eq!(figures_missing_in("it took 11.5 µs and 3", page).len(), 1);
    }

    #[test]
    fn a_workspace_of_its_own_repeats_lints_and_licence() {
        let root = "[workspace.package]\nlicense = \"MIT\"\n[workspace.lints.rust]\n# why\na = \"deny\"\n[profile.x]\nb = 1\n";
        let good = "[package]\nlicense = \"MIT\"\n[workspace]\n[lints.rust]\na = \"deny\"\n";
        assert!(is_workspace(good) && !is_workspace("[workspace.package]"));
        assert_eq!(missing_copies("p", good, root), [""; 0]);
        assert_eq!(missing_copies("p", "[package]\n[workspace]\n", root).len(), 3);
    }
}
