//! The people in the photos that `make models` fetches: who is enrolled by which photo, and which of the others are
//! fit to be shown. For the demo, the benchmarks and the tests; the server never reads it.
//!
//! Which frames are fit was found with this very pipeline (`invigil models survey` writes the list anew).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const EMBEDDED: &str = include_str!("../../models/people.json");

/// Everybody, and the photos without a person.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct People {
    /// One identity each.
    pub people: Vec<Person>,
    /// Photos of a chair that was left: no face.
    pub empty: Frames,
    /// Photos with several faces.
    pub several: Frames,
}

/// One identity.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Person {
    /// Folder under `people/`.
    pub name: String,
    /// The photo to enrol with; it is not among `frames`.
    pub enrol: u32,
    /// Photos that match the enrolment, in the film's order.
    pub frames: Vec<u32>,
}

/// Photos of one folder under `people/`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Frames {
    /// The folder.
    pub name: String,
    /// The photos.
    pub frames: Vec<u32>,
}

impl People {
    /// The list this binary was built with.
    ///
    /// # Panics
    /// Never in a binary whose tests have run: the text is a constant.
    pub fn embedded() -> Self {
        serde_json::from_str(EMBEDDED).expect("the embedded list is tested")
    }

    /// The identity called `name`.
    pub fn person(&self, name: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.name == name)
    }
}

impl Person {
    /// The enrolment photo's path.
    pub fn enrol_path(&self, models: &Path) -> PathBuf {
        path(models, &self.name, self.enrol)
    }

    /// The paths of the photos to show.
    pub fn frame_paths(&self, models: &Path) -> Vec<PathBuf> {
        self.frames.iter().map(|frame| path(models, &self.name, *frame)).collect()
    }
}

impl Frames {
    /// Their paths.
    pub fn paths(&self, models: &Path) -> Vec<PathBuf> {
        self.frames.iter().map(|frame| path(models, &self.name, *frame)).collect()
    }
}

/// Where photo `frame` of `name` lies in the folder `models`.
pub fn path(models: &Path, name: &str, frame: u32) -> PathBuf {
    models.join("people").join(name).join(format!("{frame:03}.jpg"))
}
