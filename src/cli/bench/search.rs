//! `invigil bench search`: exact searches a second in sets of enrolled faces, beside merely reading the same memory.
//!
//! The faces are random directions: the arithmetic and the memory are those of real ones, the hits are not. Both take turns
//! in the same run, several rounds each, and the median counts. A search that keeps up with the reading leaves an index
//! nothing to gain but memory traffic; whether that is worth an index, the number of searches a day decides.

use std::hint::black_box;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::super::say;
use crate::clock::Stopwatch;
use crate::vision::Digest;
use crate::vision::search::{Effort, Gallery, made_up};

/// Hits that a search keeps, as the server does.
const HITS: usize = crate::search::HITS_LIMIT;
/// Bytes of one face.
const FACE_BYTES: usize = 512;
/// Bytes that are compared, and read, in a round at least: a set that fits a cache is searched more than once.
const ROUND_BYTES: usize = 1 << 30;

/// Measures searches of enrolled faces.
#[derive(Args, Debug)]
pub struct SearchBench {
    /// Faces of each set.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    faces: Vec<usize>,
    /// Rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Prints JSON instead of a table
    #[arg(long)]
    json: bool,
}

struct Measured {
    faces: usize,
    search_s: f64,
    read_s: f64,
}

impl SearchBench {
    /// Runs the benchmark and prints its table.
    ///
    /// # Errors
    /// When nothing can be printed.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        if !self.json {
            say("one thread; a face is 512 bytes; the threshold is for one search a day and one false hit")?;
            say("     faces   searches/s    ms each   GB/s searched   GB/s read   searched/read   threshold")?;
        }
        for faces in &self.faces {
            let measured = measure((*faces).max(1), self.rounds);
            say(if self.json { measured.json().to_string() } else { measured.line() })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn measure(faces: usize, rounds: u32) -> Measured {
    let mut gallery = Gallery::new(Digest([0; 32]));
    for seed in 0..faces {
        gallery.add_numbers(made_up::numbers(seed as u64), 0.0);
    }
    let least = Effort { compared: faces as u64, searches_day: 1, allowed_day: 1.0 }.prospect().threshold as f32;
    let repeats = (ROUND_BYTES / FACE_BYTES / faces).max(1);
    let probes: Vec<_> = (0..repeats as u64).map(|seed| made_up::numbers(u64::MAX - seed)).collect();
    let (mut searching, mut reading) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let watch = Stopwatch::start();
        for probe in &probes {
            black_box(gallery.nearest_to(black_box(probe), 0.0, least, HITS));
        }
        searching.push(watch.elapsed().as_secs_f64() / repeats as f64);
        let watch = Stopwatch::start();
        for _ in 0..repeats {
            black_box(read(black_box(gallery.rows())));
        }
        reading.push(watch.elapsed().as_secs_f64() / repeats as f64);
    }
    Measured { faces, search_s: median(searching), read_s: median(reading) }
}

/// Touches every number once: as little as can be done with them.
fn read(rows: &[[f32; 128]]) -> u32 {
    let mut lanes = [0_u32; 16];
    for part in rows.as_flattened().as_chunks::<16>().0 {
        for (lane, number) in lanes.iter_mut().zip(part) {
            *lane ^= number.to_bits();
        }
    }
    lanes.iter().fold(0, |all, lane| all ^ lane)
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

impl Measured {
    fn gigabytes_s(&self, seconds: f64) -> f64 {
        (self.faces * FACE_BYTES) as f64 / seconds / 1e9
    }

    fn threshold(&self) -> f64 {
        Effort { compared: self.faces as u64, searches_day: 1, allowed_day: 1.0 }.prospect().threshold
    }

    fn line(&self) -> String {
        let (searched, read) = (self.gigabytes_s(self.search_s), self.gigabytes_s(self.read_s));
        format!(
            "{:>10} {:>12.1} {:>10.3} {:>15.2} {:>11.2} {:>15.2} {:>11.3}",
            self.faces,
            1.0 / self.search_s,
            self.search_s * 1e3,
            searched,
            read,
            searched / read,
            self.threshold()
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "faces": self.faces, "searches_s": 1.0 / self.search_s, "search_ms": self.search_s * 1e3,
            "searched_gb_s": self.gigabytes_s(self.search_s), "read_gb_s": self.gigabytes_s(self.read_s),
            "threshold": self.threshold(),
        })
    }
}
