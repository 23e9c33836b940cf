//! Wine 10 on a Debian that has an older one: the packages of the next release, outside the system.
//!
//! Installing them would replace the C library. So apt resolves and downloads them in a root of its own, with sources
//! made from the machine's by changing the release's name; they are unpacked into one folder in the user's cache, and
//! `xtask/wine/env.sh` mounts that over /usr for each program. Mounting needs root. A machine without root, namespaces
//! or such packages has no Wine 10, and the reason is reported.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::process::{Result, Run, is_root};

/// Releases of Debian with an older Wine, and for each the release with Wine 10.
const NEXT_RELEASE: [(&str, &str); 1] = [("bookworm", "trixie")];

/// The packages to unpack, with all their dependencies. Some of Wine's own programs start a shell; a console needs a
/// locale with more than ASCII.
const PACKAGES: [&str; 3] = ["wine64", "dash", "libc-bin"];

/// The files that must exist after unpacking. A folder that lacks one was made by an older version of this program.
const WANTED: [&str; 4] =
    ["usr/lib/wine/wine64", "usr/lib/wine/wineserver64", "usr/bin/sh", "usr/lib/locale/C.utf8/LC_CTYPE"];

/// Gets Wine 10, unless it exists. The error is the reason why this machine cannot have it.
pub fn get(allowed: bool) -> Result<()> {
    can_mount()?;
    let folder = folder()?;
    if missing(&folder).is_none() {
        return Ok(());
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let (ours, next) = releases(&release)?;
    if !allowed {
        return Err("it is not downloaded yet. To get it, type: cargo xtask install".to_owned());
    }
    let cache = folder.parent().ok_or("the cache has no folder")?;
    let failed = |what: &Path, error| format!("{}: {error}", what.display());
    std::fs::create_dir_all(cache).map_err(|error| failed(cache, error))?;
    // The kernel drops the lock of a killed process. Another clone may be downloading.
    let lock = cache.join("wine-10.lock");
    let held = File::create(&lock).map_err(|error| failed(&lock, error))?;
    wait_for_lock(&held).map_err(|error| failed(&lock, error))?;
    if missing(&folder).is_none() {
        return Ok(());
    }
    // An existing `wine-10.part` is from an interrupted run. The folder gets its final name when it is complete.
    let part = cache.join("wine-10.part");
    remove(&part)?;
    println!("    downloading Wine 10 from Debian {next} to {} (190 MB, unpacked 1 GB)", folder.display());
    let made = make(&part, ours, next);
    if made.is_ok() {
        remove(&folder)?;
        std::fs::rename(part.join("tree"), &folder).map_err(|error| failed(&folder, error))?;
    }
    remove(&part)?;
    made
}

/// Its folder: one for all clones, and outside each.
fn folder() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(cache.ok_or("neither XDG_CACHE_HOME nor HOME is set")?.join("dolmen/wine-10"))
}

/// Whether the kernel lets us mount one folder over /usr, for a single program.
fn can_mount() -> Result<()> {
    if !is_root() {
        return Err("it needs root, for a mount namespace".to_owned());
    }
    // Where /bin and /lib are separate folders, a new /usr would be half a system.
    if let Some(folder) = ["/bin", "/lib", "/lib64"].iter().find(|folder| !Path::new(folder).is_symlink()) {
        return Err(format!("{folder} is not a link into /usr"));
    }
    let mount = Run::new("unshare --mount sh -c").args(["mount --bind /usr /usr"]).output();
    mount.map(drop).map_err(|error| format!("mount namespaces are refused: {}", one_line(&error)))
}

/// The system's release and the release with Wine 10.
fn releases(os_release: &str) -> Result<(&'static str, &'static str)> {
    let value = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"')
    };
    let known =
        NEXT_RELEASE.iter().find(|(ours, _)| value("ID") == "debian" && value("VERSION_CODENAME") == *ours);
    known.copied().ok_or_else(|| {
        let system = value("PRETTY_NAME");
        format!("it comes from the release after Debian {}, and this is {system}", NEXT_RELEASE[0].0)
    })
}

/// Downloads into `part` and unpacks into its `tree`.
fn make(part: &Path, ours: &str, next: &str) -> Result<()> {
    let sources = sources(ours, next);
    if sources.is_empty() {
        return Err(format!(
            "apt's sources on this machine have no entry for {ours} with the component main"
        ));
    }
    let write = |name: &str, text: &str| {
        let place = part.join(name);
        let folder = place.parent().unwrap_or(part);
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&place, text));
        written.map_err(|error| format!("{}: {error}", place.display()))
    };
    for (name, text) in &sources {
        write(&format!("sources/{name}"), text)?;
    }
    write("state/status", "")?;
    write("state/lists/partial/.keep", "")?;
    write("cache/archives/partial/.keep", "")?;
    write("apt.conf", &apt_configuration(part))?;
    let apt_get = || {
        let apt_get = Run::new("env DEBIAN_FRONTEND=noninteractive apt-get -q -y -c");
        apt_get.args([part.join("apt.conf").display().to_string()])
    };
    // A source without such a release, a third party's for example, does not matter if the others have the packages.
    if let Err(error) = apt_get().args(["update"]).run() {
        println!("    using the available lists: {error}");
    }
    let install = apt_get().args(["install", "--download-only", "--no-install-recommends"]).args(PACKAGES);
    install.run().map_err(|error| format!("its packages cannot be downloaded: {error}"))?;
    unpack(&part.join("cache/archives"), &part.join("tree"))
}

