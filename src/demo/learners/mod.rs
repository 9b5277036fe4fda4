//! Who takes part: what each does, whose face is in front of the camera, and what they deserve.
//!
//! The techniques are described in public scripts and threads; each is written anew here from its description, as a
//! short script on top of [`Desk`].

mod absent;
mod elsewhere;
mod honest;
mod order;
mod speed;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::camera::{Camera, Movements};
use super::desk::{Desk, Habits, Over, Reports};
use super::progress::Progress;
use super::world::{Place, World};
use crate::client::Client;
use crate::clock::{Clock, Entropy};

/// Somebody who takes part.
pub struct Learner {
    /// what they are called
    pub name: &'static str,
    /// what they do
    pub does: &'static str,
    /// whose portrait is enrolled
    pub portrait: &'static str,
    /// who sits in front of the camera
    pub sitter: &'static str,
    /// what their camera shows
    pub shows: Shows,
    /// how they take it that a movement is asked for
    pub movements: Movements,
    /// where they are enrolled
    pub places: &'static [Place],
    /// online time that they had before, ms
    pub prior_online_ms: i64,
    /// how they go about it
    pub script: fn(Seat) -> BoxFuture<'static, Result<(), Over>>,
    /// what must come of it
    pub deserves: Deserves,
}

/// What is in front of a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// Whoever sits there.
    Themselves,
    /// Their portrait, out of a file.
    StoredPortrait,
}

/// What must come of a learner's sessions.
#[derive(Debug, Clone, Copy)]
pub struct Deserves {
    /// of which sessions
    pub sessions: Which,
    /// status of their verdicts
    pub status: &'static str,
    /// rules that must be found broken in them
    pub rules: &'static [&'static str],
    /// rules that may be found broken besides
    pub besides: &'static [&'static str],
    /// what each of them is credited, ms; none: whatever completes the lesson, when they are valid
    pub credited_ms: Option<i64>,
}

/// Sessions of a learner that are judged by what the learner deserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Each of them.
    All,
    /// The last: those before it only lead up to it.
    Last,
}

impl Deserves {
    const VALID: Self = Self { sessions: Which::All, status: "valid", rules: &[], besides: &[], credited_ms: None };

    const fn invalid(rules: &'static [&'static str]) -> Self {
        Self { sessions: Which::All, status: "invalid", rules, besides: &[], credited_ms: None }
    }

    const fn besides(self, besides: &'static [&'static str]) -> Self {
        Self { besides, ..self }
    }
}

/// What a learner starts from.
#[derive(Clone)]
pub struct Seat {
    /// the platforms
    pub world: Arc<World>,
    /// the learner's id
    pub learner: String,
    /// what their camera sees
    pub camera: Camera,
    /// the time of the sessions
    pub clock: Clock,
    /// for what people do at random
    pub entropy: Entropy,
    /// what can be seen from outside
    pub progress: Progress,
}

impl Seat {
    /// What an honest learner does without being told.
    fn honest_habits(&self) -> Habits {
        Habits { answers: true, obeys: true, reports: Reports::Truth, camera: Some(self.camera.clone()) }
    }

    /// The same, by somebody who does not stop when told to.
    fn restless_habits(&self) -> Habits {
        Habits { obeys: false, ..self.honest_habits() }
    }

    /// Opens a session and sits down to it.
    async fn begin(&self, place: Place, habits: Habits) -> Result<Desk, Over> {
        let admission = self.world.open(place, &self.learner).await.map_err(|error| {
            self.progress.failed(error);
            Over
        })?;
        self.progress.sits_down(admission.session);
        let client = Client::connect(admission.url, admission.credentials, self.clock.clone(), self.entropy.clone());
        Desk::sit_down(client, self.clock.clone(), self.entropy.clone(), habits, self.progress.clone()).await
    }
}

