//! The spellings of a secret that undoing escapes does not bring back: within base64, in hexadecimal digits, in another set of characters,
//! in capital letters, and with its blanks or quotes changed. And the parts of it that are secrets of their own.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::unescape::Unescaped;

/// Parts of a token, and lines of a secret of several lines, count where they are as long as this. What is shorter may be a word, which
/// would vanish everywhere: a short line alone stays readable.
const LONG_PART: usize = 12;

/// Gives every spelling of a secret and of its parts, and whether it is the inner part of something encoded.
pub(super) fn all(secret: &str, mut give: impl FnMut(&[u8], bool)) {
    let mut one = |part: &str| {
        let mut plain = |text: String| {
            let text = Zeroizing::new(text);
            give(text.as_bytes(), false);
            beyond_ascii(&text, &mut give);
        };
        plain(part.to_owned());
        // Of several lines one is made, and forms write blanks otherwise.
        plain(part.split_whitespace().collect::<Vec<_>>().join(" "));
        plain(part.replace(' ', "+"));
        // As CSV and SQL double their quotes.
        plain(part.replace('"', "\"\""));
        plain(part.replace('\'', "''"));
        plain(
            part.bytes()
                .flat_map(|byte| [byte >> 4, byte & 15])
                .filter_map(|digit| char::from_digit(digit.into(), 16))
                .collect(),
        );
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
    // What is too short does not become longer by its encoding.
    for part in parts(secret).iter().filter(|part| part.trim().chars().count() >= super::SHORTEST) {
        one(part);
    }
}

/// Spellings of letters beyond ASCII. Texts are searched in small ASCII letters, so theirs are given in both sizes; and as programs write
/// them that know one byte for each letter (Latin-1: the escape `%F6`), or write a mark where they could not read it.
fn beyond_ascii(text: &str, give: &mut impl FnMut(&[u8], bool)) {
    if text.is_ascii() {
        return;
    }
    for text in
        [Zeroizing::new(text.to_owned()), Zeroizing::new(text.to_lowercase()), Zeroizing::new(text.to_uppercase())]
    {
        give(text.as_bytes(), false);
        let bytes: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
        if let Some(bytes) = bytes.map(Zeroizing::new) {
            give(&bytes, false);
        }
    }
    let unread = text.chars().map(|letter| if letter.is_ascii() { letter } else { char::REPLACEMENT_CHARACTER });
    let unread: Zeroizing<String> = Zeroizing::new(unread.collect());
    // Marks alone would be found in every text that could not be read.
    if text.chars().filter(char::is_ascii).count() >= super::SHORTEST {
        give(unread.as_bytes(), false);
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
            let (value, ends): (&str, &[char]) = match value.chars().next() {
                Some('\'') => (value.get(1..).unwrap_or_default(), &['\'']),
                Some('"') => (value.get(1..).unwrap_or_default(), &['"']),
                _ => (value, &[';', '&', ' ', '\t', '\r', '\n']),
            };
            for reading in [Reading::Plain, Reading::Backslashes, Reading::Doubled] {
                let (raw, meant) = reading.value(value, ends);
                add(raw);
                if raw != *meant {
                    add(&meant);
                }
            }
        }
    }
    found
}

/// How the end of a value is written into it. Which drivers do is not told by a string, so each way is tried.
#[derive(Clone, Copy)]
enum Reading {
    /// Not at all.
    Plain,
    /// Behind a backslash, as for Postgres: `'it\'s'`.
    Backslashes,
    /// Twice, as for ODBC and .NET: `'it''s'`.
    Doubled,
}

impl Reading {
    /// The value up to its end: as it stands there, and as it is meant.
    fn value<'a>(self, text: &'a str, ends: &[char]) -> (&'a str, Zeroizing<String>) {
        let mut meant = Zeroizing::new(String::with_capacity(text.len()));
        let mut letters = text.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            match self {
                Self::Backslashes if letter == '\\' => {
                    meant.extend(letters.next().map(|(_, letter)| letter));
                }
                Self::Doubled if ends.len() == 1 && ends.contains(&letter) => {
                    if letters.next_if(|(_, next)| *next == letter).is_none() {
                        return (text.get(..at).unwrap_or_default(), meant);
                    }
                    meant.push(letter);
                }
                _ if ends.contains(&letter) => return (text.get(..at).unwrap_or_default(), meant),
                _ => meant.push(letter),
            }
        }
        (text, meant)
    }
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
            (r"host=db password='it\'s-canary-9' user=sync", "it's-canary-9"),
            (r"host=db password='it\'s-canary-9' user=sync", r"it\'s-canary-9"),
            (r"host=db password='back\\canary \' word' user=sync", r"back\canary ' word"),
            (r"host=db password=it\'s\ canary-9 user=sync", "it's canary-9"),
            ("Server=db;Pwd='it''s-canary-9';User Id=sync", "it's-canary-9"),
            ("Server=db;Pwd=\"it's;canary-9\";User Id=sync", "it's;canary-9"),
            // A backslash that means itself.
            (r"Server=db;Pwd='canary-word\';User Id=sync", r"canary-word\"),
            (r"Server=db;Pwd=canary-word\;User Id=sync", r"canary-word\"),
            ("postgres://db/state?user=sync&password=canary-word&x=y", "canary-word"),
        ] {
            let redactor = knowing(string);
            let clean = redactor.clean(&format!("refused: {password}, {string}")).into_owned();
            assert!(!clean.contains("canary"), "{string}: {clean}");
            assert_eq!(redactor.clean("db.example.com is down"), "db.example.com is down");
        }
    }

    #[test]
    fn letters_beyond_ascii_go_in_both_sizes_and_as_programs_write_them_that_know_them_by_one_byte() {
        let secret = "Passwört-1234";
        let redactor = knowing(secret);
        for text in [
            secret.to_uppercase(),
            secret.to_lowercase(),
            "PASSW%C3%96RT-1234".to_owned(),
            "Passw%F6rt-1234".to_owned(),
            "PASSW%D6RT-1234".to_owned(),
            r"Passw\xf6rt-1234".to_owned(),
            r"Passw\303\266rt-1234".to_owned(),
            r"Passw\\303\\266rt-1234".to_owned(),
            r"Passw\366rt-1234".to_owned(),
            "Passw\u{fffd}rt-1234".to_owned(),
            secret.bytes().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().concat(),
        ] {
            assert_eq!(redactor.clean(&format!("u={text}, next")), "u=[redacted], next");
        }
        assert_eq!(knowing("groß-canary").clean("GROSS-CANARY"), "[redacted]");
        // Letters that could not be read tell nothing, whoever wrote them.
        let marks = "\u{fffd}".repeat(8);
        assert_eq!(knowing("пароль-1").clean(&marks), marks);
    }

    #[test]
    fn a_short_line_of_several_stays_since_it_may_be_a_word() {
        let redactor = knowing("line-one\nof-some-length-2\nthird-line");
        assert_eq!(redactor.clean("line-one of-some-length-2 third-line"), "[redacted]");
        assert_eq!(redactor.clean("| line-one\n| of-some-length-2"), "| line-one\n| [redacted]");
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
