//! A strict JSON scanner that walks a page once.
//!
//! Strings are handed out as slices of the page unless they hold escapes. It accepts exactly what RFC 8259 calls JSON; a property
//! test holds it against `serde_json`.

use std::borrow::Cow;

use super::Reason;
use super::number::Number;

/// Values nested deeper than this are refused; Kinetic nests three or four levels.
const DEPTH: u32 = 64;

/// A number as its digits and how many of them stand behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) value: i64,
    pub(super) fraction: usize,
}

#[derive(Debug)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn back_to(&mut self, position: usize) {
        self.at = position;
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn wrong(&self) -> Reason {
        if self.at >= self.bytes.len() { Reason::End } else { Reason::Syntax }
    }

    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Reason> {
        self.blank();
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.wrong())
        }
    }

    /// After `{`: whether another member follows. Consumes the comma, or the closing brace.
    #[inline]
    pub(super) fn next_member(&mut self, first: &mut bool) -> Result<bool, Reason> {
        self.next_in(b'}', first)
    }

    /// After `[`: whether another element follows. Consumes the comma, or the closing bracket.
    #[inline]
    pub(super) fn next_element(&mut self, first: &mut bool) -> Result<bool, Reason> {
        self.next_in(b']', first)
    }

    #[inline]
    fn next_in(&mut self, close: u8, first: &mut bool) -> Result<bool, Reason> {
        self.blank();
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if !*first => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if *first => {
                *first = false;
                Ok(true)
            }
            _ => Err(self.wrong()),
        }
    }

    /// Whether the next member is this one, which is written as `"name":`; consumes it if so. One that is written otherwise, with
    /// blanks or escapes, is found by [`key`](Self::key).
    #[inline]
    pub(super) fn key_is(&mut self, member: &[u8]) -> bool {
        self.blank();
        let same = self.rest().starts_with(member);
        if same {
            self.at += member.len();
        }
        same
    }

    /// A member's name, with its colon.
    pub(super) fn key(&mut self) -> Result<Cow<'a, [u8]>, Reason> {
        let name = self.string_as(Reason::Syntax)?;
        self.expect(b':')?;
        Ok(name)
    }

    /// Consumes `null`, if it is next.
    #[inline]
    pub(super) fn null(&mut self) -> Result<bool, Reason> {
        self.blank();
        if self.peek() != Some(b'n') {
            return Ok(false);
        }
        self.word(b"null").map(|()| true)
    }

    #[inline]
    fn word(&mut self, word: &[u8]) -> Result<(), Reason> {
        let rest = self.rest();
        if rest.starts_with(word) {
            self.at += word.len();
            Ok(())
        } else if word.starts_with(rest) {
            Err(Reason::End)
        } else {
            Err(Reason::Syntax)
        }
    }

    #[inline]
    pub(super) fn boolean(&mut self) -> Result<bool, Reason> {
        self.blank();
        match self.peek() {
            Some(b't') => self.word(b"true").map(|()| true),
            Some(b'f') => self.word(b"false").map(|()| false),
            None => Err(Reason::End),
            Some(_) => Err(Reason::Type),
        }
    }

    #[inline]
    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>, Reason> {
        self.string_as(Reason::Type)
    }

    #[inline]
    fn string_as(&mut self, otherwise: Reason) -> Result<Cow<'a, [u8]>, Reason> {
        self.blank();
        match self.peek() {
            Some(b'"') => self.at += 1,
            None => return Err(Reason::End),
            Some(_) => return Err(otherwise),
        }
        let rest = self.rest();
        let plain = plain_len(rest);
        let text = rest.get(..plain).unwrap_or_default();
        match rest.get(plain) {
            Some(b'"') => {
                self.at += plain + 1;
                Ok(Cow::Borrowed(text))
            }
            Some(b'\\') => {
                self.at += plain;
                self.escaped(text.to_vec()).map(Cow::Owned)
            }
            Some(_) => Err(Reason::Syntax),
            None => Err(Reason::End),
        }
    }

    #[cold]
    fn escaped(&mut self, mut text: Vec<u8>) -> Result<Vec<u8>, Reason> {
        loop {
            let rest = self.rest();
            let plain = plain_len(rest);
            text.extend_from_slice(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => self.at += 1,
                Some(_) => return Err(Reason::Syntax),
                None => return Err(Reason::End),
            }
            let escape = self.peek().ok_or(Reason::End)?;
            self.at += 1;
            text.push(match escape {
                b'"' | b'\\' | b'/' => escape,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'u' => {
                    let character = self.unicode()?;
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
                _ => return Err(Reason::Syntax),
            });
        }
    }

    fn unicode(&mut self) -> Result<char, Reason> {
        let first = self.hex4()?;
        let code = match first {
            0xD800..=0xDBFF => {
                if !self.rest().starts_with(b"\\u") {
                    return Err(if self.rest().len() < 2 { Reason::End } else { Reason::Syntax });
                }
                self.at += 2;
                let second = self.hex4()?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return Err(Reason::Syntax);
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            _ => first,
        };
        // A lone low surrogate is no character.
        char::from_u32(code).ok_or(Reason::Syntax)
    }

    fn hex4(&mut self) -> Result<u32, Reason> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().ok_or(Reason::End)?;
            let digit = char::from(digit).to_digit(16).ok_or(Reason::Syntax)?;
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    /// What was walked over since a position.
    pub(super) fn since(&self, position: usize) -> &'a [u8] {
        self.bytes.get(position..self.at).unwrap_or_default()
    }

    /// A string, or a number or boolean as it is written.
    #[inline]
    pub(super) fn scalar(&mut self) -> Result<Cow<'a, [u8]>, Reason> {
        self.blank();
        let start = self.at;
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.bare_number().map(drop)?,
            Some(b't' | b'f') => self.boolean().map(drop)?,
            _ => return self.string(),
        }
        Ok(Cow::Borrowed(self.since(start)))
    }

    /// A bare number of up to 18 digits without an exponent, if one is next and something follows it; consumes it then.
    #[inline]
    pub(super) fn plain_number(&mut self) -> Option<Plain> {
        self.blank();
        let bytes = self.rest();
        let negative = bytes.first() == Some(&b'-');
        let start = usize::from(negative);
        let (mut at, mut value) = (start, 0_i64);
        while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
            at += 1;
        }
        let whole = at - start;
        // JSON knows no leading zeros.
        if whole == 0 || (whole > 1 && bytes.get(start) == Some(&b'0')) {
            return None;
        }
        let mut fraction = 0;
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            let point = at;
            while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
                value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
                at += 1;
            }
            fraction = at - point;
            if fraction == 0 {
                return None;
            }
        }
        if whole + fraction > 18 || matches!(bytes.get(at), None | Some(b'e' | b'E')) {
            return None;
        }
        self.at += at;
        Some(Plain { value: if negative { -value } else { value }, fraction })
    }

    /// A number, bare or in quotes: OData's `IEEE754Compatible` form quotes decimals and 64-bit integers.
    #[inline]
    pub(super) fn number(&mut self) -> Result<Number<'a>, Reason> {
        self.blank();
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.bare_number(),
            Some(b'"') => {
                self.at += 1;
                if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
                    return Err(if self.peek().is_none() { Reason::End } else { Reason::Type });
                }
                let number = self.bare_number().map_err(|reason| match reason {
                    Reason::Syntax => Reason::Type,
                    other => other,
                })?;
                match self.peek() {
                    Some(b'"') => {
                        self.at += 1;
                        Ok(number)
                    }
                    None => Err(Reason::End),
                    Some(_) => Err(Reason::Type),
                }
            }
            None => Err(Reason::End),
            Some(_) => Err(Reason::Type),
        }
    }

    #[inline]
    fn bare_number(&mut self) -> Result<Number<'a>, Reason> {
        let (number, len) = Number::scan(self.rest())?;
        self.at += len;
        Ok(number)
    }

    pub(super) fn count(&mut self) -> Result<u64, Reason> {
        u64::try_from(self.number()?.to_i64()?).map_err(|_| Reason::Range)
    }

    pub(super) fn optional_string(&mut self) -> Result<Option<String>, Reason> {
        if self.null()? {
            return Ok(None);
        }
        String::from_utf8(self.string()?.into_owned()).map(Some).map_err(|_| Reason::NotUtf8)
    }

    /// Walks over any value, checking that it is JSON.
    pub(super) fn skip_value(&mut self) -> Result<(), Reason> {
        self.skip(0)
    }

    fn skip(&mut self, depth: u32) -> Result<(), Reason> {
        if depth > DEPTH {
            return Err(Reason::Depth);
        }
        self.blank();
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => {
                self.at += 1;
                let mut first = true;
                while self.next_member(&mut first)? {
                    self.key()?;
                    self.skip(depth + 1)?;
                }
                Ok(())
            }
            Some(b'[') => {
                self.at += 1;
                let mut first = true;
                while self.next_element(&mut first)? {
                    self.skip(depth + 1)?;
                }
                Ok(())
            }
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.bare_number().map(drop),
            None => Err(Reason::End),
            Some(_) => Err(Reason::Syntax),
        }
    }

    /// Nothing but blanks may follow.
    pub(super) fn end(&mut self) -> Result<(), Reason> {
        self.blank();
        if self.at == self.bytes.len() { Ok(()) } else { Err(Reason::Trailing) }
    }
}

/// How many bytes of `text` stand before a quote, a backslash or a control character. Looks at eight bytes at a time.
#[inline]
fn plain_len(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut len = 0;
    let (chunks, tail) = text.as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        // A byte that is zero after the xor, or below 0x20, sets its high bit; carries can only set bits above a true hit.
        let quote = word ^ (ONES * 0x22);
        let slash = word ^ (ONES * 0x5C);
        let hits = (quote.wrapping_sub(ONES) & !quote
            | slash.wrapping_sub(ONES) & !slash
            | word.wrapping_sub(ONES * 0x20) & !word)
            & HIGH;
        if hits != 0 {
            return len + (hits.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    len + tail.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\').unwrap_or(tail.len())
}
