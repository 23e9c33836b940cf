//! The tests of each subject, found by their names.

use super::subjects::{self, Subject};

/// A test, and the kernels on which it runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    pub subject: Subject,
    pub file: String,
    pub name: String,
    pub kernels: &'static str,
}

/// All tests of a file with a subject in their names.
pub fn tests_in(file: &str, text: &str) -> Vec<Test> {
    let mut found = Vec::new();
    // The attributes so far: of the file, of the current module, of the next item.
    let (mut of_file, mut of_module, mut of_item) = (None, None, None);
    for line in text.lines() {
        let code = line.trim_start();
        let indented = code.len() < line.len();
        // A scenario is also called by the test that runs it against its mutant.
        let code = code.strip_prefix("pub(super) ").unwrap_or(code);
        let system = if code.contains("target_os = \"linux\"") || code.contains("cfg(unix)") {
            Some("Linux")
        } else if code.contains("cfg(windows)") {
            Some("Windows")
        } else {
            None
        };
        if code.starts_with("#![cfg") {
            of_file = system;
        } else if code.starts_with("#[") {
            of_item = system.or(of_item);
        } else if let Some(name) =
            code.strip_prefix("fn ").and_then(|rest| rest.split_once('(')).map(|(name, _)| name)
        {
            let of_module = of_module.filter(|_| indented);
            let system = of_item.or(of_module).or(of_file);
            // Tests that type at a terminal are Linux programs, and drive the program of either system.
            let either = text.contains("console_rig/mod.rs");
            found.extend(by_name(name, file, kernels(file, system.filter(|_| !either))));
            of_item = None;
        } else if !code.is_empty() && !code.starts_with("//") {
            if code.starts_with("mod ") && !indented {
                of_module = of_item;
            }
            of_item = None;
        }
    }
    found
}

/// The same for a C file, in which the preprocessor says which system a test is for.
pub fn c_tests_in(file: &str, text: &str) -> Vec<Test> {
    let mut found = Vec::new();
    let mut conditions = Vec::new();
    for line in text.lines() {
        if line.starts_with("#if") {
            conditions.push(match line {
                "#ifdef _WIN32" => Some("Windows"),
                "#ifndef _WIN32" => Some("Linux"),
                _ => None,
            });
        } else if line == "#else" {
            if let Some(Some(system)) = conditions.last_mut() {
                *system = if *system == "Linux" { "Windows" } else { "Linux" };
            }
        } else if line == "#endif" {
            conditions.pop();
        } else if let Some((name, _)) =
            line.strip_prefix("static void ").and_then(|rest| rest.split_once('('))
        {
            let system = conditions.iter().flatten().next().copied();
            found.extend(by_name(name, file, kernels(file, system)));
        }
    }
    found
}

/// A test, once for each subject in its name.
fn by_name(name: &str, file: &str, kernels: &'static str) -> Vec<Test> {
    let test = |subject| Test { subject, file: file.to_owned(), name: name.to_owned(), kernels };
    name.split('_').filter_map(subjects::parse).map(test).collect()
}

/// The kernels of a test, from the place of its file and from its attributes.
fn kernels(file: &str, system: Option<&'static str>) -> &'static str {
    match system {
        _ if file.contains("/src/sim/") || file.starts_with("crates/sim/") => "simulated",
        _ if file.contains("/kernel/iocp/") => "Windows",
        _ if file.contains("/kernel/epoll/") => "Linux",
        Some(system) => system,
        None => "Linux, Windows",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_found_in_names() {
        let found = |name| by_name(name, "", "").iter().map(|test| test.subject.number).collect::<Vec<_>>();
        assert_eq!(found("hc06_hc07_of_two"), [6, 7]);
        assert_eq!(found("p07_hc05_reused"), [7, 5]);
        assert_eq!(found("the_hcl_and_hc5"), [0; 0]);
    }

    #[test]
    fn a_test_runs_where_its_attributes_say() {
        let text = "\
#[test]
fn hc01_everywhere() {
    let x;
}

#[cfg(target_os = \"linux\")]
mod linux {
    #[test]
    fn hc02_linux() {}
}

#[cfg(windows)]
#[test]
fn p04_hc03_windows() {}
";
        let found: Vec<_> = tests_in("crates/x/tests/y.rs", text)
            .into_iter()
            .map(|test| (test.subject.number, test.kernels))
            .collect();
        assert_eq!(found, [(1, "Linux, Windows"), (2, "Linux"), (4, "Windows"), (3, "Windows")]);
    }

    #[test]
    fn a_test_in_c_runs_where_the_preprocessor_says() {
        let text = "\
static void hc01_everywhere(void)
#ifndef _WIN32
static void hc02_posix(void)
#else
static void hc03_windows(void)
#endif
static int hc04_no_test(void)
";
        let found: Vec<_> =
            c_tests_in("y.c", text).into_iter().map(|test| (test.subject.number, test.kernels)).collect();
        assert_eq!(found, [(1, "Linux, Windows"), (2, "Linux"), (3, "Windows")]);
    }
}
