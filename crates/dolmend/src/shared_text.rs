//! A text that is shown to many users: encoded and stored once for all whose encoders are in the same state.

use std::rc::Rc;

use dolmen::SharedBytes;

use crate::session::Session;
use crate::telnet::Encoder;

/// The wire forms of the text that was shown last. The world's actions show the same text to one user after another.
#[derive(Debug, Default)]
pub struct SharedText {
    text: Option<Rc<str>>,
    forms: Vec<Form>,
}

/// What the text becomes for an encoder in one state.
#[derive(Debug)]
struct Form {
    before: Encoder,
    after: Encoder,
    wire: SharedBytes,
}

impl SharedText {
    /// Returns the wire form of a text for this session, which is only encoded if it is not known.
    pub fn encode(&mut self, text: &Rc<str>, session: &mut Session) -> SharedBytes {
        if !self.text.as_ref().is_some_and(|last| Rc::ptr_eq(last, text)) {
            self.text = Some(Rc::clone(text));
            self.forms.clear();
        }
        let before = session.encoder();
        if let Some(form) = self.forms.iter().find(|form| form.before == before) {
            session.set_encoder(form.after);
            return form.wire.clone();
        }
        let mut wire = Vec::new();
        session.encode(text, &mut wire);
        let wire = SharedBytes::from(wire);
        self.forms.push(Form { before, after: session.encoder(), wire: wire.clone() });
        wire
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

    #[test]
    fn a_text_is_encoded_once_for_each_kind_of_session() {
        let mut shared = SharedText::default();
        let session = |kind| Session::new(kind, 80);
        let text: Rc<str> = "caf\u{e9}\n".into();
        let (mut one, mut other) = (session(PortKind::Telnet), session(PortKind::Telnet));
        let first = shared.encode(&text, &mut one);
        assert_eq!(&*first, "caf\u{e9}\r\n".as_bytes());
        assert_eq!(first.as_ptr(), shared.encode(&text, &mut other).as_ptr(), "the same bytes");
        // One that has just sent a carriage return is in another state.
        let mut third = session(PortKind::Ascii);
        third.encode("\r", &mut Vec::new());
        let feed: Rc<str> = "\n".into();
        assert_eq!(&*shared.encode(&feed, &mut third), b"\n");
        assert_eq!(&*shared.encode(&feed, &mut third), b"\r\n");
    }
}
