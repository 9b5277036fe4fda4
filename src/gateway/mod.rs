//! The WebSocket: handshake, frames, flow control.

pub mod wire;
