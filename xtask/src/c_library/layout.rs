//! The folders of an installation: where the files are written, and what the installed files say about it.
//!
//! The prefix is the place at which the library will be used. A distribution's package is built elsewhere, below a
//! *destdir* that no installed file may mention.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::process::Result;

/// What no folder that a pkg-config file or a CMake list names may contain.
const SPECIAL: &[char] = &[' ', '\t', '\n', '"', '\'', '$', '\\', '#', ';'];

/// The folders as a user gives them.
#[derive(clap::Args)]
pub(super) struct Folders {
    /// The folder that gets include, lib and, for Windows, bin; from the current one, if it is relative
    #[arg(long, value_name = "FOLDER")]
    pub(super) prefix: PathBuf,
    /// Write below this folder, for a package; --prefix is then the place in the package, such as /usr
    ///
    /// No installed file mentions this folder, and the pkg-config file has the prefix as it was given. An empty one
    /// means the root, as an unset DESTDIR does.
    #[arg(long, value_name = "FOLDER", value_parser = clap::builder::OsStringValueParser::new())]
    pub(super) destdir: Option<OsString>,
    /// The folder for the libraries, inside the prefix, such as lib64 or lib/x86_64-linux-gnu
    #[arg(long, value_name = "FOLDER", default_value = "lib")]
    pub(super) libdir: PathBuf,
    /// The folder for the headers, inside the prefix
    #[arg(long, value_name = "FOLDER", default_value = "include")]
    pub(super) includedir: PathBuf,
}

/// The folders of an installation. Those inside the prefix are relative to it, and written with `/`.
#[derive(Debug)]
pub(super) struct Layout {
    /// Where the prefix is while the files are written.
    pub(super) root: PathBuf,
    pub(super) libdir: String,
    pub(super) includedir: String,
    /// The prefix of a package, at which it will be used. A folder without one may be moved.
    package_prefix: Option<String>,
}

impl Layout {
    /// Relative folders outside a package begin at `here`.
    pub(super) fn new(folders: &Folders, here: &Path) -> Result<Layout> {
        let prefix = &folders.prefix;
        let libdir = inside("--libdir", &folders.libdir, prefix)?;
        let includedir = inside("--includedir", &folders.includedir, prefix)?;
        let Some(destdir) = &folders.destdir else {
            return Ok(Layout { root: here.join(prefix), libdir, includedir, package_prefix: None });
        };
        let climbs = prefix.components().any(|part| part == Component::ParentDir);
        if !prefix.has_root() || climbs {
            return Err(format!(
                "--prefix {}: with --destdir it is the place at which the package will be used, so give an absolute \
                 path without `..`, such as --prefix /usr",
                prefix.display()
            ));
        }
        let package_prefix = with_slashes(prefix);
        if package_prefix.contains(SPECIAL) {
            return Err(format!(
                "--prefix {package_prefix}: a pkg-config file cannot have this. Choose one without spaces, quotes, \
                 `$`, `#` and `;`"
            ));
        }
        let root =
            if destdir.is_empty() { prefix.clone() } else { here.join(destdir).join(without_root(prefix)) };
        Ok(Layout { root, libdir, includedir, package_prefix: Some(package_prefix) })
    }

    /// How the pkg-config file names the prefix.
    ///
    /// Distributions' tools expect the plain path: they put a sysroot in front of it, and leave out what the compiler
    /// searches anyway. Any other folder may be moved, and so its file begins at its own place.
    pub(super) fn prefix_of_pkg_config(&self) -> String {
        let climb = || format!("${{pcfiledir}}{}", climb(&self.pkg_config()));
        self.package_prefix.clone().unwrap_or_else(climb)
    }

    /// From the CMake package to the prefix, as `/../../..`.
    pub(super) fn climb_of_cmake(&self) -> String {
        climb(&self.cmake())
    }

    pub(super) fn pkg_config(&self) -> String {
        format!("{}/pkgconfig", self.libdir)
    }

    pub(super) fn cmake(&self) -> String {
        format!("{}/cmake/io_reactor", self.libdir)
    }
}

fn climb(folder: &str) -> String {
    "/..".repeat(folder.split('/').count())
}

