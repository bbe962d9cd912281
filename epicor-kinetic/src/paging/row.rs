//! Looking at single columns of a row without decoding the rest.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// BAQ rows carry this counter, which says nothing about the row (observed).
const ROW_COUNTER: &str = "RowIdent";

/// The texts of some columns of a row; `None` for those it does not have.
pub(super) fn pick<'a>(row: &'a RawValue, names: &[String]) -> Result<Vec<Option<&'a RawValue>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(row.get());
    let found = Pick { names }.deserialize(&mut json)?;
    json.end()?;
    Ok(found)
}

struct Pick<'n> {
    names: &'n [String],
}

impl<'de> DeserializeSeed<'de> for Pick<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = vec![None; self.names.len()];
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.names.iter().position(|wanted| *wanted == name).and_then(|at| found.get_mut(at)) {
                Some(place) => *place = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Tells rows apart by a fingerprint of 128 bits, so that rows already handed out need not be kept.
#[derive(Debug)]
pub(super) struct Identities {
    keys: Vec<String>,
    one: RandomState,
    two: RandomState,
}

impl Identities {
    /// By these key columns; by all columns when there are none or when a row lacks one of them.
    pub(super) fn by(keys: Vec<String>) -> Self {
        Self { keys, one: RandomState::new(), two: RandomState::new() }
    }

    pub(super) fn of(&self, row: &RawValue) -> Result<u128, serde_json::Error> {
        if !self.keys.is_empty()
            && let Some(parts) = pick(row, &self.keys)?.into_iter().collect::<Option<Vec<_>>>()
        {
            return Ok(self.fingerprint(parts.iter().map(|part| part.get())));
        }
        let members: Members<'_> = serde_json::from_str(row.get())?;
        let texts = members.0.iter().filter(|(name, _)| name != ROW_COUNTER);
        Ok(self.fingerprint(texts.flat_map(|(name, value)| [name.as_ref(), value.get()])))
    }

    fn fingerprint<'t>(&self, texts: impl Iterator<Item = &'t str>) -> u128 {
        let (mut one, mut two) = (self.one.build_hasher(), self.two.build_hasher());
        for text in texts {
            for hasher in [&mut one, &mut two] {
                hasher.write_usize(text.len());
                hasher.write(text.as_bytes());
            }
        }
        (u128::from(one.finish()) << 64) | u128::from(two.finish())
    }
}

struct Members<'a>(Vec<(std::borrow::Cow<'a, str>, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}
