//! `invigil face puppet`: a film of a portrait that turns, nods or blinks, as a webcam would have taken it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::read;
use crate::vision::puppet::{self, Film, Motion, Puppet};
use crate::vision::{Models, decode};

/// Arguments of `invigil face puppet`.
#[derive(Args, Debug)]
pub struct Puppetry {
    /// A photo of one face.
    photo: PathBuf,
    /// What the person does; left and right are their own.
    #[arg(long, value_enum, default_value = "still")]
    motion: Motion,
    /// How far, as a share of what people do when they are asked to: 30° to the side, 20° up or down, eyes shut.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    extent: f32,
    /// When it begins, in milliseconds after the first frame.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=600_000))]
    begins_ms: u32,
    /// How many frames.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3000))]
    frames: u32,
    /// From one frame to the next, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    every_ms: u32,
    /// The same seed gives the same film.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The camera's noise, of 255: about 2 in a lit room.
    #[arg(long, value_name = "OF_255", default_value_t = 2.0)]
    noise: f32,
    /// A photo to stand behind the person.
    #[arg(long, value_name = "PHOTO")]
    background: Option<PathBuf>,
    /// Where the frames go; made when it is not there.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
}

impl Puppetry {
    /// Writes the frames and says when each was taken.
    ///
    /// # Errors
    /// When a photo cannot be read or shows no face, or a frame cannot be written.
    pub fn play(&self, models: &Models) -> anyhow::Result<Value> {
        let puppet = Puppet::of(&read(&self.photo)?, models).with_context(|| self.photo.display().to_string())?;
        let background = match &self.background {
            Some(path) => Some(decode(&read(path)?).with_context(|| path.display().to_string())?),
            None => None,
        };
        let film = Film {
            motion: self.motion,
            extent: self.extent.clamp(0.0, 1.5),
            begins_ms: self.begins_ms,
            frames: self.frames,
            every_ms: self.every_ms,
            seed: self.seed,
            noise: self.noise,
            background: background.as_ref(),
        };
        std::fs::create_dir_all(&self.to).with_context(|| self.to.display().to_string())?;
        let mut frames = Vec::new();
        for (number, (at_ms, photo)) in puppet.play(film).enumerate() {
            let file = self.to.join(format!("{number:03}.jpg"));
            std::fs::write(&file, puppet::jpeg(&photo)).with_context(|| file.display().to_string())?;
            frames.push(json!({"file": file, "at_ms": at_ms}));
        }
        Ok(json!({ "frames": frames }))
    }
}
