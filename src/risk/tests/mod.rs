//! The detectors one by one, and on simulated learners.

mod detectors;
mod simulated;
