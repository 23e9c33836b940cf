//! The encodings that players' text may have.

use encoding_rs::{Encoding, WINDOWS_874, WINDOWS_1252, WINDOWS_1254};

/// An encoding, by one of its names.
///
/// The library follows the standard of the web, which takes ISO 8859-1 for Windows-1252, and likewise two others. But the
/// bytes 128 to 159, which are letters and signs there, are control characters in ISO 8859, and a terminal obeys them: 155
/// begins an escape sequence. So who asks for ISO 8859 gets that.
///
/// ```
/// use dolmend::encoding::TextEncoding;
///
/// let name = |label: &str| TextEncoding::for_label(label.as_bytes()).map(TextEncoding::name);
/// assert_eq!(name("latin1"), Some("ISO-8859-1"));
/// assert_eq!(name("cp1252"), Some("windows-1252"));
/// assert_eq!(name("utf-16"), None, "its bytes below 128 are not ASCII");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextEncoding {
    encoding: &'static Encoding,
    /// The bytes 128 to 159 are control characters, though not in `encoding`.
    has_controls: bool,
}

/// The encodings that the standard takes for those of Windows.
const OF_ISO: [(&Encoding, &str); 3] =
    [(WINDOWS_1252, "ISO-8859-1"), (WINDOWS_1254, "ISO-8859-9"), (WINDOWS_874, "ISO-8859-11")];

impl TextEncoding {
    /// UTF-8.
    pub const UTF_8: TextEncoding = TextEncoding { encoding: encoding_rs::UTF_8, has_controls: false };

    /// The encoding with this name. `None` if there is none, or if its bytes below 128 are not ASCII: they would hide line
    /// ends.
    pub fn for_label(label: &[u8]) -> Option<TextEncoding> {
        let encoding = Encoding::for_label(label).filter(|encoding| encoding.is_ascii_compatible())?;
        let (_, number) = encoding.name().split_once('-').unwrap_or_default();
        let is_named = label.trim_ascii_end().ends_with(number.as_bytes());
        let has_controls = OF_ISO.iter().any(|(other, _)| *other == encoding) && !is_named;
        Some(TextEncoding { encoding, has_controls })
    }

    /// The usual name.
    pub fn name(self) -> &'static str {
        let of_iso = OF_ISO.iter().find(|(other, _)| *other == self.encoding).filter(|_| self.has_controls);
        of_iso.map_or(self.encoding.name(), |(_, name)| name)
    }

    /// The library's encoding, which has characters in place of the [controls](TextEncoding::is_control).
    pub(crate) fn encoding(self) -> &'static Encoding {
        self.encoding
    }

    /// Whether a byte is a control character here, though not in the library's encoding.
    pub(crate) fn is_control(self, byte: u8) -> bool {
        self.has_controls && matches!(byte, 0x80..=0x9f)
    }
}

/// The library's encoding as it is.
impl From<&'static Encoding> for TextEncoding {
    fn from(encoding: &'static Encoding) -> TextEncoding {
        TextEncoding { encoding, has_controls: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_8859_is_not_an_encoding_of_windows_unless_that_is_named() {
        let has_controls = |label: &str| {
            let encoding = TextEncoding::for_label(label.as_bytes()).expect(label);
            assert_eq!(TextEncoding::for_label(encoding.name().as_bytes()), Some(encoding), "{label}");
            encoding.is_control(0x9b)
        };
        for label in
            ["latin1", " ISO-8859-1 ", "iso_8859-1:1987", "l1", "cp819", "us-ascii", "latin5", "tis-620"]
        {
            assert!(has_controls(label), "{label}");
        }
        for label in
            ["windows-1252", " CP1252 ", "x-cp1254", "dos-874", "koi8-r", "windows-1251", "big5", "utf-8"]
        {
            assert!(!has_controls(label), "{label}");
        }
    }
}
