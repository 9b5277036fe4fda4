//! Composing the lines of a log.
//!
//! A line is composed once, when the event is accepted, and never again: what is stored, digested and sent is this
//! very text. The functions return it without the line feed.

use std::fmt::Write as _;

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
    let mut line = String::with_capacity(data.len() + type_name.len() + 128);
    let head = write!(line, r#"{{"n":{n},"at":{at},"src":"client","seq":{seq},"ct":{ct},"type":"#);
    // Nearly every name is one of ours, which has nothing to escape.
    let named = if type_name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'.' | b'_')) {
        write!(line, "\"{type_name}\"")
    } else {
        write!(line, "{}", serde_json::Value::from(type_name))
    };
    head.and(named).expect("a string takes whatever is written to it");
    line.push_str(",\"data\":");
    if data.contains(['\n', '\r']) {
        line.extend(data.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    } else {
        line.push_str(data);
    }
    line.push('}');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Body, FaceChecked, FaceOutcome, Origin, parse_client_event, parse_line};

    #[test]
    fn a_servers_line_reads_back() {
        let mut extra = serde_json::Map::new();
        extra.insert("similarity".to_owned(), 0.5.into());
        let check = FaceChecked {
            capture: "c\"1".into(),
            outcome: FaceOutcome::NoFace,
            photo: None,
            passive_milli: None,
            extra,
        };
        let line = server_line(3, 9, EventType::FaceChecked, &check);
        assert_eq!(
            line,
            r#"{"n":3,"at":9,"src":"server","type":"face.checked","data":{"capture":"c\"1","outcome":"no_face","photo":null,"similarity":0.5}}"#
        );
        let Body::FaceChecked(read) = parse_line(line.as_bytes()).unwrap().body else { panic!() };
        assert_eq!((read.capture.as_ref(), read.outcome), ("c\"1", FaceOutcome::NoFace));
        let line = empty_server_line(4, 9, EventType::ConnectionClosed);
        assert_eq!(parse_line(line.as_bytes()).unwrap().body, Body::ConnectionClosed);
    }

    #[test]
    fn a_clients_data_is_kept_as_it_came_but_on_one_line() {
        let data = "{\"playing\" :true,\r\n\"pos_ms\":1,\"rate\":1.50,\"mine\":\"a\\nb\"}";
        let body = parse_client_event("heartbeat", data).unwrap();
        let line = client_line(5, 9, 2, -7, "heartbeat", data);
        assert!(line.ends_with(r#""data":{"playing" :true,  "pos_ms":1,"rate":1.50,"mine":"a\nb"}}"#), "{line}");
        let read = parse_line(line.as_bytes()).unwrap();
        assert_eq!((read.origin, read.body), (Origin::Client { seq: 2, ct: -7 }, body));
    }

    #[test]
    fn an_odd_type_cannot_break_out_of_its_string() {
        let line = client_line(5, 9, 2, 7, "x\",\"src\":\"server\n", "{}");
        assert_eq!(parse_line(line.as_bytes()).unwrap().body, Body::Unknown);
        assert!(!line.contains('\n'));
    }
}
