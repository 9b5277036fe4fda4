//! The packs that are known here, by the names that logs and people use.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::policy::Policy;

/// Policy packs: the built-in ones, and those that were named besides.
#[derive(Clone, Debug)]
pub struct Packs(Vec<Arc<Policy>>);

impl Packs {
    /// The built-in packs and `others`.
    pub fn new(others: Vec<Policy>) -> Self {
        Self(std::iter::once(Policy::default()).chain(others).map(Arc::new).collect())
    }

    /// The pack that a log names. The only place that knows how packs are found.
    pub fn by_label(&self, label: &str) -> Option<&Arc<Policy>> {
        self.0.iter().find(|policy| policy.label() == label)
    }

    /// What a log is judged by whose pack is not known here.
    pub fn fallback(&self) -> &Arc<Policy> {
        &self.0[0]
    }

    /// The pack that somebody means: by its label or identifier, or a file.
    ///
    /// # Errors
    /// When it is neither, or the file is no pack; says which.
    pub fn meant(&self, name: &str) -> anyhow::Result<Arc<Policy>> {
        let known = self.by_label(name).or_else(|| self.0.iter().find(|policy| policy.id == name));
        known.map_or_else(|| Ok(Arc::new(read(Path::new(name))?)), |known| Ok(known.clone()))
    }
}

/// Reads a pack from its file.
///
/// # Errors
/// When it cannot be read or is no pack; names the file, and the key.
pub fn read(path: &Path) -> anyhow::Result<Policy> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Policy::from_toml(&text).with_context(|| path.display().to_string())
}
