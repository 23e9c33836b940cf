//! Installed libraries, used by pkg-config: a folder that was moved, and a package in a sysroot.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::installation::remove_folder;
use super::layout::{Folders, Layout};
use super::tests::Tests;
use crate::process::{Result, Run};

/// The prefix of the package that is tested.
pub(super) const PREFIX: &str = "/opt/io_reactor";

impl Tests<'_> {
    /// A folder is moved before it is used.
    pub(super) fn moved_folder(&self) -> Result<()> {
        let (first, second) = (self.folder.join("prefix"), self.folder.join("moved"));
        let folders = Folders {
            prefix: first.clone(),
            destdir: None,
            libdir: "lib".into(),
            includedir: "include".into(),
        };
        self.install_and_move(&folders, &first, &second)?;
        let search = [("PKG_CONFIG_LIBDIR", second.join("lib/pkgconfig"))];
        self.pkg_config("moved", &search, &second.join("lib"), &second.join("include"))
    }

    /// A package for [`PREFIX`] that is staged in one folder and then found in another, a sysroot, which is returned.
    pub(super) fn staged_package(&self) -> Result<PathBuf> {
        let (stage, sysroot) = (self.folder.join("stage"), self.folder.join("sysroot"));
        let folders = Folders {
            prefix: PREFIX.into(),
            destdir: Some(OsString::from(&stage)),
            libdir: self.libdir().into(),
            includedir: "include".into(),
        };
        self.install_and_move(&folders, &stage, &sysroot)?;
        Ok(sysroot)
    }

    /// As distributions have it on this system.
    pub(super) fn libdir(&self) -> &'static str {
        if self.library.windows() { "lib" } else { "lib/x86_64-linux-gnu" }
    }

    /// pkg-config puts the sysroot in front of the prefix, once.
    pub(super) fn package_in_sysroot(&self, sysroot: &Path) -> Result<()> {
        let prefix = sysroot.join(PREFIX.trim_start_matches('/'));
        let libdir = prefix.join(self.libdir());
        let search =
            [("PKG_CONFIG_LIBDIR", libdir.join("pkgconfig")), ("PKG_CONFIG_SYSROOT_DIR", sysroot.to_owned())];
        let text = read(&libdir.join("pkgconfig/io_reactor.pc"))?;
        if !text.contains(&format!("\nprefix={PREFIX}\n")) {
            return Err(format!("the package's pkg-config file does not have the prefix {PREFIX}:\n{text}"));
        }
        self.pkg_config("sysroot", &search, &libdir, &prefix.join("include"))
    }

    fn install_and_move(&self, folders: &Folders, from: &Path, to: &Path) -> Result<()> {
        remove_folder(from)?;
        remove_folder(to)?;
        self.library.install(&Layout::new(folders, &self.folder)?)?;
        std::fs::rename(from, to)
            .map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))?;
        mentions_nowhere(to, &from.display().to_string())
    }

    /// Three programs: with the shared library; with the static one, otherwise dynamic; all static.
    fn pkg_config(
        &self,
        place: &str,
        search: &[(&str, PathBuf)],
        libdir: &Path,
        include: &Path,
    ) -> Result<()> {
        let package = |what: &str| {
            let asked = Run::new(&format!("pkg-config {what} io_reactor"));
            let asked = search
                .iter()
                .fold(asked, |asked, (name, folder)| asked.env(name, folder.display().to_string()));
            asked.output()
        };
        let headers = package("--cflags")?;
        let shared = package("--libs")?;
        for (flags, option, folder) in [(&headers, "-I", include), (&shared, "-L", libdir)] {
            if !flags.split_whitespace().any(|flag| is_folder(flag, option, folder)) {
                return Err(format!("pkg-config does not give {option}{}: {flags}", folder.display()));
            }
        }
        for (kind, flag, libraries) in [
            ("shared", "", shared),
            ("static", "", package("--variable=static")?),
            ("all-static", "-static", package("--static --libs")?),
        ] {
            let program = self.folder.join(format!("echo-{place}-{kind}.exe"));
            let rpath = (!self.library.windows()).then(|| format!("-Wl,-rpath,{}", libdir.display()));
            Run::new(if self.library.windows() { "x86_64-w64-mingw32-gcc -o" } else { "cc -o" })
                .args([program.display().to_string(), "examples/c/echo.c".to_owned()])
                .args(rpath)
                .args(flag.split_whitespace().chain(headers.split_whitespace()))
                .args(libraries.split_whitespace())
                .run()?;
            self.is_linked_to_shared(&program, kind == "shared")?;
            self.programs.run(&format!("echo, {place}, {kind}"), || self.echoes(&program))?;
        }
        Ok(())
    }
}

/// Whether `flag` is the option with this folder, however that is written.
fn is_folder(flag: &str, option: &str, folder: &Path) -> bool {
    let given = flag.strip_prefix(option).and_then(|given| Path::new(given).canonicalize().ok());
    given.is_some() && given == folder.canonicalize().ok()
}

/// No text that was installed into the folder contains `words`.
fn mentions_nowhere(folder: &Path, words: &str) -> Result<()> {
    let failed = |error| format!("{}: {error}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let place = entry.map_err(failed)?.path();
        if place.is_dir() {
            mentions_nowhere(&place, words)?;
            continue;
        }
        // A file that is not text is the library, in which debug information has the build's folder.
        if std::fs::read_to_string(&place).is_ok_and(|text| text.contains(words)) {
            return Err(format!("{} mentions {words}, where it was installed first", place.display()));
        }
    }
    Ok(())
}

fn read(place: &Path) -> Result<String> {
    std::fs::read_to_string(place).map_err(|error| format!("{}: {error}", place.display()))
}
