//! From a line's bytes to an [`Event`].
//!
//! Lines as this engine writes them take a short cut ([`super::canonical`]). Any other is read in one pass too, with
//! borrowed strings, when `src` and `type` stand before what they decide about; in another order, what came too early is
//! read twice.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::event::{Body, Event, Origin};
use super::record::{AnyObject, Field, Place, Seed, fill, missing};
use super::words::{EventType, Source};
use super::{LineError, canonical};

/// Reads one line (with or without its line feed).
///
/// # Errors
/// When the line is not JSON, or lacks a field, or a field has a wrong value, or the event is of a type that its `src`
/// may not make.
pub fn parse_line(line: &[u8]) -> Result<Event<'_>, LineError> {
    let text = std::str::from_utf8(line).map_err(|_| LineError::new("line", "is not UTF-8"))?;
    parse_canonical(text).map_or_else(|| parse_any(text), Ok)
}

/// A line of any form.
fn parse_any(text: &str) -> Result<Event<'_>, LineError> {
    run("line", text, |deserializer, place| deserializer.deserialize_map(Line(place)))
}

/// A faultless line of the form that this engine writes. What it gives is what [`parse_any`] would.
fn parse_canonical(text: &str) -> Option<Event<'_>> {
    let header = canonical::header(text)?;
    let event_type = EventType::from_word(header.type_name);
    let source = if header.origin == Origin::Server { Source::Server } else { Source::Client };
    if event_type.is_some_and(|event_type| event_type.source() != source) {
        return None;
    }
    let data = Canonical(header.data);
    let body = body(event_type, data)
        .or_else(|Other| run("data", header.data, |source, place| BodySeed { event_type, place }.deserialize(source)));
    Some(Event { n: header.n, at: header.at, origin: header.origin, body: body.ok()? })
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
    body(event_type, Canonical(data)).or_else(|Other| {
        run("data", data, |deserializer, place| BodySeed { event_type, place }.deserialize(deserializer))
    })
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

    fn canonical(_: &'de str) -> Option<(Self, &'de str)> {
        None
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
        body(self.event_type, Any { source, place: self.place })
    }
}

/// The text of `data`, in some form.
trait Data<'de> {
    type Error;

    fn read<T: Field<'de>>(self) -> Result<T, Self::Error>;
}

/// In whatever form.
struct Any<'p, D> {
    source: D,
    place: Place<'p>,
}

impl<'de, D: Deserializer<'de>> Data<'de> for Any<'_, D> {
    type Error = D::Error;

    fn read<T: Field<'de>>(self) -> Result<T, D::Error> {
        T::read(self.source, self.place)
    }
}

/// In the form that this engine writes.
struct Canonical<'de>(&'de str);

/// It is in another form, or at fault.
struct Other;

impl<'de> Data<'de> for Canonical<'de> {
    type Error = Other;

    fn read<T: Field<'de>>(self) -> Result<T, Other> {
        T::canonical(self.0).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value).ok_or(Other)
    }
}

