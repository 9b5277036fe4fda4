//! What whoever has looked at a photo tells who asked: all that the engine found, to the last bit, so that what is
//! recorded is what would have been recorded there.

use serde::{Deserialize, Serialize};

use super::Enrolled;
use super::frame::{self, FrameError, Of};
use crate::auth::keys::DataKey;
use crate::clock::Entropy;
use crate::vision::{Check, EnrolError, Picture, Template};

const KIND: &str = "photo answer";

/// What came of a job.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    Checked(Box<Check>),
    Enrolled(Box<Result<Enrolled, EnrolError>>),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Head {
    Checked {
        check: Box<Check>,
    },
    /// followed by the template
    Enrolled {
        picture: Option<Picture>,
        replaced: Option<Box<Check>>,
    },
    Refused {
        why: EnrolError,
    },
}

impl Told {
    pub(super) fn seal(&self, master: &DataKey, entropy: &Entropy, of: Of<'_>) -> Vec<u8> {
        let (head, template) = match self {
            Self::Checked(check) => (Head::Checked { check: check.clone() }, None),
            Self::Enrolled(enrolled) => match enrolled.as_ref() {
                Ok(Enrolled { template, picture, replaced }) => {
                    let (picture, replaced) = (picture.clone(), replaced.clone().map(Box::new));
                    (Head::Enrolled { picture, replaced }, Some(template))
                }
                Err(error) => (Head::Refused { why: error.clone() }, None),
            },
        };
        let tail = template.map(Template::to_bytes).unwrap_or_default();
        frame::seal(master, entropy, KIND, of, &head, &tail)
    }

    pub(super) fn open(master: &DataKey, of: Of<'_>, sealed: &[u8]) -> Result<Self, FrameError> {
        let (head, tail) = frame::open(master, KIND, of, sealed)?;
        Ok(match head {
            Head::Checked { check } => Self::Checked(check),
            Head::Enrolled { picture, replaced } => {
                let template = Template::from_bytes(&tail).map_err(FrameError::unknown)?;
                let replaced = replaced.map(|check| *check);
                Self::Enrolled(Box::new(Ok(Enrolled { template, picture, replaced })))
            }
            Head::Refused { why } => Self::Enrolled(Box::new(Err(why))),
        })
    }
}
