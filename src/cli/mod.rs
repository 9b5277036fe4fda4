//! See ARCHITECTURE.md.

pub mod openapi;
