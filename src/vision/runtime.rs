//! Loads ONNX Runtime by its path, once a process, and opens models in it with the provider that was chosen.
//!
//! One session serves one thread: on a CPU, several photos are faster side by side than in a batch. A provider counts
//! as running once a model has run on it, and not because its library is there.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::Tensor;

use super::Digest;
use super::manifest::{self, Accelerated, Manifest, Model, ModelDigests, VerifyError};
use super::provider::{self, Precision, Provider, Refusal, Running, Wanted};

/// The model that a provider is tried with.
const TRIED_WITH: &str = "recogniser";
/// How much of what a provider says against itself is passed on.
const SAID_LIMIT_CHARS: usize = 240;

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
    /// The provider that was asked for does not run here.
    #[error("vision.provider {provider} does not run: {why}{}", hint(*provider))]
    Provider {
        /// Which.
        provider: Provider,
        /// What it says, or why it was not tried.
        why: String,
    },
    /// A model does not run, or its answer has another shape than it should.
    #[error("a model failed: {0}")]
    Model(String),
    /// No thread could be started.
    #[error("a worker thread did not start: {0}")]
    Thread(#[from] std::io::Error),
}

/// What to look at when a provider does not run.
fn hint(provider: Provider) -> &'static str {
    match provider {
        Provider::Cuda => {
            "; it needs an NVIDIA card with its driver (`nvidia-smi` shows it), CUDA 12 and cuDNN 9 where the loader finds them"
        }
        Provider::Cpu | Provider::Openvino => "",
    }
}

impl VisionError {
    /// The word for it where a provider was refused.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Verify(VerifyError::Missing { .. }) => "missing",
            Self::Verify(VerifyError::Changed { .. } | VerifyError::Description { .. }) => "changed",
            Self::Runtime { .. } => "does_not_load",
            Self::RuntimeTaken { .. } => "another_is_loaded",
            Self::Provider { .. } | Self::Model(_) | Self::Thread(_) => "does_not_run",
        }
    }
}

impl From<ort::Error> for VisionError {
    fn from(error: ort::Error) -> Self {
        Self::Model(error.to_string())
    }
}

/// The models' bytes, verified, and the runtime they run in.
pub struct Models {
    engine: Engine,
    running: Running,
    /// in the manifest's order; none for an optional one that is not there
    models: Vec<Option<Vec<u8>>>,
    digests: ModelDigests,
    manifest: Manifest,
    /// opened to try the provider: the first who asks for it gets it
    tried: Mutex<Option<Session>>,
}

impl Models {
    /// Verifies what `make models` left in `folder`, and loads the runtime that suits the machine from there.
    ///
    /// # Errors
    /// When a file is missing, has other bytes than the manifest says, or does not load.
    pub fn load(folder: &Path) -> Result<Self, VisionError> {
        Self::load_with(folder, Wanted::default())
    }

    /// The same with a provider of one's own choice.
    ///
    /// # Errors
    /// As [`Models::load`]; and when the provider that is wanted does not run.
    pub fn load_with(folder: &Path, wanted: Wanted) -> Result<Self, VisionError> {
        let manifest = Manifest::of(folder)?;
        let found: Vec<_> = manifest.model.iter().map(|model| read(folder, model)).collect::<Result<_, _>>()?;
        let needed = |role| found[manifest.position(role)].as_ref().expect("it is not optional");
        let (tried, recogniser) = needed(TRIED_WITH);
        let chosen = Chosen::of(folder, &manifest, wanted, (manifest.model(TRIED_WITH), tried))?;
        let digests = ModelDigests {
            detector: needed("detector").1,
            near_detector: needed("near_detector").1,
            recogniser: *recogniser,
            runtime: chosen.engine.library.digest,
            provider: chosen.running.provider,
            precision: chosen.running.precision,
        };
        let Chosen { engine, running, session } = chosen;
        let models = found.into_iter().map(|found| found.map(|(bytes, _)| bytes)).collect();
        Ok(Self { engine, running, models, digests, manifest, tried: Mutex::new(Some(session)) })
    }

    /// What the models and the runtime are, by digest.
    pub fn digests(&self) -> ModelDigests {
        self.digests
    }

    /// What computes them, and why no other.
    pub fn running(&self) -> &Running {
        &self.running
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Opens the model with `role`.
    pub(super) fn session(&self, role: &str) -> Result<Session, VisionError> {
        if role == TRIED_WITH
            && let Some(session) = self.tried.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            return Ok(session);
        }
        self.session_at(self.manifest.position(role))
    }

    /// Opens all models with `role` that are there, each with its description.
    pub(super) fn sessions(&self, role: &str) -> Result<Vec<(&Model, Session)>, VisionError> {
        let listed = self.manifest.model.iter().enumerate().filter(|(_, model)| model.role == role);
        let there = listed.filter(|(position, _)| self.models[*position].is_some());
        there.map(|(position, model)| Ok((model, self.session_at(position)?))).collect()
    }

    fn session_at(&self, position: usize) -> Result<Session, VisionError> {
        let model = &self.manifest.model[position];
        let missing = || VisionError::Model(format!("{} is not there", model.name));
        self.engine.session(model, self.models[position].as_ref().ok_or_else(missing)?)
    }
}

/// A model's bytes and digest; none for an optional one that is not there.
fn read(folder: &Path, model: &Model) -> Result<Option<(Vec<u8>, Digest)>, VerifyError> {
    match manifest::verified(folder, &model.file, &model.sha256) {
        Err(error) if model.optional && error.is_absence() => Ok(None),
        found => found.map(Some),
    }
}

/// The first provider that runs.
struct Chosen {
    engine: Engine,
    running: Running,
    session: Session,
}

