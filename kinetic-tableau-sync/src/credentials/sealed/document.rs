//! What is inside of a sealed file: names, values, when they were set, and notes, as JSON.
//!
//! Values never pass through a buffer that is not overwritten: they are taken from the decrypted text by their place in it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::super::secret_of;
use super::{CredentialError, CredentialErrorKind, SecretEntry, SecretName};

/// Tells our documents from whatever else may be in a file of the same format.
const FORMAT: &str = "kinetic-tableau-credentials";

/// The version that is written.
pub(super) const VERSION: u64 = 1;

/// All secrets of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    secrets: BTreeMap<SecretName, Kept>,
}

#[derive(Clone, Debug)]
struct Kept {
    value: SecretString,
    set_at: DateTime<Utc>,
    previous_at: Option<DateTime<Utc>>,
    note: Option<String>,
}

/// Why a decrypted text is no document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is of a later version.
    Newer(u64),
    /// It is something else.
    Foreign,
}

impl Document {
    pub(super) fn get(&self, name: &SecretName) -> Option<&SecretString> {
        self.secrets.get(name).map(|kept| &kept.value)
    }

    pub(super) fn entries(&self) -> Vec<SecretEntry> {
        let entry = |(name, kept): (&SecretName, &Kept)| SecretEntry {
            name: name.clone(),
            set_at: Some(kept.set_at),
            previous_at: kept.previous_at,
            note: kept.note.clone(),
        };
        self.secrets.iter().map(entry).collect()
    }

    pub(super) fn set(&mut self, name: SecretName, value: SecretString, note: Option<String>, now: DateTime<Utc>) {
        self.secrets.insert(name, Kept { value, set_at: now, previous_at: None, note });
    }

    pub(super) fn rotate(
        &mut self,
        name: &SecretName,
        value: SecretString,
        now: DateTime<Utc>,
    ) -> Result<(), CredentialError> {
        let Some(kept) = self.secrets.get_mut(name) else {
            return Err(CredentialError::new(CredentialErrorKind::Unknown, format!("there is no secret {name}"))
                .with_hint("set it first, or see what there is with a list"));
        };
        if kept.value.expose_secret() == value.expose_secret() {
            return Err(CredentialError::invalid(format!("the new value of {name} is the one that is there"))
                .with_hint("make a new secret in the system that it belongs to, and give that"));
        }
        kept.value = value;
        kept.previous_at = Some(kept.set_at);
        kept.set_at = now;
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &SecretName) -> bool {
        self.secrets.remove(name).is_some()
    }

    /// As JSON, in memory that is overwritten when it goes. `spare` is room for more, so that it never has to move.
    pub(super) fn to_json(&self, spare: impl FnOnce(usize) -> usize) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        // At most six bytes for one: `\u0000`.
        let length = |text: &str| text.len() * 6;
        let rows = self.secrets.iter().map(|(name, kept)| {
            200 + name.as_str().len()
                + length(kept.value.expose_secret())
                + kept.note.as_deref().map(length).unwrap_or_default()
        });
        let most = 200 + rows.sum::<usize>();
        let mut json = Zeroizing::new(Vec::with_capacity(most + spare(most)));
        let secrets = self.secrets.iter().map(|(name, kept)| {
            let Kept { value, set_at, previous_at, note } = kept;
            let (value, note) = (Exposed(value), note.as_deref());
            (name.as_str(), Written { value, set_at: *set_at, previous_at: *previous_at, note })
        });
        let whole = WrittenWhole { format: FORMAT, version: VERSION, secrets: secrets.collect() };
        serde_json::to_writer(&mut *json, &whole)?;
        Ok(json)
    }

    pub(super) fn of_json(json: &[u8]) -> Result<Self, Unfit> {
        let head: Head<'_> = serde_json::from_slice(json).map_err(|_| Unfit::Foreign)?;
        if head.format != FORMAT {
            return Err(Unfit::Foreign);
        }
        if head.version > VERSION {
            return Err(Unfit::Newer(head.version));
        }
        let whole: ReadWhole<'_> = serde_json::from_slice(json).map_err(|_| Unfit::Foreign)?;
        let mut document = Self::default();
        for (name, read) in whole.secrets {
            let name = SecretName::new(name).map_err(|_| Unfit::Foreign)?;
            let value = unescaped(read.value.get()).ok_or(Unfit::Foreign)?;
            let Read { set_at, previous_at, note, .. } = read;
            document.secrets.insert(name, Kept { value, set_at, previous_at, note });
        }
        Ok(document)
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    format: Cow<'a, str>,
    version: u64,
}

#[derive(Deserialize)]
struct ReadWhole<'a> {
    #[serde(borrow)]
    secrets: BTreeMap<String, Read<'a>>,
}

#[derive(Deserialize)]
struct Read<'a> {
    /// As it stands there, quotes included: the JSON library unescapes into a buffer of its own.
    #[serde(borrow)]
    value: &'a RawValue,
    set_at: DateTime<Utc>,
    #[serde(default)]
    previous_at: Option<DateTime<Utc>>,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Serialize)]
struct WrittenWhole<'a> {
    format: &'static str,
    version: u64,
    secrets: BTreeMap<&'a str, Written<'a>>,
}

#[derive(Serialize)]
struct Written<'a> {
    value: Exposed<'a>,
    set_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