/// A separate apt: it uses the machine's network settings and its keys, and nothing else of it.
fn apt_configuration(part: &Path) -> String {
    let part = part.display();
    format!(
        "Dir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"{part}/sources\";\n\
         Dir::State \"{part}/state\";\nDir::State::status \"{part}/state/status\";\nDir::Cache \"{part}/cache\";\n\
         APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n\
         #clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Pre-Invoke;\n#clear DPkg::Post-Invoke;\n"
    )
}

fn unpack(archives: &Path, tree: &Path) -> Result<()> {
    let failed = |error| format!("{}: {error}", archives.display());
    let files = std::fs::read_dir(archives).map_err(failed)?.flatten().map(|entry| entry.path());
    let packages: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
    println!("    unpacking {} packages into {}", packages.len(), tree.display());
    for (number, package) in (1..).zip(&packages) {
        Run::new("dpkg -x").args([package, tree].map(|path| path.display().to_string())).output()?;
        if number % 50 == 0 {
            println!("    … {number}");
        }
    }
    add_zlib(tree)?;
    match missing(tree) {
        None => Ok(()),
        Some(file) => Err(format!("its packages have no {file}")),
    }
}

fn missing(tree: &Path) -> Option<&'static str> {
    WANTED.into_iter().find(|file| !tree.join(file).exists())
}

/// The effect of a trigger of the package: zlib1.dll, marked as one of Wine's own, in Wine's folder.
fn add_zlib(tree: &Path) -> Result<()> {
    const MARK: std::ops::Range<usize> = 64..96;
    for (compiler, windows) in
        [("i686-w64-mingw32", "i386-windows"), ("x86_64-w64-mingw32", "x86_64-windows")]
    {
        let from = tree.join(format!("usr/{compiler}/lib/zlib1.dll"));
        let to = tree.join(format!("usr/lib/x86_64-linux-gnu/wine/{windows}/zlib1.dll"));
        let mut bytes = std::fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?;
        let mark = bytes.get_mut(MARK).ok_or_else(|| format!("{} is too short", from.display()))?;
        mark.fill(0);
        mark[..16].copy_from_slice(b"Wine builtin DLL");
        std::fs::write(&to, bytes).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(())
}

/// The machine's entries for its release, by file name, changed for the next one.
fn sources(ours: &str, next: &str) -> Vec<(String, String)> {
    let parts = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    files.push(PathBuf::from("/etc/apt/sources.list"));
    let changed = files.iter().filter_map(|file| {
        let name = file.file_name()?.to_str()?;
        let text = std::fs::read_to_string(file).ok()?;
        let text = match file.extension()?.to_str()? {
            "list" => of_next_release_in_lines(&text, ours, next),
            "sources" => of_next_release_in_stanzas(&text, ours, next),
            _ => return None,
        };
        (!text.is_empty()).then(|| (name.to_owned(), text))
    });
    changed.collect()
}

/// From a file in the format `deb [options] URI SUITE COMPONENT…`: the entries for `ours`, changed for `next`.
fn of_next_release_in_lines(text: &str, ours: &str, next: &str) -> String {
    let changed = text.lines().filter_map(|line| {
        let line = line.split('#').next()?.trim();
        let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map(|(options, rest)| (format!("[{options}] "), rest))?,
            None => (String::new(), rest),
        };
        let mut words = rest.split_whitespace();
        let (uri, suite) = (words.next()?, suite_of_next_release(words.next()?, ours, next)?);
        let components: Vec<&str> = words.collect();
        let wanted = components.contains(&"main") && !uri.starts_with("cdrom:");
        wanted.then(|| format!("deb {options}{uri} {suite} {}\n", components.join(" ")))
    });
    changed.collect()
}

