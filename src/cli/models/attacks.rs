//! A set for `invigil bench attacks`, made of the test people's films and portraits: bursts of three as they are and as light and
//! cameras alter them, and what cheats make of the same photos.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use image::RgbImage;

use crate::cli::engine::EngineArgs;
use crate::vision::people::{self, People, Person};
use crate::vision::puppet::{self, Film, Motion, Puppet};
use crate::vision::{Models, alter};

/// The films, and how many of a film's frames are about 300 ms.
const FILMS: [(&str, usize); 3] = [("webcam_man", 9), ("film_woman", 2), ("car_man", 5)];
/// Bursts that are taken of each film.
const BURSTS: usize = 8;
const FRAMES: usize = 3;

/// Writes the set into a folder that is not there yet.
///
/// # Errors
/// When a photo cannot be read, or a file not be written.
pub(super) fn run(engine: &EngineArgs, to: &Path) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(!to.exists(), "{} is there already", to.display());
    let (models, people) = (engine.load()?, People::embedded());
    let mut written = 0;
    for (at, (name, step)) in FILMS.into_iter().enumerate() {
        let person = people.person(name).with_context(|| format!("nobody is called {name}"))?;
        let other = people.person(FILMS[(at + 1) % FILMS.len()].0).context("nobody else")?;
        let stranger = photo(&engine.models, other, other.frames[0])?;
        let latest = person.frames.len().saturating_sub((FRAMES - 1) * step + 1);
        for number in 0..BURSTS {
            let first = latest * number / (BURSTS - 1);
            let frames = person.frames[first..].iter().step_by(step).take(FRAMES);
            let burst: Vec<RgbImage> =
                frames.map(|frame| photo(&engine.models, person, *frame)).collect::<Result<_, _>>()?;
            let entry = format!("{name}-{number}");
            for (how, photos) in live(&burst) {
                written += write(&to.join("live").join(format!("{entry}-{how}")), &photos)?;
            }
            let mut attacks = attacks(&burst, &stranger, number as u64);
            attacks.push(("animated_portrait", animated(&models, &burst[0], number as u64)?));
            for (kind, photos) in attacks {
                written += write(&to.join("attack").join(kind).join(&entry), &photos)?;
            }
        }
    }
    crate::cli::say(format_args!("{written} photos in {}: invigil bench attacks --set {0}", to.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// What it is, and its photos.
type Entry = (&'static str, Vec<RgbImage>);

/// A burst as it was filmed, and as somebody in the dark, in glare, out of focus or at a poor camera sends it.
fn live(burst: &[RgbImage]) -> Vec<Entry> {
    type Alter = fn(&RgbImage, u64) -> RgbImage;
    let variations: [(&str, Alter); 6] = [
        ("as_filmed", |photo, _| photo.clone()),
        ("darker", |photo, _| alter::lit(photo, 0.6, 0.0)),
        ("brighter", |photo, _| alter::lit(photo, 1.25, 0.0)),
        ("noise_of_5", |photo, seed| alter::noisy(photo, 5.0, seed)),
        ("quality_50", |photo, _| encoded(photo, 50)),
        ("half_the_size", |photo, _| alter::resized(photo, 0.5)),
    ];
    let all = |change: Alter| (0..).zip(burst).map(|(at, photo)| change(photo, at)).collect();
    variations.map(|(name, change)| (name, all(change))).into()
}

fn attacks(burst: &[RgbImage], stranger: &RgbImage, seed: u64) -> Vec<Entry> {
    let first = &burst[0];
    let moved = |photo: &RgbImage, at: usize| {
        let at = at as f32;
        alter::moved(photo, 4.0 * at, -3.0 * at, 1.0 + 0.01 * at, 0.8 * at)
    };
    let each = |change: &dyn Fn(usize) -> RgbImage| (0..FRAMES).map(change).collect::<Vec<_>>();
    let as_large =
        image::imageops::resize(stranger, first.width(), first.height(), image::imageops::FilterType::Triangle);
    let mut swapped = burst.to_vec();
    swapped[FRAMES - 1] = as_large;
    let looped = vec![burst[0].clone(), burst[1].clone(), encoded(&burst[0], 85)];
    [
        (
            "low_bits",
            each(&|at| if at == 1 { alter::low_bits_flipped(first) } else { alter::noisy(first, 1.0, at as u64) }),
        ),
        ("encoded_anew", each(&|at| encoded(first, 90 - 15 * at as u8))),
        ("still_with_noise", each(&|at| alter::noisy(first, 4.0, seed + at as u64))),
        ("still_relit", each(&|at| alter::lit(&alter::noisy(first, 2.0, at as u64), 0.9 + 0.1 * at as f32, 0.0))),
        ("still_shaken", each(&|at| alter::noisy(&moved(first, at), 2.0, at as u64))),
        ("print_in_a_hand", each(&|at| alter::noisy(&moved(&alter::printed(first, 3.0), at), 2.0, at as u64))),
        ("screen_in_a_hand", each(&|at| alter::noisy(&alter::moire(&moved(first, at), 8.0), 2.0, at as u64))),
        ("looped", looped),
        ("another_person", swapped),
        // What no layer of a plain burst can tell: it moves as the person did.
        ("film_on_a_screen", each(&|at| alter::noisy(&alter::moire(&burst[at], 8.0), 2.0, at as u64))),
    ]
    .into()
}

/// A portrait that a program moves as somebody who sits still.
fn animated(models: &Models, portrait: &RgbImage, seed: u64) -> anyhow::Result<Vec<RgbImage>> {
    let puppet = Puppet::of(&alter::jpeg(portrait, 95), models)?;
    let film = Film { frames: FRAMES as u32, every_ms: 300, ..Film::of(Motion::Still, seed) };
    puppet.play(film).map(|(_, photo)| Ok(image::load_from_memory(&puppet::jpeg(&photo))?.into_rgb8())).collect()
}

fn photo(folder: &Path, person: &Person, number: u32) -> anyhow::Result<RgbImage> {
    let path = people::path(folder, &person.name, number);
    let bytes = std::fs::read(&path).with_context(|| format!("{}; run `make models`", path.display()))?;
    Ok(image::load_from_memory(&bytes).with_context(|| path.display().to_string())?.into_rgb8())
}

fn encoded(photo: &RgbImage, quality: u8) -> RgbImage {
    let read = image::load_from_memory(&alter::jpeg(photo, quality));
    read.map_or_else(|_| photo.clone(), image::DynamicImage::into_rgb8)
}

fn write(folder: &Path, photos: &[RgbImage]) -> anyhow::Result<usize> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (at, photo) in photos.iter().enumerate() {
        let path = folder.join(format!("{at}.jpg"));
        std::fs::write(&path, alter::jpeg(photo, 90)).with_context(|| path.display().to_string())?;
    }
    Ok(photos.len())
}
