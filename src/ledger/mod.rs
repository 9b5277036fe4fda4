//! The ledger (台账) as people outside get it: days in China, and the sheet.
//!
//! What is in it is read by [`crate::store::ledger`]; nothing here keeps anything. That the ledger follows from the logs
//! is checked by `invigil ledger check`.

pub mod period;
pub mod sheet;
