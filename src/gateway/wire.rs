//! The messages of docs/protocol.md as types, shared by the server and by our own client.
//!
//! This file knows the shape of a message and says exactly which field is wrong; what a message means, in which order
//! they may come, and what the data of an event must hold, is for the gateway and the log to say.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::log::Movement;
pub use crate::schedule::PauseReason;
pub use crate::schedule::question::PromptKind;

/// What a client asks for when it connects.
pub const SUBPROTOCOL: &str = "invigil.v1";
/// Where the server listens for it.
pub const STREAM_PATH: &str = "/v1/stream";
/// Longest text message, bytes.
pub const TEXT_LIMIT_BYTES: usize = 64 * 1024;
/// Longest binary message, bytes.
pub const BINARY_LIMIT_BYTES: usize = 4 * 1024 * 1024;
/// Longest header of a binary message, bytes.
pub const PHOTO_HEADER_LIMIT_BYTES: usize = 4096;
/// The largest integer that JSON carries between all languages unharmed.
pub const INTEGER_LIMIT: i64 = (1 << 53) - 1;

/// A word from a list that other documents keep (outcomes, rules, reasons): borrowed from them when we send it.
pub type Word = Cow<'static, str>;

/// The text that a client signs to prove that it has the key, and the token, for this very connection.
pub fn hello_text(nonce: &str, session: &str, token: &str) -> String {
    format!("{SUBPROTOCOL}\n{nonce}\n{session}\n{token}")
}

// --- client to server ------------------------------------------------------------------------------------------------

/// A text message from a client.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ClientMessage<'a> {
    /// A message with `seq`.
    #[serde(borrow)]
    Event(ClientEvent<'a>),
    /// Any other.
    Control(Control),
}

/// Something that happened at the client, on its way into the session log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClientEvent<'a> {
    /// 1, 2, 3 … for the life of the session
    pub seq: u64,
    /// the client's monotonic clock, ms
    pub ct: i64,
    /// as in docs/rules.md, section 1
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// an object, byte for byte as it came
    #[serde(borrow)]
    pub data: &'a RawValue,
}

/// A message that is no event: it steers the connection and leaves no line in the log by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Control {
    /// The first message of a connection.
    Hello(Hello),
    /// The answer to a ping.
    Pong {
        /// as in the ping
        id: u64,
        /// the client's clock when it answered, ms
        ct: i64,
    },
    /// The learner says that they are there, after a pause.
    Ready,
    /// The learner ends the session.
    Close {
        /// whether they are through
        reason: LeaveReason,
    },
}

/// Who a client says it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Hello {
    /// the session's id
    pub session: String,
    /// the newest token
    pub token: String,
    /// base64url of the public key, an uncompressed point
    pub key: String,
    /// base64url of the signature over [`hello_text`]
    pub signature: String,
    /// the client's clock, ms
    pub ct: i64,
    /// highest `seq` that the client has seen acknowledged; 0: none
    pub acknowledged: u64,
    /// random id that the page keeps, see docs/protocol.md; none when it has none
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// Why a client ends its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// The lesson is through.
    Completed,
    /// The learner leaves before that.
    Left,
}

/// The header of a binary message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhotoHeader {
    /// the capture that this photo answers
    pub capture: String,
    /// the nonce as it was given
    pub nonce: String,
    /// the client's clock, ms
    pub ct: i64,
}

/// What is wrong with a message, as the server tells the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct WireError {
    /// one of `bad_json`, `bad_message`, `unknown_type`, `bad_photo_frame`
    pub code: ErrorCode,
    /// the field to look at, when there is one
    pub field: Option<String>,
    /// for the integrator's eyes
    pub detail: String,
}

impl WireError {
    fn new(code: ErrorCode, field: Option<&str>, detail: impl ToString) -> Self {
        Self { code, field: field.map(str::to_owned), detail: detail.to_string() }
    }
}

