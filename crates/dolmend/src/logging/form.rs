//! The form of a log line: text for people, JSON for programs, text with a priority for the journal.
//!
//! Whatever a player or a file put into a field, a line stays one line: control characters are escaped, so that a terminal
//! executes none, and so are characters that are not seen or turn the direction of the text, which a viewer would obey.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::{names, repetition};
use crate::line::is_invisible;

/// The form of each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    /// `TIME LEVEL TARGET: MESSAGE FIELD=VALUE…`
    Text,
    /// An object in each line.
    Json,
    /// As text, with a priority in front, and without the time, which the journal has.
    Journal,
}

static FORM: AtomicU8 = AtomicU8::new(Form::Text as u8);

/// From here on, lines have this form.
pub(super) fn set(form: Form) {
    FORM.store(form as u8, Ordering::Relaxed);
}

fn current() -> Form {
    match FORM.load(Ordering::Relaxed) {
        1 => Form::Json,
        2 => Form::Journal,
        _ => Form::Text,
    }
}

/// Formats events.
pub(super) struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if super::is_of_operator(event.metadata()) && super::is_shown_on_console() {
            // The operator has just typed it.
            return Ok(());
        }
        let left_out = repetition::left_out(event.metadata());
        if left_out > 0 {
            write_left_out(&mut writer, event.metadata(), left_out)?;
        }
        write_line(&mut writer, event.metadata(), |fields| event.record(fields))
    }
}

/// The line that reports lines that were left out.
pub(super) fn write_left_out(writer: &mut Writer<'_>, metadata: &Metadata<'_>, left_out: u64) -> fmt::Result {
    let place = format!("{}:{}", metadata.file().unwrap_or("unknown"), metadata.line().unwrap_or(0));
    write_line(writer, metadata, |fields| {
        fields.put("message", &"more lines of the same kind were left out", true);
        fields.put("left_out", &left_out, false);
        fields.put("place", &place, true);
    })
}

fn write_line(
    writer: &mut Writer<'_>,
    metadata: &Metadata<'_>,
    record: impl FnOnce(&mut Fields<'_>),
) -> fmt::Result {
    let (form, level, target) = (current(), metadata.level(), metadata.target());
    match form {
        Form::Json => {
            writer.write_str("{\"time\":\"")?;
            SystemTime.format_time(writer)?;
            write!(writer, "\",\"level\":\"{level}\",\"target\":\"{target}\"")?;
        }
        Form::Text => {
            SystemTime.format_time(writer)?;
            write!(writer, " {level:>5} {target}:")?;
        }
        Form::Journal => write!(writer, "<{}>{target}:", priority(level))?,
    }
    let mut fields = Fields { writer, form, result: Ok(()) };
    record(&mut fields);
    fields.result?;
    writer.write_str(if form == Form::Json { "}\n" } else { "\n" })
}

/// The priority of a line in the journal, sd-daemon(3).
fn priority(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// Writes fields as they are visited.
struct Fields<'a> {
    writer: &'a mut dyn fmt::Write,
    form: Form,
    result: fmt::Result,
}

impl Fields<'_> {
    fn put(&mut self, name: &str, value: &dyn fmt::Display, is_text: bool) {
        if self.result.is_ok() {
            self.result = self.try_put(name, value, is_text);
        }
        // What a user's number stands for.
        if name == "user" {
            let number = value.to_string();
            let number = number.strip_prefix('#').and_then(|number| number.parse().ok());
            if let Some(number) = number {
                names::with(number, |player| self.put("name", &player, true));
            }
        }
    }

    fn try_put(&mut self, name: &str, value: &dyn fmt::Display, is_text: bool) -> fmt::Result {
        if self.form == Form::Json {
            let quote = if is_text { "\"" } else { "" };
            write!(self.writer, ",\"{name}\":{quote}")?;
            write!(Escaped { writer: self.writer, json: true, quoted: true }, "{value}")?;
            return self.writer.write_str(quote);
        }
        self.writer.write_char(' ')?;
        if name == "message" {
            return write!(Escaped { writer: self.writer, json: false, quoted: false }, "{value}");
        }
        // Otherwise a player could write what looks like more fields.
        let mut shape = Shape::default();
        write!(shape, "{value}")?;
        let quoted = shape.is_ambiguous();
        let quote = if quoted { "\"" } else { "" };
        write!(self.writer, "{name}={quote}")?;
        write!(Escaped { writer: self.writer, json: false, quoted }, "{value}")?;
        self.writer.write_str(quote)
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), &format_args!("{value:?}"), true);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), &value, true);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), &value, false);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), &value, false);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), &value, false);
    }
}

