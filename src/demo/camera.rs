//! What a learner's camera shows: a film; and, when a movement is asked for, a portrait that moves, since no film shows
//! somebody who was asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::people;
use crate::gateway::wire::Capture;
use crate::log::Movement;
use crate::vision::puppet::{self, Film, Motion, Puppet};

/// How somebody takes it that a movement is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movements {
    /// Nobody asks them.
    Unasked,
    /// They do what is asked.
    Done,
    /// What sits there is itself a film, and knows nothing of it.
    Unheard,
}

/// A camera. A clone is the same one.
#[derive(Clone)]
pub struct Camera {
    film: people::Film,
    moves: Option<Arc<Moves>>,
}

struct Moves {
    puppet: Puppet,
    hears: bool,
    films: AtomicU64,
    /// Rendered ahead, since an answer must be there in two seconds however slow the machine is: each is shown once.
    ready: Mutex<Vec<(Motion, Vec<Vec<u8>>)>>,
}

/// How often somebody who does not hear is shown before it must be rendered again.
const STILLS: usize = 3;

impl Camera {
    /// One that shows a film, whatever is asked for.
    pub fn of(film: people::Film) -> Self {
        Self { film, moves: None }
    }

    /// The same, with somebody who `hears` what movement is asked for, or does not.
    pub fn with(self, puppet: Puppet, hears: bool) -> Self {
        let moves = Moves { puppet, hears, films: AtomicU64::new(1), ready: Mutex::default() };
        let all = || Movement::ALL.iter().map(|movement| Motion::from(*movement)).collect();
        let motions = if hears { all() } else { vec![Motion::Still; STILLS] };
        let ready = motions.into_iter().map(|motion| (motion, moves.rendered(moves.film(motion)))).collect();
        Self { moves: Some(Arc::new(Moves { ready: Mutex::new(ready), ..moves })), ..self }
    }

    /// What is seen while a capture is taken; none when the film is over.
    pub async fn photos(&self, capture: &Capture) -> Option<Vec<Vec<u8>>> {
        let frames = usize::try_from(capture.frames).unwrap_or(1);
        let (Some(movement), Some(moves)) = (capture.challenge, self.moves.clone()) else {
            return self.film.next_photos(frames);
        };
        let every_ms = u32::try_from(capture.frame_every_ms).ok()?;
        let played = tokio::task::spawn_blocking(move || moves.play(movement, frames, every_ms));
        played.await.ok()
    }
}

impl std::fmt::Debug for Camera {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Camera").field("film", &self.film).finish_non_exhaustive()
    }
}

impl Moves {
    fn play(&self, movement: Movement, frames: usize, every_ms: u32) -> Vec<Vec<u8>> {
        let motion = if self.hears { Motion::from(movement) } else { Motion::Still };
        let film = Film { frames: u32::try_from(frames).unwrap_or(u32::MAX), every_ms, ..self.film(motion) };
        let usual = Film::of(motion, film.seed);
        if (film.frames, film.every_ms) == (usual.frames, usual.every_ms) {
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = ready.iter().position(|(of, _)| *of == motion) {
                return ready.swap_remove(at).1;
            }
        }
        self.rendered(film)
    }

    /// Another film each time.
    fn film(&self, motion: Motion) -> Film<'static> {
        Film::of(motion, self.films.fetch_add(1, Ordering::Relaxed))
    }

    fn rendered(&self, film: Film<'_>) -> Vec<Vec<u8>> {
        self.puppet.play(film).map(|(_, photo)| puppet::jpeg(&photo)).collect()
    }
}
