//! How the fields of a record are read in one pass, with the name of the field at hand when something is wrong.
//!
//! `serde`'s derive reads as fast but its errors do not name the field of a wrong value; reading through
//! `serde_json::Value` does, at twice the cost. Here a [`Place`] is told the field's name before its value is read, which
//! costs one store.
//!
//! Each field can also be read in the form that this engine itself writes ([`Field::canonical`]), which is quicker.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, Unexpected, Visitor};

use super::{MAX_INTEGER, canonical};

/// The path of the field being read.
pub(super) type Place<'p> = &'p Cell<&'static str>;

/// A value that can stand in a field of a log line.
pub(super) trait Field<'de>: Sized {
    fn read<D: Deserializer<'de>>(deserializer: D, place: Place<'_>) -> Result<Self, D::Error>;

    /// Takes the value from the beginning of `text`, if it stands there without fault in the form that this engine
    /// writes, and returns what follows. What it gives is what [`Self::read`] would.
    fn canonical(text: &'de str) -> Option<(Self, &'de str)>;
}

/// Reads one [`Field`].
pub(super) struct Seed<'p, T>(pub Place<'p>, pub std::marker::PhantomData<T>);

impl<'p, T> Seed<'p, T> {
    pub(super) fn at(place: Place<'p>) -> Self {
        Self(place, std::marker::PhantomData)
    }
}

impl<'de, T: Field<'de>> DeserializeSeed<'de> for Seed<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::read(deserializer, self.0)
    }
}

/// Reads the value that follows a key into `slot`; a key that comes twice is an error, since readers would disagree.
pub(super) fn fill<'de, M: MapAccess<'de>, T: Field<'de>>(
    map: &mut M,
    slot: &mut Option<T>,
    place: Place<'_>,
    name: &'static str,
) -> Result<(), M::Error> {
    place.set(name);
    if slot.is_some() {
        return Err(de::Error::custom("stands twice"));
    }
    *slot = Some(map.next_value_seed(Seed::at(place))?);
    Ok(())
}

/// The error for a field that is not there.
pub(super) fn missing<E: de::Error>(place: Place<'_>, name: &'static str) -> E {
    place.set(name);
    E::custom("is missing")
}

struct Integer;

impl Integer {
    fn within<E: de::Error>(value: i64) -> Result<i64, E> {
        if value.unsigned_abs() <= MAX_INTEGER as u64 {
            return Ok(value);
        }
        Err(E::invalid_value(Unexpected::Signed(value), &Self))
    }
}

impl Visitor<'_> for Integer {
    type Value = i64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an integer within ±(2^53 − 1)")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
        Self::within(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self)).and_then(Self::within)
    }
}

impl<'de> Field<'de> for i64 {
    fn read<D: Deserializer<'de>>(deserializer: D, _: Place<'_>) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(Integer)
    }

    fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
        canonical::integer(text)
    }
}

/// An integer that may be absent; when it is there it may not be null.
impl<'de> Field<'de> for Option<i64> {
    fn read<D: Deserializer<'de>>(deserializer: D, place: Place<'_>) -> Result<Self, D::Error> {
        i64::read(deserializer, place).map(Some)
    }

    fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
        canonical::integer(text).map(|(value, rest)| (Some(value), rest))
    }
}

struct Number;

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number within ±(2^53 − 1)")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
        // Doubles beyond 2^53 are all integers, and integers have that limit.
        if value.abs() <= MAX_INTEGER as f64 {
            return Ok(value);
        }
        Err(E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
        Integer::within(value).map(|value| value as f64)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
        Integer.visit_u64(value).map(|value| value as f64)
    }
}

impl<'de> Field<'de> for f64 {
    fn read<D: Deserializer<'de>>(deserializer: D, _: Place<'_>) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(Number)
    }

    fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
        canonical::number(text)
    }
}

impl<'de> Field<'de> for bool {
    fn read<D: Deserializer<'de>>(deserializer: D, _: Place<'_>) -> Result<Self, D::Error> {
        bool::deserialize(deserializer)
    }

    fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
        canonical::boolean(text)
    }
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl<'de> Field<'de> for Cow<'de, str> {
    fn read<D: Deserializer<'de>>(deserializer: D, _: Place<'_>) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }

    fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
        canonical::string(text).map(|(value, rest)| (Cow::Borrowed(value), rest))
    }
}

