//! What computes the models: which execution provider of ONNX Runtime, in which precision, and why no other.
//!
//! What is wanted is a setting ([`Wanted`]); what runs is found out by trying it ([`super::Models`]) and said wherever
//! somebody asks ([`Running`]). This file loads nothing.

use std::fmt;

use ort::ep;
use ort::ep::ExecutionProviderDispatch;
use serde::{Deserialize, Serialize, Serializer};

use super::VisionError;
use super::manifest::Accelerated;

/// An execution provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// ONNX Runtime's own kernels.
    Cpu,
    /// Intel's OpenVINO, on any x86-64 processor.
    Openvino,
    /// An NVIDIA card.
    Cuda,
}

/// What a model is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit numbers.
    F32,
    /// 16-bit numbers with eight bits of fraction, added up in 32 bits.
    Bf16,
}

/// Which provider to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum WantedProvider {
    /// OpenVINO where its libraries load, else the CPU provider.
    #[default]
    Auto,
    /// OpenVINO.
    Openvino,
    /// The CPU provider.
    Cpu,
    /// An NVIDIA card.
    Cuda,
}

/// Which precision to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum WantedPrecision {
    /// bf16 where the processor has it and the provider can, else f32.
    #[default]
    Auto,
    /// f32.
    F32,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// the provider
    pub provider: WantedProvider,
    /// the precision
    pub precision: WantedPrecision,
    /// whether another provider may take the place of one that was asked for by name and does not run
    pub fallback: bool,
}

impl Provider {
    /// The word for it in settings and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Openvino => "openvino",
            Self::Cuda => "cuda",
        }
    }
}

impl Precision {
    /// The word for it in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Wanted {
    /// The CPU provider, in f32: the same on every machine.
    pub const CPU: Self = Self { provider: WantedProvider::Cpu, precision: WantedPrecision::F32, fallback: false };

    /// What is tried, in this order, until one runs.
    pub(super) fn candidates(self) -> &'static [Provider] {
        use Provider::{Cpu, Cuda, Openvino};
        match (self.provider, self.fallback) {
            (WantedProvider::Auto, _) | (WantedProvider::Openvino, true) => &[Openvino, Cpu],
            (WantedProvider::Openvino, false) => &[Openvino],
            (WantedProvider::Cpu, _) => &[Cpu],
            (WantedProvider::Cuda, false) => &[Cuda],
            (WantedProvider::Cuda, true) => &[Cuda, Openvino, Cpu],
        }
    }

    /// What `provider` computes in.
    pub(super) fn precision(self, provider: Provider) -> Precision {
        match (provider, self.precision) {
            (Provider::Openvino, WantedPrecision::Auto) if processor_has_bf16() => Precision::Bf16,
            _ => Precision::F32,
        }
    }
}

/// Whether the processor multiplies bf16 by itself. What has amx-bf16 has avx512-bf16.
fn processor_has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// A provider that was tried and does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// which
    pub provider: Provider,
    /// why not, in a word
    pub word: &'static str,
    /// why not, with paths: for the operator
    pub why: String,
}

impl Refusal {
    pub(super) fn of(provider: Provider, error: &VisionError) -> Self {
        Self { provider, word: error.word(), why: error.to_string() }
    }
}

impl Serialize for Refusal {
    /// Without what only the operator should see.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.provider, self.word).serialize(serializer)
    }
}

/// What computes the models, and what was tried before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Running {
    /// the provider
    pub provider: Provider,
    /// what the models that may are computed in
    pub precision: Precision,
    /// the package of the library that was loaded, and its version
    pub library: String,
    /// providers that were tried first
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
}

impl fmt::Display for Running {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, precision, library, refused } = self;
        write!(formatter, "{provider} in {precision} ({library})")?;
        refused.iter().try_for_each(|refusal| write!(formatter, "; {} was tried: {}", refusal.provider, refusal.why))
    }
}

/// How ONNX Runtime is told; none for its own kernels.
pub(super) fn dispatch(
    provider: Provider,
    precision: Precision,
    accelerated: &Accelerated,
) -> Option<ExecutionProviderDispatch> {
    match provider {
        Provider::Cpu => None,
        Provider::Openvino => {
            let precision = if accelerated.bf16 { precision } else { Precision::F32 };
            // Said even for f32: where the processor has bf16, OpenVINO would take it by itself. Workers are threads
            // already, so a session has one, and the kernel says where it runs.
            let settings =
                format!(r#"{{"CPU":{{"INFERENCE_PRECISION_HINT":"{precision}","ENABLE_CPU_PINNING":"NO"}}}}"#);
            let openvino = ep::OpenVINO::default().with_device_type("CPU").with_num_threads(1);
            let openvino = ep::ArbitrarilyConfigurableExecutionProvider::with_arbitrary_config(
                openvino,
                "reshape_input",
                &accelerated.shape,
            );
            let openvino =
                ep::ArbitrarilyConfigurableExecutionProvider::with_arbitrary_config(openvino, "load_config", settings);
            Some(openvino.build().error_on_failure())
        }
        // Without TF32 an f32 is one there, too.
        Provider::Cuda => Some(ep::CUDA::default().with_device_id(0).with_tf32(false).build().error_on_failure()),
    }
}
