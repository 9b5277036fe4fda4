//! Whole parts of the server from outside, in one binary: one module a subject, and nothing else here.
mod crash;
mod durability;
mod harness;
mod python_client;
mod quota;
mod refusals;
mod replay;
mod session;
mod webhook;
