//! Words that records are allowed to hold, as the database and the API spell them.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$item])* $variant,)+ }

        impl $name {
            /// The word itself.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                match value.as_str()? {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(FromSqlError::InvalidType),
                }
            }
        }
    };
}

words! {
    /// Whether a platform may hold subsidised training.
    PlatformStatus {
        /// it may
        Active = "active",
        /// its training is stopped for now
        Suspended = "suspended",
        /// it is not part of the supervision system
        Unregistered = "unregistered",
        /// it broke the rules and is excluded
        Banned = "banned",
    }
}

words! {
    /// How a project is held.
    Delivery {
        /// partly online, up to the policy's share of the hours
        Blended = "blended",
        /// all of it online
        OnlineOnly = "online_only",
    }
}

words! {
    /// What a lesson is.
    LessonKind {
        /// may be taken online
        Theory = "theory",
        /// may not
        Practice = "practice",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_and_json_spell_alike() {
        for (word, json) in [
            (PlatformStatus::Unregistered.as_str(), serde_json::to_string(&PlatformStatus::Unregistered)),
            (Delivery::OnlineOnly.as_str(), serde_json::to_string(&Delivery::OnlineOnly)),
            (LessonKind::Practice.as_str(), serde_json::to_string(&LessonKind::Practice)),
        ] {
            assert_eq!(json.unwrap(), format!("\"{word}\""));
        }
        assert!(PlatformStatus::column_result(ValueRef::Text(b"odd")).is_err());
    }
}
