//! What Kinetic says in the body of a failed answer.
//!
//! Observed shapes: Epicor's own object (`HttpStatus`, `ReasonPhrase`, `ErrorMessage`, `ErrorType`, `ErrorDetails`,
//! `CorrelationId`) as JSON or XML, OData's `{"error": {...}}`, and anything at all from a web server or proxy between.

use serde_json::Value;

use super::Scrubber;

/// No message of the server is kept beyond this many characters.
const LONGEST_MESSAGE: usize = 2_000;
/// No unknown body is kept beyond this many characters.
const LONGEST_EXCERPT: usize = 512;
/// No more of a failed answer than this is looked at.
const LONGEST_LOOK: usize = 256 * 1024;
/// No more details than this are kept.
const MOST_DETAILS: usize = 50;

/// The server's own account of a failure, with the secrets of the request removed. The texts may hold business data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceError {
    /// `HttpStatus`, which usually repeats the status of the answer.
    pub http_status: Option<u16>,
    /// `ReasonPhrase`, usually `REST API Exception`.
    pub reason: Option<String>,
    /// `ErrorMessage`: the text a user of Kinetic would have seen.
    pub message: String,
    /// `ErrorType`: the .NET exception class, for example `Ice.Common.BusinessObjectException`.
    pub error_type: Option<String>,
    /// `ErrorDetails`, or the rows of a `BOUpdError` tableset.
    pub details: Vec<ErrorDetail>,
    /// `CorrelationId`, to be found again in the server's log.
    pub correlation_id: Option<String>,
}

/// One entry of `ErrorDetails`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorDetail {
    /// What was wrong.
    pub message: String,
    /// `Error` or `Warning`.
    pub severity: Option<String>,
    /// The table it is about.
    pub table: Option<String>,
    /// The column it is about.
    pub field: Option<String>,
    /// The program that raised it.
    pub program: Option<String>,
    /// The method that raised it.
    pub method: Option<String>,
}

impl ServiceError {
    /// Whether the message contains `text`, whatever the case.
    pub fn says(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.message.to_lowercase().contains(&text)
            || self.details.iter().any(|detail| detail.message.to_lowercase().contains(&text))
    }

    /// Whether the exception class ends in `name`, whatever its namespace.
    pub fn is_type(&self, name: &str) -> bool {
        self.error_type.as_deref().is_some_and(|class| class.rsplit('.').next() == Some(name))
    }

    pub(super) fn parse(body: &[u8], scrubber: &Scrubber) -> Option<Self> {
        let body = body.get(..LONGEST_LOOK).unwrap_or(body);
        let text = String::from_utf8_lossy(body);
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let value = match text.chars().next()? {
            '{' => serde_json::from_str(text).ok()?,
            '<' => from_xml(text)?,
            _ => return None,
        };
        Self::from_value(&value, scrubber)
    }

    fn from_value(value: &Value, scrubber: &Scrubber) -> Option<Self> {
        if let Some(odata) = member(value, "error").filter(|error| error.is_object()) {
            return Some(Self {
                message: text(odata, "message", scrubber)?,
                error_type: member(odata, "innererror").and_then(|inner| text(inner, "type", scrubber)),
                ..Self::default()
            });
        }
        // Token endpoints answer in OAuth's own words, where `error` is a code.
        if let Some(code) = member(value, "error").and_then(Value::as_str) {
            let message = text(value, "error_description", scrubber).unwrap_or_default();
            return Some(Self { message, error_type: Some(clip(code, scrubber)), ..Self::default() });
        }
        let message = text(value, "ErrorMessage", scrubber);
        let error_type = text(value, "ErrorType", scrubber);
        if message.is_none() && error_type.is_none() {
            return None;
        }
        let status = member(value, "HttpStatus").and_then(|status| match status {
            Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            Value::String(text) => text.parse().ok(),
            _ => None,
        });
        Some(Self {
            http_status: status,
            reason: text(value, "ReasonPhrase", scrubber),
            message: message.unwrap_or_default(),
            error_type,
            details: member(value, "ErrorDetails").map(|list| details(list, scrubber)).unwrap_or_default(),
            correlation_id: text(value, "CorrelationId", scrubber),
        })
    }

    /// From the parts of a 200 that reports failure: its messages, and the rows of `BOUpdError`.
    pub(crate) fn from_outcome(messages: &[&str], rows: &Value, scrubber: &Scrubber) -> Self {
        Self { message: clip(&messages.join("\n"), scrubber), details: details(rows, scrubber), ..Self::default() }
    }
}

/// The beginning of a body in no known form.
pub(super) fn excerpt(body: &[u8], scrubber: &Scrubber) -> Option<String> {
    let body = body.get(..LONGEST_LOOK).unwrap_or(body);
    // First clean, then cut: a secret cut in half would not be found.
    let clean = scrubber.clean(&String::from_utf8_lossy(body));
    let words: String = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = words.chars().take(LONGEST_EXCERPT).collect();
    (!cut.is_empty()).then_some(cut)
}

fn details(list: &Value, scrubber: &Scrubber) -> Vec<ErrorDetail> {
    let one = std::slice::from_ref(list);
    let rows = list.as_array().map_or(if list.is_object() { one } else { &[] }, Vec::as_slice);
    rows.iter()
        .take(MOST_DETAILS)
        .map(|row| ErrorDetail {
            message: text(row, "Message", scrubber).or_else(|| text(row, "ErrorText", scrubber)).unwrap_or_default(),
            severity: text(row, "Type", scrubber).or_else(|| text(row, "ErrorLevel", scrubber)),
            table: text(row, "Table", scrubber).or_else(|| text(row, "TableName", scrubber)),
            field: text(row, "Field", scrubber),
            program: text(row, "Program", scrubber),
            method: text(row, "Method", scrubber),
        })
        .collect()
}

/// A member by name, whatever its case: the samples disagree on it.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn text(value: &Value, name: &str, scrubber: &Scrubber) -> Option<String> {
    let found = match member(value, name)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let clipped = clip(&found, scrubber);
    (!clipped.is_empty()).then_some(clipped)
}

fn clip(text: &str, scrubber: &Scrubber) -> String {
    scrubber.clean(text).chars().take(LONGEST_MESSAGE).collect()
}

/// The XML form holds the same names as elements.
fn from_xml(text: &str) -> Option<Value> {
    let mut members = serde_json::Map::new();
    for (name, value) in crate::xml::leaves(text).ok()? {
        members.entry(name).or_insert(Value::String(value));
    }
    Some(Value::Object(members))
}