impl<'a> ClientMessage<'a> {
    /// Reads a text message. Events, which are nearly all, are read in one pass without copying.
    ///
    /// # Errors
    /// `bad_json`, `bad_message` with the first wrong field, or `unknown_type`.
    pub fn parse(text: &'a str) -> Result<Self, WireError> {
        match serde_json::from_str::<ClientEvent>(text) {
            Ok(event) if event.well_formed() => Ok(Self::Event(event)),
            Ok(_) => Err(diagnose(text, "an integer or the data is out of range")),
            Err(error) => parse_control(text, &error).map(Self::Control),
        }
    }
}

impl ClientEvent<'_> {
    fn well_formed(&self) -> bool {
        (1..=INTEGER_LIMIT as u64).contains(&self.seq)
            && (-INTEGER_LIMIT..=INTEGER_LIMIT).contains(&self.ct)
            && self.data.get().starts_with('{')
    }
}

/// The slow path: everything that is no event, and events that cannot be read.
fn parse_control(text: &str, event_error: &serde_json::Error) -> Result<Control, WireError> {
    let object = object(text)?;
    if object.contains_key("seq") {
        return Err(diagnose(text, &event_error.to_string()));
    }
    let kind: String = field(&object, "type")?;
    match kind.as_str() {
        "hello" => Ok(Control::Hello(Hello {
            session: field(&object, "session")?,
            token: field(&object, "token")?,
            key: field(&object, "key")?,
            signature: field(&object, "signature")?,
            ct: integer(&object, "ct")?,
            acknowledged: field(&object, "acknowledged")?,
            device: device(&object)?,
        })),
        "pong" => Ok(Control::Pong { id: field(&object, "id")?, ct: integer(&object, "ct")? }),
        "ready" => Ok(Control::Ready),
        "close" => Ok(Control::Close { reason: field(&object, "reason")? }),
        other => Err(WireError::new(ErrorCode::UnknownType, Some("type"), format!("no message is called {other:?}"))),
    }
}

/// Says which field keeps a message with `seq` from being an event.
fn diagnose(text: &str, otherwise: &str) -> WireError {
    let check = || {
        let object = object(text)?;
        let seq: u64 = field(&object, "seq")?;
        if !(1..=INTEGER_LIMIT as u64).contains(&seq) {
            return Err(WireError::new(ErrorCode::BadMessage, Some("seq"), "must be 1 to 2^53 - 1"));
        }
        integer(&object, "ct")?;
        field::<String>(&object, "type")?;
        field::<Map<String, Value>>(&object, "data").map(drop)
    };
    check().err().unwrap_or_else(|| WireError::new(ErrorCode::BadMessage, None, otherwise))
}

fn object(text: &str) -> Result<Map<String, Value>, WireError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(WireError::new(ErrorCode::BadJson, None, "not an object")),
        Err(error) => Err(WireError::new(ErrorCode::BadJson, None, error)),
    }
}

fn field<T: DeserializeOwned>(object: &Map<String, Value>, name: &str) -> Result<T, WireError> {
    let value =
        object.get(name).ok_or_else(|| WireError::new(ErrorCode::BadMessage, Some(name), "the field is missing"))?;
    T::deserialize(value).map_err(|error| WireError::new(ErrorCode::BadMessage, Some(name), error))
}

/// The device's id, when there is one: 8 to 64 letters, digits, `-` or `_`.
fn device(object: &Map<String, Value>) -> Result<Option<String>, WireError> {
    let Some(device) = object.get("device").filter(|device| !device.is_null()) else { return Ok(None) };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match device.as_str().filter(|id| (8..=64).contains(&id.len()) && id.chars().all(allowed)) {
        Some(id) => Ok(Some(id.to_owned())),
        None => {
            let detail = "must be 8 to 64 letters, digits, '-' or '_'";
            Err(WireError::new(ErrorCode::BadMessage, Some("device"), detail))
        }
    }
}

fn integer(object: &Map<String, Value>, name: &str) -> Result<i64, WireError> {
    let value = field(object, name)?;
    if !(-INTEGER_LIMIT..=INTEGER_LIMIT).contains(&value) {
        return Err(WireError::new(ErrorCode::BadMessage, Some(name), "outside ±(2^53 - 1)"));
    }
    Ok(value)
}

