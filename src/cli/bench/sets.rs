//! What `bench attacks` and `bench faces` share: folders of photos of any size, looked at in parallel, and shares of them
//! with the interval that they are uncertain by.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::Context as _;
use image::{ImageReader, Limits};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::vision::{Checker, Models, alter, decode};

/// The longer side of what a larger photo is made into, in pixels.
const SIDE_LIMIT_PX: u32 = 1280;
/// What decoding one file may take.
const DECODE_LIMIT_BYTES: u64 = 1 << 30;
const QUALITY: u8 = 92;

/// What is in a folder, by name; hidden files are not.
///
/// # Errors
/// When it cannot be read.
pub fn listed(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.retain(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')));
    paths.sort();
    Ok(paths)
}

/// A photo as a page would send it: as it is when the engine takes it, else made smaller and encoded anew.
///
/// # Errors
/// In words, when it cannot be read.
pub fn photo(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    if decode(&bytes).is_ok() {
        return Ok(bytes);
    }
    let mut reader =
        ImageReader::new(std::io::Cursor::new(&bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(DECODE_LIMIT_BYTES);
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| error.to_string())?;
    let fits = picture.width().max(picture.height()) <= SIDE_LIMIT_PX;
    let filter = image::imageops::FilterType::Triangle;
    let picture = if fits { picture } else { picture.resize(SIDE_LIMIT_PX, SIDE_LIMIT_PX, filter) };
    Ok(alter::jpeg(&picture.into_rgb8(), QUALITY))
}

/// Does `work` for each item, on so many threads with a checker each; the answers are in the items' order.
///
/// # Errors
/// When the models do not load, or `work` fails.
pub fn in_parallel<I: Sync, T: Send>(
    models: &Models,
    workers: usize,
    items: &[I],
    work: impl Fn(&mut Checker, &I) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let bar = progress_bar(items.len());
    let (next, answers) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    thread::scope(|scope| -> anyhow::Result<()> {
        let threads: Vec<_> = (0..workers.clamp(1, items.len().max(1)))
            .map(|_| -> anyhow::Result<_> {
                let mut checker = Checker::new(models)?;
                let (next, answers, bar, work) = (&next, &answers, &bar, &work);
                Ok(scope.spawn(move || -> anyhow::Result<()> {
                    while let Some((at, item)) = take(next, items) {
                        let answer = work(&mut checker, item)?;
                        answers.lock().unwrap_or_else(PoisonError::into_inner).push((at, answer));
                        bar.inc(1);
                    }
                    Ok(())
                }))
            })
            .collect::<anyhow::Result<_>>()?;
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread that looks at photos panicked")))
        })
    })?;
    bar.finish_and_clear();
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_by_key(|(at, _)| *at);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

fn take<'a, I>(next: &AtomicUsize, items: &'a [I]) -> Option<(usize, &'a I)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    items.get(at).map(|item| (at, item))
}

fn progress_bar(count: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(count as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// how many are meant
    pub hits: u64,
    /// of how many
    pub of: u64,
}

/// A share as it is told: null where there is nothing to have a share of.
#[derive(Serialize)]
pub struct Told {
    hits: u64,
    of: u64,
    share: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
}

impl Share {
    /// Counts one more.
    pub fn count(&mut self, is_hit: bool) {
        self.hits += u64::from(is_hit);
        self.of += 1;
    }

    /// The share itself.
    pub fn share(&self) -> Option<f64> {
        (self.of > 0).then(|| self.hits as f64 / self.of as f64)
    }

    /// Wilson's interval at 95 %: right also where nothing, or everything, was hit. It takes each for independent of the
    /// others; photos of one person, and pairs with a photo in common, are not, so that the truth is wider.
    pub fn interval(&self) -> Option<(f64, f64)> {
        const Z: f64 = 1.959_963_985;
        let (share, of) = (self.share()?, self.of as f64);
        let middle = share + Z * Z / (2.0 * of);
        let half = Z * (share * (1.0 - share) / of + Z * Z / (4.0 * of * of)).sqrt();
        let whole = 1.0 + Z * Z / of;
        Some((((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0)))
    }

    /// For JSON.
    pub fn told(&self) -> Told {
        let (low, high) = self.interval().unzip();
        Told { hits: self.hits, of: self.of, share: self.share(), low, high }
    }
}

impl std::fmt::Display for Share {
    /// `12.5 % (9.1–16.9, 40 of 320)`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.share().zip(self.interval()) {
            None => formatter.write_str("none"),
            Some((share, (low, high))) => {
                let (share, low, high) = (100.0 * share, 100.0 * low, 100.0 * high);
                write!(formatter, "{share:.2} % ({low:.2}–{high:.2}, {} of {})", self.hits, self.of)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_wilsons() {
        // From the formula, by hand: 1 of 10 at 95 %.
        let (low, high) = Share { hits: 1, of: 10 }.interval().unwrap();
        assert!((low - 0.0179).abs() < 5e-4 && (high - 0.4042).abs() < 5e-4, "{low} {high}");
        let (low, high) = Share { hits: 0, of: 100 }.interval().unwrap();
        assert!(low == 0.0 && (high - 0.0370).abs() < 5e-4, "{low} {high}");
        assert_eq!(Share::default().interval(), None);
        assert_eq!(Share::default().to_string(), "none");
    }

    #[test]
    fn a_photo_that_is_too_large_is_made_smaller_and_no_photo_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large.png");
        image::RgbImage::from_fn(5000, 900, |x, y| image::Rgb([x as u8, y as u8, 7])).save(&large).unwrap();
        let made = decode(&photo(&large).unwrap()).unwrap();
        assert_eq!((made.width_px, made.height_px), (1280, 230));
        let text = folder.path().join("notes.txt");
        std::fs::write(&text, "no photo").unwrap();
        assert!(photo(&text).is_err());
        assert!(photo(&folder.path().join("nothing.jpg")).is_err());
    }
}
