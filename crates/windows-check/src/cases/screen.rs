//! What a screen shows, which is decided without a console.

/// Whether the last printed text stands above the line that is being typed, which is there once below it. The same line may
/// also be above the text, where it was before.
pub fn shows_line_below(screen: &str, printed: &str, line: &str) -> bool {
    screen.rfind(printed).is_some_and(|at| screen[at..].matches(line).count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_to_be_below_the_last_text_and_there_once() {
        for (screen, expected) in [
            ("a player\n> say hi\n", true),
            ("> say hi\na player\n> say hi\n", true),
            ("a player\n> say hi\na player\n> say hi\n", true),
            ("> say hi\n", false),
            ("a player\n", false),
            ("> say hi\na player\n", false),
            ("> say hi\na player\n> say\n", false),
            ("a player\n> say hi\n> say hi\n", false),
            ("a player\n> say hi\na player\n", false),
        ] {
            assert_eq!(shows_line_below(screen, "a player", "> say hi"), expected, "{screen:?}");
        }
    }
}
