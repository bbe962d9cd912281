//! Keeps known secrets out of texts, by value: whoever resolves a secret makes it known, and whoever lets a text out cleans it.
//!
//! The clients remove what they have sent from what their servers say. This is the second net: for sources, destinations and stores of
//! one's own, for servers that tell what another one was told, for what a job or a panic says. [`Syncer`](crate::Syncer) cleans its
//! errors, audit events, checkpoints, progress and rejected rows with it; a program cleans its output and its log.
//!
//! ```
//! use kinetic_tableau_sync::Redactor;
//! use kinetic_tableau_sync::credentials::SecretString;
//!
//! let redactor = Redactor::new();
//! redactor.add(&SecretString::from("correct horse battery"));
//! assert_eq!(redactor.clean("key=correct%20horse%20battery"), "key=[redacted]");
//! ```

mod errors;
mod panics;
mod spellings;
mod unescape;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use memchr::memmem;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use zeroize::Zeroizing;

use self::unescape::Unescaped;

/// What stands where a secret was.
const REPLACEMENT: &str = "[redacted]";

/// A shorter secret is part of too many words: without them a text says nothing any more, and the gaps would tell the secret.
const SHORTEST: usize = 6;

/// So much of a secret at the end of a text that was cut there is taken for its beginning.
const SHORTEST_BEGINNING: usize = 8;

/// Escapes within escapes are undone so often.
const DEPTH: usize = 4;

/// The mark of an omission, `…`.
const OMISSION: &[u8] = "…".as_bytes();

/// Known secrets. Clones share them.
#[derive(Clone, Default)]
pub struct Redactor {
    needles: Arc<RwLock<Vec<Needle>>>,
    #[cfg(feature = "test-util")]
    off: bool,
}

/// One spelling of a secret.
struct Needle {
    /// In small letters, since some servers change them. Overwritten when it goes.
    bytes: Zeroizing<Vec<u8>>,
    /// Whether it is the inner part of something encoded, which goes as a whole.
    inner: bool,
}

impl Redactor {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows secrets but leaves them in texts, to show that a test finds them there.
    #[cfg(feature = "test-util")]
    #[must_use]
    pub fn switched_off() -> Self {
        Self { off: true, ..Self::default() }
    }

    /// Makes a secret known, in the spellings in which it may come back: as it is, in capital or small letters, escaped for addresses, JSON,
    /// XML or a log (also several times, and in Latin-1), as hexadecimal digits, and within base64 (so also as the password of a `Basic`
    /// header). Of a connection string the password alone counts as well, of a token or a key of several parts or lines each part of twelve
    /// bytes or more. A shorter line stays readable where it stands alone: it may be a word. So does what was compressed, encrypted or
    /// encoded in another way.
    ///
    /// One shorter than six characters is not taken: see [`can_mask`](Redactor::can_mask).
    pub fn add(&self, secret: &SecretString) {
        if !Self::can_mask(secret) {
            return;
        }
        let mut needles = self.needles.write().unwrap_or_else(PoisonError::into_inner);
        spellings::all(secret.expose_secret(), |spelling, inner| {
            let bytes = Zeroizing::new(spelling.to_ascii_lowercase());
            // Letters of more than one byte make a short one no longer.
            let letters = bytes.iter().filter(|byte| !matches!(byte, 0x80..0xc0)).count();
            if letters >= SHORTEST && needles.iter().all(|known| *known.bytes != *bytes) {
                needles.push(Needle { bytes, inner });
            }
        });
    }

    /// Whether a secret is long enough to be kept out of texts. A shorter one is part of too many words.
    pub fn can_mask(secret: &SecretString) -> bool {
        secret.expose_secret().trim().chars().count() >= SHORTEST
    }

