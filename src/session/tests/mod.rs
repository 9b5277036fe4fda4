//! Tests of the fold as a whole: the contract's examples, its properties, and attempts to cheat it.

mod cheats;
mod examples;
mod log_builder;
mod properties;
