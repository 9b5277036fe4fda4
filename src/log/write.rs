//! Composing the lines of a log.
//!
//! A line is composed once, when the event is accepted, and never again: what is stored, digested and sent is this
//! very text. The functions return it without the line feed.

use serde::Serialize;

use super::words::EventType;

/// A line for an event of the server's.
///
/// # Panics
/// When `data` cannot be serialised, which the structs of [`crate::log`] always can.
pub fn server_line(n: u64, at: i64, event_type: EventType, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("structs with string keys always serialise");
    format!(r#"{{"n":{n},"at":{at},"src":"server","type":"{event_type}","data":{data}}}"#)
}

/// A line for an event of the server's that has no data: `connection.closed`.
pub fn empty_server_line(n: u64, at: i64, event_type: EventType) -> String {
    format!(r#"{{"n":{n},"at":{at},"src":"server","type":"{event_type}","data":{{}}}}"#)
}

/// A line for a client's event. `data` is kept as it arrived; it must be valid JSON ([`super::parse_client_event`]).
/// Line breaks, which JSON has only between its tokens, become spaces: a line is a line.
pub fn client_line(n: u64, at: i64, seq: u64, ct: i64, type_name: &str, data: &str) -> String {
    let type_name = serde_json::Value::from(type_name);
    let mut line = format!(r#"{{"n":{n},"at":{at},"src":"client","seq":{seq},"ct":{ct},"type":{type_name},"data":"#);
    if data.contains(['\n', '\r']) {
        line.extend(data.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    } else {
        line.push_str(data);
    }
    line.push('}');
    line
}