    /// The text without any known secret.
    pub fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        #[cfg(feature = "test-util")]
        if self.off {
            return Cow::Borrowed(text);
        }
        let ranges = self.find(text);
        if ranges.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut clean = String::with_capacity(text.len());
        let mut from = 0;
        for range in ranges {
            clean.push_str(text.get(from..range.start).unwrap_or_default());
            clean.push_str(REPLACEMENT);
            from = range.end;
        }
        clean.push_str(text.get(from..).unwrap_or_default());
        Cow::Owned(clean)
    }

    /// Cleans a text in its place.
    pub(crate) fn scrub(&self, text: &mut String) {
        if let Cow::Owned(clean) = self.clean(text) {
            *text = clean;
        }
    }

    /// Cleans every text of a JSON value. Names of members stay.
    pub fn clean_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.scrub(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.clean_json(value)),
            Value::Object(members) => members.values_mut().for_each(|value| self.clean_json(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Where secrets are, in order and without overlaps.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let needles = self.needles.read().unwrap_or_else(PoisonError::into_inner);
        if needles.is_empty() || text.len() < SHORTEST {
            return Vec::new();
        }
        let mut found = Vec::new();
        let mut level = Some(Unescaped::of(text));
        for _ in 0..=DEPTH {
            let Some(mut now) = level else { break };
            level = now.deeper();
            now.bytes.make_ascii_lowercase();
            let bytes = now.bytes.as_slice();
            for needle in needles.iter() {
                let whole = memmem::find_iter(bytes, needle.bytes.as_slice()).map(|at| at..at + needle.bytes.len());
                for range in whole.chain(cut_off(bytes, &needle.bytes)) {
                    let range = if needle.inner { widened(bytes, range) } else { range };
                    found.extend(now.original(&range));
                }
            }
        }
        found.sort_unstable_by_key(|range| (range.start, range.end));
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
        for range in found {
            // Whole letters.
            let range = text.floor_char_boundary(range.start)..text.ceil_char_boundary(range.end);
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }
}

/// All of the base64 around a part of it.
fn widened(text: &[u8], range: Range<usize>) -> Range<usize> {
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    let (before, behind) = (text.get(..range.start).unwrap_or_default(), text.get(range.end..).unwrap_or_default());
    let before = before.iter().rev().take_while(|byte| belongs(byte)).count();
    let behind = behind.iter().take_while(|byte| belongs(byte)).count();
    range.start - before..range.end + behind
}

/// Beginnings of a secret where the text was cut: at its end, and before each mark of an omission. An escape may have been cut as well.
fn cut_off<'a>(text: &'a [u8], secret: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
    /// As much of an escape as may be left.
    const ESCAPE: usize = 6;
    let ends = memmem::find_iter(text, OMISSION).chain([text.len()]);
    ends.filter_map(move |end| {
        let before = text.get(..end)?;
        let tail = before.get(end.saturating_sub(ESCAPE)..)?;
        let torn = tail.iter().rposition(|byte| b"%&\\".contains(byte)).map(|at| end - (tail.len() - at));
        [Some(end), torn].into_iter().flatten().find_map(|stop| {
            let before = text.get(..stop)?;
            let longest = before.len().min(secret.len().saturating_sub(1));
            let length = (SHORTEST_BEGINNING..=longest)
                .rev()
                .find(|length| secret.get(..*length).is_some_and(|beginning| before.ends_with(beginning)))?;
            Some(stop - length..end)
        })
    })
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spellings = self.needles.read().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("Redactor").field("spellings", &spellings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knowing(secrets: &[&str]) -> Redactor {
        let redactor = Redactor::new();
        for secret in secrets {
            redactor.add(&SecretString::from(*secret));
        }
        redactor
    }

    #[test]
    fn a_secret_goes_wherever_it_stands_and_the_rest_stays() {
        let redactor = knowing(&["canary-one", "canary-one-and-more", "x canary-two y"]);
        for (text, clean) in [
            ("", ""),
            ("nothing here", "nothing here"),
            ("canary-one", "[redacted]"),
            ("a canary-one, CANARY-ONE. b", "a [redacted], [redacted]. b"),
            ("key canary-one-and-more!", "key [redacted]!"),
            ("x canary-one y canary-two", "x [redacted] y canary-two"),
            ("canary-onecanary-one", "[redacted]"),
            ("ä canary-one ö", "ä [redacted] ö"),
        ] {
            assert_eq!(redactor.clean(text), clean);
        }
        assert!(matches!(redactor.clean("nothing here"), Cow::Borrowed(_)), "a copy for nothing");
        assert!(!format!("{redactor:?}").contains("canary"));
    }

    #[test]
    fn what_was_cut_in_the_middle_of_a_secret_keeps_nothing_of_it() {
        let redactor = knowing(&["canary-of-some-length"]);
        assert_eq!(redactor.clean("it said canary-of-som"), "it said [redacted]");
        assert_eq!(redactor.clean("it said canary-of-s…; try again"), "it said [redacted]…; try again");
        assert_eq!(redactor.clean("it said canary%2dof%2ds%2"), "it said [redacted]");
        assert_eq!(redactor.clean("a canary sings"), "a canary sings");
        assert_eq!(redactor.clean("it is a canary"), "it is a canary");
    }

    #[test]
    fn a_short_secret_is_left_alone_and_said_to_be_short() {
        let redactor = knowing(&["short", "", "  a  "]);
        assert_eq!(redactor.clean("a short text"), "a short text");
        assert!(!Redactor::can_mask(&SecretString::from("short")));
        assert!(Redactor::can_mask(&SecretString::from("longer")));
    }

    #[test]
    fn texts_within_json_are_cleaned_and_it_stays_json() {
        let redactor = knowing(&["canary\"one\\"]);
        let mut value = serde_json::json!({"a": ["canary\"one\\", 7, null], "b": {"c": "x canary\"one\\"}});
        redactor.clean_json(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["[redacted]", 7, null], "b": {"c": "x [redacted]"}}));
    }

    #[test]
    fn clones_share_what_they_know() {
        let redactor = Redactor::new();
        let clone = redactor.clone();
        redactor.add(&SecretString::from("canary-one"));
        assert_eq!(clone.clean("canary-one"), REPLACEMENT);
    }

    proptest::proptest! {
        #[test]
        fn whatever_secret_and_text_the_secret_is_gone(secret in "\\PC{6,20}", before: String, behind: String) {
            proptest::prop_assume!(Redactor::can_mask(&SecretString::from(secret.as_str())));
            let redactor = knowing(&[&secret]);
            let clean = redactor.clean(&format!("{before}{secret}{behind}")).into_owned();
            // Unless the replacement makes it anew.
            proptest::prop_assume!(!REPLACEMENT.contains(&secret.to_ascii_lowercase()));
            proptest::prop_assert!(!clean.contains(&secret), "{}", clean);
        }
    }
}
