//! Colours of a text, fitted to what the client shows.
//!
//! A world writes SGR sequences (`ESC [ 1 ; 31 m`) with as many colours as it likes. They become the nearest colour that the
//! client has, or nothing if it has none or has not said so. Other sequences pass unchanged.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::telnet::Colours;

/// The text for a client with these colours.
pub(super) fn fit(text: &str, colours: Colours) -> Cow<'_, str> {
    if colours == Colours::True || !text.contains('\x1b') {
        return Cow::Borrowed(text);
    }
    let (mut fitted, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(place) = rest.find("\x1b[") {
        let (before, sequence) = rest.split_at(place);
        fitted.push_str(before);
        let parameters = &sequence[2..];
        let end = parameters.find(|character: char| !matches!(character, '0'..='9' | ';'));
        match end.filter(|&end| parameters[end..].starts_with('m')) {
            Some(end) => {
                fit_sequence(&parameters[..end], colours, &mut fitted);
                rest = &parameters[end + 1..];
            }
            None => {
                fitted.push_str("\x1b[");
                rest = parameters;
            }
        }
    }
    fitted.push_str(rest);
    Cow::Owned(fitted)
}

fn fit_sequence(parameters: &str, colours: Colours, fitted: &mut String) {
    if colours == Colours::None {
        return;
    }
    let mut separator = "\x1b[";
    let mut numbers = parameters.split(';').map(|number| number.parse::<u8>().unwrap_or(0));
    while let Some(number) = numbers.next() {
        let _ = match (number, colours) {
            (38 | 48, _) => match (numbers.next(), colours) {
                (Some(5), Colours::TwoHundredFiftySix) => {
                    write!(fitted, "{separator}{number};5;{}", numbers.next().unwrap_or(0))
                }
                (Some(5), _) => {
                    write!(fitted, "{separator}{}", sixteen(number, rgb(numbers.next().unwrap_or(0))))
                }
                (Some(2), _) => {
                    let [red, green, blue] = [(); 3].map(|()| numbers.next().unwrap_or(0));
                    match colours {
                        Colours::TwoHundredFiftySix => {
                            write!(fitted, "{separator}{number};5;{}", cube([red, green, blue]))
                        }
                        _ => write!(fitted, "{separator}{}", sixteen(number, [red, green, blue])),
                    }
                }
                _ => continue,
            },
            _ => write!(fitted, "{separator}{number}"),
        };
        separator = ";";
    }
    if separator == ";" {
        fitted.push('m');
    }
}

/// The nearest of the 216 colours in the cube of the 256.
fn cube(rgb: [u8; 3]) -> u8 {
    let [red, green, blue] = rgb.map(|part| (u16::from(part) * 5 + 127) / 255);
    (16 + 36 * red + 6 * green + blue) as u8
}

/// One of the 256 colours, roughly.
fn rgb(colour: u8) -> [u8; 3] {
    match colour {
        0..=15 => {
            let level = if colour < 8 { 170 } else { 255 };
            [1, 2, 4].map(|bit| if colour & bit != 0 { level } else { 0 })
        }
        16..=231 => [36, 6, 1].map(|step| (colour - 16) / step % 6 * 51),
        232.. => [8 + (colour - 232) * 10; 3],
    }
}

/// The nearest of the sixteen colours, as a parameter for the foreground (38) or the background (48).
fn sixteen(ground: u8, rgb: [u8; 3]) -> u8 {
    let most = rgb.into_iter().max().unwrap_or(0);
    let bits = [1, 2, 4].into_iter().zip(rgb).filter(|&(_, part)| part > most / 2).map(|(bit, _)| bit);
    let colour: u8 = if most < 64 { 0 } else { bits.sum() };
    ground - 8 + colour + if most > 200 { 60 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_the_nearest_that_the_client_has() {
        let text = "\x1b[1;31mred\x1b[0m \x1b[38;2;255;0;0mred\x1b[48;5;21mblue\x1b[m \x1b[2J";
        assert_eq!(fit(text, Colours::True), text);
        assert_eq!(
            fit(text, Colours::TwoHundredFiftySix),
            "\x1b[1;31mred\x1b[0m \x1b[38;5;196mred\x1b[48;5;21mblue\x1b[0m \x1b[2J"
        );
        assert_eq!(
            fit(text, Colours::Sixteen),
            "\x1b[1;31mred\x1b[0m \x1b[91mred\x1b[104mblue\x1b[0m \x1b[2J"
        );
        assert_eq!(fit(text, Colours::None), "red redblue \x1b[2J");
    }

    #[test]
    fn sequences_that_are_cut_off_are_harmless() {
        for text in ["\x1b", "\x1b[", "\x1b[38", "\x1b[38;2;m", "\x1b[38m", "\x1b[999;48;5m", "é\x1b[é"] {
            for colours in [Colours::None, Colours::Sixteen, Colours::TwoHundredFiftySix] {
                assert!(fit(text, colours).len() <= text.len() + 8, "{text:?}");
            }
        }
        assert!(matches!(fit("plain", Colours::None), Cow::Borrowed(_)));
    }
}
