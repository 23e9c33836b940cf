//! Names that no player may have, as they could be mistaken for something else: the operator, the server, or a word that
//! commands or other programs use.
//!
//! For players' names it is enough that no two look alike. One who wants to pass for the operator does not need the same
//! look: `The-Operator`, `Operátor`, `Operators` and `0perator2` do as well. So these names are compared in a simpler form.

use std::collections::HashSet;
use std::sync::OnceLock;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_security::confusable_detection::skeleton;

use super::{Name, folded};

/// The names.
const RESERVED: &[&str] = &[
    "admin",
    "administrator",
    "all",
    "anonymous",
    "console",
    "dolmen",
    "everybody",
    "everyone",
    "gamemaster",
    "god",
    "guest",
    "help",
    "host",
    "me",
    "mod",
    "moderator",
    "myself",
    "nobody",
    "none",
    "operator",
    "owner",
    "quit",
    "root",
    "screenreader", // A word for the prompt at which a name is typed.
    "server",
    "somebody",
    "someone",
    "staff",
    "sysadmin",
    "sysop",
    "system",
    "the", // Every message of the lobby itself begins with it.
    "who",
    "wizard",
    "you",
    // What programs send that take this for another service.
    "connect",
    "delete",
    "get",
    "head",
    "mssp-request",
    "options",
    "ping",
    "post",
    "put",
    "ssh",
];

/// In shorter words, one letter for another makes a different word: Ali is not `all`, and a theme is not `me`.
const SHORTEST_VARIED: usize = 5;
const SHORTEST_WITH_AFFIX: usize = 3;

/// Whether a name is one of these, or could be taken for one.
pub(super) fn is_reserved(name: &Name) -> bool {
    let Forms { looks, simple } = reserved();
    if name.looks().any(|look| looks.contains(look)) {
        return true;
    }
    let plain = without_ornaments(name.key());
    let without_the = plain.strip_prefix("the");
    [Some(&*plain), without_the].into_iter().flatten().any(|word| {
        let singular = word.strip_suffix('s');
        let is_whole = |word: &&str| *word == plain || word.chars().count() >= SHORTEST_WITH_AFFIX;
        let words = [Some(word), singular].into_iter().flatten().filter(is_whole);
        words.map(simplified).any(|word| simple.contains(&word))
    })
}

/// The names in the forms in which they are compared.
struct Forms {
    looks: HashSet<String>,
    simple: HashSet<String>,
}

fn reserved() -> &'static Forms {
    static FORMS: OnceLock<Forms> = OnceLock::new();
    FORMS.get_or_init(|| {
        let cases = RESERVED.iter().flat_map(|word| [word.to_string(), word.to_uppercase()]);
        Forms {
            looks: cases.map(|word| folded(skeleton(&word))).collect(),
            simple: RESERVED.iter().map(|word| simplified(&without_ornaments(word))).collect(),
        }
    })
}

/// Without accents, hyphens and apostrophes, and without the number at the end.
fn without_ornaments(key: &str) -> String {
    let is_letter = |character: &char| !is_combining_mark(*character) && !matches!(character, '-' | '\'');
    let letters: String = key.nfd().filter(is_letter).collect();
    letters.trim_end_matches(|last: char| last.is_numeric()).to_string()
}

/// With one letter for those that are written for each other. A digit among letters stands for the letter of its shape.
fn simplified(word: &str) -> String {
    let is_varied = word.chars().count() >= SHORTEST_VARIED;
    let letters = word.chars().map(|letter| match letter {
        '0' => 'o',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '7' => 't',
        '1' | 'l' if is_varied => 'i',
        other => other,
    });
    folded(skeleton(&letters.collect::<String>()))
}
