//! The one encoder for addresses: path segments and query values.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, Result};

/// Kept as they are in a segment: unreserved characters, and those of positional keys and of `$metadata`.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'$')
    .remove(b'(')
    .remove(b')')
    .remove(b',')
    .remove(b'=');

/// Kept as they are in a value: what makes filters readable in a log and has no meaning in a query string.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'(')
    .remove(b')')
    .remove(b',')
    .remove(b':')
    .remove(b'/')
    .remove(b'*');

pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Spaces become `%20`: a plus sign is not read as a space everywhere (observed).
pub(crate) fn value(text: &str) -> String {
    utf8_percent_encode(text, VALUE).to_string()
}

/// Refuses what would change the path instead of naming something in it.
pub(crate) fn check_segment(operation: &str, what: &str, text: &str) -> Result<()> {
    let bad = text.is_empty()
        || text.chars().all(|c| c == '.')
        || text.len() > 200
        || text.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | '?' | '#' | '%'));
    if bad {
        return Err(Error::config(
            operation.to_owned(),
            format!("the {what} is empty or holds characters that cannot be part of it; check its spelling"),
        ));
    }
    Ok(())
}