impl PhotoHeader {
    /// The whole binary message: length, header, photo.
    pub fn frame(&self, photo: &[u8]) -> Vec<u8> {
        let header = to_text(self);
        let mut frame = Vec::with_capacity(4 + header.len() + photo.len());
        frame.extend_from_slice(&(header.len() as u32).to_be_bytes());
        frame.extend_from_slice(header.as_bytes());
        frame.extend_from_slice(photo);
        frame
    }

    /// Longest header with its length before it.
    pub const LIMIT_BYTES: usize = 4 + PHOTO_HEADER_LIMIT_BYTES;

    /// Takes a binary message apart into its header and the photo's bytes.
    ///
    /// # Errors
    /// `bad_photo_frame`, with the field.
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let wrong = |field: Option<&str>, detail: &str| WireError::new(ErrorCode::BadPhotoFrame, field, detail);
        let (length, rest) =
            frame.split_first_chunk::<4>().ok_or_else(|| wrong(Some("length"), "shorter than 4 bytes"))?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > PHOTO_HEADER_LIMIT_BYTES || length > rest.len() {
            return Err(wrong(Some("length"), "longer than the limit or the message"));
        }
        let (header, photo) = rest.split_at(length);
        let header = std::str::from_utf8(header).map_err(|error| wrong(Some("header"), &error.to_string()))?;
        let as_photo_frame = |error: WireError| wrong(Some(error.field.as_deref().unwrap_or("header")), &error.detail);
        let object = object(header).map_err(as_photo_frame)?;
        let header = Self {
            capture: field(&object, "capture").map_err(as_photo_frame)?,
            nonce: field(&object, "nonce").map_err(as_photo_frame)?,
            ct: integer(&object, "ct").map_err(as_photo_frame)?,
        };
        Ok((header, photo))
    }
}

// --- server to client ------------------------------------------------------------------------------------------------

/// A text message from the server.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The first message of a connection.
    Challenge {
        /// base64url of 32 random bytes
        nonce: String,
        /// name and version
        server: String,
    },
    /// To be answered at once.
    Ping {
        /// comes back in the pong
        id: u64,
    },
    /// The handshake is over.
    Welcome(Welcome),
    /// Every event up to `seq` is on disk.
    Ack {
        /// the highest such `seq`
        seq: u64,
    },
    /// A newer token.
    Renew {
        /// for the next hello
        token: String,
        /// how long it lives, ms
        expires_in_ms: i64,
    },
    /// This server is about to leave.
    GoAway {
        /// why
        #[schema(value_type = String)]
        reason: Word,
        /// where to go; none: the same address
        #[schema(required)]
        url: Option<String>,
        /// after how long, ms
        reconnect_in_ms: i64,
    },
    /// The session has ended.
    #[serde(skip_deserializing)]
    Closed(Closed),
    /// A question to the learner.
    Prompt(Prompt),
    /// A prompt was resolved.
    #[serde(rename = "prompt.closed")]
    PromptClosed {
        /// which
        prompt: String,
        /// `passed`, `failed` or `expired`
        #[schema(value_type = String)]
        outcome: Word,
    },
    /// A photo is wanted, now.
    Capture(Capture),
    /// The photo's bytes are kept.
    #[serde(rename = "photo.received")]
    PhotoReceived {
        /// for which capture
        capture: String,
    },
    /// A capture was checked, or has expired.
    #[serde(rename = "capture.closed")]
    CaptureClosed {
        /// which
        capture: String,
        /// as in docs/rules.md, section 6
        #[schema(value_type = String)]
        outcome: Word,
        /// what the learner may mend
        #[schema(value_type = Option<String>, required)]
        advice: Option<Word>,
    },
    /// Stop the player.
    Pause {
        /// until when
        reason: PauseReason,
    },
    /// The player may go on.
    Play,
    /// The log now holds a violation, or is about to.
    Warning {
        /// of this rule
        #[schema(value_type = String)]
        rule: Word,
        /// as in docs/rules.md, section 9
        #[schema(value_type = Option<String>, required)]
        cause: Option<Word>,
        /// how long another session of this learner has been playing, ms
        #[serde(skip_serializing_if = "Option::is_none")]
        since_ms: Option<i64>,
    },
    /// For the integrator's eyes.
    Notice {
        /// what about
        #[schema(value_type = String)]
        code: Word,
        /// in words
        detail: String,
    },
    /// Something cannot be accepted.
    Error(ErrorMessage),
    /// A message of a later version: to be ignored.
    #[serde(other)]
    Unknown,
}

