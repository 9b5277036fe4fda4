//! The binary's contract with its models: which files, by which digests, with which thresholds.
//!
//! The manifest is part of the binary, so that a file in the cache can never change what the engine believes about it.
//! It fetches nothing: `make models` does.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Digest;
use super::provider::{Precision, Provider};

const EMBEDDED: &str = include_str!("../../models/manifest.toml");

/// Where `make models` leaves its files, seen from the repository's root.
pub const DEFAULT_FOLDER: &str = "models/cache";

/// Where an operator describes passive models of its own, in the folder with the models.
pub const PASSIVE_FILE: &str = "passive.toml";

/// The role of a passive model.
pub const PASSIVE: &str = "passive";

/// The parts of models/manifest.toml that matter once the files are there.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    /// Packages, with their versions.
    pub package: Vec<Package>,
    /// ONNX Runtime's libraries, one a provider.
    pub runtime: Vec<Runtime>,
    /// The models, one a role.
    pub model: Vec<Model>,
    /// Licences that lie beside the runtime.
    pub notice: Vec<File>,
}

/// What files were taken out of.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name in the registry.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// ONNX Runtime, built with one provider.
#[derive(Debug, Deserialize)]
pub struct Runtime {
    /// The provider.
    pub provider: Provider,
    /// The package that it comes from.
    pub package: String,
    /// Path inside the cache.
    pub file: PathBuf,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// What it loads from beside it, and its licences.
    #[serde(default)]
    pub beside: Vec<File>,
}

/// How a model runs on another provider than the CPU's.
#[derive(Debug, Deserialize)]
pub struct Accelerated {
    /// Its input by name, with the one size that it has: `data[1,3,112,112]`.
    pub shape: String,
    /// Whether bf16 is exact enough for it.
    pub bf16: bool,
}

/// One file that the cache must hold.
#[derive(Debug, Deserialize)]
pub struct File {
    /// Path inside the cache.
    pub file: PathBuf,
    /// SHA-256 of the prepared file, hexadecimal.
    pub sha256: String,
}

/// One model.
#[derive(Debug, Deserialize)]
pub struct Model {
    /// Short name, such as `sface`.
    pub name: String,
    /// `detector`, `near_detector`, `recogniser`, `mesh`, `eyes` or `passive`; only of the last may there be several.
    pub role: String,
    /// Whether the engine runs without it.
    #[serde(default)]
    pub optional: bool,
    /// Path inside the cache.
    pub file: PathBuf,
    /// SHA-256 of the prepared file, hexadecimal.
    pub sha256: String,
    /// SPDX identifier.
    pub licence: String,
    /// What it is shown.
    pub input: Input,
    /// How its score is read; for a passive model.
    pub output: Option<Output>,
    /// What its output is held against, by name; models/MODEL_CARD.md explains each.
    pub thresholds: std::collections::BTreeMap<String, f32>,
    /// How it runs on the provider that is chosen; without this it runs on the CPU's, in f32.
    pub accelerated: Option<Accelerated>,
}

/// What a model is shown: `(value − mean) · scale` of each pixel's red, green and blue, which are 0 to 255.
#[derive(Clone, Debug, Deserialize)]
pub struct Input {
    /// The input's name in the file.
    pub name: String,
    /// The order of its axes.
    pub layout: Layout,
    /// The order of the colours.
    pub channels: Channels,
    /// One number, or one for red, green and blue each.
    pub scale: PerColour,
    /// The same.
    pub mean: PerColour,
    /// Side of the square that it is shown, in pixels; none where any size will do.
    pub side: Option<usize>,
    /// How much is shown, as a multiple of the face's or the eye's own size; none where the whole photo is.
    pub crop: Option<f32>,
}

/// The order of an input's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Layout {
    /// One plane a colour.
    #[serde(rename = "NCHW")]
    Planes,
    /// Three numbers a pixel.
    #[serde(rename = "NHWC")]
    Pixels,
}

/// The order of an input's colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Channels {
    /// Red first.
    #[serde(rename = "RGB")]
    RedFirst,
    /// Blue first.
    #[serde(rename = "BGR")]
    BlueFirst,
}

/// A number for all three colours, or one each: red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum PerColour {
    /// The same for all.
    All(f32),
    /// Red, green, blue.
    Each([f32; 3]),
}