impl Chosen {
    fn of(folder: &Path, manifest: &Manifest, wanted: Wanted, tried: (&Model, &[u8])) -> Result<Self, VisionError> {
        let mut refused: Vec<Refusal> = Vec::new();
        let (last, others) = wanted.candidates().split_last().expect("something is always tried");
        for provider in others {
            match Self::try_one(folder, manifest, wanted, *provider, tried) {
                Ok(mut chosen) => {
                    chosen.running.refused = refused;
                    return Ok(chosen);
                }
                Err(error) => refused.push(Refusal::of(*provider, &error)),
            }
        }
        let mut chosen = Self::try_one(folder, manifest, wanted, *last, tried)?;
        chosen.running.refused = refused;
        Ok(chosen)
    }

    fn try_one(
        folder: &Path,
        manifest: &Manifest,
        wanted: Wanted,
        provider: Provider,
        (model, bytes): (&Model, &[u8]),
    ) -> Result<Self, VisionError> {
        let library = Library::load(folder, manifest, provider)?;
        let engine = Engine { library, provider, precision: wanted.precision(provider) };
        let failed = |error: VisionError| match provider {
            Provider::Cpu => error,
            provider => VisionError::Provider { provider, why: brief(&error.to_string()) },
        };
        let mut session = engine.session(model, bytes).map_err(failed)?;
        try_out(&mut session, model).map_err(failed)?;
        let running = Running {
            provider,
            precision: engine.precision,
            library: engine.library.name.clone(),
            refused: Vec::new(),
        };
        Ok(Self { engine, running, session })
    }
}

/// The end of what a provider says, on one line: it begins with the names of its functions.
fn brief(said: &str) -> String {
    let words: Vec<&str> = said.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().rev().nth(SAID_LIMIT_CHARS) {
        Some((from, _)) => format!("… {}", &line[from..]),
        None => line,
    }
}

/// Lets a model look at nothing: a provider that opens one need not be able to run it.
fn try_out(session: &mut Session, model: &Model) -> Result<(), VisionError> {
    let Some(shape) = model.accelerated.as_ref().and_then(Accelerated::sides) else {
        return Ok(());
    };
    let nothing = Tensor::from_array((shape.clone(), vec![0.0_f32; shape.iter().product()]))?;
    let outputs = session.run(ort::inputs![nothing])?;
    let (_, numbers) = outputs[0].try_extract_tensor::<f32>()?;
    let sound = numbers.iter().all(|number| number.is_finite());
    sound.then_some(()).ok_or_else(|| VisionError::Model("its numbers are not finite".to_owned()))
}

/// A runtime with a provider: what opens models.
struct Engine {
    library: Library,
    provider: Provider,
    precision: Precision,
}

impl Engine {
    fn session(&self, model: &Model, bytes: &[u8]) -> Result<Session, VisionError> {
        let mut builder = builder(&self.library.environment)?;
        let accelerated = model.accelerated.as_ref();
        if let Some(dispatch) = accelerated.and_then(|how| provider::dispatch(self.provider, self.precision, how)) {
            // What the provider leaves over would run on the CPU and be said to run elsewhere.
            builder = builder.with_execution_providers([dispatch])?.with_disable_cpu_fallback()?;
        }
        builder.commit_from_memory(bytes).map_err(VisionError::from)
    }
}

/// ONNX Runtime, loaded.
#[derive(Clone)]
struct Library {
    environment: Environment,
    /// package and version
    name: String,
    digest: Digest,
}

impl Library {
    /// The library that has `provider`. The CPU provider is in each of them, so that where another one is loaded already
    /// it serves.
    fn load(folder: &Path, manifest: &Manifest, provider: Provider) -> Result<Self, VisionError> {
        // Kept for good: the library is never unloaded.
        static LOADED: Mutex<Option<(PathBuf, Library)>> = Mutex::new(None);
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, library)) = loaded.as_ref().filter(|_| provider == Provider::Cpu) {
            return Ok(library.clone());
        }
        let (path, digest) = verified(folder, manifest, provider)?;
        match &*loaded {
            Some((before, library)) if *before == path => return Ok(library.clone()),
            Some((before, _)) => return Err(VisionError::RuntimeTaken { loaded: before.clone() }),
            None => {}
        }
        let builder = ort::init_from(&path)
            .map_err(|error| VisionError::Runtime { path: path.clone(), why: error.to_string() })?;
        let environment = builder.with_name("invigil").with_telemetry(false).build()?;
        // What a provider says on its way down is in the error.
        environment.set_log_level(LogLevel::Fatal);
        let library = Self { environment, name: manifest.runtime(provider).package_of(manifest), digest };
        *loaded = Some((path, library.clone()));
        Ok(library)
    }
}

/// Where the library of `provider` is, and its digest, once it and all that it loads are what they should be.
fn verified(folder: &Path, manifest: &Manifest, provider: Provider) -> Result<(PathBuf, Digest), VisionError> {
    let runtime = manifest.runtime(provider);
    for beside in &runtime.beside {
        manifest::verify(folder, &beside.file, &beside.sha256)?;
    }
    let digest = manifest::verify(folder, &runtime.file, &runtime.sha256)?;
    // Of the folder and not of the file: what lies beside it is loaded from where it was verified.
    let within = folder.canonicalize();
    let within = within.map_err(|error| VisionError::Runtime { path: folder.to_owned(), why: error.to_string() })?;
    Ok((within.join(&runtime.file), digest))
}

fn builder(environment: &Environment) -> Result<SessionBuilder, VisionError> {
    Ok(Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_log_level(LogLevel::Fatal)?)
}

impl From<ort::Error<SessionBuilder>> for VisionError {
    fn from(error: ort::Error<SessionBuilder>) -> Self {
        Self::Model(error.to_string())
    }
}
