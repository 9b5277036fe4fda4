//! What a client may report, with the data that docs/rules.md asks for.
//!
//! Nothing here makes a report true: the learners of the demo who lie fill in these fields like any other.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// What the player shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PlayerState {
    /// whether it runs
    pub playing: bool,
    /// position in the lesson, ms
    pub pos_ms: i64,
    /// speed; 1.0 is normal
    pub rate: f64,
}

/// An event of a client.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// Still here.
    Heartbeat(PlayerState),
    /// The player did something.
    Playback {
        /// what
        event: PlaybackEvent,
        /// of a `seek`: the position before, ms
        #[serde(skip_serializing_if = "Option::is_none")]
        from_ms: Option<i64>,
        /// after it
        #[serde(flatten)]
        player: PlayerState,
    },
    /// The page was hidden, shown, left or returned to.
    Page {
        /// whether it can be seen
        visible: bool,
        /// whether it has the focus
        focused: bool,
        /// at that moment
        #[serde(flatten)]
        player: PlayerState,
    },
    /// Player windows in this browser.
    Windows {
        /// how many
        count: u32,
    },
    /// A commitment to a photo.
    CaptureSubmitted {
        /// the capture's id
        capture: String,
        /// hex of the photo's digest
        sha256: String,
    },
    /// An answer to a prompt.
    PromptAnswered {
        /// the prompt's id
        prompt: String,
        /// the option's text, or the result of the sum
        answer: String,
    },
    /// The page was tampered with.
    Tamper {
        /// how
        what: String,
    },
    /// Events that could not be kept.
    Gap {
        /// how many
        lost: u64,
        /// client time of the first, ms
        from_ct: i64,
        /// client time of the last, ms
        to_ct: i64,
    },
    /// The learner agreed to a text.
    Consent {
        /// hex of its digest
        text_sha256: String,
        /// of the text
        language: String,
    },
}

/// What a player does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words of docs/rules.md, section 1")]
pub enum PlaybackEvent {
    Play,
    Pause,
    Progress,
    Rate,
    Ended,
    Seek,
}

impl Event {
    /// The `type` of the message.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Heartbeat(_) => "heartbeat",
            Self::Playback { .. } => "playback",
            Self::Page { .. } => "page",
            Self::Windows { .. } => "windows",
            Self::CaptureSubmitted { .. } => "capture.submitted",
            Self::PromptAnswered { .. } => "prompt.answered",
            Self::Tamper { .. } => "tamper",
            Self::Gap { .. } => "gap",
            Self::Consent { .. } => "consent",
        }
    }

    /// The `data` of the message.
    pub fn data(&self) -> Box<RawValue> {
        to_raw_value(self).expect("these types have string keys, so JSON can hold them")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_as_the_rules_ask() {
        let player = PlayerState { playing: true, pos_ms: 5, rate: 1.0 };
        let seek = Event::Playback { event: PlaybackEvent::Seek, from_ms: Some(9), player };
        assert_eq!(seek.data().get(), r#"{"event":"seek","from_ms":9,"playing":true,"pos_ms":5,"rate":1.0}"#);
        let play = Event::Playback { event: PlaybackEvent::Play, from_ms: None, player };
        assert_eq!(play.data().get(), r#"{"event":"play","playing":true,"pos_ms":5,"rate":1.0}"#);
        assert_eq!(Event::Heartbeat(player).data().get(), r#"{"playing":true,"pos_ms":5,"rate":1.0}"#);
        let page = Event::Page { visible: false, focused: false, player };
        assert_eq!(
            (page.kind(), page.data().get()),
            ("page", r#"{"visible":false,"focused":false,"playing":true,"pos_ms":5,"rate":1.0}"#)
        );
    }
}
