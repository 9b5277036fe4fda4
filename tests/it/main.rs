//! Whole parts of the server from outside, in one binary: one module a subject, and nothing else here.
mod backtest;
mod crash;
mod durability;
mod harness;
mod policies;
mod python_client;
mod refusals;
mod replay;
mod session;
mod webhook;