struct Exposed<'a>(&'a SecretString);

impl Serialize for Exposed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

/// The text of a JSON string; none when it is no string.
fn unescaped(raw: &str) -> Option<SecretString> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    // Never longer than what it is made of.
    let mut text = Zeroizing::new(String::with_capacity(inner.len()));
    let mut rest = inner;
    while let Some((before, behind)) = rest.split_once('\\') {
        text.push_str(before);
        let kind = behind.chars().next()?;
        rest = behind.get(kind.len_utf8()..)?;
        text.push(match kind {
            '"' | '\\' | '/' => kind,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let mut unit = hex(&mut rest)?;
                if (0xd800..0xdc00).contains(&unit) {
                    // The first half of a pair.
                    rest = rest.strip_prefix("\\u")?;
                    let low = hex(&mut rest)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    unit = 0x10000 + ((unit - 0xd800) << 10) + low;
                }
                char::from_u32(unit)?
            }
            _ => return None,
        });
    }
    text.push_str(rest);
    Some(secret_of(&text))
}

fn hex(rest: &mut &str) -> Option<u32> {
    let (digits, behind) = rest.split_at_checked(4)?;
    *rest = behind;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SecretName {
        SecretName::new(text).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    proptest::proptest! {
        #[test]
        fn every_value_comes_back_as_it_was(value: String, note: String) {
            let mut document = Document::default();
            document.set(name("a"), secret_of(&value), Some(note.clone()), at("2026-11-26T10:00:00Z"));
            let room = document.to_json(|_| 0).unwrap();
            proptest::prop_assert!(room.len() <= room.capacity());
            let read = Document::of_json(&room).unwrap();
            proptest::prop_assert_eq!(read.get(&name("a")).unwrap().expose_secret(), &value);
            proptest::prop_assert_eq!(read.entries()[0].note.clone(), Some(note));
        }

        #[test]
        fn a_json_string_means_the_same_to_us_as_to_the_library(value: String, escape in 0_u32..3) {
            let raw = match escape {
                0 => serde_json::to_string(&value).unwrap(),
                // As other writers put it: every unit escaped.
                1 => {
                    let units: Vec<String> = value.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
                    format!("\"{}\"", units.concat())
                }
                _ => serde_json::to_string(&value).unwrap().replace('/', "\\/"),
            };
            let library: String = serde_json::from_str(&raw).unwrap();
            let ours = unescaped(&raw).unwrap();
            proptest::prop_assert_eq!(ours.expose_secret(), library);
        }
    }

    #[test]
    fn what_is_no_string_is_refused() {
        for raw in ["7", "null", "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\""] {
            assert!(unescaped(raw).is_none(), "{raw}");
        }
    }

    #[test]
    fn the_memory_of_a_document_never_moves_while_it_is_written() {
        let mut document = Document::default();
        for nth in 0..50 {
            let worst = secret_of(&"\u{1}".repeat(nth * 10));
            document.set(name(&format!("n{nth}")), worst, Some("\"\n".repeat(nth)), Utc::now());
        }
        let mut asked = 0;
        let json = document.to_json(|most| {
            asked = most;
            0
        });
        assert!(json.unwrap().len() <= asked);
    }

    #[test]
    fn a_later_version_and_a_foreign_text_are_told_apart() {
        let later = br#"{"format":"kinetic-tableau-credentials","version":2,"secrets":{"new":["shape"]}}"#;
        assert_eq!(Document::of_json(later).unwrap_err(), Unfit::Newer(2));
        for foreign in [
            &b"{}"[..],
            b"hello",
            br#"{"format":"x","version":1}"#,
            b"",
            br#"{"format":"kinetic-tableau-credentials"}"#,
        ] {
            assert_eq!(Document::of_json(foreign).unwrap_err(), Unfit::Foreign);
        }
        let bad_name = br#"{"format":"kinetic-tableau-credentials","version":1,"secrets":{"../x":{"value":"v","set_at":"2026-11-26T10:00:00Z"}}}"#;
        assert_eq!(Document::of_json(bad_name).unwrap_err(), Unfit::Foreign);
    }

    #[test]
    fn rotating_remembers_when_the_value_before_was_set() {
        let (first, second) = (at("2026-11-26T10:00:00Z"), at("2026-12-26T10:00:00Z"));
        let mut document = Document::default();
        document.set(name("a"), secret_of("one"), Some("note".to_owned()), first);
        let same = document.rotate(&name("a"), secret_of("one"), second).unwrap_err();
        assert_eq!(same.kind(), CredentialErrorKind::Invalid);
        document.rotate(&name("a"), secret_of("two"), second).unwrap();
        let entry = &document.entries()[0];
        assert_eq!((entry.set_at, entry.previous_at), (Some(second), Some(first)));
        assert_eq!(entry.note.as_deref(), Some("note"));
        let unknown = document.rotate(&name("b"), secret_of("x"), second).unwrap_err();
        assert_eq!(unknown.kind(), CredentialErrorKind::Unknown);
        assert!(document.remove(&name("a")) && !document.remove(&name("a")));
    }

    #[test]
    fn its_own_debug_shows_no_value() {
        let mut document = Document::default();
        document.set(name("a"), secret_of("canary-secret"), None, Utc::now());
        assert!(!format!("{document:?}").contains("canary"));
    }
}
