//! Servers of others that ours leans on: each on a free port, in a temporary folder, and gone with the test.

pub mod haproxy;
pub mod s3;