/// The end of the handshake: where the session stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Welcome {
    /// the session's id
    pub session: String,
    /// highest `seq` on disk
    pub acknowledged: u64,
    /// length of the lesson
    pub duration_ms: i64,
    /// how far the learner may jump
    pub furthest_ms: i64,
    /// where to go on
    pub position_ms: i64,
    /// time between heartbeats
    pub heartbeat_ms: i64,
    /// why the player must stand still, when it must
    #[schema(required)]
    pub pause: Option<PauseReason>,
}

/// The end of the session.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Closed {
    /// `completed`, `left`, `timeout`, `superseded` or `revoked`
    #[schema(value_type = String)]
    pub reason: Word,
    /// the verdict, byte for byte
    #[schema(value_type = Object)]
    pub verdict: Box<RawValue>,
}

/// A question to the learner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Prompt {
    /// its id
    pub prompt: String,
    /// how it is answered
    pub kind: PromptKind,
    /// the question
    pub text: String,
    /// of a `choice`: what can be chosen
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<String>>,
    /// of a `sum`: the picture, base64 of a PNG
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    /// time left
    pub answer_within_ms: i64,
}

/// A photo is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Capture {
    /// its id
    pub capture: String,
    /// base64url of 16 random bytes
    pub nonce: String,
    /// `start`, `random`, `recheck`, `challenge` or `supervisor`
    #[schema(value_type = String)]
    pub reason: Word,
    /// how many photos are wanted
    #[serde(default = "one")]
    pub frames: i64,
    /// time between two of them
    #[serde(default)]
    pub frame_every_ms: i64,
    /// what the learner is to do meanwhile
    #[serde(default)]
    pub challenge: Option<Movement>,
    /// time left to commit to their digest
    pub commit_within_ms: i64,
    /// time to send them once the commitment is acknowledged
    pub send_within_ms: i64,
    /// longest submission
    pub bytes_limit: u64,
    /// largest photo
    pub pixels_limit: u64,
    /// digest that was committed to and acknowledged already: only the bytes are still wanted
    #[serde(default)]
    #[schema(required)]
    pub committed: Option<String>,
}

fn one() -> i64 {
    1
}

/// Something cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorMessage {
    /// what
    pub code: ErrorCode,
    /// what was wrong, as `data.pos_ms`
    #[schema(required)]
    pub field: Option<String>,
    /// in words
    pub detail: String,
    /// when to try again
    #[schema(required)]
    pub retry_after_ms: Option<i64>,
    /// of which capture
    #[schema(required)]
    pub capture: Option<String>,
}

impl From<WireError> for ErrorMessage {
    fn from(error: WireError) -> Self {
        let WireError { code, field, detail } = error;
        Self { code, field, detail, retry_after_ms: None, capture: None }
    }
}

impl ServerMessage {
    /// Reads a text message.
    ///
    /// # Errors
    /// When it is none of these. A type that this version does not know is [`ServerMessage::Unknown`].
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Type<'a> {
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
        }
        // A verdict is kept byte for byte, which a tagged enum cannot do while it is read.
        if serde_json::from_str::<Type>(text)?.kind == "closed" {
            return serde_json::from_str(text).map(Self::Closed);
        }
        serde_json::from_str(text)
    }

    /// The message as it goes out.
    pub fn to_text(&self) -> String {
        to_text(self)
    }
}

impl Control {
    /// The message as it goes out.
    pub fn to_text(&self) -> String {
        to_text(self)
    }
}

fn to_text(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("these types have string keys and finite numbers, so JSON can hold them")
}

// --- errors and closes -----------------------------------------------------------------------------------------------

