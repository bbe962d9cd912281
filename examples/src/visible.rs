//! Text that may hold anything, on its way to people: data, and what servers say.
//!
//! A terminal obeys what it is sent. A line break in a description would begin a line that looks like one of ours, an escape sequence would
//! overwrite what was said before, and a mark of direction would show a number backwards.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text as one line in which every character is seen: what is not seen but changes what is seen stands there by its number.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    shown(text, |character| is_unseen(character) || breaks_lines(character))
}

/// The same with its line breaks, for what is a table of its own.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    shown(text, |character| character != '\n' && (is_unseen(character) || breaks_lines(character)))
}

fn shown(text: &str, is_shown: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_shown) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_shown(character) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "⟨U+{:04X}⟩", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// One of several fields that two blanks set apart: in quotes where it could be taken for more than one.
pub(crate) fn field(text: &str) -> Cow<'_, str> {
    if text.contains("  ") || text.starts_with(['"', ' ']) {
        return Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")));
    }
    Cow::Borrowed(text)
}

/// JSON that means the same, in which every character is seen. Control characters below the blank are escaped already.
pub(crate) fn visible_json(json: &str) -> Cow<'_, str> {
    let is_escaped = |character: char| character > '~' && (is_unseen(character) || breaks_lines(character));
    if !json.chars().any(is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 8);
    for character in json.chars() {
        if is_escaped(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Control characters, marks of direction, and what has no width.
pub(crate) fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

fn breaks_lines(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_line_or_command_a_terminal_is_shown_and_other_letters_stay() {
        for (text, seen) in [
            ("x\n2026-11-26 10:00:00Z  ap", "x⟨U+000A⟩2026-11-26 10:00:00Z  ap"),
            ("x\r\ty\u{b}\u{c}\u{85}\u{2028}\u{2029}", "x⟨U+000D⟩⟨U+0009⟩y⟨U+000B⟩⟨U+000C⟩⟨U+0085⟩⟨U+2028⟩⟨U+2029⟩"),
            ("\u{1b}[2J\u{9b}1A\u{7f}\u{8}\u{0}", "⟨U+001B⟩[2J⟨U+009B⟩1A⟨U+007F⟩⟨U+0008⟩⟨U+0000⟩"),
            ("INV-\u{202e}7\u{2066}\u{200b}\u{e0041}", "INV-⟨U+202E⟩7⟨U+2066⟩⟨U+200B⟩⟨U+E0041⟩"),
        ] {
            assert_eq!(visible(text), seen);
        }
        for text in ["", "Lieferant Müller 株式会社 🧾 شركة 👨‍👩‍👧", "a\u{a0}b"] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
        assert_eq!(visible_lines("a\nb\r\u{1b}"), "a\nb⟨U+000D⟩⟨U+001B⟩");
    }

    #[test]
    fn a_field_that_looks_like_several_is_in_quotes() {
        assert_eq!(field("INV 7"), "INV 7");
        assert_eq!(field("x  landed  run \"7\""), "\"x  landed  run \"\"7\"\"\"");
        assert_eq!((field(" x"), field("\"x")), ("\" x\"".into(), "\"\"\"x\"".into()));
    }

    #[test]
    fn json_means_the_same_when_every_character_in_it_is_seen() {
        let value =
            serde_json::json!({ "a": "\u{1b}[2J\u{9b}\n\u{7f}\u{202e}\u{2028}\u{e0041}ü🧾", "b": [1, "\u{feff}"] });
        for json in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
            let seen = visible_json(&json);
            assert!(
                !seen.chars().any(|character| character != '\n' && (is_unseen(character) || breaks_lines(character)))
            );
            assert_eq!(serde_json::from_str::<serde_json::Value>(&seen).unwrap(), value);
            assert!(seen.contains("ü🧾"));
        }
    }
}