impl<'de> Field<'de> for String {
    fn read<D: Deserializer<'de>>(deserializer: D, _: Place<'_>) -> Result<Self, D::Error> {
        String::deserialize(deserializer)
    }

    fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
        canonical::string(text).map(|(value, rest)| (value.to_owned(), rest))
    }
}

struct NullableText;

impl<'de> Visitor<'de> for NullableText {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or null")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(Text).map(Some)
    }
}

/// A string that must be there but may be null.
impl<'de> Field<'de> for Option<Cow<'de, str>> {
    fn read<D: Deserializer<'de>>(deserializer: D, _: Place<'_>) -> Result<Self, D::Error> {
        deserializer.deserialize_option(NullableText)
    }

    fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
        let null = text.strip_prefix("null").map(|rest| (None, rest));
        null.or_else(|| canonical::string(text).map(|(value, rest)| (Some(Cow::Borrowed(value)), rest)))
    }
}

struct List<'p, T>(Place<'p>, std::marker::PhantomData<T>);

impl<'de, T: Field<'de>> Visitor<'de> for List<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<S: de::SeqAccess<'de>>(self, mut items: S) -> Result<Vec<T>, S::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Seed::at(self.0))? {
            list.push(item);
        }
        Ok(list)
    }
}

impl<'de, T: Field<'de>> Field<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(deserializer: D, place: Place<'_>) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List(place, std::marker::PhantomData))
    }

    fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
        let mut list = Vec::new();
        let mut rest = text.strip_prefix('[')?;
        if let Some(rest) = rest.strip_prefix(']') {
            return Some((list, rest));
        }
        loop {
            let (item, after) = T::canonical(rest)?;
            list.push(item);
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => return Some((list, after.strip_prefix(']')?)),
            }
        }
    }
}

struct Pair<'p>(Place<'p>);

impl<'de> Visitor<'de> for Pair<'_> {
    type Value = (i64, i64);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an interval [from, to]")
    }

    fn visit_seq<S: de::SeqAccess<'de>>(self, mut items: S) -> Result<(i64, i64), S::Error> {
        let mut next =
            |at| items.next_element_seed(Seed::at(self.0))?.ok_or_else(|| de::Error::invalid_length(at, &self));
        Ok((next(0)?, next(1)?))
    }
}

impl<'de> Field<'de> for (i64, i64) {
    fn read<D: Deserializer<'de>>(deserializer: D, place: Place<'_>) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(2, Pair(place))
    }

    fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
        let (from, rest) = canonical::integer(text.strip_prefix('[')?)?;
        let (to, rest) = canonical::integer(rest.strip_prefix(',')?)?;
        Some(((from, to), rest.strip_prefix(']')?))
    }
}

/// Reads listed words as fields.
macro_rules! word_fields {
    ($($name:ty),*) => {$(
        impl<'de> Field<'de> for $name {
            fn read<D: Deserializer<'de>>(deserializer: D, _: Place<'_>) -> Result<Self, D::Error> {
                Self::deserialize(deserializer)
            }

            fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
                let (word, rest) = canonical::string(text)?;
                Some((<$name>::from_word(word)?, rest))
            }
        }
    )*};
}

word_fields!(
    super::words::CaptureReason,
    super::words::CheckOutcome,
    super::words::CloseReason,
    super::words::Delivery,
    super::words::FaceOutcome,
    super::words::LessonKind,
    super::words::Movement,
    super::words::PlatformStatus,
    super::words::PlaybackEvent,
    super::words::PromptOutcome,
    super::words::Source
);

/// A movement that may be absent; when it is there it may not be null.
impl<'de> Field<'de> for Option<super::words::Movement> {
    fn read<D: Deserializer<'de>>(deserializer: D, place: Place<'_>) -> Result<Self, D::Error> {
        super::words::Movement::read(deserializer, place).map(Some)
    }

    fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
        super::words::Movement::canonical(text).map(|(movement, rest)| (Some(movement), rest))
    }
}

