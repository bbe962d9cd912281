//! The one encoder for addresses: path segments and query values.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Error, Result};

/// Kept as they are everywhere: the unreserved characters.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Ids of uploads hold colons, which are harmless in a path and expected there as they are (observed).
const SEGMENT: &AsciiSet = &STRICT.remove(b':');

/// The delimiters of filters and sorts.
const DELIMITED: &AsciiSet = &STRICT.remove(b':').remove(b',');

/// One segment of a path. What would change the path instead of naming something in it is refused.
pub(crate) fn segment(operation: &str, text: &str) -> Result<String> {
    if text.is_empty() || text.chars().all(|c| c == '.') || text.chars().any(char::is_control) {
        return Err(Error::config(
            operation.to_owned(),
            "an id in the address is empty or cannot be one; use the id as Tableau gave it",
        ));
    }
    Ok(utf8_percent_encode(text, SEGMENT).to_string())
}

/// The value of a query parameter.
pub(crate) fn value(text: &str) -> String {
    utf8_percent_encode(text, STRICT).to_string()
}

/// A filter or sort expression. Tableau wants all reserved characters encoded as soon as one of them is
/// (Tableau REST API reference, Filtering and Sorting).
pub(crate) fn expression(text: &str) -> String {
    let reserved = |c: char| "!#$'()*+/;=?@[]".contains(c);
    if text.contains(reserved) { value(text) } else { utf8_percent_encode(text, DELIMITED).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_uploads_keep_their_colons_and_nothing_leaves_its_segment() {
        assert_eq!(segment("t", "7720:170fe6b1-1:0").unwrap(), "7720:170fe6b1-1:0");
        assert_eq!(segment("t", "a/../b?c").unwrap(), "a%2F..%2Fb%3Fc");
        assert!(segment("t", "..").is_err());
        assert!(segment("t", "").is_err());
    }

    #[test]
    fn delimiters_are_encoded_only_together_with_other_reserved_characters() {
        assert_eq!(expression("name:eq:Sales Q1"), "name:eq:Sales%20Q1");
        assert_eq!(expression("name:eq:a+b"), "name%3Aeq%3Aa%2Bb");
        assert_eq!(expression("name:eq:ä"), "name:eq:%C3%A4");
    }
}