/// The same for a file of stanzas in the format `Types: deb`.
fn of_next_release_in_stanzas(text: &str, ours: &str, next: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let stanzas = lines.split(|line| line.trim().is_empty()).filter_map(|stanza| {
        let fields = fields(stanza);
        let words = |name: &str| {
            let field = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
            field.map_or("", |(_, value)| value).split_whitespace()
        };
        let suites: Vec<String> =
            words("Suites").filter_map(|suite| suite_of_next_release(suite, ours, next)).collect();
        let wanted = words("Types").any(|kind| kind == "deb")
            && words("Components").any(|component| component == "main")
            && !words("URIs").any(|uri| uri.starts_with("cdrom:"))
            && !words("Enabled").any(|enabled| enabled == "no");
        if !wanted || suites.is_empty() {
            return None;
        }
        let line = |(name, value): &(&str, String)| {
            if name.eq_ignore_ascii_case("Types") {
                "Types: deb\n".to_owned()
            } else if name.eq_ignore_ascii_case("Suites") {
                format!("Suites: {}\n", suites.join(" "))
            } else {
                format!("{name}: {value}\n")
            }
        };
        Some(fields.iter().map(line).collect::<String>() + "\n")
    });
    stanzas.collect()
}

/// The fields of a stanza. A value includes its continuation lines: it may be an embedded signing key.
fn fields<'a>(stanza: &[&'a str]) -> Vec<(&'a str, String)> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in stanza {
        if line.starts_with([' ', '\t']) {
            let Some((_, value)) = fields.last_mut() else { continue };
            value.push('\n');
            value.push_str(line);
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name, value.trim().to_owned()));
        }
    }
    fields
}

/// `bookworm`, `bookworm-updates`, `bookworm/updates`; nothing for the suites of another release.
fn suite_of_next_release(suite: &str, ours: &str, next: &str) -> Option<String> {
    let rest = suite.strip_prefix(ours)?;
    (rest.is_empty() || rest.starts_with(['-', '/'])).then(|| format!("{next}{rest}"))
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", folder.display())),
        _ => Ok(()),
    }
}

fn one_line(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ")
}

/// Waits until no other process has the lock; the standard library's own call needs a newer Rust than the project
/// requires.
#[cfg(unix)]
fn wait_for_lock(file: &File) -> std::io::Result<()> {
    Ok(rustix::fs::flock(file, rustix::fs::FlockOperation::LockExclusive)?)
}

#[cfg(not(unix))]
fn wait_for_lock(_file: &File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_entries_change_their_release_and_nothing_else() {
        let text = "# deb http://mirror.example/bookworm bookworm main\n\
                    deb http://mirror.example/bookworm bookworm main contrib # ours\n\
                    deb [arch=amd64 signed-by=/a/bookworm.gpg]  http://mirror.example/s bookworm-security main\n\
                    deb-src http://mirror.example/bookworm bookworm main\n\
                    deb http://other.example/linux bookworm stable\n\
                    deb http://other.example/chrome stable main\n\
                    deb cdrom:[Debian] bookworm main\n";
        assert_eq!(
            of_next_release_in_lines(text, "bookworm", "trixie"),
            "deb http://mirror.example/bookworm trixie main contrib\n\
             deb [arch=amd64 signed-by=/a/bookworm.gpg] http://mirror.example/s trixie-security main\n"
        );
    }

    #[test]
    fn stanzas_change_their_release_and_nothing_else() {
        let text = "Types: deb deb-src\n# a comment\nURIs: http://mirror.example/bookworm\n\
                    Suites: bookworm bookworm-updates\nComponents: main\nSigned-By:\n -----BEGIN\n .\n bookworm\n\n\
                    Types: deb\nURIs: http://other.example/\nSuites: nodistro\nComponents: main\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://off.example/\nSuites: bookworm\nComponents: main\n";
        assert_eq!(
            of_next_release_in_stanzas(text, "bookworm", "trixie"),
            "Types: deb\nURIs: http://mirror.example/bookworm\nSuites: trixie trixie-updates\nComponents: main\n\
             Signed-By: \n -----BEGIN\n .\n bookworm\n\n"
        );
    }

    #[test]
    fn a_suite_that_only_begins_like_the_release_is_another() {
        assert_eq!(suite_of_next_release("bookwormish", "bookworm", "trixie"), None);
        assert_eq!(
            suite_of_next_release("bookworm/updates", "bookworm", "trixie").as_deref(),
            Some("trixie/updates")
        );
    }

    #[test]
    fn only_a_known_release_has_a_next_one() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(releases(debian), Ok(("bookworm", "trixie")));
        let ubuntu = "PRETTY_NAME=\"Ubuntu 24.04 LTS\"\nVERSION_CODENAME=noble\nID=ubuntu\n";
        let reason = releases(ubuntu).unwrap_err();
        assert!(reason.contains("Ubuntu 24.04 LTS") && reason.contains("bookworm"), "{reason}");
    }

    #[test]
    fn apt_works_in_a_root_of_its_own() {
        let text = apt_configuration(Path::new("/cache/part"));
        for setting in ["Dir::State \"/cache/part/state\"", "Dir::Cache \"/cache/part/cache\""] {
            assert!(text.contains(setting), "{text}");
        }
    }
}
