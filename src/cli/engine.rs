//! Where the face models are and what computes them: arguments of all commands that look at photos by themselves.

use std::path::PathBuf;

use clap::Args;

use crate::vision::{DEFAULT_FOLDER, Models, VisionError, Wanted, WantedPrecision, WantedProvider};

/// The face models and what computes them.
#[derive(Args, Debug, Clone)]
pub struct EngineArgs {
    /// The folder that `make models` fills.
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_FOLDER, global = true)]
    pub models: PathBuf,
    /// What computes the models.
    #[arg(long, value_enum, default_value = "auto", global = true)]
    pub provider: WantedProvider,
    /// What it computes them in.
    #[arg(long, value_enum, default_value = "auto", global = true)]
    pub precision: WantedPrecision,
}

impl EngineArgs {
    /// What is asked of the models.
    pub fn wanted(&self) -> Wanted {
        Wanted { provider: self.provider, precision: self.precision, fallback: false }
    }

    /// Loads the models.
    ///
    /// # Errors
    /// When one of them, or the runtime, is missing or does not load.
    pub fn load(&self) -> Result<Models, VisionError> {
        Models::load_with(&self.models, self.wanted())
    }
}