impl PerColour {
    /// Red's, green's and blue's.
    pub fn numbers(self) -> [f32; 3] {
        match self {
            Self::All(number) => [number; 3],
            Self::Each(numbers) => numbers,
        }
    }
}

/// How a passive model's score is read from what it puts out.
#[derive(Clone, Debug, Deserialize)]
pub struct Output {
    /// By which formula.
    #[serde(flatten)]
    pub formula: Formula,
    /// What a high score speaks for.
    pub high_means: HighMeans,
}

/// A formula for a score.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "formula", rename_all = "snake_case")]
pub enum Formula {
    /// One number of an output as it is.
    Value {
        /// The output.
        name: String,
        /// Which of its numbers, from 0.
        index: usize,
    },
    /// One number of an output, after all of them were made to add up to one: e to the power of each, over the sum.
    Softmax {
        /// The output.
        name: String,
        /// Which of its numbers, from 0.
        index: usize,
    },
    /// One number of an output, pressed between 0 and 1: 1 ÷ (1 + e⁻ˣ).
    Sigmoid {
        /// The output.
        name: String,
        /// Which of its numbers, from 0.
        index: usize,
    },
    /// Leaves of a tree: the sum of their sizes, each times whether it was reached.
    Leaves {
        /// The output with the leaves' values.
        values: String,
        /// The output that says which were reached.
        reached: String,
    },
}

/// What a high score speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HighMeans {
    /// A picture, a screen, a mask.
    Attack,
    /// A person.
    Live,
}

/// What a check was made with: enough to make it again years later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelDigests {
    /// SHA-256 of the face detector.
    pub detector: Digest,
    /// SHA-256 of the part of it that looks closely at faces.
    pub near_detector: Digest,
    /// SHA-256 of the recogniser.
    pub recogniser: Digest,
    /// SHA-256 of ONNX Runtime's library.
    pub runtime: Digest,
    /// What computed the models that run on more than one provider.
    pub provider: Provider,
    /// What it computed them in.
    pub precision: Precision,
}

/// A file of the cache is not what the manifest says.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("{}: {source}; run `make models`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It has other bytes.
    #[error("{}: SHA-256 is {found}, the manifest says {expected}; run `make models`", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: Digest,
        /// The digest it should have.
        expected: String,
    },
    /// What an operator says of its own models makes no sense.
    #[error("{}: {why}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl VerifyError {
    /// Whether there is simply no such file.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Missing { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

impl Manifest {
    /// The manifest this binary was built with.
    ///
    /// # Panics
    /// Never in a binary whose tests have run: the text is a constant.
    pub fn embedded() -> Self {
        toml::from_str(EMBEDDED).expect("the embedded manifest is tested")
    }

    /// The manifest this binary was built with; where `folder` holds a `passive.toml`, the passive models described
    /// there take the place of its own.
    ///
    /// # Errors
    /// When that file cannot be read or describes no passive models.
    pub fn of(folder: &Path) -> Result<Self, VerifyError> {
        let (mut manifest, path) = (Self::embedded(), folder.join(PASSIVE_FILE));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(manifest),
            Err(error) => return Err(VerifyError::Description { path, why: error.to_string() }),
        };
        let own: Own = match toml::from_str(&text) {
            Ok(own) => own,
            Err(error) => return Err(VerifyError::Description { path, why: error.to_string() }),
        };
        if let Some(why) = own.model.iter().find_map(Model::passive_fault) {
            return Err(VerifyError::Description { path, why });
        }
        manifest.model.retain(|model| model.role != PASSIVE);
        manifest.model.extend(own.model);
        Ok(manifest)
    }

    /// The model with `role`.
    ///
    /// # Panics
    /// When there is none: a role is a word of this crate's source, not of a user's.
    pub fn model(&self, role: &str) -> &Model {
        &self.model[self.position(role)]
    }

    /// Where the model with `role` is in the list.
    ///
    /// # Panics
    /// As [`Manifest::model`].
    pub fn position(&self, role: &str) -> usize {
        self.model.iter().position(|model| model.role == role).expect("the manifest has a model for each role")
    }

    /// The library with `provider`.
    ///
    /// # Panics
    /// Never in a binary whose tests have run: there is one for each.
    pub fn runtime(&self, provider: Provider) -> &Runtime {
        let found = self.runtime.iter().find(|runtime| runtime.provider == provider);
        found.expect("the manifest has a runtime for each provider")
    }

    /// Every file the engine cannot do without, as (path inside the cache, SHA-256): those of another provider than the
    /// CPU's are not among them.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &str)> {
        let needed = self.model.iter().filter(|model| !model.optional);
        let models = needed.map(|model| (model.file.as_path(), model.sha256.as_str()));
        let notices = self.notice.iter().map(File::as_pair);
        models.chain(notices).chain(self.runtime(Provider::Cpu).files())
    }

    /// The files of models that it can do without, likewise.
    pub fn optional_files(&self) -> impl Iterator<Item = (&Path, &str)> {
        let optional = self.model.iter().filter(|model| model.optional);
        optional.map(|model| (model.file.as_path(), model.sha256.as_str()))
    }
}

