//! The prompt: the unfinished line at the end of a turn's output.
//!
//! Whatever the world leaves unfinished is a prompt, also when it asks for a name. It is marked for clients that know
//! marks. When other output comes before the player has answered, that begins on a line of its own, and the prompt is
//! shown again behind it.

/// The longest prompt that is shown again.
const MOST_BYTES: usize = 1024;

/// Where the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// At the begin of a line, or behind an answered prompt.
    #[default]
    Clear,
    /// Behind an unfinished line, which is no prompt before the turn is over.
    Unfinished,
    /// Behind a prompt.
    Shown,
    /// Other output stands over the prompt.
    Overwritten,
}

/// What is due at the end of a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The mark of a prompt.
    Mark,
    /// The prompt again, and its mark.
    Again(String),
}

/// The prompt of one user.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    stage: Stage,
    /// The text of the unfinished line, or the begin of one that is too long.
    line: String,
}

impl Prompt {
    /// Whether this text needs a line end before it: the cursor is behind a prompt.
    pub(super) fn is_in_the_way_of(&self, text: &str) -> bool {
        self.stage == Stage::Shown && !text.starts_with(['\n', '\r'])
    }

    /// A text was sent.
    pub(super) fn sent(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match text.rsplit_once('\n') {
            Some((_, "")) if matches!(self.stage, Stage::Shown | Stage::Overwritten) => self.overwritten(),
            Some((_, "")) => self.answered(),
            Some((_, tail)) => self.unfinished("", tail),
            None if self.stage == Stage::Unfinished => {
                let line = std::mem::take(&mut self.line);
                self.unfinished(&line, text);
            }
            None => self.unfinished("", text),
        }
    }

    fn unfinished(&mut self, line: &str, tail: &str) {
        self.stage = Stage::Unfinished;
        self.line.clear();
        self.line.push_str(line);
        // One byte more is kept than may be shown again, so that a line that is too long stays so.
        self.line.extend(tail.chars().take((MOST_BYTES + 1).saturating_sub(line.len())));
    }

    /// The protocol has written over the prompt.
    pub(super) fn overwritten(&mut self) {
        if self.stage == Stage::Shown {
            self.stage = Stage::Overwritten;
        }
    }

    /// The player has answered, and the cursor is at the begin of a line.
    pub(super) fn answered(&mut self) {
        self.stage = Stage::Clear;
        self.line.clear();
    }

    /// The turn is over. A prompt is not `again` shown to those to whom it is read aloud each time.
    pub(super) fn due(&mut self, again: bool) -> Option<Due> {
        match self.stage {
            Stage::Clear | Stage::Shown => None,
            Stage::Unfinished => {
                self.stage = Stage::Shown;
                Some(Due::Mark)
            }
            Stage::Overwritten if again && self.line.len() <= MOST_BYTES => {
                self.stage = Stage::Shown;
                Some(Due::Again(self.line.clone()))
            }
            Stage::Overwritten => {
                self.answered();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Prompt {
        let mut prompt = Prompt::default();
        prompt.sent(text);
        assert_eq!(prompt.due(true), Some(Due::Mark));
        prompt
    }

    #[test]
    fn an_unfinished_line_at_the_end_of_a_turn_is_a_prompt() {
        let mut prompt = shown("Welcome!\nName? ");
        assert_eq!(prompt.due(true), None, "once");
        assert!(prompt.is_in_the_way_of("Hi.\n") && !prompt.is_in_the_way_of("\nHi.\n"));
        prompt.sent("Hi.\n");
        assert!(!prompt.is_in_the_way_of("Hi.\n"));
        assert_eq!(prompt.due(true), Some(Due::Again("Name? ".into())));
        prompt.answered();
        prompt.sent("Hi.\n");
        assert_eq!(prompt.due(true), None);
    }

    #[test]
    fn it_may_be_sent_in_parts() {
        let mut prompt = Prompt::default();
        ["100hp ", "> "].into_iter().for_each(|part| prompt.sent(part));
        assert_eq!(prompt.due(true), Some(Due::Mark));
        prompt.sent("Rain.\n");
        assert_eq!(prompt.due(true), Some(Due::Again("100hp > ".into())));
    }

    #[test]
    fn a_new_prompt_replaces_the_old_one() {
        let mut prompt = shown("> ");
        prompt.sent("You see a dog.\n>> ");
        assert_eq!(prompt.due(true), Some(Due::Mark));
        prompt.sent("It barks.\n");
        assert_eq!(prompt.due(true), Some(Due::Again(">> ".into())));
    }

    #[test]
    fn it_is_not_shown_again_to_a_screen_reader_or_when_it_is_too_long() {
        let mut prompt = shown("> ");
        prompt.sent("Rain.\n");
        assert_eq!(prompt.due(false), None);
        let mut prompt = shown(&"x".repeat(MOST_BYTES + 1));
        prompt.sent("Rain.\n");
        assert_eq!(prompt.due(true), None);
    }
}
