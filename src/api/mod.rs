//! REST for platforms.

pub mod doors;
