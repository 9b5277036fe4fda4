//! The words that docs/rules.md lists for a field, one enum a field.
//!
//! Any other word is an error, so that a log cannot mean different things to different readers.

/// Defines an enum whose variants are words on the wire.
macro_rules! words {
    ($($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* #[doc = concat!("`", $word, "`")] $variant,)*
        }

        impl $name {
            /// All of them, as docs/rules.md lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word as it stands in a log.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The variant of a word, if the word is one of the listed.
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let words = Self::ALL.iter().map(|word| word.as_str());
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some(words))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;

                impl serde::de::Visitor<'_> for Word {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str(concat!("one of" $(, " ", $word)*))
                    }

                    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<$name, E> {
                        $name::from_word(word)
                            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(word), &self))
                    }
                }

                deserializer.deserialize_str(Word)
            }
        }
    )*};
}
pub(crate) use words;

words! {
    /// Who made an event.
    Source {
        Server = "server",
        Client = "client",
    }

    /// The known event types.
    EventType {
        SessionOpened = "session.opened",
        ConnectionOpened = "connection.opened",
        ClockSynced = "clock.synced",
        ConnectionClosed = "connection.closed",
        CaptureRequested = "capture.requested",
        FaceChecked = "face.checked",
        CaptureExpired = "capture.expired",
        PromptIssued = "prompt.issued",
        PromptResolved = "prompt.resolved",
        PresenceConflict = "presence.conflict",
        SessionClosed = "session.closed",
        Heartbeat = "heartbeat",
        Playback = "playback",
        Page = "page",
        Windows = "windows",
        CaptureSubmitted = "capture.submitted",
        PromptAnswered = "prompt.answered",
        Tamper = "tamper",
        Gap = "gap",
        Consent = "consent",
    }

    /// How the office regards a platform when a session is opened.
    PlatformStatus {
        Active = "active",
        Suspended = "suspended",
        Unregistered = "unregistered",
        Banned = "banned",
    }

    /// What a lesson teaches: theory may be online, practice may not.
    LessonKind {
        Theory = "theory",
        Practice = "practice",
    }

    /// Whether a project also has hours in a classroom.
    Delivery {
        Blended = "blended",
        OnlineOnly = "online_only",
    }

    /// Why the server asked for a photo.
    CaptureReason {
        Start = "start",
        Random = "random",
        Recheck = "recheck",
        Challenge = "challenge",
        Supervisor = "supervisor",
    }

    /// What a learner is asked to do in front of the camera. Left and right are the learner's own.
    Movement {
        TurnLeft = "turn_left",
        TurnRight = "turn_right",
        LookUp = "look_up",
        LookDown = "look_down",
        BlinkTwice = "blink_twice",
    }

    /// What a face check found.
    FaceOutcome {
        Match = "match",
        Mismatch = "mismatch",
        NoFace = "no_face",
        MultipleFaces = "multiple_faces",
        Spoof = "spoof",
        Unusable = "unusable",
        /// The engine itself could not check: overload, a model that failed.
        Error = "error",
    }

    /// What a check amounts to for the learner: a [`FaceOutcome`] without `error`, or a photo that never came.
    CheckOutcome {
        Match = "match",
        Mismatch = "mismatch",
        NoFace = "no_face",
        MultipleFaces = "multiple_faces",
        Spoof = "spoof",
        Unusable = "unusable",
        Expired = "expired",
    }

    /// How a prompt ended.
    PromptOutcome {
        Passed = "passed",
        Failed = "failed",
        Expired = "expired",
    }

    /// Why a session ended.
    CloseReason {
        Completed = "completed",
        Left = "left",
        Timeout = "timeout",
        Superseded = "superseded",
        Revoked = "revoked",
        Quota = "quota",
    }

    /// What the player reports.
    PlaybackEvent {
        Play = "play",
        Pause = "pause",
        Progress = "progress",
        Rate = "rate",
        Ended = "ended",
        Seek = "seek",
    }
}

impl EventType {
    /// Who alone may make an event of this type.
    pub const fn source(self) -> Source {
        match self {
            Self::SessionOpened
            | Self::ConnectionOpened
            | Self::ClockSynced
            | Self::ConnectionClosed
            | Self::CaptureRequested
            | Self::FaceChecked
            | Self::CaptureExpired
            | Self::PromptIssued
            | Self::PromptResolved
            | Self::PresenceConflict
            | Self::SessionClosed => Source::Server,
            Self::Heartbeat
            | Self::Playback
            | Self::Page
            | Self::Windows
            | Self::CaptureSubmitted
            | Self::PromptAnswered
            | Self::Tamper
            | Self::Gap
            | Self::Consent => Source::Client,
        }
    }
}

impl FaceOutcome {
    /// What this outcome counts as; nothing when the engine could not check.
    pub const fn counted(self) -> Option<CheckOutcome> {
        match self {
            Self::Match => Some(CheckOutcome::Match),
            Self::Mismatch => Some(CheckOutcome::Mismatch),
            Self::NoFace => Some(CheckOutcome::NoFace),
            Self::MultipleFaces => Some(CheckOutcome::MultipleFaces),
            Self::Spoof => Some(CheckOutcome::Spoof),
            Self::Unusable => Some(CheckOutcome::Unusable),
            Self::Error => None,
        }
    }
}
