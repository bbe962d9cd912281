//! What of a connection string is ours to understand: the two parameters of `libpq` about TLS.
//!
//! The client knows neither the modes that verify nor files of certificates, since it leaves TLS to others.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Parameters that were taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Special {
    pub(super) sslmode: Option<String>,
    pub(super) sslrootcert: Option<PathBuf>,
}

impl Special {
    /// Takes a parameter, if it is one of ours.
    fn take(&mut self, key: &str, value: &str) -> bool {
        match key {
            "sslmode" => self.sslmode = Some(value.to_owned()),
            // "system" is the word for the system's roots, which are trusted anyway.
            "sslrootcert" => self.sslrootcert = (value != "system").then(|| PathBuf::from(value)),
            _ => return false,
        }
        true
    }
}

/// Divides a connection string into what the client takes and what is ours. None when it cannot be read.
pub(super) fn split(text: &str) -> Option<(String, Special)> {
    let mut special = Special::default();
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return pairs(text, &mut special).map(|rest| (rest, special));
    }
    let Some((address, query)) = text.split_once('?') else {
        return Some((text.to_owned(), special));
    };
    let mut rest: Vec<&str> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=')?;
        if !special.take(key, &percent_decoded(value)?) {
            rest.push(pair);
        }
    }
    let mark = if rest.is_empty() { "" } else { "?" };
    Some((format!("{address}{mark}{}", rest.join("&")), special))
}

/// `key = value` pairs; a value with spaces stands in single quotes, and `\` takes the next character as it is.
fn pairs(text: &str, special: &mut Special) -> Option<String> {
    let mut rest = String::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Some(rest);
        }
        let mut key = String::new();
        while let Some(char) = chars.next_if(|c| !c.is_whitespace() && *c != '=') {
            key.push(char);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        chars.next_if_eq(&'=')?;
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.next() {
                Some('\\') => value.push(chars.next()?),
                Some('\'') if quoted => break,
                Some(char) if quoted || !char.is_whitespace() => value.push(char),
                // The end, which a quoted value must not reach.
                None if quoted => return None,
                _ => break,
            }
        }
        if !special.take(&key, &value) {
            // Writing to a String cannot fail.
            let _ = write!(rest, "{key}='{}' ", value.replace('\\', r"\\").replace('\'', r"\'"));
        }
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            let (digits, behind) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn special(mode: Option<&str>, file: Option<&str>) -> Special {
        Special { sslmode: mode.map(ToOwned::to_owned), sslrootcert: file.map(PathBuf::from) }
    }

    #[test]
    fn our_parameters_are_taken_out_and_the_others_left() {
        for (text, rest, found) in [
            ("postgres://u:p@h/d", "postgres://u:p@h/d", special(None, None)),
            ("postgres://h/d?sslmode=verify-full", "postgres://h/d", special(Some("verify-full"), None)),
            (
                "postgresql://h/d?a=1&sslrootcert=%2Fetc%2Fmy%20ca.pem&b=2&sslmode=require",
                "postgresql://h/d?a=1&b=2",
                special(Some("require"), Some("/etc/my ca.pem")),
            ),
            ("postgres://u:a%26sslmode=x@h/d", "postgres://u:a%26sslmode=x@h/d", special(None, None)),
            (
                r"host=h password='it''s' ",
                // As `libpq`: the quote ends the value, the next begins no pair.
                "",
                special(None, None),
            ),
            (
                r"host=h  password = 'sslmode=disable \' \\' sslmode=prefer sslrootcert=system",
                r"host='h' password='sslmode=disable \' \\' ",
                special(Some("prefer"), None),
            ),
            (r"user=a\ b options=''", r"user='a b' options='' ", special(None, None)),
        ] {
            match split(text) {
                Some(split) => assert_eq!(split, (rest.to_owned(), found), "{text}"),
                None => assert_eq!(rest, "", "{text}"),
            }
        }
        for broken in ["host", "host=h password='open", r"a=\", "postgres://h/d?sslmode", "postgres://h/d?a=%zz"] {
            assert_eq!(split(broken), None, "{broken}");
        }
    }
}
