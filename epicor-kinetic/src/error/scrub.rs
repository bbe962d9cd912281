//! Removing the secrets of a request from whatever the server says about it.
//!
//! The removal is by value, since a wrong API key comes back in clear inside the 401 body (observed). The values are
//! taken from the request itself: every header marked sensitive, which covers a caller's own credential too.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

const REPLACEMENT: &str = "[redacted]";

/// Shorter values occur by chance in any text, and cutting them out would only reveal them.
const SHORTEST: usize = 3;

/// The secret values of one request, in every spelling in which they may come back.
#[derive(Clone, Default)]
pub(crate) struct Scrubber {
    needles: Vec<SecretString>,
}

impl Scrubber {
    /// Collects the values of all sensitive headers.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut scrubber = Self::default();
        for (name, value) in headers {
            if !value.is_sensitive() {
                continue;
            }
            let text = String::from_utf8_lossy(value.as_bytes());
            if name != http::header::AUTHORIZATION {
                scrubber.add(&text);
                continue;
            }
            let (scheme, token) = text.split_once(' ').unwrap_or(("", &text));
            scrubber.add(token);
            if !scheme.eq_ignore_ascii_case("basic") {
                continue;
            }
            if let Some(password) = STANDARD
                .decode(token)
                .ok()
                .and_then(|pair| String::from_utf8(pair).ok())
                .and_then(|pair| pair.split_once(':').map(|(_, password)| password.to_owned()))
            {
                scrubber.add(&password);
            }
        }
        scrubber
    }

    /// Adds one secret value.
    pub(crate) fn add(&mut self, secret: &str) {
        let mut spellings = vec![secret.to_owned(), utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string()];
        if let Ok(json) = serde_json::to_string(secret) {
            spellings.push(json.trim_matches('"').to_owned());
        }
        spellings.push(quick_xml::escape::escape(secret).into_owned());
        for spelling in spellings {
            let known = self.needles.iter().any(|needle| needle.expose_secret() == spelling);
            if spelling.chars().count() >= SHORTEST && !known {
                self.needles.push(SecretString::from(spelling.to_ascii_lowercase()));
            }
        }
        // The longest first, so that a value which contains another one goes as a whole.
        self.needles.sort_by_key(|needle| std::cmp::Reverse(needle.expose_secret().len()));
    }

    /// The text without any of the secrets, whatever their case.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for needle in &self.needles {
            let needle = needle.expose_secret();
            let lower = clean.to_ascii_lowercase();
            if !lower.contains(needle) {
                continue;
            }
            let mut next = String::with_capacity(clean.len());
            let mut from = 0;
            for (at, _) in lower.match_indices(needle) {
                next.push_str(clean.get(from..at).unwrap_or_default());
                next.push_str(REPLACEMENT);
                from = at + needle.len();
            }
            next.push_str(clean.get(from..).unwrap_or_default());
            clean = next;
        }
        clean
    }
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrubber").field("needles", &self.needles.len()).finish()
    }
}
