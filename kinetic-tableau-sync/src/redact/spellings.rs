//! The spellings of a secret that undoing escapes does not bring back: within base64, and with its blanks or quotes changed. And the parts
//! of it that are secrets of their own.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::unescape::Unescaped;

/// Parts of a token count where they are as long as this.
const LONG_PART: usize = 12;

/// Gives every spelling of a secret and of its parts, and whether it is the inner part of something encoded.
pub(super) fn all(secret: &str, mut give: impl FnMut(&[u8], bool)) {
    let mut one = |part: &str| {
        let mut plain = |text: String| give(Zeroizing::new(text).as_bytes(), false);
        plain(part.to_owned());
        // Of several lines one is made, and forms write blanks otherwise.
        plain(part.split_whitespace().collect::<Vec<_>>().join(" "));
        plain(part.replace(' ', "+"));
        // As CSV and SQL double their quotes.
        plain(part.replace('"', "\"\""));
        plain(part.replace('\'', "''"));
        // A secret that holds what looks like an escape is undone as well.
        let mut undone = Unescaped::of(part);
        while let Some(next) = undone.deeper() {
            give(&next.bytes, false);
            undone = next;
        }
        for offset in 0..3 {
            for inner in within_base64(part, offset) {
                give(Zeroizing::new(inner).as_bytes(), true);
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
    let passwords = passwords(secret);
    if !passwords.is_empty() {
        // What says where a database is does not have to go.
        return passwords;
    }
    // Tableau's tokens are `a|b|site`, where the site is no secret, and its secrets `a:b`; keys and certificates have lines.
    let (body, separators): (&str, &[char]) = match secret.rsplit_once('|') {
        Some((body, _site)) => (body, &['|']),
        None => (secret, &[':', '\n', '\r']),
    };
    let parts = body.split(separators).map(str::trim);
    parts.filter(|part| part.len() >= LONG_PART && part.len() < secret.len()).map(str::to_owned).collect()
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
                    add(inner.split(quote).next().unwrap_or_default());
                }
                _ => add(value.split([';', '&', ' ', '\t', '\n']).next().unwrap_or_default()),
            }
        }
    }
    found
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
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
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
        let secret = "Can<ary> \"one\" + 'two' & \\three/%41ü";
        let redactor = knowing(secret);
        let address = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
        let json = serde_json::to_string(secret).unwrap();
        for text in [
            secret.to_owned(),
            secret.to_uppercase().replace('Ü', "ü"),
            address.to_lowercase(),
            utf8_percent_encode(&address, NON_ALPHANUMERIC).to_string(),
            // Only what a careful or a careless writer escapes.
            "Can%3Cary%3E%20%22one%22%20+%20'two'%20&%20\\three/%2541%C3%BC".to_owned(),
            "Can%3Cary%3E+%22one%22+%2B+%27two%27+%26+%5Cthree%2F%2541%C3%BC".to_owned(),
            serde_json::to_string(&json).unwrap(),
            serde_json::to_string(&address).unwrap(),
            json,
            "Can\\u003Cary\\u003E \\u0022one\\u0022 \\u002B \\u0027two\\u0027 \\u0026 \\\\three/%41\\u00FC".to_owned(),
            format!("{secret:?}"),
            format!("{:?}", std::io::Error::other(secret)),
            secret.escape_debug().to_string(),
            secret.escape_default().to_string(),
            "Can&lt;ary&gt; &quot;one&quot; + &#39;two&#39; &amp; \\three/%41ü".to_owned(),
            "Can&lt;ary> \"one\" + 'two' &amp; \\three/%41&#xFC;".to_owned(),
            secret.replace('"', "\"\""),
            secret.replace('\'', "''"),
            secret.replace(' ', "\n\t "),
        ] {
            let clean = redactor.clean(&text).to_ascii_lowercase();
            let left = ["ary", "three", "one", "two"].iter().find(|part| clean.contains(**part));
            assert!(left.is_none() || text.contains('\n'), "{text} became {clean}");
        }
    }

    #[test]
    fn of_several_lines_that_were_made_one_nothing_stays() {
        let redactor = knowing("canary one\n  canary two");
        assert_eq!(redactor.clean("x canary one canary two y"), "x [redacted] y");
    }

    #[test]
    fn within_base64_a_secret_goes_wherever_it_stands_in_it() {
        let redactor = knowing("canary-password");
        for alphabet in [&STANDARD, &URL_SAFE] {
            for around in ["", "a", "ab", "user:", "a longer user:", "?>?>?>"] {
                for behind in ["", ":", "::", " and more"] {
                    let encoded = alphabet.encode(format!("{around}canary-password{behind}"));
                    for spelled in [encoded.clone(), utf8_percent_encode(&encoded, NON_ALPHANUMERIC).to_string()] {
                        let clean = redactor.clean(&format!("authorization: Basic {spelled}, next")).into_owned();
                        assert_eq!(clean, "authorization: Basic [redacted], next", "{around} {behind}");
                    }
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
