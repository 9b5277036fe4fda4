//! The quick way through a line, for lines as [`super::write`] composes them.
//!
//! Nearly every line that is ever read was composed by this engine, with the same keys in the same order and no space
//! between. Reading those by comparing bytes takes a fraction of what reading any JSON takes. Whatever deviates in the
//! least is not an error here but `None`: the general way decides, and names the field. Here are the common fields and
//! the plain values; the records of `data` are put together from these by [`super::record`].
//!
//! A reader of a value takes it from the beginning of a text and returns what follows; whoever calls it goes on only if
//! that is what must follow.

use super::MAX_INTEGER;
use super::event::Origin;

/// The common fields of a line, and the text of its `data`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub n: u64,
    pub at: i64,
    pub origin: Origin,
    pub type_name: &'a str,
    pub data: &'a str,
}

/// Splits a canonical line.
pub(super) fn header(line: &str) -> Option<Header<'_>> {
    let (n, rest) = integer(line.strip_prefix("{\"n\":")?)?;
    let (at, rest) = integer(rest.strip_prefix(",\"at\":")?)?;
    let rest = rest.strip_prefix(",\"src\":\"")?;
    let (origin, rest) = match rest.strip_prefix("client\"") {
        Some(rest) => client(rest)?,
        None => (Origin::Server, rest.strip_prefix("server\"")?),
    };
    let rest = rest.strip_prefix(",\"type\":\"")?;
    let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'.' | b'_');
    let type_name = &rest[..rest.bytes().take_while(plain).count()];
    let data = rest[type_name.len()..].strip_prefix("\",\"data\":")?.strip_suffix('}')?;
    Some(Header { n: u64::try_from(n).ok()?, at, origin, type_name, data })
}

fn client(rest: &str) -> Option<(Origin, &str)> {
    let (seq, rest) = integer(rest.strip_prefix(",\"seq\":")?)?;
    let (ct, rest) = integer(rest.strip_prefix(",\"ct\":")?)?;
    Some((Origin::Client { seq: u64::try_from(seq).ok()?, ct }, rest))
}

/// What follows `separator` and `key`, which is a name in its quotation marks with the colon.
pub(super) fn after_key<'t>(text: &'t str, separator: char, key: &str) -> Option<&'t str> {
    text.strip_prefix(separator)?.strip_prefix(key)
}

/// Digits of [`MAX_INTEGER`]: more could overflow while being read.
const MAX_DIGITS: usize = 16;

/// An integer as JSON writes it.
pub(super) fn integer(text: &str) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    let start = usize::from(bytes.first() == Some(&b'-'));
    let (mut end, mut value) = (start, 0);
    while let Some(digit) = bytes.get(end).filter(|byte| byte.is_ascii_digit()) {
        if end - start == MAX_DIGITS {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
        end += 1;
    }
    // JSON has no leading zeros, and its minus zero is not an integer to us.
    let zero = bytes.get(start) == Some(&b'0');
    if end == start || value > MAX_INTEGER || (zero && end > 1) {
        return None;
    }
    Some((if start == 0 { value } else { -value }, &text[end..]))
}

/// Significant digits that a double surely holds exactly, as it does the powers of ten up to there: their quotient is
/// then the double nearest to the decimal fraction, as for any reader of JSON.
const EXACT_DIGITS: usize = 15;
const POWERS_OF_TEN: [f64; EXACT_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// A number that is not negative, has few digits and no exponent, as rates are.
pub(super) fn number(text: &str) -> Option<(f64, &str)> {
    let (whole, rest) = integer(text).filter(|_| !text.starts_with('-'))?;
    let Some(fraction) = rest.strip_prefix('.') else { return Some((whole as f64, rest)) };
    let places = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let digits = text.len() - rest.len() + places;
    if places == 0 || digits > EXACT_DIGITS {
        return None;
    }
    let significand = fraction.bytes().take(places).fold(whole, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((significand as f64 / POWERS_OF_TEN[places], &fraction[places..]))
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Option<(bool, &str)> {
    let is = |value: bool| move |rest| (value, rest);
    text.strip_prefix("true").map(is(true)).or_else(|| text.strip_prefix("false").map(is(false)))
}

/// A string in which nothing is escaped.
pub(super) fn string(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('"')?;
    let end = text.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < b' ')?;
    Some((&text[..end], text[end..].strip_prefix('"')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_strings_are_those_of_json() {
        for text in ["0", "1", "1.0", "0.5", "1.25", "16", "0.1", "123456789012.345", "9007199254740991"] {
            assert_eq!(number(text), Some((text.parse().unwrap(), "")), "{text}");
        }
        for text in ["-1", "-0.0", "1.", ".5", "01.5", "1234567890123.456", "1e3"] {
            assert!(number(text).is_none_or(|(_, rest)| !rest.is_empty()), "{text}");
        }
        assert_eq!(string("\"a\u{e9} b\":"), Some(("a\u{e9} b", ":")));
        for text in ["", "\"", "\"a", "a\"", "\"a\\n\"", "\"a\n\""] {
            assert_eq!(string(text), None, "{text}");
        }
        assert_eq!(
            (boolean("true}"), boolean("false,"), boolean("null")),
            (Some((true, "}")), Some((false, ",")), None)
        );
    }

    #[test]
    fn integers_are_those_of_json() {
        let whole = |text| integer(text).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value);
        for text in ["0", "7", "-7", "10", "9007199254740991", "-9007199254740991"] {
            assert_eq!(whole(text).map(|value| value.to_string()).as_deref(), Some(text));
        }
        for text in ["", "-", "-0", "00", "01", "-01", "+1", "9007199254740992", "99999999999999999999", "1.0", "1e3"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_canonical_form_is_taken() {
        let line = r#"{"n":1,"at":-2,"src":"client","seq":3,"ct":4,"type":"a.b","data":{"x":1}}"#;
        let origin = Origin::Client { seq: 3, ct: 4 };
        assert_eq!(header(line), Some(Header { n: 1, at: -2, origin, type_name: "a.b", data: "{\"x\":1}" }));
        for (from, to) in [("{\"n\"", "{ \"n\""), ("a.b", "a\\u002eb"), (":3", ":-3"), ("}}", "}} "), ("ct", "CT")] {
            assert_eq!(header(&line.replacen(from, to, 1)), None);
        }
    }
}
