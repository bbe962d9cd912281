//! The spellings in which a secret may come back.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroizing;

/// What RFC 3986 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What forms leave as it is; a blank becomes `+`.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b' ');

/// Parts of a token count where they are as long as this.
const LONG_PART: usize = 12;

/// Gives every spelling of a secret and of its parts, in small letters, and whether it is the inner part of something encoded.
pub(super) fn all(secret: &str, mut give: impl FnMut(&str, bool)) {
    let mut one = |part: &str| {
        let mut plain = |text: String| {
            let mut text = Zeroizing::new(text);
            text.make_ascii_lowercase();
            give(&text, false);
        };
        plain(part.to_owned());
        plain(part.split_whitespace().collect::<Vec<_>>().join(" "));
        for escape in [NON_ALPHANUMERIC, UNRESERVED] {
            plain(utf8_percent_encode(part, escape).to_string());
        }
        plain(utf8_percent_encode(part, FORM).to_string().replace(' ', "+"));
        let json = json(part);
        plain(json_again(&json));
        plain(json);
        plain(cautious_json(part));
        plain(unquoted(&format!("{part:?}")).to_owned());
        plain(part.escape_debug().to_string());
        for (quote, apostrophe) in [("\"", "'"), ("&quot;", "'"), ("&quot;", "&apos;"), ("&quot;", "&#39;")] {
            let text = part.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            plain(text.replace('"', quote).replace('\'', apostrophe));
        }
        // As CSV and SQL double their quotes.
        plain(part.replace('"', "\"\""));
        plain(part.replace('\'', "''"));
        for offset in 0..3 {
            for inner in within_base64(part, offset) {
                let mut inner = Zeroizing::new(inner);
                inner.make_ascii_lowercase();
                give(&inner, true);
            }
        }
    };
    one(secret);
    for part in parts(secret) {
        one(&part);
    }
}

/// Parts that are secrets of their own: the password of a connection string, and the long parts of a token.
fn parts(secret: &str) -> Vec<String> {
    let mut parts: Vec<String> = passwords(secret);
    // Tableau's tokens are `a|b|site`, where the site is no secret, and its secrets `a:b`; keys and certificates have lines.
    let (body, separators): (&str, &[char]) = match secret.rsplit_once('|') {
        Some((body, _site)) => (body, &['|']),
        None => (secret, &[':', '\n', '\r']),
    };
    let long =
        body.split(separators).map(str::trim).filter(|part| part.len() >= LONG_PART && part.len() < secret.len());
    // What says where a database is does not have to go.
    if parts.is_empty() {
        parts.extend(long.map(str::to_owned));
    }
    parts
}

/// The passwords in a connection string: `scheme://user:password@host`, `password=…`, `Pwd=…;`.
fn passwords(secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |password: &str| {
        found.push(password.to_owned());
        if let Ok(decoded) = percent_decode_str(password).decode_utf8() {
            found.push(decoded.into_owned());
        }
    };
    if let Some((_, behind)) = secret.split_once("://") {
        let authority = behind.split(['/', '?', '#']).next().unwrap_or_default();
        // A password may hold what ends an authority when it was not escaped; then all up to the last sign counts.
        let login = authority.rsplit_once('@').or_else(|| behind.rsplit_once('@'));
        if let Some((_, password)) = login.and_then(|(login, _)| login.split_once(':')) {
            add(password);
        }
    }
    let lower = secret.to_ascii_lowercase();
    for name in ["password", "pwd"] {
        for (at, _) in lower.match_indices(name) {
            let behind = secret.get(at + name.len()..).unwrap_or_default().trim_start();
            let Some(value) = behind.strip_prefix('=').map(str::trim_start) else { continue };
            match value.chars().next() {
                Some(quote @ ('\'' | '"')) => {
                    let inner = value.get(1..).unwrap_or_default();
                    let inner = inner.split(quote).next().unwrap_or_default();
                    add(inner);
                }
                _ => add(value.split([';', '&', ' ', '\t', '\n']).next().unwrap_or_default()),
            }
        }
    }
    found
}

/// As it stands between the quotes of a JSON string.
fn json(text: &str) -> String {
    unquoted(&serde_json::to_string(text).unwrap_or_default()).to_owned()
}

/// JSON within JSON.
fn json_again(json: &str) -> String {
    unquoted(&serde_json::to_string(json).unwrap_or_default()).to_owned()
}

