//! Texts as Postgres can keep them: without the character U+0000, and short enough for an index.

use std::borrow::Cow;

use crate::digest;

/// Stands before what Postgres does not take; a text rarely holds it.
const MARK: char = '\u{2400}';

/// Keys of more bytes are not put into an index: its entries hold about 2,700 bytes at most, of all columns together.
const LONGEST_KEY: usize = 1_000;

/// A text as it is stored. Postgres takes every character but U+0000, which is written as a mark and a zero.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', MARK]) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            '\0' => out.extend([MARK, '0']),
            MARK => out.extend([MARK, MARK]),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// The text of what is stored. A mark that [`stored`] has not made stays as it is, so that damage is never a panic.
pub(super) fn original(text: &str) -> Cow<'_, str> {
    if !text.contains(MARK) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != MARK {
            out.push(char);
            continue;
        }
        match chars.next() {
            Some('0') => out.push('\0'),
            Some(MARK) | None => out.push(MARK),
            Some(other) => out.extend([MARK, other]),
        }
    }
    Cow::Owned(out)
}

/// A key as it is indexed: itself, or where it is too long its beginning and its hash, which keeps order and identity.
pub(super) fn indexed(key: &str) -> Cow<'_, str> {
    use sha2::{Digest as _, Sha256};

    if key.len() <= LONGEST_KEY {
        return Cow::Borrowed(key);
    }
    let beginning = key.get(..key.floor_char_boundary(LONGEST_KEY - 100)).unwrap_or_default();
    Cow::Owned(format!("{beginning}… sha256 {}", digest::hex(&Sha256::digest(key.as_bytes()))))
}

/// What a key may be looked for by besides itself: its last or only part, as [`AuditFilter::matches_key`] takes it.
///
/// [`AuditFilter::matches_key`]: crate::AuditFilter::matches_key
pub(super) fn last_part(key: &str) -> Cow<'_, str> {
    let parts: Option<Vec<serde_json::Value>> = serde_json::from_str(key).ok();
    match parts.and_then(|mut parts| parts.pop()) {
        Some(serde_json::Value::String(text)) => Cow::Owned(text),
        Some(other) => Cow::Owned(other.to_string()),
        None => Cow::Borrowed(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AuditFilter;

    #[test]
    fn every_text_comes_back_and_none_holds_what_postgres_refuses() {
        for text in ["", "plain", "Łódź", "a\0b", "\0", "␀", "␀0", "\0\0␀␀\0", "end␀", "␀x"] {
            let kept = stored(text);
            assert!(!kept.contains('\0'), "{text:?}");
            assert_eq!(original(&kept), text, "{text:?}");
        }
        // What is no work of ours is taken as it is.
        assert_eq!(original("a␀"), "a␀");
        assert_eq!(original("␀z"), "␀z");
    }

    proptest::proptest! {
        #[test]
        fn no_two_texts_are_stored_alike(one: String, other in "[\0␀0a]{0,6}", third in "[\0␀0a]{0,6}") {
            let kept = stored(&one);
            proptest::prop_assert_eq!(original(&kept), one.as_str());
            proptest::prop_assert_eq!(stored(&other) == stored(&third), other == third);
            proptest::prop_assert_eq!(stored(&third).starts_with(&*stored(&other)), third.starts_with(&other));
        }
    }

    #[test]
    fn long_keys_are_cut_but_told_apart() {
        let (one, other) = ("ä".repeat(900) + "1", "ä".repeat(900) + "2");
        assert!(indexed(&one).len() <= LONGEST_KEY && indexed(&one) != indexed(&other));
        assert_eq!(indexed("[1]"), "[1]");
    }

    #[test]
    fn the_last_part_is_what_a_filter_means_by_it() {
        for key in [r#"["E1",7,"INV-1"]"#, "[7]", "[1.50]", "[null,true]", "[]", "no list", r#"[["a"]]"#, ""] {
            for wanted in ["INV-1", "7", "1.50", "1.5", "true", "[]", "no list", r#"["a"]"#, key] {
                let filter = AuditFilter { key: Some(wanted.to_owned()), ..AuditFilter::default() };
                let found = wanted == key || wanted == last_part(key);
                assert_eq!(filter.matches_key(key), found, "{wanted} in {key}");
            }
        }
    }
}
