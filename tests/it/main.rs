//! Whole parts of the server from outside, in one binary: one module a subject, and nothing else here.
mod crash;
mod durability;
mod harness;
mod python_client;
mod refusals;
mod replay;
mod risk;
mod session;
mod webhook;