/// `folder`, relative to the prefix. Packaging tools like to pass absolute paths.
fn inside(option: &str, folder: &Path, prefix: &Path) -> Result<String> {
    let refused = |why: &str| {
        Err(format!(
            "{option} {} {why}. Name a folder inside the prefix, such as {}: the installed files find each other from \
             there",
            folder.display(),
            if option == "--libdir" {
                "lib or lib/x86_64-linux-gnu"
            } else {
                "include or include/io_reactor"
            }
        ))
    };
    let relative = if folder.has_root() {
        match folder.strip_prefix(prefix) {
            Ok(relative) => relative,
            Err(_) => return refused(&format!("is not inside --prefix {}", prefix.display())),
        }
    } else {
        folder
    };
    let parts = relative.components().filter(|part| *part != Component::CurDir);
    let mut names = Vec::new();
    for part in parts {
        match part {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            _ => return refused("leaves the prefix"),
        }
    }
    let text = names.join("/");
    if text.is_empty() {
        return refused("is the prefix itself");
    }
    if text.contains(SPECIAL) {
        return refused("has a space, a quote, `$`, `#` or `;` in it, which a pkg-config file cannot have");
    }
    Ok(text)
}

/// `usr`, from `/usr`. Windows: also without the drive.
fn without_root(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

fn with_slashes(path: &Path) -> String {
    let text = path.display().to_string();
    let text = if cfg!(windows) { text.replace('\\', "/") } else { text };
    let trimmed = text.trim_end_matches('/');
    if trimmed.is_empty() { text } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(prefix: &str, destdir: Option<&str>, libdir: &str, includedir: &str) -> Folders {
        Folders {
            prefix: prefix.into(),
            destdir: destdir.map(Into::into),
            libdir: libdir.into(),
            includedir: includedir.into(),
        }
    }

    fn layout(prefix: &str, destdir: Option<&str>, libdir: &str) -> Result<Layout> {
        Layout::new(&folders(prefix, destdir, libdir, "include"), Path::new("/here"))
    }

    #[test]
    fn a_package_is_written_below_its_destdir_and_names_only_its_prefix() {
        let package = layout("/usr", Some("/stage"), "lib/x86_64-linux-gnu").unwrap();
        assert_eq!(package.root, Path::new("/stage/usr"));
        assert_eq!(package.prefix_of_pkg_config(), "/usr");
        assert_eq!(package.climb_of_cmake(), "/../../../..");
        assert_eq!(layout("/usr/", Some("stage"), "lib").unwrap().root, Path::new("/here/stage/usr"));
        assert_eq!(layout("/usr/", Some("stage"), "lib").unwrap().prefix_of_pkg_config(), "/usr");
    }

    #[test]
    fn an_empty_destdir_is_the_root() {
        let package = layout("/usr", Some(""), "lib").unwrap();
        assert_eq!(package.root, Path::new("/usr"));
        assert_eq!(package.prefix_of_pkg_config(), "/usr");
    }

    #[test]
    fn a_folder_without_destdir_may_be_moved() {
        let folder = layout("dist", None, "lib64").unwrap();
        assert_eq!(folder.root, Path::new("/here/dist"));
        assert_eq!(folder.prefix_of_pkg_config(), "${pcfiledir}/../..");
        assert_eq!(folder.climb_of_cmake(), "/../../..");
    }

    #[test]
    fn an_absolute_libdir_counts_from_the_prefix() {
        assert_eq!(layout("/usr", Some("/stage"), "/usr/lib64").unwrap().libdir, "lib64");
        assert_eq!(layout("/usr", Some("/stage"), "./lib64/").unwrap().libdir, "lib64");
    }

    #[test]
    fn refusals_say_what_to_give_instead() {
        for (prefix, destdir, libdir, complaint) in [
            ("usr", Some("/stage"), "lib", "absolute path without `..`, such as --prefix /usr"),
            ("/usr/../..", Some("/stage"), "lib", "absolute path without `..`, such as --prefix /usr"),
            ("/my files", Some("/stage"), "lib", "without spaces"),
            ("/usr", None, "/opt/lib", "is not inside --prefix /usr. Name a folder inside the prefix"),
            ("/usr", None, "../lib", "leaves the prefix. Name a folder inside the prefix, such as lib or"),
            ("/usr", None, "lib;64", "which a pkg-config file cannot have. Name a folder"),
            ("/usr", None, ".", "is the prefix itself"),
        ] {
            let error = layout(prefix, destdir, libdir).unwrap_err();
            assert!(error.contains(complaint), "{error}");
        }
        let error =
            Layout::new(&folders("/usr", None, "lib", "/usr/../include"), Path::new("/")).unwrap_err();
        assert!(
            error.contains("--includedir /usr/../include") && error.contains("such as include"),
            "{error}"
        );
    }
}