/// The codes of docs/protocol.md, section 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "docs/protocol.md says what each means; here they only get a type")]
pub enum ErrorCode {
    BadJson,
    BadMessage,
    UnknownType,
    ServerEvent,
    NotWelcomeYet,
    SeqGap,
    CtDecreased,
    TokenUnknown,
    TokenExpired,
    SessionMismatch,
    KeyMismatch,
    SignatureWrong,
    OriginRefused,
    HelloTimeout,
    Superseded,
    SessionClosed,
    TooLarge,
    TooManyEvents,
    Overloaded,
    BadPhotoFrame,
    CaptureUnknown,
    CaptureExpired,
    CaptureNotCommitted,
    NonceWrong,
    DigestMismatch,
    PhotoTooLarge,
    /// A code of a later version.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// All that this version sends.
    pub const ALL: &'static [Self] = &[
        Self::BadJson,
        Self::BadMessage,
        Self::UnknownType,
        Self::ServerEvent,
        Self::NotWelcomeYet,
        Self::SeqGap,
        Self::CtDecreased,
        Self::TokenUnknown,
        Self::TokenExpired,
        Self::SessionMismatch,
        Self::KeyMismatch,
        Self::SignatureWrong,
        Self::OriginRefused,
        Self::HelloTimeout,
        Self::Superseded,
        Self::SessionClosed,
        Self::TooLarge,
        Self::TooManyEvents,
        Self::Overloaded,
        Self::BadPhotoFrame,
        Self::CaptureUnknown,
        Self::CaptureExpired,
        Self::CaptureNotCommitted,
        Self::NonceWrong,
        Self::DigestMismatch,
        Self::PhotoTooLarge,
    ];

    /// The WebSocket close code that follows, or none when the connection stays open.
    pub fn close_code(self) -> Option<u16> {
        use ErrorCode::*;
        match self {
            BadJson | BadMessage | ServerEvent | NotWelcomeYet | SeqGap | CtDecreased => Some(4400),
            TokenUnknown | TokenExpired | SessionMismatch | KeyMismatch | SignatureWrong => Some(4401),
            OriginRefused => Some(4403),
            HelloTimeout => Some(4408),
            Superseded => Some(4409),
            SessionClosed => Some(4410),
            TooLarge => Some(1009),
            TooManyEvents => Some(4429),
            Overloaded => Some(4503),
            UnknownType | BadPhotoFrame | CaptureUnknown | CaptureExpired | CaptureNotCommitted | NonceWrong
            | DigestMismatch | PhotoTooLarge | Unknown => None,
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(formatter)
    }
}

/// Close codes that are not an error's.
pub mod close {
    /// The session has ended and its verdict was sent.
    pub const NORMAL: u16 = 1000;
    /// After a go-away.
    pub const SERVICE_RESTART: u16 = 1012;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (ErrorCode, Option<String>) {
        let error = ClientMessage::parse(text).expect_err(text);
        (error.code, error.field)
    }

