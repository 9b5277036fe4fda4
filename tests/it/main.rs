//! Whole parts of the server from outside, in one binary: one module a subject, and nothing else here.
mod crash;
mod deploy;
mod durability;
mod harness;
mod limits;
mod log_secrets;
mod metrics;
mod python_client;
mod refusals;
mod replay;
mod session;
mod stop;
mod tls;
mod webhook;
