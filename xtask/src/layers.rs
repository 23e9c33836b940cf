//! The order of the reactor's modules: an import may only go down.
//!
//! crew → public interface → engine → console, kernel. Modules of the same layer do not import each other, so that no two of
//! them need each other to be understood.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Result;

/// The sources that are checked.
const SOURCES: &str = "crates/dolmen/src";

/// Each module of the crate, lowest layer first.
const LAYERS: &[&[&str]] = &[
    // Words that all layers share.
    &["address", "close_reason", "drop_each", "marks", "shared_bytes", "stats", "sync", "token"],
    &["kernel"],
    &["error"],
    &["console"],
    &["removed"],
    &["record"],
    &["engine"],
    &["channel", "events", "waker"],
    &["reactor"],
    &["crew"],
    &["sim"],
    &["raw"],
    &["lib"],
];

/// Finds the imports that go up, or sideways.
pub fn check() -> Result<Vec<String>> {
    let layers: BTreeMap<&str, usize> =
        (0..).zip(LAYERS).flat_map(|(rank, names)| names.iter().map(move |&name| (name, rank))).collect();
    let mut faults = Vec::new();
    for path in sources(Path::new(SOURCES))? {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.strip_prefix(SOURCES).map_err(|error| error.to_string())?;
        let module = name.iter().next().map(|part| part.to_string_lossy()).unwrap_or_default();
        let module = module.trim_end_matches(".rs").to_owned();
        faults.extend(faults_in(&path.display().to_string(), &module, &text, &layers));
    }
    Ok(faults)
}

/// The Rust files of a folder that are part of the product.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let is_test = path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn faults_in(name: &str, module: &str, text: &str, layers: &BTreeMap<&str, usize>) -> Vec<String> {
    let Some(&own) = layers.get(module) else {
        return vec![format!("{name}: `{module}` has no layer; give it one in xtask/src/layers.rs")];
    };
    let mut faults = Vec::new();
    // Unit tests may use anything.
    let product = text.lines().take_while(|line| !line.starts_with("mod tests {"));
    for (number, line) in (1..).zip(product) {
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices("crate::") {
            let rest = &code[at + "crate::".len()..];
            let used: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(&other) = layers.get(used.as_str()) else { continue };
            if used != module && other >= own {
                faults.push(format!("{name}:{number}: `{module}` imports `{used}`, which is not below it"));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(module: &str, text: &str) -> usize {
        faults_in(
            "file.rs",
            module,
            text,
            &BTreeMap::from([("kernel", 0), ("engine", 1), ("waker", 2), ("events", 2)]),
        )
        .len()
    }

    #[test]
    fn an_import_goes_down() {
        assert_eq!(faults("engine", "use crate::kernel::Kernel;\nuse crate::engine::Engine;\n"), 0);
        assert_eq!(faults("kernel", "use crate::engine::Engine;\n"), 1, "up");
        assert_eq!(
            faults("kernel", "    let x = crate::engine::X + crate::waker::Y;\n"),
            2,
            "in code as well"
        );
        assert_eq!(faults("events", "use crate::waker::Waker;\n"), 1, "sideways");
    }

    #[test]
    fn comments_and_unit_tests_may_name_anything() {
        assert_eq!(faults("kernel", "//! See [`engine`](crate::engine).\n"), 0);
        assert_eq!(faults("kernel", "mod tests {\n    use crate::engine::Engine;\n}\n"), 0);
    }

    #[test]
    fn every_module_has_a_layer() {
        assert_eq!(faults("new", ""), 1);
    }
}