/// JSON as .NET writes it: safe to put into a page.
fn cautious_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' | '&' | '\'' | '+' | '<' | '>' | '`' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            _ if letter.is_ascii() && !letter.is_ascii_control() => out.push(letter),
            _ => {
                let mut units = [0; 2];
                for unit in letter.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

/// The letters of base64 that a text makes whatever stands around it, where so many bytes of a group of three come before it: once in each
/// of the two alphabets.
fn within_base64(text: &str, offset: usize) -> [String; 2] {
    let mut bytes = Zeroizing::new(Vec::with_capacity(offset + text.len()));
    bytes.resize(offset, 0);
    bytes.extend_from_slice(text.as_bytes());
    // Each letter is six bits. The first ones are also made of what comes before, the last one of what comes behind.
    let first = (offset * 8).div_ceil(6);
    let last = bytes.len() * 8 / 6;
    [&STANDARD, &URL_SAFE].map(|alphabet| {
        let whole = Zeroizing::new(alphabet.encode(&*bytes));
        whole.get(first..last).unwrap_or_default().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::super::Redactor;
    use super::*;

    fn knowing(secret: &str) -> Redactor {
        let redactor = Redactor::new();
        redactor.add(&SecretString::from(secret));
        redactor
    }

    #[test]
    fn a_secret_goes_in_every_spelling() {
        let secret = "Can<ary \"one\" + 'two' & \\three/ü";
        let redactor = knowing(secret);
        for text in [
            secret.to_owned(),
            secret.to_uppercase().replace('Ü', "ü"),
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
            utf8_percent_encode(secret, UNRESERVED).to_string(),
            "Can%3Cary+%22one%22+%2B+%27two%27+%26+%5Cthree%2F%C3%BC".to_owned(),
            serde_json::to_string(secret).unwrap(),
            serde_json::to_string(&serde_json::to_string(secret).unwrap()).unwrap(),
            "Can\\u003Cary \\u0022one\\u0022 \\u002B \\u0027two\\u0027 \\u0026 \\\\three/\\u00FC".to_owned(),
            format!("{secret:?}"),
            format!("{:?}", std::io::Error::other(secret)),
            "Can&lt;ary &quot;one&quot; + &#39;two&#39; &amp; \\three/ü".to_owned(),
            "Can&lt;ary &quot;one&quot; + &apos;two&apos; &amp; \\three/ü".to_owned(),
            "Can&lt;ary \"one\" + 'two' &amp; \\three/ü".to_owned(),
            secret.replace('"', "\"\""),
            secret.replace('\'', "''"),
        ] {
            let clean = redactor.clean(&text).to_ascii_lowercase();
            assert!(!clean.contains("ary") && !clean.contains("three"), "{text} became {clean}");
        }
    }

    #[test]
    fn within_base64_a_secret_goes_wherever_it_stands_in_it() {
        let redactor = knowing("canary-password");
        for alphabet in [&STANDARD, &URL_SAFE] {
            for around in ["", "a", "ab", "user:", "a longer user:", "?>?>?>"] {
                for behind in ["", ":", "::", " and more"] {
                    let encoded = alphabet.encode(format!("{around}canary-password{behind}"));
                    let clean = redactor.clean(&format!("authorization: Basic {encoded}, next")).into_owned();
                    assert_eq!(clean, "authorization: Basic [redacted], next", "{around} {behind}");
                }
            }
        }
    }

    #[test]
    fn of_a_connection_string_the_password_alone_counts_as_well() {
        for (string, password) in [
            ("postgres://sync:canary%2Fword@db.example.com:5432/state?sslmode=require", "canary/word"),
            ("postgres://sync:canary/word@db.example.com/state", "canary/word"),
            ("host=db user=sync password=canary-word dbname=state", "canary-word"),
            ("host=db password = 'canary word' user=sync", "canary word"),
            ("Server=db;User Id=sync;Pwd=canary-word;", "canary-word"),
            ("postgres://db/state?user=sync&password=canary-word&x=y", "canary-word"),
        ] {
            let redactor = knowing(string);
            let clean = redactor.clean(&format!("refused: {password}, {string}")).into_owned();
            assert!(!clean.contains("canary"), "{string}: {clean}");
            assert_eq!(redactor.clean("db.example.com is down"), "db.example.com is down");
        }
    }

    #[test]
    fn the_long_parts_of_a_token_count_and_its_site_does_not() {
        let redactor = knowing("canary-part-one|canary-part-two|site-id-of-the-site");
        let text = "one canary-part-one two canary-part-two site-id-of-the-site";
        assert_eq!(redactor.clean(text), "one [redacted] two [redacted] site-id-of-the-site");
        let lines = knowing("-----BEGIN KEY-----\ncanary-line-one-of-it\ncanary-line-two-of-it\n");
        assert_eq!(lines.clean("line canary-line-two-of-it"), "line [redacted]");
    }
}
