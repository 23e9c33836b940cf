//! A line that players see, in two forms: with the colours of names and channels, and plain. The session fits the colours
//! to what a client shows; for a client without, and for one whose screen is read aloud, there is nothing to fit.

use std::sync::Arc;

use super::guest::Guest;

const NAME: &str = "\x1b[1;36m";
const CHANNEL: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

/// A part of a line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
    Channel(&'a str),
}

/// The line, made once for all who see it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub plain: Arc<str>,
    styled: Arc<str>,
}

impl Line {
    /// The parts, and a line end.
    pub fn of(parts: &[Part<'_>]) -> Line {
        let (mut plain, mut styled) = (String::new(), String::new());
        for part in parts {
            let (style, text) = match *part {
                Part::Text(text) => ("", text),
                Part::Name(text) => (NAME, text),
                Part::Channel(text) => (CHANNEL, text),
            };
            plain.push_str(text);
            let end = if style.is_empty() { "" } else { PLAIN };
            [style, text, end].into_iter().for_each(|piece| styled.push_str(piece));
        }
        plain.push('\n');
        styled.push('\n');
        Line { plain: plain.into(), styled: styled.into() }
    }

    /// The form for a user.
    pub fn text(&self, guest: &Guest) -> &Arc<str> {
        if guest.has_colours && !guest.screen_reader { &self.styled } else { &self.plain }
    }
}
