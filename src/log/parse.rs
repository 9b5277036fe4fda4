//! From a line's bytes to an [`Event`].
//!
//! One pass, with borrowed strings, when `src` and `type` stand before what they decide about, as every line does that
//! this engine wrote; a line in another order is read as well, only slower.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::event::{Body, Event, Origin};
use super::record::{AnyObject, Field, Place, Seed, fill, missing};
use super::words::{EventType, Source};
use super::{LineError, SessionOpened};

/// Reads one line (with or without its line feed).
///
/// # Errors
/// When the line is not JSON, or lacks a field, or a field has a wrong value, or the event is of a type that its `src`
/// may not make.
pub fn parse_line(line: &[u8]) -> Result<Event<'_>, LineError> {
    let text = std::str::from_utf8(line).map_err(|_| LineError::new("line", "is not UTF-8"))?;
    run("line", text, |deserializer, place| deserializer.deserialize_map(Line(place)))
}

/// Reads a client's event as it comes off the wire, so that the gateway lets nothing into the log that could not be
/// read back. A type that no table lists is [`Body::Unknown`].
///
/// # Errors
/// When a field is missing or wrong, or the type is one of the server's: nobody forges a `face.checked`.
pub fn parse_client_event<'a>(type_name: &str, data: &'a str) -> Result<Body<'a>, LineError> {
    let event_type = EventType::from_word(type_name);
    if event_type.is_some_and(|event_type| event_type.source() != Source::Client) {
        return Err(LineError::new("type", format!("{type_name} is not a client's event")));
    }
    run("data", data, |deserializer, place| BodySeed { event_type, place }.deserialize(deserializer))
}

fn run<'a, T>(
    whole: &'static str,
    text: &'a str,
    read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::StrRead<'a>>, Place<'_>) -> Result<T, serde_json::Error>,
) -> Result<T, LineError> {
    let place = Cell::new(whole);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = read(&mut deserializer, &place).map_err(|error| explain(&error, place.get()))?;
    deserializer.end().map_err(|error| explain(&error, whole))?;
    Ok(value)
}

/// Puts the field's name where serde_json puts the column.
fn explain(error: &serde_json::Error, field: &'static str) -> LineError {
    let text = error.to_string();
    let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
    match error.classify() {
        serde_json::error::Category::Data => LineError::new(field, problem),
        _ => LineError::new(field, format!("not valid JSON: {problem}")),
    }
}

struct Line<'p>(Place<'p>);

enum Key {
    N,
    At,
    Src,
    Seq,
    Ct,
    Type,
    Data,
    Other,
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        Ok(match name {
            "n" => Key::N,
            "at" => Key::At,
            "src" => Key::Src,
            "seq" => Key::Seq,
            "ct" => Key::Ct,
            "type" => Key::Type,
            "data" => Key::Data,
            _ => Key::Other,
        })
    }
}

/// A value whose meaning is known at once, or only when the rest of the line has been read.
enum Later<'a, T> {
    Read(T),
    Raw(&'a RawValue),
}

impl<'de, T: Field<'de>> Later<'de, T> {
    fn finish<E: de::Error>(self, place: Place<'_>, name: &'static str) -> Result<T, E> {
        place.set(name);
        match self {
            Self::Read(value) => Ok(value),
            Self::Raw(raw) => T::read(raw, place).map_err(E::custom),
        }
    }
}

/// The type's name, known or not.
struct TypeName(Option<EventType>);

impl<'de> Field<'de> for TypeName {
    fn read<D: Deserializer<'de>>(deserializer: D, place: Place<'_>) -> Result<Self, D::Error> {
        Cow::<str>::read(deserializer, place).map(|name| Self(EventType::from_word(&name)))
    }
}

impl<'de> Visitor<'de> for Line<'_> {
    type Value = Event<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Event<'de>, M::Error> {
        let place = self.0;
        let (mut n, mut at, mut src, mut type_name) = (None, None, None, None);
        let (mut seq, mut ct, mut body) = (None, None, None);
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match key {
                Key::N => fill::<_, i64>(&mut map, &mut n, place, "n")?,
                Key::At => fill::<_, i64>(&mut map, &mut at, place, "at")?,
                Key::Src => fill::<_, Source>(&mut map, &mut src, place, "src")?,
                Key::Type => fill::<_, TypeName>(&mut map, &mut type_name, place, "type")?,
                Key::Seq => read_client_integer(&mut map, &mut seq, src, place, "seq")?,
                Key::Ct => read_client_integer(&mut map, &mut ct, src, place, "ct")?,
                Key::Data => read_data(&mut map, &mut body, type_name.as_ref(), place)?,
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let n = n.ok_or_else(|| missing(place, "n"))?;
        let at = at.ok_or_else(|| missing(place, "at"))?;
        let src = src.ok_or_else(|| missing(place, "src"))?;
        let TypeName(event_type) = type_name.ok_or_else(|| missing(place, "type"))?;
        place.set("n");
        let n = u64::try_from(n).map_err(|_| de::Error::custom("is negative"))?;
        let origin = origin(src, seq, ct, place)?;
        place.set("src");
        if event_type.is_some_and(|event_type| event_type.source() != src) {
            return Err(de::Error::custom(format_args!("an event of this type does not come from a {src}")));
        }
        let body = match body.ok_or_else(|| missing(place, "data"))? {
            Later::Read(body) => body,
            Later::Raw(raw) => {
                place.set("data");
                BodySeed { event_type, place }.deserialize(raw).map_err(de::Error::custom)?
            }
        };
        Ok(Event { n, at, origin, body })
    }
}

