//! `invigil bench risk`: how often the detectors suspect honest learners, and what an event costs them.
//!
//! The learners are simulated (`src/risk/simulation.rs`): the figures say how the statistics behave under the assumptions
//! named there, not how real learners do.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use super::super::say;
use crate::clock::Stopwatch;
use crate::policy::Policy;
use crate::risk::simulation::{Outcome, Size, events, run};
use crate::risk::{Code, Effects, Engine, Observation, SessionSigns, Sign, Who};

/// Lessons whose events are timed.
const TIMED_LESSONS: u64 = 400;
/// Observations that are timed: a province's evening.
const TIMED_OBSERVATIONS: u64 = 500_000;

/// Measures the risk detectors.
#[derive(Debug, clap::Args)]
pub struct RiskBench {
    /// Learners of 20 lessons of 45 minutes for each kind of page
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pages: u64,
    /// Classes of 40 learners, besides a broadcast to 400
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    classes: u64,
    /// Days on which everybody learns
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    days: u64,
    /// Tries of each kind of cheat
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    cheats: u64,
    /// Repeats a run
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl RiskBench {
    /// Runs the simulation and prints what was found.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let Self { pages, classes, days, cheats, seed } = *self;
        let outcomes = run(Size { pages, classes, days, cheats }, seed);
        say("honest: found of tried")?;
        for outcome in outcomes.iter().filter(|outcome| outcome.honest) {
            say(line(outcome))?;
        }
        say("\nnot honest: found of tried")?;
        for outcome in outcomes.iter().filter(|outcome| !outcome.honest) {
            say(line(outcome))?;
        }
        say("\ncost, on one core")?;
        say(format!("an event, for the session that it belongs to     {:>6.1} ns", event_ns()))?;
        say(format!("an observation, of which a session tells 1 to 2 a minute {:>6.0} ns", observation_ns()))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn line(outcome: &Outcome) -> String {
    let Outcome { who, codes, trials, found, .. } = outcome;
    let codes: Vec<&str> = codes.iter().map(|code| Code::as_str(*code)).collect();
    let percent = *found as f64 * 100.0 / (*trials).max(1) as f64;
    format!("{found:>6} of {trials:>6} {percent:>7.2} %  {}: {who}", codes.join(", "))
}

/// The best of three rounds counts: only disturbances make a round slower.
fn best(round: impl Fn() -> f64) -> f64 {
    (0..3).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn event_ns() -> f64 {
    let (events, thresholds) = (events(TIMED_LESSONS, 1), Policy::default().risk);
    best(|| {
        let (mut signs, mut told) = (SessionSigns::default(), Vec::new());
        let watch = Stopwatch::start();
        for event in &events {
            signs.observe(event, &thresholds, &mut told);
            told.clear();
        }
        black_box(&signs);
        watch.elapsed().as_nanos() as f64 / events.len() as f64
    })
}

fn observation_ns() -> f64 {
    let policy = Arc::new(Policy::default());
    let name = |kind: &str, number: u64| -> Arc<str> { format!("{kind}{number}").into() };
    let who: Vec<Arc<Who>> = (0..10_000)
        .map(|number| Who {
            session: name("s", number),
            learner: name("l", number),
            platform: name("p", number % 8),
            policy: policy.clone(),
        })
        .map(Arc::new)
        .collect();
    let observations: Vec<Observation> = (0..TIMED_OBSERVATIONS)
        .map(|number| {
            let learner = number % 10_000;
            let device = Some(name("d", learner));
            let sign = match number / 10_000 {
                0 => Sign::Connected { address: Some(name("a", learner % 3_000)), device, first: true },
                round if round % 3 == 0 => {
                    Sign::Answered { after_ms: 4_000 + (number * 997 % 5_000) as i64, passed: true }
                }
                _ => Sign::Playing { device },
            };
            Observation { who: who[learner as usize].clone(), at: 1_788_105_600_000 + number as i64 * 6, sign }
        })
        .collect();
    best(|| {
        let (mut engine, mut effects) = (Engine::default(), Effects::default());
        let watch = Stopwatch::start();
        for observation in &observations {
            engine.observe(observation, &mut effects);
        }
        black_box(&effects);
        watch.elapsed().as_nanos() as f64 / observations.len() as f64
    })
}
