//! The messages of docs/protocol.md as JSON Schema, out of the types that read and write them.
//!
//! From this the web SDK's types are generated. It tells shapes only: what may come when is docs/protocol.md's to say.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use utoipa::{OpenApi, ToSchema};

use super::wire;
use crate::log::{
    CaptureSubmitted, Consent, EventType, Gap, Heartbeat, Page, Playback, PromptAnswered, Source, Tamper, Windows,
};

/// The types; utoipa finds those that they hold.
#[derive(OpenApi)]
#[openapi(components(schemas(
    wire::Control,
    wire::ServerMessage,
    wire::Closed,
    wire::PhotoHeader,
    Heartbeat,
    Playback,
    Page,
    Windows,
    CaptureSubmitted,
    PromptAnswered,
    Tamper,
    Gap,
    Consent,
)))]
struct Types;

/// Where utoipa puts a type, and where JSON Schema does.
const COMPONENTS: &str = "#/components/schemas/";
const DEFINITIONS: &str = "#/$defs/";

/// The schema, as it is committed.
pub fn protocol_json() -> String {
    let types = serde_json::to_value(Types::openapi()).expect("the document is plain data");
    let mut definitions = types["components"]["schemas"].as_object().cloned().unwrap_or_default();
    complete(&mut definitions);
    let schema = moved(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Protocol",
        "description": "Messages of docs/protocol.md. Fields that are not listed are ignored by both sides.",
        "oneOf": [reference("ClientMessage"), reference("ServerMessage")],
        "$defs": without_null(definitions.into()),
    }));
    let mut text = serde_json::to_string_pretty(&schema).expect("the schema is plain data");
    text.push('\n');
    text
}

/// Adds what utoipa cannot see in the types, and takes out what nobody sends.
fn complete(definitions: &mut Map<String, Value>) {
    // Only to be read from later versions.
    if let Some(variants) = definitions["ServerMessage"]["oneOf"].as_array_mut() {
        variants.retain(|variant| variant["properties"]["type"]["enum"] != json!(["unknown"]));
        // It is read in another way, which utoipa takes for "never".
        let tag = json!({"type": "object", "required": ["type"], "properties": {"type": {"type": "string", "enum": ["closed"]}}});
        variants.push(json!({"description": "The session has ended.", "allOf": [reference("Closed"), tag]}));
    }
    if let Some(codes) = definitions["ErrorCode"]["enum"].as_array_mut() {
        codes.retain(|code| code != "unknown");
    }
    let events = EventType::ALL.iter().filter_map(|event_type| Some((event_type.as_str(), data_of(*event_type)?)));
    let events: Vec<Value> = events.map(|(word, data)| client_event(word, &data)).collect();
    definitions.insert("ClientEvent".to_owned(), json!({"description": "A message with `seq`.", "oneOf": events}));
    let kinds = [reference("ClientEvent"), reference("Control")];
    definitions
        .insert("ClientMessage".to_owned(), json!({"description": "What a client sends as text.", "oneOf": kinds}));
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("{COMPONENTS}{name}")})
}

/// The message in which an event of this type comes.
fn client_event(word: &str, data: &str) -> Value {
    json!({
        "type": "object",
        "required": ["seq", "ct", "type", "data"],
        "properties": {
            "seq": {"type": "integer", "format": "int64", "minimum": 1, "description": "1, 2, 3 … for the life of the session"},
            "ct": {"type": "integer", "format": "int64", "description": "the client's monotonic clock, ms"},
            "type": {"type": "string", "enum": [word]},
            "data": reference(data),
        },
    })
}

/// The name of the type of a client event's data; none for what only the server writes.
fn data_of(event_type: EventType) -> Option<Cow<'static, str>> {
    match event_type {
        EventType::Heartbeat => Some(Heartbeat::name()),
        EventType::Playback => Some(Playback::name()),
        EventType::Page => Some(Page::name()),
        EventType::Windows => Some(Windows::name()),
        EventType::CaptureSubmitted => Some(CaptureSubmitted::name()),
        EventType::PromptAnswered => Some(PromptAnswered::name()),
        EventType::Tamper => Some(Tamper::name()),
        EventType::Gap => Some(Gap::name()),
        EventType::Consent => Some(Consent::name()),
        _ => {
            debug_assert_eq!(event_type.source(), Source::Server, "{event_type} has no schema");
            None
        }
    }
}

/// References to where JSON Schema keeps its definitions.
fn moved(value: Value) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix(COMPONENTS) {
            Some(name) => format!("{DEFINITIONS}{name}").into(),
            None => text.into(),
        },
        Value::Array(items) => items.into_iter().map(moved).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, moved(value))).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

/// What may be left out is left out, and never null: no message of ours says both.
fn without_null(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(without_null).collect(),
        Value::Object(fields) => {
            let mut fields: Map<_, _> = fields.into_iter().map(|(name, value)| (name, without_null(value))).collect();
            let required = fields.get("required").cloned().unwrap_or_else(|| json!([]));
            let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
            for (name, field) in properties.into_iter().flatten() {
                let is_required =
                    required.as_array().is_some_and(|required| required.iter().any(|other| other == name));
                if let Some(Value::Array(types)) = field.get("type").filter(|_| !is_required) {
                    let plain = types.iter().find(|kind| *kind != "null").cloned();
                    field["type"] = plain.unwrap_or(Value::Null);
                }
            }
            fields.into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// From the repository's root.
    const COMMITTED: &str = "docs/protocol.schema.json";

    fn schema() -> Value {
        serde_json::from_str(&protocol_json()).unwrap()
    }

    #[test]
    fn the_committed_schema_is_fresh() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == protocol_json(),
            "{COMMITTED} is stale: renew it with `cargo run -- protocol > {COMMITTED}`, and read the difference"
        );
    }

    #[test]
    fn every_client_event_and_every_error_code_has_its_place() {
        let schema = schema();
        let types = |name: &str| -> BTreeSet<String> {
            let variants = schema["$defs"][name]["oneOf"].as_array().unwrap();
            variants
                .iter()
                .map(|variant| variant["properties"]["type"]["enum"][0].as_str().unwrap_or_default().to_owned())
                .collect()
        };
        let events = EventType::ALL.iter().filter(|event_type| event_type.source() == Source::Client);
        assert_eq!(types("ClientEvent"), events.map(|event_type| event_type.as_str().to_owned()).collect());
        let codes: Vec<Value> = wire::ErrorCode::ALL.iter().map(|code| serde_json::to_value(code).unwrap()).collect();
        assert_eq!(schema["$defs"]["ErrorCode"]["enum"], json!(codes));
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let schema = schema();
        let text = schema.to_string();
        let names = text.split("\"$ref\":\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        let mut count = 0;
        for name in names {
            let name = name.strip_prefix(DEFINITIONS).unwrap_or_else(|| panic!("{name}"));
            assert!(schema["$defs"][name].is_object(), "{name}");
            count += 1;
        }
        assert!(count > 15, "{count}");
    }
}
