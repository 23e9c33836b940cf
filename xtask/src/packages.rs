//! The packages that users build: what `cargo package` makes of the shipped crates, built outside the workspace.
//!
//! The archives are unpacked into a small workspace of their own, in which a patch puts the unpacked `dolmen` in the place
//! of the one that a registry would have. So a file or a feature that exists only in the repository is missing there, as
//! it would be for a user.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::bench::target_folder;
use crate::hygiene::LICENCES;
use crate::process::{Result, Run};
use crate::steps::{Outcome, Steps};

/// The crates that are published, each after those that it depends on.
pub const SHIPPED: [&str; 3] = ["dolmen", "dolmen-c", "dolmend"];

/// Make the packages that would be published, and build and test them outside the workspace
///
/// Checks that each contains its licence and its README and no simulator, and that it builds and passes its doctests.
/// Nothing is uploaded, and nothing downloaded that earlier builds have not: it works without a network.
#[derive(clap::Args)]
pub struct Options {}

/// The chore.
pub fn run(_options: &Options) -> ExitCode {
    let mut steps = Steps::new(false);
    let _stopped = steps.step("packages", check);
    steps.finish()
}

/// The only step of the chore.
pub fn check() -> Result<()> {
    let folder = unpack()?;
    for package in SHIPPED {
        check_content(&folder, package)?;
    }
    write_workspace(&folder)?;
    let cargo = |command: &str| {
        Run::new(&format!("cargo {command} --offline"))
            .args(["--manifest-path", &folder.join("Cargo.toml").display().to_string()])
            .args(["--target-dir", &format!("{}/packages-build", target_folder())])
    };
    // Each by itself: together, one would compile with the features that another one asks for.
    for package in SHIPPED {
        cargo(&format!("build --package {package} --lib --bins --examples")).run()?;
    }
    // The examples of the C library are in C.
    for package in ["dolmen", "dolmend"] {
        cargo(&format!("test --doc --package {package}")).run()?;
    }
    Ok(())
}

/// Makes the archives, unpacks them, and returns the folder.
fn unpack() -> Result<PathBuf> {
    let packages = SHIPPED.iter().flat_map(|package| ["--package", package]);
    // Unverified, since this chore does more than the verification: it runs the doctests. Quiet, because cargo warns of
    // each test that stays in the repository.
    Run::new("cargo package --quiet --offline --allow-dirty --no-verify").args(packages).run()?;
    let target = std::path::absolute(target_folder()).map_err(|error| error.to_string())?;
    let folder = target.join("packages");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for package in SHIPPED {
        let archive = target.join("package").join(format!("{}.crate", versioned(package)));
        // With the present time: all files of an archive have the same old one, by which cargo would take another
        // version of them for built already.
        Run::new("tar -xmzf")
            .args([archive.display().to_string(), "-C".to_owned(), folder.display().to_string()])
            .run()?;
    }
    Ok(folder)
}

/// The folder in a package's archive. All shipped crates have the workspace's version, and so has this one.
fn versioned(package: &str) -> String {
    format!("{package}-{}", env!("CARGO_PKG_VERSION"))
}

fn check_content(folder: &Path, package: &str) -> Result<()> {
    let root = folder.join(versioned(package));
    for file in ["README.md", "src/lib.rs"].into_iter().chain(LICENCES) {
        let length = std::fs::metadata(root.join(file)).map_or(0, |file| file.len());
        if length < 500 {
            return Err(format!("{package}: the package has no {file}"));
        }
    }
    let readme = std::fs::read_to_string(root.join("README.md")).map_err(|error| error.to_string())?;
    if let Some(link) = relative_link(&readme) {
        return Err(format!("{package}: README.md links to {link}, which is not in the package"));
    }
    let in_simulator =
        |file: &PathBuf| file.strip_prefix(&root).is_ok_and(|file| file.iter().any(|part| part == "sim"));
    match files(&root)?.into_iter().find(in_simulator) {
        Some(file) => Err(format!("{package}: the package contains {}", file.display())),
        None => Ok(()),
    }
}

/// The first link of a page that is neither an address nor a place in the page. A registry shows a README by itself.
fn relative_link(page: &str) -> Option<&str> {
    let links = page.match_indices("](").map(|(at, _)| &page[at + 2..]);
    let targets = links.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets.into_iter().find(|target| !target.starts_with("https://") && !target.starts_with('#'))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

/// The workspace of the unpacked crates, with the versions of ours.
fn write_workspace(folder: &Path) -> Result<()> {
    let members = SHIPPED.map(|package| format!("\"{}\"", versioned(package))).join(", ");
    let text = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n\
         [patch.crates-io]\ndolmen = {{ path = \"{}\" }}\n",
        versioned("dolmen")
    );
    let written = std::fs::write(folder.join("Cargo.toml"), text);
    let copied = written.and_then(|()| std::fs::copy("Cargo.lock", folder.join("Cargo.lock")));
    copied.map(drop).map_err(|error| format!("{}: {error}", folder.display()))
}

/// Compares the public interface with the last release, once there is one.
pub fn compatibility() -> Result<Outcome> {
    let skipped = |why: String| Ok(Outcome::Skipped(why));
    let Ok(tags) = Run::new("git tag --list v* --sort=-version:refname").output() else {
        return skipped("this is not a git checkout, or there is no git".to_owned());
    };
    let Some(release) = tags.lines().next() else {
        return skipped("there is no release to compare with (no tag v…)".to_owned());
    };
    if Run::new("cargo semver-checks --version").output().is_err() {
        return skipped(missing("cargo-semver-checks"));
    }
    Run::new("cargo semver-checks --package dolmen --package dolmend --baseline-rev")
        .args([release])
        .run()?;
    Ok(Outcome::Passed)
}

/// Checks licences, duplicates and sources of all dependencies against `deny.toml`.
pub fn dependencies() -> Result<Outcome> {
    if Run::new("cargo deny --version").output().is_err() {
        return Ok(Outcome::Skipped(missing("cargo-deny")));
    }
    // Advisories would need the network.
    Run::new("cargo deny --offline --workspace check licenses bans sources").run()?;
    Ok(Outcome::Passed)
}

fn missing(program: &str) -> String {
    format!("{program} is missing. To install it, type: cargo xtask install --audit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_out_of_the_package_is_found() {
        assert_eq!(relative_link("[a](https://example.org/x) [b](#b)"), None);
        assert_eq!(relative_link("[a](https://example.org/x) [b](docs/b.md)"), Some("docs/b.md"));
    }

    #[test]
    fn the_packages_have_the_version_of_the_workspace() {
        let root = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
        assert!(root.contains(concat!("version = \"", env!("CARGO_PKG_VERSION"), "\"")));
    }
}
