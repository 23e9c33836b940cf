//! A text that is shown to many users: encoded and stored once for all whose sessions are in the same state.

use std::sync::Arc;

use dolmen::SharedBytes;

use crate::layer::Output;
use crate::session::{Session, TextState};

/// The wire forms of the text that was shown last. The world's actions show the same text to one user after another.
#[derive(Debug, Default)]
pub struct SharedText {
    text: Option<Arc<str>>,
    forms: Vec<Form>,
}

/// What the text becomes for a session in one state.
#[derive(Debug)]
struct Form {
    before: TextState,
    after: TextState,
    wire: SharedBytes,
}

impl SharedText {
    /// Returns the wire form of a text for this session, which is only encoded if it is not known. `None` for a session
    /// with a form of its own.
    pub fn encode(&mut self, text: &Arc<str>, session: &mut Session) -> Option<SharedBytes> {
        let before = session.text_state(text)?;
        if !self.text.as_ref().is_some_and(|last| Arc::ptr_eq(last, text)) {
            self.text = Some(Arc::clone(text));
            self.forms.clear();
        }
        if let Some(form) = self.forms.iter().find(|form| form.before == before) {
            session.sent_shared(text, form.after);
            return Some(form.wire.clone());
        }
        let mut wire = Vec::new();
        session.send(Output::Text(text), &mut wire);
        let (after, wire) = (session.text_state(text)?, SharedBytes::from(wire));
        self.forms.push(Form { before, after, wire: wire.clone() });
        Some(wire)
    }

    /// Forgets the text.
    pub fn clear(&mut self) {
        *self = SharedText::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PortKind;
    use crate::session::Options;
    use crate::telnet::Settings;

    #[test]
    fn a_text_is_encoded_once_for_each_kind_of_session() {
        let mut shared = SharedText::default();
        let session =
            |kind| Session::new(Options { kind, line_length_bytes: 80, settings: Settings::default() });
        let text: Arc<str> = "caf\u{e9}\n".into();
        let (mut one, mut other) = (session(PortKind::Telnet), session(PortKind::Telnet));
        let first = shared.encode(&text, &mut one).expect("it is not compressed");
        assert_eq!(&*first, "caf\u{e9}\r\n".as_bytes());
        let again = shared.encode(&text, &mut other).expect("it is not compressed");
        assert_eq!(first.as_ptr(), again.as_ptr(), "the same bytes");
        // One that has just sent a carriage return is in another state.
        let mut third = session(PortKind::Ascii);
        third.send(Output::Text("\r"), &mut Vec::new());
        let feed: Arc<str> = "\n".into();
        assert_eq!(shared.encode(&feed, &mut third).as_deref(), Some(&b"\n"[..]));
        assert_eq!(shared.encode(&feed, &mut third).as_deref(), Some(&b"\r\n"[..]));
    }

    #[test]
    fn a_session_behind_a_prompt_gets_a_form_with_a_line_end() {
        let mut shared = SharedText::default();
        let options = Options { kind: PortKind::Ascii, line_length_bytes: 80, settings: Settings::default() };
        let (mut one, mut other) = (Session::new(options), Session::new(options));
        let mut wire = Vec::new();
        one.send(Output::Text("> "), &mut wire);
        one.flush(std::time::Instant::now(), &mut wire);
        let text: Arc<str> = "Rain.\n".into();
        assert_eq!(shared.encode(&text, &mut one).as_deref(), Some(&b"\r\nRain.\r\n"[..]));
        assert_eq!(shared.encode(&text, &mut other).as_deref(), Some(&b"Rain.\r\n"[..]));
        wire.clear();
        one.flush(std::time::Instant::now(), &mut wire);
        assert_eq!(wire, b"> ");
    }
}
