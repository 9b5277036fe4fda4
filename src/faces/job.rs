//! What is asked of whoever looks at photos.

use axum::body::Bytes;
use serde::{Deserialize, Serialize};

use super::frame::{self, FrameError, Of};
use crate::auth::keys::DataKey;
use crate::clock::Entropy;
use crate::store::evidence::EvidenceId;
use crate::vision::{Asked, Earlier, Known, Picture, Question, Template};

const KIND: &str = "photo job";
const KEY_BYTES: usize = 32;

/// A photo that is to be looked at. It can be done twice.
#[derive(Clone)]
pub(super) enum Job {
    /// Holds a kept submission against what was asked.
    Check {
        /// where the photo is
        evidence: EvidenceId,
        /// what opens it
        key: DataKey,
        /// what is asked
        question: Question,
    },
    /// Makes a template.
    Enrol {
        /// the photo, which is not kept yet
        photo: Bytes,
        /// the face that it is to replace
        replaced: Option<Template>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Head {
    /// followed by the key, the template, and what each earlier photo is known by
    Check { evidence: String, asked: Asked, known: Vec<Earlier>, known_least: f32 },
    /// followed by the template, if there is one, and the photo
    Enrol { replaces: bool },
}

impl Job {
    pub(super) fn seal(&self, master: &DataKey, entropy: &Entropy, of: Of<'_>) -> Vec<u8> {
        let (head, tail) = match self {
            Self::Check { evidence, key, question: Question { enrolled, asked, known } } => {
                let mut tail = [key.expose().as_slice(), &enrolled.to_bytes()].concat();
                tail.extend(known.pictures.iter().flat_map(|(_, picture)| picture.to_bytes()));
                let head = Head::Check {
                    evidence: evidence.as_str().to_owned(),
                    asked: asked.clone(),
                    known: known.pictures.iter().map(|(of, _)| *of).collect(),
                    known_least: known.least,
                };
                (head, tail)
            }
            Self::Enrol { photo, replaced } => {
                let template = replaced.as_ref().map(Template::to_bytes).unwrap_or_default();
                (Head::Enrol { replaces: replaced.is_some() }, [template.as_slice(), photo].concat())
            }
        };
        frame::seal(master, entropy, KIND, of, &head, &tail)
    }

    pub(super) fn open(master: &DataKey, of: Of<'_>, sealed: &[u8]) -> Result<Self, FrameError> {
        let (head, tail) = frame::open(master, KIND, of, sealed)?;
        match head {
            Head::Check { evidence, asked, known, known_least } => {
                let evidence = EvidenceId::parse(&evidence).map_err(FrameError::unknown)?;
                let (key, rest) =
                    tail.split_first_chunk::<KEY_BYTES>().ok_or_else(|| FrameError::unknown("it has no key"))?;
                let no_template = || FrameError::unknown("it has no template");
                let (template, pictures) = rest.split_at_checked(Template::BYTES).ok_or_else(no_template)?;
                let enrolled = Template::from_bytes(template).map_err(FrameError::unknown)?;
                if pictures.len() != known.len() * Picture::BYTES {
                    return Err(FrameError::unknown("its earlier photos have another length"));
                }
                let pictures = pictures.chunks_exact(Picture::BYTES).filter_map(Picture::from_bytes);
                let known = Known { pictures: known.into_iter().zip(pictures).collect(), least: known_least };
                let question = Question { enrolled, asked, known };
                Ok(Self::Check { evidence, key: DataKey::from_bytes(*key), question })
            }
            Head::Enrol { replaces } => {
                let length = if replaces { Template::BYTES } else { 0 };
                let (template, _) =
                    tail.split_at_checked(length).ok_or_else(|| FrameError::unknown("it has no template"))?;
                let replaced = replaces.then(|| Template::from_bytes(template)).transpose();
                Ok(Self::Enrol {
                    photo: Bytes::from(tail).slice(length..),
                    replaced: replaced.map_err(FrameError::unknown)?,
                })
            }
        }
    }
}
