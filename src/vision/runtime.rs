//! Loads ONNX Runtime by its path, once a process, and opens models in it.
//!
//! One session serves one thread: on a CPU, several photos are faster side by side than in a batch. No execution
//! provider but the CPU's is set up here.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use super::Digest;
use super::manifest::{self, Manifest, Model, ModelDigests, VerifyError};

/// The engine cannot look at photos.
#[derive(Debug, thiserror::Error)]
pub enum VisionError {
    /// A model or the runtime is missing or has other bytes.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The runtime's library does not load.
    #[error("ONNX Runtime does not load from {}: {why}; run `make models`", path.display())]
    Runtime {
        /// The library.
        path: PathBuf,
        /// The loader's message.
        why: String,
    },
    /// Another library was loaded before; a process can hold only one.
    #[error("ONNX Runtime is loaded from {} already", loaded.display())]
    RuntimeTaken {
        /// The library in use.
        loaded: PathBuf,
    },
    /// A model does not run, or its answer has another shape than it should.
    #[error("a model failed: {0}")]
    Model(String),
    /// No thread could be started.
    #[error("a worker thread did not start: {0}")]
    Thread(#[from] std::io::Error),
}

impl From<ort::Error> for VisionError {
    fn from(error: ort::Error) -> Self {
        Self::Model(error.to_string())
    }
}

/// The models' bytes, verified, and the runtime they run in.
pub struct Models {
    environment: Environment,
    /// in the manifest's order; none for an optional one that is not there
    models: Vec<Option<Vec<u8>>>,
    digests: ModelDigests,
    manifest: Manifest,
}

impl Models {
    /// Verifies what `make models` left in `folder`, and loads the runtime from there.
    ///
    /// # Errors
    /// When a file is missing, has other bytes than the manifest says, or does not load.
    pub fn load(folder: &Path) -> Result<Self, VisionError> {
        let manifest = Manifest::of(folder)?;
        let found: Vec<_> = manifest.model.iter().map(|model| read(folder, model)).collect::<Result<_, _>>()?;
        let (_, runtime) = manifest::verified(folder, &manifest.runtime.file, &manifest.runtime.sha256)?;
        let digest = |role| found[manifest.position(role)].as_ref().map(|(_, digest)| *digest);
        let digests = digest("detector").zip(digest("recogniser")).expect("neither is optional");
        let digests = ModelDigests { detector: digests.0, recogniser: digests.1, runtime };
        let models = found.into_iter().map(|found| found.map(|(bytes, _)| bytes)).collect();
        let environment = environment(&folder.join(&manifest.runtime.file))?;
        Ok(Self { environment, models, digests, manifest })
    }

    /// What the models and the runtime are, by digest.
    pub fn digests(&self) -> ModelDigests {
        self.digests
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Opens the model with `role`.
    pub(super) fn session(&self, role: &str) -> Result<Session, VisionError> {
        self.session_at(self.manifest.position(role))
    }

    /// Opens all models with `role` that are there, each with its description.
    pub(super) fn sessions(&self, role: &str) -> Result<Vec<(&Model, Session)>, VisionError> {
        let listed = self.manifest.model.iter().enumerate().filter(|(_, model)| model.role == role);
        let there = listed.filter(|(position, _)| self.models[*position].is_some());
        there.map(|(position, model)| Ok((model, self.session_at(position)?))).collect()
    }

    fn session_at(&self, position: usize) -> Result<Session, VisionError> {
        let missing = || VisionError::Model(format!("{} is not there", self.manifest.model[position].name));
        session(&self.environment, self.models[position].as_ref().ok_or_else(missing)?)
    }
}

/// A model's bytes and digest; none for an optional one that is not there.
fn read(folder: &Path, model: &Model) -> Result<Option<(Vec<u8>, Digest)>, VerifyError> {
    match manifest::verified(folder, &model.file, &model.sha256) {
        Err(error) if model.optional && error.is_absence() => Ok(None),
        found => found.map(Some),
    }
}

/// The process's one environment. Kept for good: the library is never unloaded.
fn environment(library: &Path) -> Result<Environment, VisionError> {
    static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);
    let failed = |why: String| VisionError::Runtime { path: library.to_owned(), why };
    let path = library.canonicalize().map_err(|error| failed(error.to_string()))?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((before, environment)) = &*loaded {
        if *before != path {
            return Err(VisionError::RuntimeTaken { loaded: before.clone() });
        }
        return Ok(environment.clone());
    }
    let builder = ort::init_from(&path).map_err(|error| failed(error.to_string()))?;
    let environment = builder.with_name("invigil").with_telemetry(false).build()?;
    environment.set_log_level(LogLevel::Error);
    *loaded = Some((path, environment.clone()));
    Ok(environment)
}

fn session(environment: &Environment, model: &[u8]) -> Result<Session, VisionError> {
    let plain = |error: ort::Error<ort::session::builder::SessionBuilder>| VisionError::Model(error.to_string());
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(plain)?
        .with_intra_threads(1)
        .map_err(plain)?
        .with_inter_threads(1)
        .map_err(plain)?
        .with_log_level(LogLevel::Error)
        .map_err(plain)?
        .commit_from_memory(model)
        .map_err(VisionError::from)
}
