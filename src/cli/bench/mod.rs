//! `invigil bench`: what this machine can do, measured, one file a benchmark.

pub mod photos;
pub mod replay;
pub mod risk;

use std::process::ExitCode;

/// Measures.
#[derive(Debug, clap::Args)]
pub struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Events a second: merely parsing a log, folding it, digesting it
    Replay(replay::ReplayBench),
    /// Whole photo checks a second, beside OpenCV's from Python
    Photos(photos::PhotosBenchArgs),
    /// How often the risk detectors suspect honest learners, and what they cost
    Risk(risk::RiskBench),
}

impl Bench {
    /// Runs the benchmark.
    pub fn run(self) -> ExitCode {
        match self.what {
            What::Replay(replay) => replay.run(),
            What::Photos(photos) => super::reported(photos.run()),
            What::Risk(risk) => super::reported(risk.run()),
        }
    }
}
