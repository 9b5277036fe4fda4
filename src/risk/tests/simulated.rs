//! Many honest learners give nearly no findings, and each kind of cheat is found.

use crate::risk::Code;
use crate::risk::simulation::{Size, run};

/// What the detectors are known to miss (docs/risk.md).
const MISSED: &[&str] =
    &["bot that answers after 2 to 5 s", "script with a real timer and noise on the position, four lessons"];

#[test]
fn honest_learners_are_left_alone_and_cheats_are_found() {
    for seed in 1..=2 {
        for outcome in run(Size { pages: 2, classes: 4, days: 6, cheats: 10 }, seed) {
            let rate = outcome.found as f64 / outcome.trials as f64;
            let expected = match outcome.honest {
                true => outcome.found == 0,
                false if MISSED.contains(&outcome.who) => rate < 0.2,
                // Not every page leaves a trace that a copy could be known by.
                false if outcome.codes.contains(&Code::HeartbeatsCopied) => rate > 0.4,
                false => rate > 0.8,
            };
            assert!(expected, "seed {seed}: {outcome:?}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same() {
    let size = Size { pages: 1, classes: 1, days: 2, cheats: 1 };
    assert_eq!(run(size, 5), run(size, 5));
}
