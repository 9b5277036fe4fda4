//! Whole parts of the server from outside, in one binary: one module a subject, and nothing else here.
mod backtest;
mod backup;
mod crash;
mod durability;
mod faults;
mod harness;
mod migration;
mod policies;
mod ledger;
mod python_client;
mod quota;
mod refusals;
mod replay;
mod report;
mod risk;
mod session;
mod webhook;
