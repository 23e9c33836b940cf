//! What a case is, and on which machines it is decided.

use std::time::Duration;

use crate::machine::Machine;

/// One row of the table.
pub struct Case {
    /// For the command line: lower case, with hyphens.
    pub name: &'static str,
    /// What is true if it passes.
    pub about: &'static str,
    /// The process of a case that has not ended by then is killed, and the case has failed.
    pub limit: Duration,
    pub runs: Runs,
    /// The case needs a console of its own, with no one at it.
    pub console: bool,
    /// `None` where this program is not a Windows program.
    pub run: Option<Run>,
}

/// What runs a case.
pub type Run = fn(&Check) -> Result;

/// An error is a failure.
pub type Result<T = Outcome> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Returns a failure.
#[cfg(windows)]
macro_rules! fail {
    ($($text:tt)*) => { return Ok($crate::case::Outcome::Fail(format!($($text)*))) };
}
#[cfg(windows)]
pub(crate) use fail;

/// On which machines a case runs.
#[derive(Clone, Copy)]
pub enum Runs {
    /// On any Windows, and under Wine.
    Everywhere,
    /// Not under Wine, for this reason.
    NotUnderWine(&'static str),
    /// Only if it is named on the command line, and not under Wine.
    IfNamed {
        /// What else it needs.
        needs: &'static str,
        /// Why Wine cannot decide it.
        not_under_wine: &'static str,
    },
}

/// How a case has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was measured.
    Pass(String),
    /// What is wrong.
    Fail(String),
    /// Why it was not decided.
    Skip(String),
}

impl Outcome {
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Pass(_) => "pass",
            Outcome::Fail(_) => "fail",
            Outcome::Skip(_) => "skip",
        }
    }

    pub fn reason(&self) -> &str {
        let (Outcome::Pass(reason) | Outcome::Fail(reason) | Outcome::Skip(reason)) = self;
        reason
    }

    /// The outcome with this word, if it is one.
    pub fn of_word(word: &str, reason: &str) -> Option<Outcome> {
        let outcomes: [fn(String) -> Outcome; 3] = [Outcome::Pass, Outcome::Fail, Outcome::Skip];
        outcomes.iter().map(|outcome| outcome(reason.to_owned())).find(|outcome| outcome.word() == word)
    }
}

/// What a running case is given.
pub struct Check {
    /// It should measure for a shorter time.
    #[cfg_attr(not(windows), allow(dead_code))]
    pub quick: bool,
}

/// The outcome of a case that does not have to run on this machine to be decided.
pub fn decided_by(case: &Case, machine: &Machine, is_named: bool) -> Option<Outcome> {
    let reason = match (case.runs, machine) {
        (_, Machine::Other) => "not Windows".to_owned(),
        (Runs::NotUnderWine(why) | Runs::IfNamed { not_under_wine: why, .. }, Machine::Wine(_)) => {
            format!("Wine cannot decide: {why}")
        }
        (Runs::IfNamed { needs, .. }, Machine::Windows(_)) if !is_named => {
            format!("name it with --only: {needs}")
        }
        _ => return None,
    };
    Some(Outcome::Skip(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(runs: Runs) -> Case {
        let limit = Duration::from_secs(1);
        Case { name: "a-case", about: "", limit, runs, console: false, run: None }
    }

    #[test]
    fn a_case_is_skipped_where_it_cannot_be_decided() {
        let (windows, wine) = (Machine::Windows("10.0".into()), Machine::Wine("8.0".into()));
        let skipped = |runs, machine: &Machine, is_named| {
            decided_by(&case(runs), machine, is_named).map(|outcome| outcome.reason().to_owned())
        };
        let if_named = Runs::IfNamed { needs: "a user who logs off", not_under_wine: "it has no users" };
        for runs in [Runs::Everywhere, Runs::NotUnderWine("why"), if_named] {
            assert_eq!(skipped(runs, &Machine::Other, true).as_deref(), Some("not Windows"));
            assert_eq!(skipped(runs, &windows, true), None);
        }
        assert_eq!(skipped(Runs::Everywhere, &wine, false), None);
        assert_eq!(
            skipped(Runs::NotUnderWine("it has none"), &wine, true).as_deref(),
            Some("Wine cannot decide: it has none")
        );
        assert_eq!(
            skipped(if_named, &windows, false).as_deref(),
            Some("name it with --only: a user who logs off")
        );
    }

    #[test]
    fn an_outcome_is_known_by_its_word() {
        for outcome in [Outcome::Pass("a".into()), Outcome::Fail("b".into()), Outcome::Skip("c".into())] {
            assert_eq!(Outcome::of_word(outcome.word(), outcome.reason()), Some(outcome));
        }
        assert_eq!(Outcome::of_word("maybe", ""), None);
    }
}
