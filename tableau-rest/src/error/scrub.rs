//! Removing secrets from whatever the server says, by value and in every spelling in which they may come back.

use std::fmt;

use http::HeaderMap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

const REPLACEMENT: &str = "[redacted]";

/// Shorter values occur by chance in any text, and cutting them out would only reveal them.
const SHORTEST: usize = 3;

/// The secret values of one client, and of one request.
#[derive(Clone, Default)]
pub(crate) struct Scrubber {
    needles: Vec<SecretString>,
}

impl Scrubber {
    /// Adds the values of all headers that are marked sensitive.
    pub(crate) fn add_headers(&mut self, headers: &HeaderMap) {
        for value in headers.values().filter(|value| value.is_sensitive()) {
            self.add(&String::from_utf8_lossy(value.as_bytes()));
        }
    }

    /// Adds one secret value. Where it has parts (tokens are `a|b|site`, secrets `a:b`), the long ones count too; a
    /// last part after `|` is the site's id, which is no secret.
    pub(crate) fn add(&mut self, secret: &str) {
        self.add_value(secret);
        let (body, separator) = match secret.rsplit_once('|') {
            Some((body, _site)) => (body, '|'),
            None => (secret, ':'),
        };
        for part in body.split(separator).filter(|part| part.len() >= 12 && part.len() < secret.len()) {
            self.add_value(part);
        }
        // The longest first, so that a value which contains another one goes as a whole.
        self.needles.sort_by_key(|needle| std::cmp::Reverse(needle.expose_secret().len()));
    }

    fn add_value(&mut self, secret: &str) {
        let xml = |text: &str| quick_xml::escape::escape(text).into_owned();
        let json = in_json(secret);
        // The bodies that we send are JSON, and whoever sends them back may wrap them once more.
        let spellings = [
            secret.to_owned(),
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
            xml(secret),
            xml(&json),
            in_json(&json),
            json,
        ];
        for spelling in spellings {
            let spelling = spelling.to_ascii_lowercase();
            let known = self.needles.iter().any(|needle| needle.expose_secret() == spelling);
            if spelling.chars().count() >= SHORTEST && !known {
                self.needles.push(SecretString::from(spelling));
            }
        }
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

/// The text as it stands between the quotes of a JSON string.
fn in_json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&quoted).to_owned()
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrubber").field("needles", &self.needles.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_goes_in_every_spelling_and_in_its_parts() {
        let mut scrubber = Scrubber::default();
        scrubber.add("Can<ary\"Token+One|second-part-of-it|site-id-which-is-public");
        let text = "as is Can<ary\"Token+One, json Can<ary\\\"Token+One, xml Can&lt;ary&quot;Token+One, \
                    url Can%3Cary%22Token%2BOne, upper CAN<ARY\"TOKEN+ONE, SECOND-PART-of-it, site-id-which-is-public";
        let clean = scrubber.clean(text).to_ascii_lowercase();
        assert!(!clean.contains("ary"), "{clean}");
        assert!(!clean.contains("second-part"), "{clean}");
        assert!(clean.contains("site-id-which-is-public"));
    }

    #[test]
    fn its_own_debug_says_nothing() {
        let mut scrubber = Scrubber::default();
        scrubber.add("canary-secret");
        assert!(!format!("{scrubber:?}").contains("canary"));
    }
}
