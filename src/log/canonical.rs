//! The quick way through a line's common fields, for lines as [`super::write`] composes them.
//!
//! Nearly every line that is ever read was composed by this engine, with the same keys in the same order and no space
//! between. Reading those by comparing bytes takes a fraction of what reading any JSON takes. Whatever deviates in the
//! least is not an error here but `None`: the general way decides, and names the field.

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

/// Digits of [`MAX_INTEGER`]: more could overflow while being read.
const MAX_DIGITS: usize = 16;

/// An integer as JSON writes it, and what follows.
fn integer(text: &str) -> Option<(i64, &str)> {
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    let digits = magnitude.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = magnitude.split_at(digits);
    // JSON has no leading zeros, and its minus zero is not an integer to us.
    if digits == 0 || digits > MAX_DIGITS || (number.starts_with('0') && text.len() != rest.len() + 1) {
        return None;
    }
    let value = number.bytes().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    let signed = if magnitude.len() == text.len() { value } else { -value };
    (value <= MAX_INTEGER).then_some((signed, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

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
