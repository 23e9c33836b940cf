//! Which characters a name may have, and which scripts go together.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};
use unicode_script::Script;
use unicode_security::mixed_script::AugmentedScriptSet;

/// The role of a character in a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Before the first character.
    Start,
    Letter,
    /// A mark on the letter before it, or a vowel sign.
    Mark,
    Digit,
    /// An apostrophe or a hyphen.
    Joiner,
    Invisible,
    Other,
}

/// The role of a character in a name.
pub(super) fn class(character: char) -> Class {
    use GeneralCategory as Category;
    if is_invisible(character) {
        return Class::Invisible;
    }
    match character.general_category() {
        _ if matches!(character, '\'' | '-') => Class::Joiner,
        Category::UppercaseLetter
        | Category::LowercaseLetter
        | Category::TitlecaseLetter
        | Category::ModifierLetter
        | Category::OtherLetter => Class::Letter,
        Category::NonspacingMark | Category::SpacingMark => Class::Mark,
        Category::DecimalNumber => Class::Digit,
        _ => Class::Other,
    }
}

/// Default_Ignorable_Code_Point of the Unicode Character Database: what a terminal shows as nothing. Some of these are
/// letters, such as the Hangul fillers.
const IGNORABLE: &[(u32, u32)] = &[
    (0xad, 0xad),
    (0x34f, 0x34f),
    (0x61c, 0x61c),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x200b, 0x200f),
    (0x202a, 0x202e),
    (0x2060, 0x206f),
    (0x3164, 0x3164),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfff8),
    (0x1_bca0, 0x1_bca3),
    (0x1_d173, 0x1_d17a),
    (0xe_0000, 0xe_0fff),
];

/// Whether a character shows as nothing.
pub(super) fn is_invisible(character: char) -> bool {
    let code = u32::from(character);
    IGNORABLE.iter().any(|&(first, last)| (first..=last).contains(&code))
}

/// Whether the scripts of a name are used together: one script, one of the East Asian combinations, or one of these with
/// Latin. UTS 39 calls that *highly restrictive*; unlike there, no script is left out for being rare.
pub(super) fn scripts_go_together(name: &str) -> bool {
    let mut all = AugmentedScriptSet::default();
    let mut without_latin = AugmentedScriptSet::default();
    for character in name.chars() {
        let scripts = AugmentedScriptSet::for_char(character);
        all.intersect_with(scripts);
        if !scripts.base.contains_script(Script::Latin) {
            without_latin.intersect_with(scripts);
        }
    }
    !all.is_empty() || without_latin.hanb || without_latin.jpan || without_latin.kore
}
