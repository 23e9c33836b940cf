//! How many cells of a screen a text takes, from the tables of Unicode, grapheme cluster by grapheme cluster.
//!
//! Terminals disagree about some clusters. One with the rules for clusters draws the astronaut (a woman, a joiner, a
//! rocket) in two cells; one that adds up its characters draws four. Which of the two a terminal does cannot be asked
//! without waiting for its answer. So [`Cells`] says where they may disagree, and a caller that has drawn such a cluster
//! places what follows absolutely [hc58].
//!
//! Unicode Standard Annexes 11 (East Asian width) and 29 (text segmentation).

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The cells of a grapheme cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cells {
    /// By the rules for clusters.
    pub(super) count: usize,
    /// At any terminal: this many are drawn at most.
    pub(super) most: usize,
    /// Some terminals draw another number of them.
    pub(super) is_disputed: bool,
}

impl Cells {
    pub(super) fn of(cluster: &str) -> Cells {
        if let [b' '..=b'~'] = cluster.as_bytes() {
            return Cells { count: 1, most: 1, is_disputed: false };
        }
        // A control character is not drawn; unicode-width counts it.
        if cluster.starts_with(char::is_control) {
            return Cells { count: 0, most: 0, is_disputed: false };
        }
        let count = cluster.width();
        let sum: usize = cluster.chars().map(|c| c.width().unwrap_or(0)).sum();
        let flags = cluster.chars().filter(|&c| is_regional_indicator(c)).count();
        // A letter of a flag takes one cell or two where the flag is not drawn.
        let most = count.max(sum + flags);
        Cells { count, most, is_disputed: count != sum || flags > 0 || count == 0 }
    }
}

fn is_regional_indicator(c: char) -> bool {
    matches!(c, '\u{1F1E6}'..='\u{1F1FF}')
}

/// How many cells a terminal needs for a text.
pub(super) fn width(text: &str) -> usize {
    text.graphemes(true).map(|cluster| Cells::of(cluster).count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hc58_emoji_take_two_cells_and_combining_marks_none() {
        for emoji in ["🚀", "✅", "⚡", "⭐", "🟢", "🫠", "🎲", "日", "한"] {
            assert_eq!(Cells::of(emoji), Cells { count: 2, most: 2, is_disputed: false }, "{emoji}");
        }
        for narrow in ["a", "é", "e\u{301}", "ｱ", "م", "ש", "\u{fffd}"] {
            assert_eq!(Cells::of(narrow), Cells { count: 1, most: 1, is_disputed: false }, "{narrow}");
        }
        assert_eq!(width("grüße 🎲 日本 e\u{301}\x07"), 15);
        assert_eq!(width("\x1b\r\n"), 0);
    }

    #[test]
    fn hc58_where_terminals_disagree_is_known() {
        for (cluster, count, most) in [
            ("👩\u{200d}🚀", 2, 4),
            ("👍🏽", 2, 4),
            ("🇩🇪", 2, 4),
            ("❤\u{fe0f}", 2, 2),
            ("1\u{fe0f}\u{20e3}", 2, 2),
        ] {
            assert_eq!(Cells::of(cluster), Cells { count, most, is_disputed: true }, "{cluster}");
        }
        assert!(Cells::of("\u{200b}").is_disputed, "some draw a space");
    }
}
