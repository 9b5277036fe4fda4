//! A score for how much one photo looks like a picture of a face, by the passive models that the manifest lists.
//!
//! What can be had is weak (models/MODEL_CARD.md): the score decides nothing by itself. The manifest says what each model
//! is shown and how its answer is read, so that another one, or several, need no change here.

use ort::session::SessionOutputs;
use serde::{Deserialize, Serialize};

use super::lens::{Network, Square};
use super::manifest::{Formula, HighMeans, Model, Output, PASSIVE};
use super::{Digest, FaceBox, Models, Photo, VisionError};

/// What the passive models say of one face.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passive {
    /// The models' mean, each taken so that its own threshold becomes 0.5 and a higher score speaks for an attack.
    pub attack: f32,
    /// SHA-256 of each model that was asked.
    pub models: Vec<Digest>,
}

impl Passive {
    /// Whether the models' mean lies on the side of an attack.
    pub fn is_attack(&self) -> bool {
        self.attack > EVEN
    }
}

/// Where every model's threshold lies on the common scale.
const EVEN: f32 = 0.5;

/// The passive models, with buffers of their own: one of these a thread.
pub struct PassiveReader {
    models: Vec<Reader>,
}

struct Reader {
    name: String,
    network: Network,
    output: Output,
    threshold: f32,
}

impl PassiveReader {
    /// Opens those that are there; `None` when there is none.
    ///
    /// # Errors
    /// When one of them does not load, or its description lacks something.
    pub fn new(models: &Models) -> Result<Option<Self>, VisionError> {
        let open = models.sessions(PASSIVE)?.into_iter().map(|(model, session)| {
            let network = Network::new(model, session)?;
            let output = model.output.clone().ok_or_else(|| lacks(model, "output"))?;
            let threshold = *model.thresholds.get("attack").ok_or_else(|| lacks(model, "thresholds.attack"))?;
            Ok(Reader { name: model.name.clone(), network, output, threshold })
        });
        let models = open.collect::<Result<Vec<_>, VisionError>>()?;
        Ok((!models.is_empty()).then_some(Self { models }))
    }

    /// Their mean score for a face.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn score(&mut self, photo: &Photo, face: &FaceBox) -> Result<Passive, VisionError> {
        let mut sum = 0.0;
        for model in &mut self.models {
            sum += model.score(photo, face)?;
        }
        let models: Vec<Digest> = self.models.iter().map(|model| model.network.digest()).collect();
        Ok(Passive { attack: sum / models.len() as f32, models })
    }
}

fn lacks(model: &Model, what: &str) -> VisionError {
    VisionError::Model(format!("{}: the manifest gives no {what}", model.name))
}

impl Reader {
    fn score(&mut self, photo: &Photo, face: &FaceBox) -> Result<f32, VisionError> {
        let across_px = self.network.crop() * face.width.max(face.height);
        let square = Square { centre: face.centre(), across_px, roll_degrees: 0.0, mirrored: false };
        let (outputs, _) = self.network.look(photo, square)?;
        let score = read(&self.output.formula, &outputs)?;
        if !score.is_finite() {
            return Err(VisionError::Model(format!("{}: a score that is not finite", self.name)));
        }
        Ok(common(score, self.threshold, self.output.high_means))
    }
}

/// The score by a formula.
fn read(formula: &Formula, outputs: &SessionOutputs) -> Result<f32, VisionError> {
    let all = |name: &str| -> Result<Vec<f32>, VisionError> {
        let value = outputs.get(name).ok_or_else(|| VisionError::Model(format!("no output `{name}`")))?;
        Ok(value.try_extract_tensor::<f32>()?.1.to_vec())
    };
    let one = |name: &str, index: usize, values: &[f32]| {
        let missing = || VisionError::Model(format!("output `{name}` has {} numbers, none at {index}", values.len()));
        values.get(index).copied().ok_or_else(missing)
    };
    Ok(match formula {
        Formula::Value { name, index } => one(name, *index, &all(name)?)?,
        Formula::Sigmoid { name, index } => 1.0 / (1.0 + (-one(name, *index, &all(name)?)?).exp()),
        Formula::Softmax { name, index } => {
            let values = all(name)?;
            let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = values.iter().map(|value| (value - largest).exp()).sum();
            (one(name, *index, &values)? - largest).exp() / sum
        }
        Formula::Leaves { values, reached } => {
            all(values)?.iter().zip(all(reached)?).map(|(value, reached)| value.abs() * reached).sum()
        }
    })
}

/// A score on the common scale: 0.5 at the threshold, 0 and 1 at the ends of 0 to 1; beyond those it stays there.
fn common(score: f32, threshold: f32, high_means: HighMeans) -> f32 {
    let score = score.clamp(0.0, 1.0);
    let share = if score <= threshold {
        EVEN * score / threshold.max(f32::EPSILON)
    } else {
        EVEN + EVEN * (score - threshold) / (1.0 - threshold).max(f32::EPSILON)
    };
    match high_means {
        HighMeans::Attack => share,
        HighMeans::Live => 1.0 - share,
    }
}

#[cfg(test)]
#[path = "passive_tests.rs"]
mod tests;
