//! The code of each subject, found by tags in comments: `[hc05]`, or `[hc05, p07]`.
//!
//! A tag in a documentation comment belongs to the item below it, one in another comment to the function around it.

use super::subjects::{self, Subject};

/// An item of product code that handles a hard case or keeps a promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code {
    pub subject: Subject,
    pub file: String,
    pub item: String,
}

/// Whether a file is a part of what is shipped, and not of its tests or of the simulation.
pub fn is_product(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default();
    let shipped = ["crates/dolmen/src/", "crates/dolmen-c/src/", "crates/dolmend/src/"];
    shipped.iter().any(|folder| file.starts_with(folder))
        && !file.contains("/sim/")
        && !name.ends_with("tests.rs")
}

/// The tagged items of a file of product code.
pub fn code_in(file: &str, text: &str) -> Vec<Code> {
    let mut found = Vec::new();
    let mut add = |subjects: &mut Vec<Subject>, item: &str| {
        let code = |subject| Code { subject, file: file.to_owned(), item: item.to_owned() };
        found.extend(subjects.drain(..).map(code));
    };
    let module = file.rsplit('/').next().unwrap_or_default();
    // The function that we are in, and the tags of a documentation comment, which wait for its item.
    let (mut around, mut waiting) = (module.to_owned(), Vec::new());
    // Unit tests are the end of a file.
    let product = text.split_once("\n#[cfg(test)]\nmod tests {").map_or(text, |(product, _)| product);
    for line in product.lines() {
        let (code, comment) = line.split_once("//").unwrap_or((line, ""));
        let mut tags = tags_in(comment);
        if !code.trim().is_empty() {
            if let Some(item) = item_in(code).filter(|_| !code.trim_start().starts_with("#[")) {
                add(&mut waiting, &item);
                around = if is_function(code) { item } else { around };
            }
            add(&mut tags, &around);
        } else if comment.starts_with('/') {
            waiting.append(&mut tags);
        } else if comment.starts_with('!') {
            add(&mut tags, module);
        } else {
            add(&mut tags, &around);
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The subjects in the brackets of a comment. Brackets with anything else are links.
fn tags_in(comment: &str) -> Vec<Subject> {
    let groups = comment.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    let all =
        groups.filter_map(|(group, _)| group.split(", ").map(subjects::parse).collect::<Option<Vec<_>>>());
    all.flatten().collect()
}

/// The name of the item, the field or the variant that a line begins.
fn item_in(code: &str) -> Option<String> {
    const BEFORE: [&str; 15] = [
        "pub",
        "unsafe",
        "extern",
        "const",
        "async",
        "fn",
        "struct",
        "enum",
        "trait",
        "static",
        "type",
        "mod",
        "union",
        "macro_rules",
        "mut",
    ];
    // The path of `pub(in …)` is not the item.
    let code =
        code.split_once("pub(in ").and_then(|(_, rest)| rest.split_once(')')).map_or(code, |(_, rest)| rest);
    let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    let visibility = ["crate", "super", "C", "system"];
    let mut words = words.filter(|word| !BEFORE.contains(word) && !visibility.contains(word));
    words.next().map(str::to_owned)
}

fn is_function(code: &str) -> bool {
    code.split_once("fn ").is_some_and(|(before, _)| {
        let plain = |c: char| c.is_alphanumeric() || c.is_whitespace() || "()\"_:".contains(c);
        before.chars().all(plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String)> {
        code_in("a/b.rs", text).into_iter().map(|code| (code.subject.number, code.item)).collect()
    }

    #[test]
    fn a_tag_in_a_function_belongs_to_it_and_one_above_an_item_to_that() {
        let text = "\
//! The module [hc01].

#[cfg(test)]
mod tests;

/// A type [hc02, hc03], and [`Link`].
#[derive(Debug)]
pub(crate) struct Name {
    /// A field [hc04].
    field: u32,
}

/// Not tagged.
pub unsafe extern \"C\" fn act(x: u32) {
    let closure = |f: fn(u32)| x; // Trailing [hc05].
    // Inside [hc06].
}

/// Visible in a part of the crate [hc08].
pub(in crate::engine) fn limited() {
    // Inside [hc09].
}

#[cfg(test)]
mod tests {
    // No product code [hc07].
}
";
        let expected = [
            (1, "b.rs"),
            (2, "Name"),
            (3, "Name"),
            (4, "field"),
            (5, "act"),
            (6, "act"),
            (8, "limited"),
            (9, "limited"),
        ];
        assert_eq!(found(text), expected.map(|(number, item)| (number, item.to_owned())));
    }

    #[test]
    fn brackets_with_anything_else_are_no_tags() {
        assert!(tags_in(" See [`kernel`], [0, 1], [hc05 and more] and [hc5].").is_empty());
        assert_eq!(tags_in(" One [hc05] and two [p07, hc09].").len(), 3);
    }

    #[test]
    fn product_code_is_what_is_shipped() {
        assert!(is_product("crates/dolmen/src/kernel/epoll/mod.rs"));
        for file in [
            "crates/dolmen/src/sim/model/mod.rs",
            "crates/dolmen/src/kernel/epoll/tests.rs",
            "crates/sim/src/lib.rs",
        ] {
            assert!(!is_product(file), "{file}");
        }
    }
}
