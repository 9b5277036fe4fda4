//! invigil tells honest online training from faked training.
//!
//! This file is the map: one sentence a module.

/// One owner per live session: mailbox, effects, timers.
pub mod actor;
/// REST for platforms.
pub mod api;
/// Keys, tokens, identities: who may do what.
pub mod auth;
/// Recorded sessions, judged again under another policy.
pub mod backtest;
/// Backups of a data folder: made, checked, restored.
pub mod backup;
/// The commands of the `invigil` binary.
pub mod cli;
/// A client of the streaming protocol: what the demo, the benchmarks and the tests speak with.
pub mod client;
/// The only file that reads the operating system's clock or randomness.
pub mod clock;
/// What several nodes must share; on one node, a table in memory.
pub mod cluster;
/// What can be configured, and its defaults.
pub mod config;
/// The console's pages.
pub mod console;
/// The outbox, and signed webhooks out of it.
pub mod delivery;
/// Learners, honest and not, who show the server at work.
pub mod demo;
/// What is wrong with an installation, and what to do about it.
pub mod doctor;
/// PostgreSQL and Redis from this machine's own programs, for the demo and for benchmarks.
pub mod engines;
/// Who may be enrolled in what, and which plans may be approved.
pub mod enrolment;
/// Who looks at photos: workers of this process, or nodes elsewhere.
pub mod faces;
/// Takes what sessions tell to the risk detectors, and puts on record what they find.
pub mod findings;
/// One address before several nodes, for the demo and for benchmarks.
pub mod front;
/// The WebSocket: handshake, frames, flow control.
pub mod gateway;
/// The ledger as people outside get it.
pub mod ledger;
/// A server from its start to its end.
pub mod lifecycle;
/// The event types of the session log, reading and writing.
pub mod log;
/// Packs, dated: parameters, actions, clauses, enrolment rules; and which is in force.
pub mod policy;
/// Reports of enrolments and verdicts to a provincial platform.
pub mod report;
/// Photos that are past their retention are deleted; what is known of them stays.
pub mod retention;
/// Warnings for supervisors beyond single sessions: the detectors.
pub mod risk;
/// One file a rule, named as in docs/rules.md.
pub mod rules;
/// When the next prompt or capture is due.
pub mod schedule;
/// The web SDK's files, for course pages.
pub mod sdk;
/// Searching enrolled faces: one face under many names.
pub mod search;
/// The fold of a session log.
pub mod session;
/// Journal, records and encrypted photos.
pub mod store;
/// What the server measures of itself.
pub mod telemetry;
/// What a fold amounts to.
pub mod verdict;
/// From a photo to a face check.
pub mod vision;

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    /// What makes a verdict, or a warning, may depend on nothing but the log and the policy, and who is enrolled on
    /// nothing but facts.
    const PURE: [&str; 8] = ["log", "session", "rules", "policy", "enrolment", "verdict", "schedule", "risk"];
    /// Ways to the network, the disk, a database, a model, a clock or a generator of randomness.
    const IMPURE: [&str; 26] = [
        "tokio",
        "axum",
        "reqwest",
        "rusqlite",
        "ort::",
        "ndarray",
        "crate::clock",
        "std::time",
        "Timestamp",
        "Zoned",
        "thread_rng",
        "rand::rng()",
        "rand::random",
        "OsRng",
        "SysRng",
        "getrandom",
        "uuid",
        "std::fs",
        "std::net",
        "std::env",
        "std::thread",
        "std::process",
        "RandomState",
        "ring::rand",
        "HashMap",
        "HashSet",
    ];

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn the_core_is_pure() {
        let mut found = Vec::new();
        for module in PURE {
            sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(module), &mut found);
        }
        assert!(found.len() > 40);
        for path in found {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for (k, line) in code.enumerate() {
                let impure = IMPURE.iter().find(|word| line.contains(*word));
                assert_eq!(impure, None, "{} (line {} of its code): {line}", path.display(), k + 1);
            }
        }
    }
}