fn origin<'de, E: de::Error>(
    src: Source,
    seq: Option<Later<'de, i64>>,
    ct: Option<Later<'de, i64>>,
    place: Place<'_>,
) -> Result<Origin, E> {
    if src == Source::Server {
        return Ok(Origin::Server);
    }
    let seq = seq.ok_or_else(|| missing(place, "seq"))?.finish::<E>(place, "seq")?;
    let ct = ct.ok_or_else(|| missing(place, "ct"))?.finish(place, "ct")?;
    Ok(Origin::Client { seq: seq.max(0).unsigned_abs(), ct })
}

/// `seq` and `ct` are fields of a client's event; of a server's they are unknown ones, and ignored.
fn read_client_integer<'de, M: MapAccess<'de>>(
    map: &mut M,
    slot: &mut Option<Later<'de, i64>>,
    src: Option<Source>,
    place: Place<'_>,
    name: &'static str,
) -> Result<(), M::Error> {
    if src == Some(Source::Server) {
        map.next_value::<IgnoredAny>()?;
        return Ok(());
    }
    place.set(name);
    if slot.is_some() {
        return Err(de::Error::custom("stands twice"));
    }
    *slot = Some(match src {
        Some(_) => Later::Read(map.next_value_seed(Seed::at(place))?),
        None => Later::Raw(map.next_value()?),
    });
    Ok(())
}

fn read_data<'de, M: MapAccess<'de>>(
    map: &mut M,
    slot: &mut Option<Later<'de, Body<'de>>>,
    type_name: Option<&TypeName>,
    place: Place<'_>,
) -> Result<(), M::Error> {
    place.set("data");
    if slot.is_some() {
        return Err(de::Error::custom("stands twice"));
    }
    *slot = Some(match type_name {
        Some(&TypeName(event_type)) => Later::Read(map.next_value_seed(BodySeed { event_type, place })?),
        None => Later::Raw(map.next_value()?),
    });
    Ok(())
}

/// Reads the `data` of an event whose type is known.
struct BodySeed<'p> {
    event_type: Option<EventType>,
    place: Place<'p>,
}

impl<'de> DeserializeSeed<'de> for BodySeed<'_> {
    type Value = Body<'de>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Body<'de>, D::Error> {
        let Self { event_type, place } = self;
        let Some(event_type) = event_type else {
            return AnyObject::read(source, place).map(|_| Body::Unknown);
        };
        Ok(match event_type {
            EventType::Heartbeat => Body::Heartbeat(Field::read(source, place)?),
            EventType::Playback => Body::Playback(Field::read(source, place)?),
            EventType::Page => Body::Page(Field::read(source, place)?),
            EventType::SessionOpened => Body::SessionOpened(Box::new(SessionOpened::read(source, place)?)),
            EventType::ConnectionOpened => Body::ConnectionOpened(Field::read(source, place)?),
            EventType::ClockSynced => Body::ClockSynced(Field::read(source, place)?),
            EventType::ConnectionClosed => AnyObject::read(source, place).map(|_| Body::ConnectionClosed)?,
            EventType::CaptureRequested => Body::CaptureRequested(Field::read(source, place)?),
            EventType::FaceChecked => Body::FaceChecked(Field::read(source, place)?),
            EventType::CaptureExpired => Body::CaptureExpired(Field::read(source, place)?),
            EventType::PromptIssued => Body::PromptIssued(Field::read(source, place)?),
            EventType::PromptResolved => Body::PromptResolved(Field::read(source, place)?),
            EventType::PresenceConflict => Body::PresenceConflict(Field::read(source, place)?),
            EventType::SessionClosed => Body::SessionClosed(Field::read(source, place)?),
            EventType::Windows => Body::Windows(Field::read(source, place)?),
            EventType::CaptureSubmitted => Body::CaptureSubmitted(Field::read(source, place)?),
            EventType::PromptAnswered => Body::PromptAnswered(Field::read(source, place)?),
            EventType::Tamper => Body::Tamper(Field::read(source, place)?),
            EventType::Gap => Body::Gap(Field::read(source, place)?),
            EventType::Consent => Body::Consent(Field::read(source, place)?),
        })
    }
}
