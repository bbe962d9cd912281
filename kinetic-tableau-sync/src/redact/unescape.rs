//! Texts without their escapes: of addresses, JSON, XML, and what programs write for developers. A secret that was escaped in any of these
//! ways, in several at once, or again and again, is itself once they are undone.

use std::ops::Range;

/// A text, with the place of each byte in the text that it was made of.
#[derive(Debug)]
pub(super) struct Unescaped {
    pub(super) bytes: Vec<u8>,
    /// Where each byte begins in the original; one more at the end.
    places: Vec<usize>,
}

impl Unescaped {
    /// The text as it is.
    pub(super) fn of(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), places: (0..=text.len()).collect() }
    }

    /// The same text with one level of escapes less; none when there is no escape in it.
    pub(super) fn deeper(&self) -> Option<Self> {
        let first = self.bytes.iter().position(|byte| matches!(byte, b'%' | b'&' | b'\\'))?;
        let mut next =
            Self { bytes: Vec::with_capacity(self.bytes.len()), places: Vec::with_capacity(self.places.len()) };
        next.bytes.extend_from_slice(self.bytes.get(..first)?);
        next.places.extend_from_slice(self.places.get(..first)?);
        let (mut at, mut changed) = (first, false);
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let place = self.places.get(at).copied()?;
            let (length, means) = match escape(rest) {
                Some(found) => {
                    changed = true;
                    found
                }
                None => (1, Meaning::Byte(*rest.first()?)),
            };
            match means {
                Meaning::Byte(byte) => next.bytes.push(byte),
                Meaning::Letter(letter) => next.bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            // All bytes of a letter stand where its escape begins.
            next.places.resize(next.bytes.len(), place);
            at += length;
        }
        next.places.push(self.places.last().copied()?);
        changed.then_some(next)
    }

    /// Where a range of it is in the original.
    pub(super) fn original(&self, range: &Range<usize>) -> Option<Range<usize>> {
        Some(*self.places.get(range.start)?..*self.places.get(range.end)?)
    }
}

/// What an escape stands for.
enum Meaning {
    Byte(u8),
    Letter(char),
}

/// The escape at the beginning of some bytes: how long it is, and what it means.
fn escape(bytes: &[u8]) -> Option<(usize, Meaning)> {
    match bytes {
        [b'%', rest @ ..] => Some((3, Meaning::Byte(byte(rest)?))),
        [b'&', rest @ ..] => {
            /// The longest name or number.
            const LONGEST: usize = 9;
            let length = rest.iter().take(LONGEST).position(|byte| *byte == b';')?;
            let name = std::str::from_utf8(rest.get(..length)?).ok()?;
            let letter = match name {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                "apos" => '\'',
                _ => char::from_u32(match name.strip_prefix("#x").or_else(|| name.strip_prefix("#X")) {
                    Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                    None => name.strip_prefix('#')?.parse().ok()?,
                })?,
            };
            Some((length + 2, Meaning::Letter(letter)))
        }
        [b'\\', b'u', b'{', rest @ ..] => {
            let length = rest.iter().take(7).position(|byte| *byte == b'}')?;
            let digits = std::str::from_utf8(rest.get(..length)?).ok()?;
            Some((length + 4, Meaning::Letter(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?)))
        }
        [b'\\', b'u', rest @ ..] => {
            let unit = unit(rest)?;
            if let Some(letter) = char::from_u32(unit) {
                return Some((6, Meaning::Letter(letter)));
            }
            // A pair of halves.
            let low = rest.get(4..)?.strip_prefix(b"\\u").and_then(unit_of)?;
            let letter = 0x10000 + (unit.checked_sub(0xd800)? << 10) + low.checked_sub(0xdc00)?;
            Some((12, Meaning::Letter(char::from_u32(letter)?)))
        }
        [b'\\', b'x', rest @ ..] => Some((4, Meaning::Byte(byte(rest)?))),
        // As shells, `git` and Postgres write bytes.
        [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', ..] => {
            Some((4, Meaning::Byte((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'))))
        }
        [b'\\', kind, ..] => {
            let byte = match kind {
                b'"' | b'\\' | b'/' | b'\'' => *kind,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                _ => return None,
            };
            Some((2, Meaning::Byte(byte)))
        }
        _ => None,
    }
}

/// Two hexadecimal digits.
fn byte(bytes: &[u8]) -> Option<u8> {
    let [high, low, ..] = bytes else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Four hexadecimal digits.
fn unit(bytes: &[u8]) -> Option<u32> {
    Some(u32::from(byte(bytes)?) << 8 | u32::from(byte(bytes.get(2..)?)?))
}

fn unit_of(bytes: &[u8]) -> Option<u32> {
    unit(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(text: &str) -> String {
        let mut text = Unescaped::of(text);
        while let Some(next) = text.deeper() {
            text = next;
        }
        String::from_utf8(text.bytes).unwrap()
    }

    #[test]
    fn escapes_of_every_kind_are_undone_also_several_at_once_and_again() {
        for (escaped, plain) in [
            ("nothing", "nothing"),
            ("a%20b%C3%BC%2525", "a bü%"),
            ("&lt;&gt;&amp;&quot;&apos;&#39;&#x27;&#xfc;", "<>&\"'''ü"),
            (r#"\"\/\\ \n\t\u00fc\u003C\ud83d\udd12\u{1f512}\x41"#, "\"/\\ \n\tü<\u{1f512}\u{1f512}A"),
            (r"%5c%22 &amp;lt; \\\", "\" < \\"),
            (r"\303\274\101\\\060", "üA\\0"),
            // What only looks like an escape stays.
            (
                "100% & so on; \\d %zz &nosuch; \\u12 %2 \\400 \\08",
                "100% & so on; \\d %zz &nosuch; \\u12 %2 \\400 \\08",
            ),
        ] {
            assert_eq!(undone(escaped), plain, "{escaped}");
        }
    }

    #[test]
    fn every_place_leads_back_to_the_original() {
        let text = "ab%2522cd";
        let twice = Unescaped::of(text).deeper().unwrap().deeper().unwrap();
        assert_eq!(twice.bytes, b"ab\"cd");
        let place = |range: Range<usize>| &text[twice.original(&range).unwrap()];
        assert_eq!((place(2..3), place(1..4), place(3..5)), ("%2522", "b%2522c", "cd"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text: String, at in 0_usize..20) {
            let mut undone = Unescaped::of(&text);
            for _ in 0..5 {
                let Some(next) = undone.deeper() else { break };
                proptest::prop_assert!(next.bytes.len() < undone.bytes.len());
                let range = at.min(next.bytes.len())..next.bytes.len();
                proptest::prop_assert!(next.original(&range).unwrap().end == text.len());
                undone = next;
            }
        }
    }
}
