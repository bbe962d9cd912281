//! Reading answers as servers really write them: numbers as text, booleans in any case, lists in four shapes and
//! timestamps whose offset has no colon (observed). Fields that are not known are passed over.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A text; numbers count as one, an empty text as none.
pub(crate) fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A whole number, bare or as text.
pub(crate) fn number(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A whole number that cannot be negative.
pub(crate) fn count(value: Option<&Value>) -> Option<u64> {
    number(value).and_then(|number| u64::try_from(number).ok())
}

/// A truth value: bare, as text in any case, or as 0 and 1.
pub(crate) fn truth(value: Option<&Value>) -> Option<bool> {
    match value? {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A moment: RFC 3339, or with an offset like `-0700`, or without one, which then is UTC.
pub(crate) fn moment(value: Option<&Value>) -> Option<DateTime<Utc>> {
    let text = value?.as_str()?.trim();
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.with_timezone(&Utc));
    }
    if let Ok(moment) = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z") {
        return Some(moment.with_timezone(&Utc));
    }
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|moment| moment.and_utc())
}

/// The entries of a list: `{"inner": [..]}`, `{"inner": {..}}`, `[..]`, or nothing as `{}`, `[]`, `null` or absence.
pub(crate) fn entries<'a>(outer: Option<&'a Value>, inner: &str) -> Vec<&'a Value> {
    match outer {
        Some(Value::Array(entries)) => entries.iter().collect(),
        Some(Value::Object(object)) => match object.get(inner) {
            Some(Value::Array(entries)) => entries.iter().collect(),
            Some(Value::Object(entry)) if entry.is_empty() => Vec::new(),
            Some(entry @ (Value::Object(_) | Value::String(_))) => vec![entry],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

pub(crate) fn de_text<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<String>, D::Error> {
    Value::deserialize(reader).map(|value| text(Some(&value)))
}

pub(crate) fn de_count<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<u64>, D::Error> {
    Value::deserialize(reader).map(|value| count(Some(&value)))
}

pub(crate) fn de_truth<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<bool>, D::Error> {
    Value::deserialize(reader).map(|value| truth(Some(&value)))
}

pub(crate) fn de_moment<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    Value::deserialize(reader).map(|value| moment(Some(&value)))
}

/// The labels of `{"tag": [{"label": ".."}]}`.
pub(crate) fn de_tags<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<String>, D::Error> {
    let value = Value::deserialize(reader)?;
    Ok(entries(Some(&value), "tag").into_iter().filter_map(|tag| text(tag.get("label"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_come_bare_or_as_text() {
        for (value, expected) in [
            (json!(7), Some(7)),
            (json!("7"), Some(7)),
            (json!(" -1 "), Some(-1)),
            (json!("x"), None),
            (json!(null), None),
        ] {
            assert_eq!(number(Some(&value)), expected, "{value}");
        }
        assert_eq!(count(Some(&json!("-1"))), None);
    }

    #[test]
    fn truth_comes_in_many_spellings() {
        for value in [json!(true), json!("true"), json!("True"), json!("TRUE"), json!(1), json!("1")] {
            assert_eq!(truth(Some(&value)), Some(true), "{value}");
        }
        for value in [json!(false), json!("false"), json!("False"), json!(0), json!("0")] {
            assert_eq!(truth(Some(&value)), Some(false), "{value}");
        }
        assert_eq!(truth(Some(&json!("yes"))), None);
    }

    #[test]
    fn all_offsets_mean_the_same_moment() {
        let expected = "2023-08-17T22:36:37Z".parse::<DateTime<Utc>>().unwrap();
        for text in [
            "2023-08-17T22:36:37Z",
            "2023-08-17T15:36:37-0700",
            "2023-08-17T15:36:37-07:00",
            "2023-08-17T22:36:37.000Z",
            "2023-08-17T22:36:37",
        ] {
            assert_eq!(moment(Some(&json!(text))), Some(expected), "{text}");
        }
        assert_eq!(moment(Some(&json!(""))), None);
    }

    #[test]
    fn lists_come_in_many_shapes() {
        let two = json!({"task": [{"a": 1}, {"a": 2}]});
        let one = json!({"task": {"a": 1}});
        assert_eq!(entries(Some(&two), "task").len(), 2);
        assert_eq!(entries(Some(&one), "task"), vec![&json!({"a": 1})]);
        assert_eq!(entries(Some(&json!([{"a": 1}])), "task").len(), 1);
        for empty in
            [json!({}), json!([]), json!(null), json!({"task": []}), json!({"task": {}}), json!({"task": null})]
        {
            assert!(entries(Some(&empty), "task").is_empty(), "{empty}");
        }
        assert!(entries(None, "task").is_empty());
    }
}