    #[test]
    fn an_event_is_read_without_copying_and_written_back_the_same() {
        let text = r#"{"seq":2,"ct":6020,"type":"heartbeat","data":{"playing":true, "pos_ms":5000,"rate":1.0}}"#;
        let message = ClientMessage::parse(text).unwrap();
        let ClientMessage::Event(event) = &message else { panic!("{message:?}") };
        assert_eq!((event.seq, event.ct), (2, 6020));
        assert!(matches!(event.kind, Cow::Borrowed("heartbeat")));
        assert_eq!(serde_json::to_string(&message).unwrap(), text);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bad = |field: &str| (ErrorCode::BadMessage, Some(field.to_owned()));
        assert_eq!(refused("{"), (ErrorCode::BadJson, None));
        assert_eq!(refused("[]"), (ErrorCode::BadJson, None));
        assert_eq!(refused("{}"), bad("type"));
        assert_eq!(refused(r#"{"type":"dance"}"#), (ErrorCode::UnknownType, Some("type".into())));
        assert_eq!(refused(r#"{"type":"pong","id":1}"#), bad("ct"));
        assert_eq!(refused(r#"{"type":"close","reason":"bored"}"#), bad("reason"));
        let hello =
            r#"{"type":"hello","session":"","token":"","key":"","signature":"","ct":1,"acknowledged":0,"device":"#;
        for device in ["1", r#""1234567""#, r#""1234567\n""#, r#""设备设备设备""#] {
            assert_eq!(refused(&format!("{hello}{device}}}")), bad("device"), "{device}");
        }
        assert!(ClientMessage::parse(&format!("{hello}null}}")).is_ok());
        assert_eq!(refused(r#"{"seq":0,"ct":1,"type":"page","data":{}}"#), bad("seq"));
        assert_eq!(refused(r#"{"seq":1.5,"ct":1,"type":"page","data":{}}"#), bad("seq"));
        assert_eq!(refused(r#"{"seq":1,"ct":9007199254740992,"type":"page","data":{}}"#), bad("ct"));
        assert_eq!(refused(r#"{"seq":1,"ct":1,"type":"page"}"#), bad("data"));
        assert_eq!(refused(r#"{"seq":1,"ct":1,"type":"page","data":[]}"#), bad("data"));
        assert_eq!(refused(r#"{"seq":1,"seq":1,"ct":1,"type":"page","data":{}}"#), (ErrorCode::BadMessage, None));
    }

    #[test]
    fn controls_survive_the_wire() {
        let hello = Hello {
            session: "s".into(),
            token: "ivt_".into(),
            key: "k".into(),
            signature: "x".into(),
            ct: 5,
            acknowledged: 0,
            device: Some("0123-abc_".into()),
        };
        for control in [
            Control::Hello(hello),
            Control::Pong { id: 1, ct: -3 },
            Control::Ready,
            Control::Close { reason: LeaveReason::Left },
        ] {
            let text = control.to_text();
            let read = ClientMessage::parse(&text).unwrap();
            assert!(matches!(read, ClientMessage::Control(ref back) if *back == control), "{text}");
        }
    }

    #[test]
    fn server_messages_have_the_names_of_the_document() {
        let pause = ServerMessage::Pause { reason: PauseReason::WrongAnswers }.to_text();
        assert_eq!(pause, r#"{"type":"pause","reason":"wrong_answers"}"#);
        let closed =
            ServerMessage::CaptureClosed { capture: "c1".into(), outcome: Cow::Borrowed("match"), advice: None };
        assert_eq!(closed.to_text(), r#"{"type":"capture.closed","capture":"c1","outcome":"match","advice":null}"#);
        assert!(matches!(ServerMessage::parse(r#"{"type":"dance","with":1}"#), Ok(ServerMessage::Unknown)));
        assert!(ServerMessage::parse(r#"{"type":"ack"}"#).is_err());
    }

    #[test]
    fn a_verdict_comes_through_byte_for_byte() {
        let text = r#"{"type":"closed","reason":"completed","verdict":{"z":1, "a":[1.50]}}"#;
        let ServerMessage::Closed(closed) = ServerMessage::parse(text).unwrap() else { panic!() };
        assert_eq!(closed.verdict.get(), r#"{"z":1, "a":[1.50]}"#);
        assert_eq!(ServerMessage::Closed(closed).to_text(), text);
    }

    #[test]
    fn a_photo_frame_is_taken_apart_or_refused() {
        let header = PhotoHeader { capture: "c1".into(), nonce: "n".into(), ct: 9 };
        let frame = header.frame(b"jpeg");
        assert_eq!(PhotoHeader::parse(&frame).unwrap(), (header, b"jpeg".as_slice()));
        let field = |frame: &[u8]| PhotoHeader::parse(frame).unwrap_err().field.unwrap();
        assert_eq!(field(b"\0\0"), "length");
        assert_eq!(field(b"\0\0\0\x09{}"), "length");
        assert_eq!(field(b"\xff\xff\xff\xff{}"), "length");
        assert_eq!(field(b"\0\0\0\x02{}jpeg"), "capture");
        assert_eq!(field(b"\0\0\0\x02\xff\xffjpeg"), "header");
    }

    #[test]
    fn codes_are_written_as_in_the_document() {
        assert_eq!(ErrorCode::CtDecreased.to_string(), "ct_decreased");
        assert_eq!(ErrorCode::Superseded.close_code(), Some(4409));
        assert_eq!(serde_json::from_str::<ErrorCode>(r#""later""#).unwrap(), ErrorCode::Unknown);
    }
}
