//! The faces of the demo: frames of films and portraits, prepared by `make models` from published packages.
//!
//! `models/people.json` says which frames show whom; the frames themselves are never part of the repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;

use crate::vision::alter;

/// How often a stored portrait is held before a camera.
const ALTERED: u64 = 40;

/// Which frames show whom.
pub const LIST: &str = include_str!("../../models/people.json");

/// Why there is nobody to show.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// A file cannot be read.
    #[error("{path}: {why} (`make models` prepares the people of the demo)")]
    File {
        /// which
        path: PathBuf,
        /// what the system said
        why: std::io::Error,
    },
    /// The list is not what it should be.
    #[error("models/people.json")]
    List(#[from] serde_json::Error),
    /// The list has nobody of that name.
    #[error("people.json knows nobody called {0}")]
    Unknown(&'static str),
}

/// Everybody who can be shown.
#[derive(Debug)]
pub struct People {
    folder: PathBuf,
    list: List,
}

#[derive(Debug, Deserialize)]
struct List {
    people: Vec<Person>,
    empty: Frames,
}

#[derive(Debug, Deserialize)]
struct Person {
    #[serde(flatten)]
    frames: Frames,
    enrol: u32,
}

#[derive(Debug, Deserialize)]
struct Frames {
    name: String,
    frames: Vec<u32>,
}

/// Photos that a learner's camera gives, one after the other, none of them twice. A clone is the same camera.
#[derive(Debug, Clone)]
pub struct Film {
    photos: Arc<[Vec<u8>]>,
    next: Arc<AtomicUsize>,
}

impl People {
    /// The people of [`LIST`], whose frames are in `folder`.
    ///
    /// # Errors
    /// When `list` is no such list.
    pub fn of(list: &str, folder: &Path) -> Result<Self, PeopleError> {
        Ok(Self { folder: folder.to_owned(), list: serde_json::from_str(list)? })
    }

    /// The photo to enrol `name` with. It is in no film.
    ///
    /// # Errors
    /// When there is none.
    pub fn portrait(&self, name: &'static str) -> Result<Vec<u8>, PeopleError> {
        let person = self.list.people.iter().find(|person| person.frames.name == name);
        let person = person.ok_or(PeopleError::Unknown(name))?;
        self.frame(name, person.enrol)
    }

    /// The `part`th (0, 1 …) of `parts` films of `name`, which have no frame in common.
    ///
    /// # Errors
    /// When there is none, or a frame is missing.
    pub fn film(&self, name: &'static str, part: usize, parts: usize) -> Result<Film, PeopleError> {
        let people = self.list.people.iter().map(|person| &person.frames);
        let frames = people.chain([&self.list.empty]).find(|frames| frames.name == name);
        let frames = frames.ok_or(PeopleError::Unknown(name))?;
        let numbers = frames.frames.iter().skip(part).step_by(parts.max(1));
        let photos: Result<Vec<_>, _> = numbers.map(|number| self.frame(name, *number)).collect();
        Ok(Film::of(photos?))
    }

    /// The portrait of `name`, kept in a file and altered a little each time that it is held before the camera.
    ///
    /// # Errors
    /// When there is none.
    pub fn stored_portrait(&self, name: &'static str) -> Result<Film, PeopleError> {
        let portrait = self.portrait(name)?;
        let picture = image::load_from_memory(&portrait).map_err(|_| PeopleError::Unknown(name))?.into_rgb8();
        let photos = (0..ALTERED).map(|number| {
            let gain = 0.85 + 0.005 * number as f32;
            let moved = alter::moved(&picture, 0.5 * number as f32, -0.3 * number as f32, 1.0, 0.0);
            alter::jpeg(&alter::lit(&alter::noisy(&moved, 2.0, number), gain, 0.0), 88)
        });
        Ok(Film::of(photos.collect()))
    }

    fn frame(&self, name: &str, number: u32) -> Result<Vec<u8>, PeopleError> {
        read(&self.folder.join(name).join(format!("{number:03}.jpg")))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PeopleError> {
    std::fs::read(path).map_err(|why| PeopleError::File { path: path.to_owned(), why })
}

impl Film {
    fn of(photos: Vec<Vec<u8>>) -> Self {
        Self { photos: photos.into(), next: Arc::default() }
    }

    /// The last photo: the others end before it as a rule.
    pub fn last(&self) -> Option<&[u8]> {
        self.photos.last().map(Vec::as_slice)
    }

    /// The next photos, one after the other as they were filmed; none once too few are left.
    pub fn next_photos(&self, count: usize) -> Option<Vec<Vec<u8>>> {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        self.photos.get(first..first.saturating_add(count)).map(<[_]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(folder: &Path) -> People {
        std::fs::create_dir(folder.join("ann")).unwrap();
        for number in 1..=6 {
            std::fs::write(folder.join(format!("ann/{number:03}.jpg")), [number]).unwrap();
        }
        let list =
            r#"{"people":[{"name":"ann","enrol":1,"frames":[2,3,4,5,6]}],"empty":{"name":"chair","frames":[9]}}"#;
        People::of(list, folder).unwrap()
    }

    #[test]
    fn films_share_no_frame_and_never_repeat() {
        let folder = tempfile::tempdir().unwrap();
        let people = people(folder.path());
        assert_eq!(people.portrait("ann").unwrap(), [1]);
        let shown = |part| {
            let film = people.film("ann", part, 2).unwrap();
            std::iter::from_fn(move || film.next_photos(1)).flatten().flatten().collect::<Vec<_>>()
        };
        assert_eq!((shown(0), shown(1)), (vec![2, 4, 6], vec![3, 5]));
        let film = people.film("ann", 0, 1).unwrap();
        assert_eq!(film.next_photos(3), Some(vec![vec![2], vec![3], vec![4]]));
        assert_eq!(film.next_photos(3), None, "two are left");
    }

    #[test]
    fn the_list_has_everybody_who_takes_part() {
        let people = People::of(LIST, Path::new("nowhere")).unwrap();
        for learner in crate::demo::learners::everybody() {
            assert!(!matches!(people.film(learner.sitter, 0, 1), Err(PeopleError::Unknown(_))), "{}", learner.name);
            assert!(!matches!(people.portrait(learner.portrait), Err(PeopleError::Unknown(_))), "{}", learner.name);
        }
    }

    #[test]
    fn who_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let people = people(folder.path());
        assert!(matches!(people.portrait("bob"), Err(PeopleError::Unknown("bob"))));
        assert!(people.film("chair", 0, 1).unwrap_err().to_string().contains("make models"));
    }
}
