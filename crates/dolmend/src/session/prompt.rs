//! The prompt: the unfinished line at the end of what the world says.
//!
//! Whatever the world leaves unfinished is a prompt, also when it asks for a name. It is marked for clients that know
//! marks. When other output comes before the player has answered, that begins on a line of its own, and the prompt is
//! shown again behind it.
//!
//! An unfinished line may grow as long as the same call of the world goes on. Whatever comes later in the same round, from
//! another player's command, finds a prompt.

/// The longest prompt that is shown again.
const MOST_BYTES: usize = 1024;

/// Where the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// At the begin of a line, or behind an answered prompt.
    #[default]
    Clear,
    /// Behind an unfinished line, which may grow.
    Unfinished,
    /// Behind a prompt that is not marked yet.
    Settled,
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
    /// The same of the prompt that is not answered. Empty: there is none.
    asked: String,
}

impl Prompt {
    /// Whether this text needs a line end before it: the cursor is behind a prompt.
    pub(super) fn is_in_the_way_of(&self, text: &str) -> bool {
        matches!(self.stage, Stage::Settled | Stage::Shown) && !text.starts_with(['\n', '\r'])
    }

    /// A text was sent.
    pub(super) fn sent(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        match text.rsplit_once('\n') {
            Some((_, "")) => {
                self.line.clear();
                self.stage = if self.asked.is_empty() { Stage::Clear } else { Stage::Overwritten };
            }
            Some((_, tail)) => {
                self.line.clear();
                self.grow(tail);
            }
            None => self.grow(text),
        }
    }

    fn grow(&mut self, tail: &str) {
        self.stage = Stage::Unfinished;
        // One character more is kept than may be shown again, so that a line that is too long stays so.
        self.line.extend(tail.chars().take((MOST_BYTES + 1).saturating_sub(self.line.len())));
    }

    /// The unfinished line is complete, and a prompt.
    pub(super) fn settle(&mut self) {
        if self.stage == Stage::Unfinished {
            self.stage = Stage::Settled;
            self.asked.clear();
            std::mem::swap(&mut self.asked, &mut self.line);
        }
    }

    /// The protocol has written over the prompt.
    pub(super) fn overwritten(&mut self) {
        self.settle();
        if matches!(self.stage, Stage::Settled | Stage::Shown) {
            self.stage = Stage::Overwritten;
        }
    }

    /// The player has answered, and the cursor is at the begin of a line.
    pub(super) fn answered(&mut self) {
        self.stage = Stage::Clear;
        self.line.clear();
        self.asked.clear();
    }

    /// The turn is over. A prompt is not `again` shown to those to whom it is read aloud each time.
    pub(super) fn due(&mut self, again: bool) -> Option<Due> {
        self.settle();
        match self.stage {
            Stage::Settled => {
                self.stage = Stage::Shown;
                Some(Due::Mark)
            }
            Stage::Overwritten if again && self.asked.len() <= MOST_BYTES => {
                self.stage = Stage::Shown;
                Some(Due::Again(self.asked.clone()))
            }
            Stage::Overwritten => {
                self.answered();
                None
            }
            Stage::Clear | Stage::Unfinished | Stage::Shown => None,
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
    fn what_comes_before_the_end_of_the_round_finds_a_prompt() {
        let mut prompt = Prompt::default();
        prompt.sent("Password: ");
        assert!(!prompt.is_in_the_way_of("Bob left.\n"), "it may grow");
        prompt.settle();
        assert!(prompt.is_in_the_way_of("Bob left.\n"));
        prompt.sent("Bob left.\n");
        prompt.sent("Cid left.\n");
        assert_eq!(prompt.due(true), Some(Due::Again("Password: ".into())));
        assert_eq!(prompt.due(true), None);
    }

    #[test]
    fn other_output_in_parts_leaves_the_prompt() {
        let mut prompt = shown("> ");
        ["The wind ", "howls.\n"].into_iter().for_each(|part| prompt.sent(part));
        assert_eq!(prompt.due(true), Some(Due::Again("> ".into())));
    }

    #[test]
    fn a_reply_of_the_protocol_to_an_unfinished_line_is_over_a_prompt() {
        let mut prompt = Prompt::default();
        prompt.sent("> ");
        prompt.overwritten();
        assert_eq!(prompt.due(true), Some(Due::Again("> ".into())));
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
