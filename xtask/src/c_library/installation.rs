//! The installation: headers, libraries, and what pkg-config and CMake find them by.

use std::path::Path;

use super::layout::Layout;
use super::library::{Library, UNIX_LIBS, WINDOWS_LIBS, soname};
use super::{SOURCES, headers};
use crate::process::Result;

/// Everyone may read an installed file, whatever mask the user has who installs.
const READABLE: u32 = 0o644;
const EXECUTABLE: u32 = 0o755;

impl Library {
    pub(super) fn install(&self, layout: &Layout) -> Result<()> {
        let libdir = layout.root.join(&layout.libdir);
        for header in headers::HEADERS {
            copy(&Path::new(SOURCES).join("include").join(header), &layout.root.join(&layout.includedir))?;
        }
        self.install_libraries(&layout.root, &libdir)?;
        let values = self.values(layout);
        for (name, folder) in [
            ("io_reactor.pc", layout.pkg_config()),
            ("io_reactor-config.cmake", layout.cmake()),
            ("io_reactor-config-version.cmake", layout.cmake()),
            ("io_reactor-targets.cmake", layout.cmake()),
        ] {
            let template = Path::new(SOURCES).join("packaging").join(format!("{name}.in"));
            // A file without places to fill in is no template.
            let template = if template.exists() { template } else { template.with_extension("") };
            let text = std::fs::read_to_string(&template)
                .map_err(|error| format!("{}: {error}", template.display()))?;
            let text = values.iter().fold(text, |text, (key, value)| text.replace(key, value));
            write(&layout.root.join(folder).join(name), &text)?;
        }
        Ok(())
    }

    fn install_libraries(&self, root: &Path, libdir: &Path) -> Result<()> {
        let [archive, shared, import] = self.files();
        let built = |name: &str| self.folder.join(name);
        copy(&built(archive), libdir)?;
        if self.windows() {
            copy_as(&built(shared), &root.join("bin").join(shared), EXECUTABLE)?;
            copy(&built(import), libdir)?;
            return write(&libdir.join("io_reactor.def"), &self.module_definition()?);
        }
        // The file name has the full version. Programs find it by its SONAME, and linkers by the name without a
        // version.
        let file = format!("{shared}.{}", env!("CARGO_PKG_VERSION"));
        copy_as(&built(shared), &libdir.join(&file), EXECUTABLE)?;
        link(&file, &libdir.join(soname()))?;
        link(&soname(), &libdir.join(shared))
    }

    /// What the templates' places are filled with.
    fn values(&self, layout: &Layout) -> Vec<(&'static str, String)> {
        let version = env!("CARGO_PKG_VERSION");
        let (libdir, [archive, shared, import]) = (&layout.libdir, self.files());
        let libs = if self.windows() { WINDOWS_LIBS } else { UNIX_LIBS };
        let shared =
            if self.windows() { format!("bin/{shared}") } else { format!("{libdir}/{shared}.{version}") };
        vec![
            ("@VERSION@", version.to_owned()),
            ("@MAJOR@", version.split('.').next().unwrap_or("0").to_owned()),
            ("@POINTER_BYTES@", self.pointer_bytes().to_string()),
            ("@PREFIX@", layout.prefix_of_pkg_config()),
            ("@UP@", layout.climb_of_cmake()),
            ("@INCLUDEDIR@", layout.includedir.clone()),
            ("@LIBDIR@", libdir.clone()),
            ("@SHARED@", shared),
            ("@SONAME@", soname()),
            ("@IMPORT@", format!("{libdir}/{import}")),
            ("@STATIC@", format!("{libdir}/{archive}")),
            // The static library of MSVC has the name without an addition.
            ("@NAME@", if self.msvc() { "io_reactor.dll" } else { "io_reactor" }.to_owned()),
            ("@LIBS@", if self.windows() { " -lws2_32".to_owned() } else { String::new() }),
            ("@PRIVATE_LIBS@", libs.to_owned()),
        ]
    }
}

pub(super) fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

pub(super) fn copy(file: &Path, folder: &Path) -> Result<()> {
    copy_as(file, &folder.join(file.file_name().unwrap_or_default()), READABLE)
}

/// A new file. A program that has the old one open, such as a library that it runs, keeps the old one.
fn copy_as(file: &Path, place: &Path, mode: u32) -> Result<()> {
    place.parent().map_or(Ok(()), make_folder)?;
    remove(place)?;
    std::fs::copy(file, place)
        .map_err(|error| format!("{} to {}: {error}", file.display(), place.display()))?;
    set_mode(place, mode)?;
    println!("    {}", place.display());
    Ok(())
}

fn write(place: &Path, text: &str) -> Result<()> {
    place.parent().map_or(Ok(()), make_folder)?;
    remove(place)?;
    std::fs::write(place, text).map_err(|error| format!("{}: {error}", place.display()))?;
    set_mode(place, READABLE)?;
    println!("    {}", place.display());
    Ok(())
}

fn set_mode(place: &Path, mode: u32) -> Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(place, std::os::unix::fs::PermissionsExt::from_mode(mode))
        .map_err(|error| format!("{}: {error}", place.display()))?;
    // Windows has no such modes.
    let _ = (place, mode);
    Ok(())
}

/// Removes a file or a link, if it is there.
pub(super) fn remove(place: &Path) -> Result<()> {
    match std::fs::remove_file(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{} cannot be replaced: {error}", place.display()))
        }
        _ => Ok(()),
    }
}

pub(super) fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{} cannot be removed: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Makes a symbolic link, and replaces an existing link.
pub(super) fn link(to: &str, place: &Path) -> Result<()> {
    remove(place)?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(to, place)
        .map_err(|error| format!("a link at {} to {to}: {error}", place.display()))?;
    println!("    {} -> {to}", place.display());
    Ok(())
}
