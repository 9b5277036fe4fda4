//! The digest of a log: what a verdict is bound to.

use ring::digest::{Context, SHA256};

/// SHA-256 over a log's lines, each followed by a line feed.
///
/// It can be cloned and finished at any time, so a live session can say what its log amounts to so far. Its state
/// cannot be written out: who takes over a session reads the log anyway.
#[derive(Clone)]
pub struct Digest(Context);

impl Default for Digest {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Digest")
    }
}

impl Digest {
    /// The digest of no line at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line, given without its line feed.
    pub fn line(&mut self, line: &[u8]) {
        self.0.update(line);
        self.0.update(b"\n");
    }

    /// The digest in lower-case hex.
    pub fn finish(self) -> String {
        hex::encode(self.0.finish())
    }
}