/// An object whose fields do not matter.
pub(super) struct AnyObject;

impl<'de> Visitor<'de> for AnyObject {
    type Value = AnyObject;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<AnyObject, M::Error> {
        while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
        Ok(self)
    }
}

impl<'de> Field<'de> for AnyObject {
    fn read<D: Deserializer<'de>>(deserializer: D, _: Place<'_>) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnyObject)
    }

    fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
        text.strip_prefix("{}").map(|rest| (Self, rest))
    }
}

/// Implements [`Field`] for a struct: the fields as they are named and written, `= value` for those that may be absent. The
/// struct's fields that are not listed are filled by the expression after `..`.
macro_rules! read_record {
    ($name:ty, $path:literal, { $($field:ident $(= $default:expr)?),* $(,)? } $(+ { $($other:ident: $value:expr),* })?) => {
        impl<'de> crate::log::record::Field<'de> for $name {
            fn read<D: serde::Deserializer<'de>>(
                deserializer: D,
                place: crate::log::record::Place<'_>,
            ) -> Result<Self, D::Error> {
                #[expect(non_camel_case_types, reason = "the variants are the fields' names")]
                enum Key { $($field,)* Other }

                struct KeySeed;

                impl<'de> serde::de::DeserializeSeed<'de> for KeySeed {
                    type Value = Key;

                    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
                        deserializer.deserialize_identifier(self)
                    }
                }

                impl serde::de::Visitor<'_> for KeySeed {
                    type Value = Key;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str("a field's name")
                    }

                    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                        Ok(match name {
                            $(stringify!($field) => Key::$field,)*
                            _ => Key::Other,
                        })
                    }
                }

                struct Record<'p>(crate::log::record::Place<'p>);

                impl<'de> serde::de::Visitor<'de> for Record<'_> {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str("an object")
                    }

                    fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<$name, M::Error> {
                        use crate::log::record::fill;
                        $(let mut $field = None;)*
                        while let Some(key) = map.next_key_seed(KeySeed)? {
                            match key {
                                $(Key::$field => fill(&mut map, &mut $field, self.0, concat!($path, ".", stringify!($field)))?,)*
                                Key::Other => drop(map.next_value::<serde::de::IgnoredAny>()?),
                            }
                        }
                        Ok(Self::Value {
                            $($field: crate::log::record::read_record!(@or $field, self.0, concat!($path, ".", stringify!($field)) $(, $default)?),)*
                            $($($other: $value,)*)?
                        })
                    }
                }

                deserializer.deserialize_map(Record(place))
            }

            fn canonical(text: &'de str) -> Option<(Self, &'de str)> {
                // Before the first field that is there stands a brace, before the others a comma.
                let (rest, separator) = (text, '{');
                $(
                    let (rest, separator, $field) = crate::log::record::read_record!(
                        @canonical rest, separator, concat!("\"", stringify!($field), "\":") $(, $default)?
                    );
                )*
                let rest = if separator == '{' { rest.strip_prefix('{')? } else { rest };
                Some((Self { $($field,)* $($($other: $value,)*)? }, rest.strip_prefix('}')?))
            }
        }
    };
    (@canonical $text:ident, $separator:ident, $key:expr) => {{
        let rest = crate::log::canonical::after_key($text, $separator, $key)?;
        let (value, rest) = crate::log::record::Field::canonical(rest)?;
        (rest, ',', value)
    }};
    (@canonical $text:ident, $separator:ident, $key:expr, $default:expr) => {
        match crate::log::canonical::after_key($text, $separator, $key) {
            Some(rest) => {
                let (value, rest) = crate::log::record::Field::canonical(rest)?;
                (rest, ',', value)
            }
            None => ($text, $separator, $default),
        }
    };
    (@or $slot:ident, $place:expr, $name:expr) => {
        match $slot {
            Some(value) => value,
            None => return Err(crate::log::record::missing($place, $name)),
        }
    };
    (@or $slot:ident, $place:expr, $name:expr, $default:expr) => {
        $slot.unwrap_or_else(|| $default)
    };
}
pub(super) use read_record;
