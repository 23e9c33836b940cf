//! The installation: headers, libraries, and what pkg-config and CMake find them by.

use std::path::Path;

use super::library::{Library, UNIX_LIBS, WINDOWS_LIBS, soname};
use super::{SOURCES, headers};
use crate::process::Result;

impl Library {
    pub(super) fn install(&self, prefix: &Path) -> Result<()> {
        let version = env!("CARGO_PKG_VERSION");
        let mut numbers = version.split('.');
        let mut number = || numbers.next().unwrap_or("0");
        let (major, minor) = (number(), number());
        let [archive, shared, import] = self.files();
        let libs = if self.windows() { WINDOWS_LIBS } else { UNIX_LIBS };
        let names: Vec<&str> = libs.split(' ').map(|lib| lib.trim_start_matches("-l")).collect();
        let values = [
            ("@VERSION@", version.to_owned()),
            ("@MAJOR@", major.to_owned()),
            ("@MINOR@", minor.to_owned()),
            (
                "@SHARED@",
                if self.windows() { format!("bin/{shared}") } else { format!("lib/{shared}.{version}") },
            ),
            ("@SONAME@", soname()),
            ("@IMPORT@", format!("lib/{import}")),
            ("@STATIC@", format!("lib/{archive}")),
            ("@STATIC_LIBS@", names.join(";")),
            ("@LIBS@", if self.windows() { "-lws2_32".to_owned() } else { String::new() }),
            ("@PRIVATE_LIBS@", libs.to_owned()),
        ];
        let built = |name: &str| self.folder.join(name);
        for header in headers::HEADERS {
            copy(&Path::new(SOURCES).join("include").join(header), &prefix.join("include"))?;
        }
        copy(&built(archive), &prefix.join("lib"))?;
        if self.windows() {
            copy(&built(shared), &prefix.join("bin"))?;
            copy(&built(import), &prefix.join("lib"))?;
        } else {
            // The file name has the full version. Programs find it by its SONAME, and linkers by the name without a
            // version.
            let file = format!("{shared}.{version}");
            copy_as(&built(shared), &prefix.join("lib").join(&file))?;
            link(&file, &prefix.join("lib").join(soname()))?;
            link(&soname(), &prefix.join("lib").join(shared))?;
        }
        for (name, folder) in [
            ("io_reactor.pc", "lib/pkgconfig"),
            ("io_reactor-config.cmake", "lib/cmake/io_reactor"),
            ("io_reactor-config-version.cmake", "lib/cmake/io_reactor"),
        ] {
            let template = Path::new(SOURCES).join("packaging").join(format!("{name}.in"));
            let template = std::fs::read_to_string(&template)
                .map_err(|error| format!("{}: {error}", template.display()))?;
            let text = values.iter().fold(template, |text, (key, value)| text.replace(key, value));
            let folder = prefix.join(folder);
            make_folder(&folder)?;
            let place = folder.join(name);
            std::fs::write(&place, text).map_err(|error| format!("{}: {error}", place.display()))?;
            println!("    {}", place.display());
        }
        Ok(())
    }
}

pub(super) fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

pub(super) fn copy(file: &Path, folder: &Path) -> Result<()> {
    copy_as(file, &folder.join(file.file_name().unwrap_or_default()))
}

pub(super) fn copy_as(file: &Path, place: &Path) -> Result<()> {
    place.parent().map_or(Ok(()), make_folder)?;
    std::fs::copy(file, place)
        .map_err(|error| format!("{} to {}: {error}", file.display(), place.display()))?;
    println!("    {}", place.display());
    Ok(())
}

/// Makes a symbolic link, and replaces an existing link.
pub(super) fn link(to: &str, place: &Path) -> Result<()> {
    let failed = |error| format!("a link at {} to {to}: {error}", place.display());
    match std::fs::remove_file(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(to, place).map_err(failed)?;
    println!("    {} -> {to}", place.display());
    Ok(())
}
