//! `invigil bench`: what this machine can do, measured, one file a benchmark.

pub mod attacks;
pub mod echo;
mod engines;
pub mod faces;
pub mod ingest;
pub mod journal;
pub mod layers;
pub mod movements;
pub mod photo_engine;
pub mod photos;
pub mod queue;
pub mod redis;
pub mod replay;
pub mod risk;
pub mod search;
mod sets;

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
    /// The stream of events: acknowledged a second, latency, processor time and memory, beside other servers
    Ingest(Box<ingest::IngestArgs>),
    /// Bytes on disk, of open sessions and closed ones, and what closing costs
    Storage(ingest::StorageArgs),
    /// A steady load for long: whether memory grows, whether anything is lost
    Soak(ingest::SoakArgs),
    /// How sessions move when nodes are killed or told to stop, and whether anything is lost
    Nodes(ingest::NodesArgs),
    /// What several nodes ask of Redis, beside redis-benchmark; and the coordination of a thousand nodes
    Redis(redis::RedisBench),
    /// Appends to the journal on PostgreSQL, beside plain inserts and the embedded column
    Journal(journal::JournalBench),
    /// The bare server that `ingest` compares with
    #[command(hide = true)]
    Echo(echo::EchoArgs),
    /// Whole photo checks a second, beside OpenCV's from Python
    Photos(photos::PhotosBenchArgs),
    /// A set of live photos and attacks, scored in the terms of ISO/IEC 30107-3
    Attacks(attacks::AttacksBench),
    /// A set with one folder a person: false matches, false non-matches, their curve
    Faces(faces::FacesBench),
    /// How far the test people's photos, and what cheats make of them, are from the limits of the layers of a check
    Layers(layers::LayersBench),
    /// Movements that are asked for, judged on rendered films of the test people: those done, and those that are not
    Movements(movements::MovementsBench),
    /// One process of `photos`
    #[command(hide = true)]
    PhotoEngine(photo_engine::PhotoEngineArgs),
    /// How often the risk detectors suspect honest learners, and what they cost
    Risk(risk::RiskBench),
    /// How long the queue's first page takes when very many sessions wait
    Queue(queue::QueueBench),
    /// Searches of enrolled faces a second, beside merely reading the same memory
    Search(search::SearchBench),
}

impl Bench {
    /// Runs the benchmark.
    pub fn run(self) -> ExitCode {
        match self.what {
            What::Replay(replay) => replay.run(),
            What::Ingest(ingest) => super::reported(ingest.run()),
            What::Storage(storage) => super::reported(storage.run()),
            What::Soak(soak) => super::reported(soak.run()),
            What::Nodes(nodes) => super::reported(nodes.run()),
            What::Redis(redis) => super::reported(redis.run()),
            What::Journal(journal) => super::reported(journal.run()),
            What::Echo(echo) => super::reported(echo.run()),
            What::Photos(photos) => super::reported(photos.run()),
            What::Attacks(attacks) => super::reported(attacks.run()),
            What::Faces(faces) => super::reported(faces.run()),
            What::Layers(layers) => super::reported(layers.run()),
            What::Movements(movements) => super::reported(movements.run()),
            What::PhotoEngine(engine) => super::reported(engine.run()),
            What::Risk(risk) => super::reported(risk.run()),
            What::Queue(queue) => super::reported(queue.run()),
            What::Search(search) => super::reported(search.run()),
        }
    }
}
