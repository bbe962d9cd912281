//! What Tableau says in the body of a failed answer.
//!
//! Shapes: `{"error":{"summary","detail","code"}}`, its XML twin, and (observed) pages of proxies, `{"timestamp",
//! "status","error","message","path"}` of inner services, or nothing at all. The texts follow the server's language,
//! so only the code is matched on (Tableau REST API reference, Handling Errors).

use serde_json::Value;

use super::Scrubber;
use crate::xml;

/// No text of the server is kept beyond this many characters.
const LONGEST_TEXT: usize = 2_000;
/// No unknown body is kept beyond this many characters.
const LONGEST_EXCERPT: usize = 512;
/// No more of a failed answer than this is looked at.
const LONGEST_LOOK: usize = 256 * 1024;

/// The server's own account of a failure, cleaned of secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceError {
    pub(crate) code: Option<String>,
    pub(crate) summary: Option<String>,
    pub(crate) detail: Option<String>,
}

impl ServiceError {
    pub(super) fn parse(body: &[u8], scrubber: &Scrubber) -> Option<Self> {
        let body = body.get(..LONGEST_LOOK).unwrap_or(body);
        let text = String::from_utf8_lossy(body);
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let clip = |text: String| -> Option<String> {
            let clean: String = scrubber.clean(text.trim()).chars().take(LONGEST_TEXT).collect();
            (!clean.is_empty()).then_some(clean)
        };
        let found = match text.chars().next()? {
            '{' => {
                let value: Value = serde_json::from_str(text).ok()?;
                let error = value.get("error").filter(|error| error.is_object())?;
                Self {
                    code: scalar(error.get("code")).and_then(clip).filter(|code| is_code(code)),
                    summary: scalar(error.get("summary")).and_then(clip),
                    detail: scalar(error.get("detail")).and_then(clip),
                }
            }
            '<' => {
                let error = xml::error(text)?;
                Self {
                    code: error.code.and_then(clip).filter(|code| is_code(code)),
                    summary: error.summary.and_then(clip),
                    detail: error.detail.and_then(clip),
                }
            }
            _ => return None,
        };
        (found != Self::default()).then_some(found)
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

/// A number, or a word such as `BAD_REQUEST`. It is printed, so nothing else may pass for one.
fn is_code(code: &str) -> bool {
    code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

fn scalar(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
