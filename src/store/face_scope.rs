//! Which enrolled faces are searched: a set that makes sense, as one text.
//!
//! `class:PROJECT`, `class:PROJECT/NAME`, `platform:ID`, `device:DIGEST`, `address:DIGEST`, `learners:ID,ID,…`,
//! `versions:LEARNER` (the earlier photos of one learner) or `everybody`.

use std::fmt;
use std::str::FromStr;

use super::sql::Value;
use crate::log::words;

/// Most learners that a set names one by one.
pub const LEARNERS_LIMIT: usize = 1_000;
/// Longest scope, bytes: as many identifiers with commas, and their name.
pub const SCOPE_LIMIT_BYTES: usize = LEARNERS_LIMIT * 40;

words! {
    /// What kind of search it is: each has false hits of its own that are allowed a day.
    SearchKind {
        Class = "class",
        Platform = "platform",
        Device = "device",
        Address = "address",
        Chosen = "chosen",
    }
}

/// Whose faces are searched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// those enrolled in a project, or in one class of it
    Class {
        /// the project
        project: String,
        /// the class; none: all of the project
        class: Option<String>,
    },
    /// those whom a platform has named
    Platform(String),
    /// those who were seen on a device in the last 30 days, by its digest
    Device(String),
    /// those who were seen behind an address in the last 30 days, by its digest
    Address(String),
    /// these
    Learners(Vec<String>),
    /// the learner's own earlier photos
    Versions(String),
    /// all who are enrolled here
    Everybody,
}

impl Scope {
    /// What kind of search a search of it is, if it is made by the engine itself; a person's is always `chosen`.
    pub fn kind(&self) -> SearchKind {
        match self {
            Self::Class { .. } => SearchKind::Class,
            Self::Platform(_) => SearchKind::Platform,
            Self::Device(_) => SearchKind::Device,
            Self::Address(_) => SearchKind::Address,
            Self::Learners(_) | Self::Versions(_) | Self::Everybody => SearchKind::Chosen,
        }
    }

    /// The condition on `learner.id`, whose placeholders begin at `?{from}`, and their values.
    pub(super) fn condition(&self, from: usize) -> (String, Vec<Value>) {
        let text = |value: &String| Value::Text(value.clone());
        let seen = |kind: &str, value: &String| {
            let condition = format!(
                "learner.id IN (SELECT learner FROM risk_sighting WHERE risk_sighting.kind = '{kind}' AND value = ?{from})"
            );
            (condition, vec![text(value)])
        };
        match self {
            Self::Class { project, class } => {
                let (mut and, mut values) = (String::new(), vec![text(project)]);
                if let Some(class) = class {
                    and = format!(" AND class = ?{}", from + 1);
                    values.push(text(class));
                }
                let condition = format!(
                    "learner.id IN (SELECT learner FROM enrolment WHERE project = ?{from}{and} AND withdrawn_at IS NULL)"
                );
                (condition, values)
            }
            Self::Platform(platform) => {
                let condition = format!(
                    "learner.id IN (SELECT learner FROM platform_learner WHERE platform_learner.platform = ?{from})"
                );
                (condition, vec![text(platform)])
            }
            Self::Device(device) => seen("device", device),
            Self::Address(address) => seen("address", address),
            Self::Learners(learners) => {
                let places: Vec<String> = (from..from + learners.len()).map(|place| format!("?{place}")).collect();
                (format!("learner.id IN ({})", places.join(", ")), learners.iter().map(text).collect())
            }
            Self::Versions(learner) => (format!("learner.id = ?{from}"), vec![text(learner)]),
            Self::Everybody => ("1 = 1".to_owned(), Vec::new()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class { project, class: None } => write!(formatter, "class:{project}"),
            Self::Class { project, class: Some(class) } => write!(formatter, "class:{project}/{class}"),
            Self::Platform(platform) => write!(formatter, "platform:{platform}"),
            Self::Device(device) => write!(formatter, "device:{device}"),
            Self::Address(address) => write!(formatter, "address:{address}"),
            Self::Learners(learners) => write!(formatter, "learners:{}", learners.join(",")),
            Self::Versions(learner) => write!(formatter, "versions:{learner}"),
            Self::Everybody => formatter.write_str("everybody"),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > SCOPE_LIMIT_BYTES {
            return Err(format!("is longer than {SCOPE_LIMIT_BYTES} bytes"));
        }
        if text == "everybody" {
            return Ok(Self::Everybody);
        }
        let forms = "must be class:PROJECT, class:PROJECT/NAME, platform:ID, device:DIGEST, address:DIGEST, \
                     learners:ID,ID,…, versions:LEARNER or everybody";
        let (kind, value) = text.split_once(':').filter(|(_, value)| !value.is_empty()).ok_or(forms)?;
        let value_text = value.to_owned();
        match kind {
            "class" => Ok(match value.split_once('/') {
                Some((project, class)) => Self::Class { project: project.to_owned(), class: Some(class.to_owned()) },
                None => Self::Class { project: value_text, class: None },
            }),
            "platform" => Ok(Self::Platform(value_text)),
            "device" => Ok(Self::Device(value_text)),
            "address" => Ok(Self::Address(value_text)),
            "versions" => Ok(Self::Versions(value_text)),
            "learners" => {
                let mut learners: Vec<String> = value.split(',').map(|id| id.trim().to_owned()).collect();
                learners.sort();
                learners.dedup();
                if learners.iter().any(String::is_empty) {
                    return Err("names a learner without an identifier".to_owned());
                }
                if learners.len() > LEARNERS_LIMIT {
                    return Err(format!("names {} learners, at most {LEARNERS_LIMIT}", learners.len()));
                }
                Ok(Self::Learners(learners))
            }
            _ => Err(forms.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_read_as_it_is_written() {
        for text in [
            "class:j1",
            "class:j1/",
            "class:j1/二班/a",
            "platform:p1",
            "device:00ff",
            "address:00ff",
            "learners:a,b",
            "versions:l1",
            "everybody",
        ] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        assert_eq!("learners:b, a,b".parse::<Scope>().unwrap().to_string(), "learners:a,b");
    }

    #[test]
    fn what_is_no_scope_says_what_would_be() {
        for text in ["", "class", "class:", "luck:1", "learners:a,,b"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        let many: Vec<String> = (0..=LEARNERS_LIMIT).map(|number| number.to_string()).collect();
        assert!(format!("learners:{}", many.join(",")).parse::<Scope>().unwrap_err().contains("at most"));
        assert!("x".repeat(SCOPE_LIMIT_BYTES + 1).parse::<Scope>().unwrap_err().contains("longer"));
    }
}
