//! Words that records are allowed to hold, as the database and the API spell them.

use super::sql::{FromSql, Kind, Plain, ValueRef};
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

        impl Plain for $name {
            const KIND: Kind = Kind::Text;

            fn plain(&self) -> ValueRef<'_> {
                ValueRef::Text(self.as_str())
            }
        }

        impl FromSql for $name {
            fn from_sql(value: ValueRef<'_>) -> Result<Self, String> {
                match value {
                    $(ValueRef::Text($word) => Ok(Self::$variant),)+
                    other => Err(format!("holds {other:?}, which is no {}", stringify!($name))),
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

impl From<PlatformStatus> for crate::log::PlatformStatus {
    fn from(status: PlatformStatus) -> Self {
        match status {
            PlatformStatus::Active => Self::Active,
            PlatformStatus::Suspended => Self::Suspended,
            PlatformStatus::Unregistered => Self::Unregistered,
            PlatformStatus::Banned => Self::Banned,
        }
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

words! {
    /// The certificate at the end of a project.
    Certificate {
        /// 职业资格证书
        Qualification = "qualification",
        /// 职业技能等级证书
        SkillLevel = "skill_level",
        /// 专项职业能力证书
        SpecialAbility = "special_ability",
        /// 培训合格证书
        Completion = "completion",
    }
}

words! {
    /// What whoever shows an API key, or signs in, may do.
    KeyRole {
        /// runs the installation: all that a supervisor may, platforms and keys
        Operator = "operator",
        /// decides about platforms, projects, lessons and make-ups, and sees names
        Supervisor = "supervisor",
        /// reads everything but names, and decides nothing
        Auditor = "auditor",
        /// a platform's back end: what is its own
        Platform = "platform",
        /// an account that runs the installation: all that the operator may, but sees no session, photo or name
        Administrator = "administrator",
        /// an account of a platform's people: reads what is its own
        Staff = "staff",
    }
}

words! {
    /// What the holder of an account may do.
    AccountRole {
        /// decides, in a region, and sees names and photos
        Supervisor = "supervisor",
        /// reads everything but names, and decides nothing
        Auditor = "auditor",
        /// runs accounts, platforms and keys, and sees no session, photo or name
        Administrator = "administrator",
        /// reads what is a platform's own, and decides nothing
        Staff = "staff",
    }
}

words! {
    /// A list of sessions that people look after.
    QueueTab {
        /// the engine has left them to a person
        Review = "review",
        /// their learners have appealed
        Appeals = "appeals",
        /// they were decided
        Decided = "decided",
    }
}

words! {
    /// Whether a decision stands.
    DecisionState {
        /// a second person must decide the same
        Proposed = "proposed",
        /// it stands
        Final = "final",
    }
}

/// How much something weighs, as a number in the records: what weighs most comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// somebody should look soon
    High,
    /// in between
    Medium,
    /// it may wait
    Low,
}

impl Severity {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

impl Plain for Severity {
    const KIND: Kind = Kind::Integer;

    fn plain(&self) -> ValueRef<'_> {
        ValueRef::Integer(*self as i64)
    }
}

impl FromSql for Severity {
    fn from_sql(value: ValueRef<'_>) -> Result<Self, String> {
        match value {
            ValueRef::Integer(0) => Ok(Self::High),
            ValueRef::Integer(1) => Ok(Self::Medium),
            ValueRef::Integer(2) => Ok(Self::Low),
            other => Err(format!("holds {other:?}, which is no weight")),
        }
    }
}

words! {
    /// What somebody was shown or did.
    AccessKind {
        /// signed in
        Login = "login",
        /// tried to
        LoginFailed = "login_failed",
        /// was shown a photo of a capture
        Photo = "photo",
        /// was shown the photo of an enrolment
        EnrolledPhoto = "enrolled_photo",
        /// was shown a name and ID number
        Person = "person",
        /// took something along
        Export = "export",
        /// decided about a session
        Decision = "decision",
        /// made a link for an appeal, or appealed
        Appeal = "appeal",
    }
}

words! {
    /// How much of a person is shown.
    PersonForm {
        /// the whole name and number
        Full = "full",
        /// enough of them to be recognised by whoever knows them
        Masked = "masked",
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
            (Certificate::SpecialAbility.as_str(), serde_json::to_string(&Certificate::SpecialAbility)),
            (KeyRole::Supervisor.as_str(), serde_json::to_string(&KeyRole::Supervisor)),
            (LessonKind::Practice.as_str(), serde_json::to_string(&LessonKind::Practice)),
        ] {
            assert_eq!(json.unwrap(), format!("\"{word}\""));
        }
        assert!(PlatformStatus::from_sql(ValueRef::Text("odd")).is_err());
    }
}