fn body<'de, S: Data<'de>>(event_type: Option<EventType>, data: S) -> Result<Body<'de>, S::Error> {
    let Some(event_type) = event_type else {
        return data.read::<AnyObject>().map(|_| Body::Unknown);
    };
    Ok(match event_type {
        EventType::Heartbeat => Body::Heartbeat(data.read()?),
        EventType::Playback => Body::Playback(data.read()?),
        EventType::Page => Body::Page(data.read()?),
        EventType::SessionOpened => Body::SessionOpened(Box::new(data.read()?)),
        EventType::ConnectionOpened => Body::ConnectionOpened(data.read()?),
        EventType::ClockSynced => Body::ClockSynced(data.read()?),
        EventType::ConnectionClosed => data.read::<AnyObject>().map(|_| Body::ConnectionClosed)?,
        EventType::CaptureRequested => Body::CaptureRequested(data.read()?),
        EventType::FaceChecked => Body::FaceChecked(data.read()?),
        EventType::CaptureExpired => Body::CaptureExpired(data.read()?),
        EventType::PromptIssued => Body::PromptIssued(data.read()?),
        EventType::PromptResolved => Body::PromptResolved(data.read()?),
        EventType::PresenceConflict => Body::PresenceConflict(data.read()?),
        EventType::SessionClosed => Body::SessionClosed(data.read()?),
        EventType::Windows => Body::Windows(data.read()?),
        EventType::CaptureSubmitted => Body::CaptureSubmitted(data.read()?),
        EventType::PromptAnswered => Body::PromptAnswered(data.read()?),
        EventType::Tamper => Body::Tamper(data.read()?),
        EventType::Gap => Body::Gap(data.read()?),
        EventType::Consent => Body::Consent(data.read()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Heartbeat, PlaybackEvent};

    const BEAT: &str = r#"{"n":7,"at":9,"src":"client","seq":3,"ct":-5,"type":"heartbeat","data":{"playing":true,"pos_ms":4,"rate":1}}"#;

    fn field(line: &str) -> String {
        parse_line(line.as_bytes()).expect_err(line).field
    }

    /// One of each form, as this engine writes it.
    const CANONICAL: &[&str] = &[
        BEAT,
        r#"{"n":1,"at":1,"src":"server","type":"session.opened","data":{"session":"s","platform":"p","learner":"l","project":"j","lesson":"e","policy":"default","duration_ms":5,"facts":{"platform_status":"active","project_approved":true,"content_approved":false,"prior_lessons_complete":true,"lesson_kind":"theory","delivery":"blended","total_hours":1,"online_used_ms":0,"covered_before":[[0,5],[7,9]],"furthest_before_ms":5,"carried":{"since_control_ms":1,"unverified_ms":2,"excess_ms":3,"conflict_ms":4,"face_failures":5,"face_history":["match","expired"],"hour_watch_ms":6,"hour_has_photo":false}}}}"#,
        r#"{"n":1,"at":1,"src":"server","type":"session.opened","data":{"session":"","platform":"p","learner":"l","project":"j","lesson":"e","policy":"default","duration_ms":5,"facts":{"platform_status":"active","project_approved":true,"content_approved":false,"prior_lessons_complete":true,"lesson_kind":"theory","delivery":"blended","total_hours":1,"online_used_ms":0,"carried":{}}}}"#,
        r#"{"n":2,"at":1,"src":"server","type":"connection.opened","data":{"ct":5}}"#,
        r#"{"n":2,"at":1,"src":"server","type":"connection.closed","data":{}}"#,
        r#"{"n":2,"at":1,"src":"server","type":"something.new","data":{}}"#,
        r#"{"n":2,"at":1,"src":"client","seq":1,"ct":1,"type":"page","data":{"visible":true,"focused":false,"playing":true,"pos_ms":0,"rate":1.25}}"#,
        r#"{"n":2,"at":1,"src":"client","seq":1,"ct":1,"type":"playback","data":{"event":"play","playing":true,"pos_ms":17,"rate":1.0}}"#,
        r#"{"n":2,"at":1,"src":"server","type":"face.checked","data":{"capture":"c","outcome":"match","photo":null}}"#,
        r#"{"n":2,"at":1,"src":"server","type":"face.checked","data":{"capture":"c","outcome":"error","photo":"00"}}"#,
        r#"{"n":2,"at":1,"src":"server","type":"prompt.issued","data":{"prompt":"q1","kind":"choice","deadline_at":9}}"#,
        r#"{"n":2,"at":1,"src":"server","type":"session.closed","data":{"reason":"left"}}"#,
    ];

    proptest::proptest! {
        #[test]
        fn the_short_cut_leads_where_the_long_way_does(
            line in proptest::sample::select(CANONICAL),
            place: proptest::sample::Index,
            byte in proptest::prop_oneof![32_u8..127, proptest::sample::select(&b"\"\\{}[],:.-0e\n"[..])],
            kind in 0_u8..3,
        ) {
            let mut line = line.as_bytes().to_vec();
            let place = place.index(line.len());
            match kind {
                0 => line[place] = byte,
                1 => drop(line.remove(place)),
                _ => line.insert(place, byte),
            }
            let text = std::str::from_utf8(&line).unwrap();
            if let Some(event) = parse_canonical(text) {
                proptest::prop_assert_eq!(parse_any(text), Ok(event));
            }
        }
    }

    #[test]
    fn what_the_engine_writes_takes_the_short_cut() {
        for line in CANONICAL {
            let header = canonical::header(line).unwrap();
            let short = body(EventType::from_word(header.type_name), Canonical(header.data)).ok();
            assert_eq!(short, parse_any(line).ok().map(|event| event.body), "{line}");
            assert!(short.is_some() && parse_canonical(line) == parse_any(line).ok(), "{line}");
        }
        let more = BEAT.replace("}}", "},\"n\":7}");
        assert_eq!((parse_canonical(&more), field(&more)), (None, "n".to_owned()));
    }

    #[test]
    fn the_order_of_keys_and_unknown_ones_do_not_matter() {
        let expected = parse_line(BEAT.as_bytes()).unwrap();
        assert_eq!(expected.origin, Origin::Client { seq: 3, ct: -5 });
        assert_eq!(expected.body, Body::Heartbeat(Heartbeat { playing: true, pos_ms: 4, rate: 1.0 }));
        let shuffled = r#" {"data":{"rate":1.0,"x":[{}],"p\u006fs_ms":4,"playing":true},"new":{"n":1},"ct":-5,"type":"heart\u0062eat","seq":3,"src":"client","at":9,"n":7} "#;
        assert_eq!(parse_line(shuffled.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn an_unknown_type_is_kept_from_either_side() {
        for (src, more) in [("server", r#""seq":"ignored","#), ("client", r#""seq":1,"ct":1,"#)] {
            let line = format!(r#"{{"n":1,"at":1,"src":"{src}",{more}"type":"something.new","data":{{"playing":7}}}}"#);
            assert_eq!(parse_line(line.as_bytes()).unwrap().body, Body::Unknown);
        }
    }

    #[test]
    fn a_wrong_line_names_its_field() {
        let cases = [
            (r#""n":7"#, r#""n":7.0"#, "n"),
            (r#""n":7"#, r#""n":"7""#, "n"),
            (r#""n":7"#, r#""n":-7"#, "n"),
            (r#""n":7,"#, "", "n"),
            (r#""at":9"#, r#""at":9007199254740992"#, "at"),
            (r#""at":9"#, r#""at":-9007199254740992"#, "at"),
            (r#""at":9"#, r#""at":99999999999999999999"#, "at"),
            (r#""at":9"#, r#""at":9,"at":9"#, "at"),
            (r#""src":"client","#, "", "src"),
            ("client", "nobody", "src"),
            ("client", "server", "src"),
            (r#""seq":3,"#, "", "seq"),
            (r#""seq":3"#, r#""seq":null"#, "seq"),
            (r#""ct":-5,"#, "", "ct"),
            (r#""ct":-5"#, r#""ct":-5.5"#, "ct"),
            (r#""type":"heartbeat","#, "", "type"),
            (r#""heartbeat""#, "7", "type"),
            ("heartbeat", "face.checked", "src"),
            (r#"{"playing":true,"pos_ms":4,"rate":1}"#, "[]", "data"),
            (r#"{"playing":true,"pos_ms":4,"rate":1}"#, "null", "data"),
            (r#""playing":true,"#, "", "data.playing"),
            ("true", "1", "data.playing"),
            (r#""pos_ms":4"#, r#""pos_ms":4,"pos_ms":4"#, "data.pos_ms"),
            (r#""pos_ms":4"#, r#""pos_ms":9007199254740992"#, "data.pos_ms"),
            (r#""rate":1"#, r#""rate":"1""#, "data.rate"),
            (r#""rate":1"#, r#""rate":9007199254740992"#, "data.rate"),
            (r#""rate":1"#, r#""rate":1e300"#, "data.rate"),
        ];
        for (from, to, expected) in cases {
            let line = BEAT.replacen(from, to, 1);
            assert_ne!(line, BEAT);
            // A forged type has other fields too; the forgery is what must be named.
            let line = line.replace(
                r#""type":"face.checked","data":{"#,
                r#""type":"face.checked","data":{"capture":"c","outcome":"match","photo":null,"#,
            );
            assert_eq!(field(&line), expected, "{line}");
        }
        for broken in ["", "{", "[]", "7", "nonsense", &BEAT[..BEAT.len() - 1], &format!("{BEAT} x")] {
            field(broken);
        }
        assert_eq!(parse_line(b"{\"n\":\xff}").unwrap_err().field, "line");
    }

    #[test]
    fn numbers_at_the_limit_are_read() {
        let line =
            BEAT.replace(r#""at":9"#, r#""at":9007199254740991"#).replace("\"ct\":-5", "\"ct\":-9007199254740991");
        assert_eq!(parse_line(line.as_bytes()).unwrap().at, 9_007_199_254_740_991);
    }

    #[test]
    fn only_a_seek_needs_its_start() {
        let seek = r#"{"event":"seek","playing":true,"pos_ms":1,"rate":1,"from_ms":5}"#;
        let Body::Playback(read) = parse_client_event("playback", seek).unwrap() else { panic!() };
        assert_eq!((read.event, read.from_ms), (PlaybackEvent::Seek, Some(5)));
        let without = seek.replace(r#","from_ms":5"#, "");
        assert_eq!(parse_client_event("playback", &without).unwrap_err().field, "data.from_ms");
        let wrong = seek.replace(r#"from_ms":5"#, r#"from_ms":"5""#);
        assert_eq!(parse_client_event("playback", &wrong).unwrap_err().field, "data.from_ms");
        parse_client_event("playback", &wrong.replace("seek", "pause")).unwrap();
        let unknown = seek.replace("seek", "skip");
        assert_eq!(parse_client_event("playback", &unknown).unwrap_err().field, "data.event");
    }

    #[test]
    fn the_opening_names_its_nested_fields() {
        let opened = r#"{"n":1,"at":1,"src":"server","type":"session.opened","data":{"session":"s","platform":"p","learner":"l","project":"j","lesson":"e","policy":"default","duration_ms":5,"facts":{"platform_status":"active","project_approved":true,"content_approved":true,"prior_lessons_complete":true,"lesson_kind":"theory","delivery":"blended","total_hours":1,"online_used_ms":0,"covered_before":[[0,5]],"furthest_before_ms":5,"carried":{"face_history":["expired"]}}}}"#;
        let Body::SessionOpened(read) = parse_line(opened.as_bytes()).unwrap().body else { panic!() };
        assert_eq!(read.facts.covered_before, [(0, 5)]);
        let cases = [
            ("\"active\"", "\"fine\"", "data.facts.platform_status"),
            ("\"total_hours\":1,", "", "data.facts.total_hours"),
            ("[[0,5]]", "[[0]]", "data.facts.covered_before"),
            ("[[0,5]]", "[[0,5,6]]", "data.facts.covered_before"),
            ("[[0,5]]", "null", "data.facts.covered_before"),
            ("\"furthest_before_ms\":5", "\"furthest_before_ms\":null", "data.facts.furthest_before_ms"),
            ("[\"expired\"]", "[\"error\"]", "data.facts.carried.face_history"),
            ("{\"face_history\":[\"expired\"]}", "{\"excess_ms\":true}", "data.facts.carried.excess_ms"),
            ("{\"face_history\":[\"expired\"]}", "7", "data.facts.carried"),
        ];
        for (from, to, expected) in cases {
            assert_eq!(field(&opened.replacen(from, to, 1)), expected);
        }
    }

    #[test]
    fn a_photo_may_be_null_but_not_left_out() {
        let line = r#"{"n":1,"at":1,"src":"server","type":"face.checked","data":{"capture":"c","outcome":"match","photo":null}}"#;
        let Body::FaceChecked(read) = parse_line(line.as_bytes()).unwrap().body else { panic!() };
        assert_eq!(read.photo, None);
        assert_eq!(field(&line.replace(",\"photo\":null", "")), "data.photo");
        assert_eq!(field(&line.replace("null", "7")), "data.photo");
    }

    #[test]
    fn nobody_forges_a_servers_event() {
        for event_type in EventType::ALL {
            let error = parse_client_event(event_type.as_str(), "{}").err().map(|error| error.field);
            assert_eq!(error.as_deref() == Some("type"), event_type.source() == Source::Server, "{event_type}");
        }
        assert_eq!(parse_client_event("my.own", "{\"a\":[1]}"), Ok(Body::Unknown));
        assert_eq!(parse_client_event("my.own", "[]").unwrap_err().field, "data");
        assert!(parse_client_event("my.own", "{} {}").is_err());
    }
}