/// Everybody. Their faces are few: the same one is enrolled under several ID numbers, with other photos.
pub fn everybody() -> Vec<Learner> {
    let (first, close): (&[Place], &[Place]) = (&[Place::First], &[Place::Close]);
    let learner = |name, does, face, script, deserves| Learner {
        name,
        does,
        portrait: face,
        sitter: face,
        shows: Shows::Themselves,
        movements: Movements::Unasked,
        places: first,
        prior_online_ms: 0,
        script,
        deserves,
    };
    let no_face: &[&str] = &["face_unchecked", "face_unresolved"];
    vec![
        learner("honest", "watches and answers", "webcam_man", |seat| Box::pin(honest::watches(seat)), Deserves::VALID),
        learner(
            "bad network",
            "is cut off five times",
            "film_woman",
            |seat| Box::pin(honest::is_cut_off(seat)),
            Deserves::VALID,
        ),
        learner(
            "rewinder",
            "pauses, goes back, watches again",
            "car_man",
            |seat| Box::pin(honest::rewinds(seat)),
            Deserves::VALID,
        ),
        learner(
            "speeder",
            "plays at four times the speed",
            "film_woman",
            |seat| Box::pin(speed::hurries(seat)),
            Deserves::invalid(&["fast_forward"]),
        ),
        learner(
            "lying speeder",
            "the same, and reports normal speed",
            "webcam_man",
            |seat| Box::pin(speed::hurries_and_lies(seat)),
            Deserves::invalid(&["fast_forward"]),
        ),
        learner(
            "forger",
            "no player: posts the whole film",
            "obama",
            |seat| Box::pin(speed::forges(seat)),
            Deserves::invalid(&["fast_forward"]).besides(no_face),
        ),
        learner(
            "jumper",
            "drags the player to the end",
            "webcam_man",
            |seat| Box::pin(speed::jumps(seat)),
            Deserves::invalid(&["fast_forward"]),
        ),
        Learner {
            places: &[Place::First, Place::Elsewhere],
            ..learner(
                "two at once",
                "two platforms at the same time",
                "film_woman",
                |seat| Box::pin(elsewhere::two_platforms(seat)),
                Deserves::invalid(&["multi_window"]),
            )
        },
        learner(
            "chain",
            "seven short sessions, no prompt answered",
            "film_woman",
            |seat| Box::pin(absent::short_sessions(seat)),
            Deserves { sessions: Which::Last, ..Deserves::invalid(&["prompt_gap"]) },
        ),
        learner(
            "away",
            "lets it play, answers no prompt",
            "webcam_man",
            |seat| Box::pin(absent::answers_nothing(seat)),
            Deserves::invalid(&["prompt_gap"]),
        ),
        learner(
            "other page",
            "hides the page and lets it play",
            "film_woman",
            |seat| Box::pin(elsewhere::hides(seat)),
            Deserves::invalid(&["multi_window"]),
        ),
        Learner {
            portrait: "biden",
            ..learner(
                "stand-in",
                "somebody else sits there",
                "webcam_man",
                |seat| Box::pin(absent::in_front_of_the_camera(seat)),
                Deserves::invalid(&["face_liveness"]).besides(no_face),
            )
        },
        Learner {
            portrait: "astronaut",
            ..learner(
                "empty chair",
                "nobody sits there",
                "empty_chair",
                |seat| Box::pin(absent::in_front_of_the_camera(seat)),
                Deserves::invalid(&["face_liveness"]).besides(no_face),
            )
        },
        Learner {
            places: close,
            movements: Movements::Done,
            ..learner(
                "looks around",
                "turns the head when asked to",
                "film_woman",
                |seat| Box::pin(honest::is_looked_at_closely(seat)),
                Deserves::VALID,
            )
        },
        Learner {
            places: close,
            shows: Shows::StoredPortrait,
            ..learner(
                "stored photo",
                "a portrait out of a file, altered each time",
                "astronaut",
                |seat| Box::pin(absent::at_the_third_platform(seat)),
                Deserves::invalid(&["face_liveness"]).besides(no_face),
            )
        },
        Learner {
            places: close,
            movements: Movements::Unheard,
            ..learner(
                "replayed film",
                "a film of the person, which turns no head",
                "webcam_man",
                |seat| Box::pin(absent::at_the_third_platform(seat)),
                Deserves::invalid(&["face_liveness"]).besides(no_face),
            )
        },
        learner(
            "virtual camera",
            "the camera is a program: for a person to see",
            "car_man",
            |seat| Box::pin(absent::behind_a_program(seat)),
            Deserves { status: "review", ..Deserves::invalid(&["client_tamper"]) },
        ),
        learner(
            "out of order",
            "begins with the second lesson",
            "car_man",
            |seat| Box::pin(order::second_lesson_first(seat)),
            Deserves::invalid(&["course_order"]),
        ),
        Learner {
            places: &[Place::Small],
            prior_online_ms: 2_760_000,
            ..learner(
                "at the quota",
                "is stopped when the 40 % are spent",
                "webcam_man",
                |seat| Box::pin(order::to_the_quota(seat)),
                Deserves { credited_ms: Some(120_000), ..Deserves::VALID },
            )
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_everybody_is_enrolled_somewhere() {
        let everybody = everybody();
        let names: std::collections::HashSet<_> = everybody.iter().map(|learner| learner.name).collect();
        assert_eq!(names.len(), everybody.len());
        assert!(everybody.iter().all(|learner| !learner.places.is_empty()));
    }
}