/// What an operator describes: `[[model]]`, as in models/manifest.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    model: Vec<Model>,
}

impl File {
    fn as_pair(&self) -> (&Path, &str) {
        (&self.file, &self.sha256)
    }
}

impl Runtime {
    /// The library and what lies beside it, as (path inside the cache, SHA-256).
    pub fn files(&self) -> impl Iterator<Item = (&Path, &str)> {
        std::iter::once((self.file.as_path(), self.sha256.as_str())).chain(self.beside.iter().map(File::as_pair))
    }

    /// Its package, with the version.
    pub(super) fn package_of(&self, manifest: &Manifest) -> String {
        let version = manifest.package.iter().find(|package| package.name == self.package);
        format!("{} {}", self.package, version.map_or("?", |package| &package.version))
    }
}

impl Accelerated {
    /// The input's size in each direction; none when it is not written as it should be.
    pub(super) fn sides(&self) -> Option<Vec<usize>> {
        let (_, sides) = self.shape.strip_suffix(']')?.split_once('[')?;
        sides.split(',').map(|side| side.parse().ok()).collect()
    }
}

impl Model {
    /// Why this is no description of a passive model; `None` when it is one.
    fn passive_fault(&self) -> Option<String> {
        let within = |number: Option<f32>, most: f32| number.is_some_and(|number| number > 0.0 && number < most);
        let attack = self.thresholds.get("attack").copied();
        let faults = [
            (self.role != PASSIVE, "role must be \"passive\""),
            (Digest::parse(&self.sha256).is_none(), "sha256 must be 64 hexadecimal digits"),
            (!self.input.side.is_some_and(|side| (1..=1024).contains(&side)), "input.side must be 1 to 1024 pixels"),
            (!within(self.input.crop, 10.0), "input.crop must be above 0 and below 10"),
            (self.output.is_none(), "[model.output] is missing"),
            (!within(attack, 1.0), "thresholds.attack must lie between 0 and 1"),
        ];
        let fault = faults.into_iter().find(|(wrong, _)| *wrong);
        fault.map(|(_, what)| format!("{}: {what}", self.name))
    }

    /// A threshold by its name.
    ///
    /// # Panics
    /// When the manifest lacks it; the names are words of this crate's source.
    pub fn threshold(&self, name: &str) -> f32 {
        *self.thresholds.get(name).unwrap_or_else(|| panic!("{} has no threshold `{name}`", self.name))
    }
}

/// Holds `folder/file` against its SHA-256.
///
/// # Errors
/// [`VerifyError`] when it is missing or has other bytes.
pub fn verify(folder: &Path, file: &Path, sha256: &str) -> Result<Digest, VerifyError> {
    verified(folder, file, sha256).map(|(_, digest)| digest)
}

/// Reads `folder/file` and holds it against its SHA-256.
///
/// # Errors
/// [`VerifyError`] when it is missing or has other bytes.
pub fn verified(folder: &Path, file: &Path, sha256: &str) -> Result<(Vec<u8>, Digest), VerifyError> {
    let path = folder.join(file);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(VerifyError::Missing { path, source }),
    };
    let found = Digest::of(&bytes);
    if Digest::parse(sha256) != Some(found) {
        return Err(VerifyError::Changed { path, found, expected: sha256.to_owned() });
    }
    Ok((bytes, found))
}