/// Whether a value has to be quoted to be seen as one: it is empty, or has a space, an equals sign or a quote.
#[derive(Default)]
struct Shape {
    has_any: bool,
    has_separator: bool,
}

impl Shape {
    fn is_ambiguous(&self) -> bool {
        !self.has_any || self.has_separator
    }
}

impl fmt::Write for Shape {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.has_any |= !text.is_empty();
        self.has_separator |= text.contains(|c: char| c.is_whitespace() || matches!(c, '=' | '"'));
        Ok(())
    }
}

/// Writes a text so that it stays in its line, and in its string.
struct Escaped<'a> {
    writer: &'a mut dyn fmt::Write,
    json: bool,
    quoted: bool,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '"' | '\\' if self.quoted => write!(self.writer, "\\{character}")?,
                _ if !character.is_control() && !is_invisible(character) => {
                    self.writer.write_char(character)?;
                }
                _ if self.json => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        write!(self.writer, "\\u{unit:04x}")?;
                    }
                }
                _ => write!(self.writer, "{}", character.escape_default())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str, json: bool) -> String {
        let mut line = String::new();
        write!(Escaped { writer: &mut line, json, quoted: json }, "{text}")
            .expect("a string takes everything");
        line
    }

    #[test]
    fn a_value_stays_in_its_line_and_in_its_string() {
        assert_eq!(escaped("a\nINFO \u{1b}[2J\u{9b}é", false), "a\\nINFO \\u{1b}[2J\\u{9b}é");
        assert_eq!(escaped("a\"b\\c\nd\u{1b}é", true), "a\\\"b\\\\c\\u000ad\\u001bé");
        for unseen in
            ['\u{202e}', '\u{2066}', '\u{2028}', '\u{200b}', '\u{feff}', '\u{e0041}', '\0', '\u{7f}']
        {
            let text = escaped(&unseen.to_string(), false);
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
            let json = escaped(&unseen.to_string(), true);
            assert!(json.bytes().all(|byte| byte.is_ascii_graphic()), "{json:?}");
            assert_eq!(serde_json::from_str::<char>(&format!("\"{json}\"")).expect("a string"), unseen);
        }
    }

    /// [T9] The name of a client, or of a player.
    #[test]
    fn a_value_cannot_look_like_more_fields() {
        let shown = |value: &str| {
            let mut line = String::new();
            let mut fields = Fields { writer: &mut line, form: Form::Text, result: Ok(()) };
            fields.put("client", &value, true);
            fields.put("message", &"a = b", true);
            fields.result.expect("a string takes everything");
            line
        };
        assert_eq!(shown("Mudlet"), " client=Mudlet a = b");
        assert_eq!(shown("x name=God"), " client=\"x name=God\" a = b");
        assert_eq!(shown("x\" y=\\"), " client=\"x\\\" y=\\\\\" a = b");
        assert_eq!(shown(""), " client=\"\" a = b");
        assert_eq!(shown("C:\\a"), " client=C:\\a a = b");
    }

    #[test]
    fn priorities_are_those_of_syslog() {
        let priorities = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE]
            .map(|level| priority(&level));
        assert_eq!(priorities, [3, 4, 6, 7, 7]);
    }
}
