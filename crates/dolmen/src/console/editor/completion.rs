//! The completion of a word: what the key does with the candidates that the program names.

use super::super::{Completer, width};

/// More candidates than this are not listed.
const MOST_LISTED: usize = 200;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Completed {
    /// This replaces the word.
    Word(String),
    /// Several that have no more in common than the word.
    Choices(Vec<String>),
    Nothing,
}

/// The last word of a line: it ends with the line, and may be empty.
pub(super) fn last_word(line: &str) -> &str {
    line.rsplit(char::is_whitespace).next().unwrap_or_default()
}

/// Completes the last word of a line.
pub(super) fn complete(completer: &mut Completer, line: &str) -> Completed {
    let mut candidates = completer(line);
    // Nothing that would end the line, or change the terminal.
    candidates.retain(|candidate| !candidate.is_empty() && !candidate.contains(char::is_control));
    candidates.dedup();
    match &*candidates {
        [] => return Completed::Nothing,
        [only] => return Completed::Word(format!("{only} ")),
        _ => {}
    }
    let common = common_start(&candidates);
    if common.len() > last_word(line).len() {
        return Completed::Word(common.to_owned());
    }
    Completed::Choices(candidates)
}

fn common_start(candidates: &[String]) -> &str {
    let Some((first, others)) = candidates.split_first() else { return "" };
    let mut common = first.as_str();
    for other in others {
        let same = common.chars().zip(other.chars()).take_while(|(one, other)| one == other);
        common = &common[..same.map(|(c, _)| c.len_utf8()).sum()];
    }
    common
}

/// Candidates in columns, as lines.
pub(super) fn list(candidates: &[String], columns: usize) -> String {
    let listed = &candidates[..candidates.len().min(MOST_LISTED)];
    let cells = listed.iter().map(|candidate| width(candidate)).max().unwrap_or(0) + 2;
    let in_row = (columns / cells).max(1);
    let mut lines = String::new();
    for row in listed.chunks(in_row) {
        let mut line = String::new();
        for candidate in row {
            line.push_str(candidate);
            line.push_str(&" ".repeat(cells - width(candidate)));
        }
        lines.push_str(line.trim_end());
        lines.push_str("\r\n");
    }
    if listed.len() < candidates.len() {
        lines.push_str(&format!("and {} more\r\n", candidates.len() - listed.len()));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completer(candidates: &'static [&'static str]) -> Completer {
        Box::new(move |line| {
            let word = last_word(line).to_owned();
            candidates.iter().filter(|it| it.starts_with(&*word)).map(|it| it.to_string()).collect()
        })
    }

    #[test]
    fn a_word_is_completed_as_far_as_it_is_certain() {
        let mut completer = completer(&["shutdown", "show", "kick", "été", "étage", "bad\n"]);
        for (line, expected) in [
            ("k", Completed::Word("kick ".into())),
            ("say s", Completed::Word("sh".into())),
            ("sh", Completed::Choices(vec!["shutdown".into(), "show".into()])),
            ("é", Completed::Word("ét".into())),
            ("x", Completed::Nothing),
            ("bad", Completed::Nothing),
        ] {
            assert_eq!(complete(&mut completer, line), expected, "{line}");
        }
    }

    #[test]
    fn candidates_are_listed_in_columns() {
        let candidates = ["help", "日本", "kick"].map(String::from);
        assert_eq!(list(&candidates, 12), "help  日本\r\nkick\r\n");
        assert_eq!(list(&candidates, 3), "help\r\n日本\r\nkick\r\n");
        let many: Vec<String> = (0..300).map(|number| format!("{number:03}")).collect();
        assert!(list(&many, 80).ends_with("199\r\nand 100 more\r\n"));
    }
}
