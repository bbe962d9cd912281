//! Text that may hold anything, on its way into a page.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};

use crate::output;
use crate::visible::is_unseen;

/// Text for an element or an attribute in quotes. What would end either is written as an entity, and what is not seen but changes what is
/// seen (control characters, marks that turn the direction of writing) is made visible. Known secrets are taken out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in output::redactor().clean(self.0).chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => f.write_str(" ")?,
                unseen if is_unseen(unseen) => write!(f, "⟨U+{:04X}⟩", u32::from(unseen))?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// Words of our own, in which commands stand between backticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'a>(pub(super) &'a str);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((before, command, behind)) = rest
            .split_once('`')
            .and_then(|(before, rest)| rest.split_once('`').map(|(code, rest)| (before, code, rest)))
        {
            write!(f, "{}<code>{}</code>", Text(before), Text(command))?;
            rest = behind;
        }
        Text(rest).fmt(f)
    }
}

/// At most so many characters of a text.
pub(super) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
    }
}

/// A moment, to the minute, with the rest of it for those who point at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(pub(super) DateTime<Utc>);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exact, shown) = (self.0.format("%Y-%m-%dT%H:%M:%SZ"), self.0.format("%Y-%m-%d %H:%M"));
        write!(f, "<time datetime=\"{exact}\">{shown}</time>")
    }
}

/// How long ago a moment was, roughly.
pub(super) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match (now - at).num_seconds() {
        ..60 => "just now".to_owned(),
        _ => format!("{} ago", rough(now - at)),
    }
}

/// A length of time in its largest unit.
pub(super) fn rough(length: chrono::Duration) -> String {
    let (minutes, hours, days) = (length.num_minutes(), length.num_hours(), length.num_days());
    match (minutes, hours, days) {
        (..1, ..) => "less than a minute".to_owned(),
        (..120, ..) => format!("{minutes} min"),
        (_, ..48, _) => format!("{hours} h"),
        _ => format!("{days} days"),
    }
}

/// A length of time as exactly as it matters, from milliseconds.
pub(super) fn took(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    if seconds < 10 {
        format!("{seconds}.{} s", milliseconds % 1_000 / 100)
    } else if seconds < 120 {
        format!("{seconds} s")
    } else if seconds < 7_200 {
        format!("{} min {} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60)
    }
}

/// Several or one.
pub(super) fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{} {}", output::grouped(count), if count == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_data_holds_cannot_leave_its_element_or_attribute() {
        let text = |text| Text(text).to_string();
        assert_eq!(text("<script>alert(1)</script>"), "&lt;script&gt;alert(1)&lt;/script&gt;");
        assert_eq!(text("\" onload='x' & &lt;"), "&quot; onload=&#39;x&#39; &amp; &amp;lt;");
        assert_eq!(text("<!-- ]]> --> \u{0}"), "&lt;!-- ]]&gt; --&gt; ⟨U+0000⟩");
        assert_eq!(text("Lieferant Müller 株式会社 🧾"), "Lieferant Müller 株式会社 🧾");
    }

    #[test]
    fn what_would_turn_or_hide_other_characters_is_made_visible() {
        let text = |text| Text(text).to_string();
        assert_eq!(text("INV-\u{202e}7-VNI"), "INV-⟨U+202E⟩7-VNI");
        assert_eq!(text("a\u{200b}b\u{feff}c\u{2066}d\u{61c}"), "a⟨U+200B⟩b⟨U+FEFF⟩c⟨U+2066⟩d⟨U+061C⟩");
        assert_eq!(text("one\ntwo\tthree\u{2028}four\u{1b}[2J"), "one two three four⟨U+001B⟩[2J");
        // Letters that are written from right to left are no marks.
        assert_eq!(text("شركة"), "شركة");
    }

    #[test]
    fn commands_in_our_own_words_are_set_apart_and_stay_escaped() {
        assert_eq!(Words("see `audit --key <K>` or `x").to_string(), "see <code>audit --key &lt;K&gt;</code> or `x");
        assert_eq!(Words("plain").to_string(), "plain");
    }

    #[test]
    fn texts_are_cut_between_characters_and_times_are_told_in_their_largest_unit() {
        assert_eq!((cut("äöü", 3).as_ref(), cut("äöü", 2).as_ref()), ("äöü", "äö…"));
        let minutes = |count| rough(chrono::Duration::minutes(count));
        assert_eq!(
            [0, 1, 119, 120, 2_879, 2_880].map(minutes),
            ["less than a minute", "1 min", "119 min", "2 h", "47 h", "2 days"]
        );
        assert_eq!(
            [0, 1_250, 61_000, 3_599_000, 7_260_000].map(took),
            ["0.0 s", "1.2 s", "61 s", "59 min 59 s", "2 h 1 min"]
        );
    }
}
