//! Reading a log as a stream.
//!
//! Memory does not grow with the log: one line is held at a time, in a buffer that is used again, and a line has a
//! limit.

use std::io::BufRead;

use super::event::Event;
use super::order::Order;
use super::{LineError, parse_line};

/// The longest line, bytes without its line feed. The opening of a much-interrupted lesson lists thousands of
/// intervals in `covered_before`; no other line comes near.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// Reads events from a log, in their order.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    buffer: Vec<u8>,
    order: Order,
    line: u64,
}

/// One event with the line that it stood in.
#[derive(Debug)]
pub struct Read<'a> {
    /// The event.
    pub event: Event<'a>,
    /// The line byte for byte, without its line feed.
    pub line: &'a [u8],
}

/// Why a log could not be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A line is wrong.
    #[error("line {line}: {error}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// The field and the problem.
        error: LineError,
    },
    /// The source failed.
    #[error("line {line}: {error}")]
    Io {
        /// The line that could not be had.
        line: u64,
        /// What the system says.
        error: std::io::Error,
    },
}

impl<R: BufRead> Reader<R> {
    /// A reader at the beginning of a log.
    pub fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), order: Order::default(), line: 0 }
    }

    /// The next event; `None` at the end of a log that has at least its opening.
    ///
    /// # Errors
    /// When the next line is wrong or cannot be read. There is no use in reading on after that.
    #[expect(
        clippy::should_implement_trait,
        reason = "the event borrows the reader's buffer, as no Iterator's item can"
    )]
    pub fn next(&mut self) -> Result<Option<Read<'_>>, ReadError> {
        self.line += 1;
        let line = self.line;
        let wrong = move |error| ReadError::Line { line, error };
        if !self.fill_buffer()? {
            if line == 1 {
                return Err(wrong(LineError::new("line", "the log is empty")));
            }
            return Ok(None);
        }
        let text = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        if text.len() > MAX_LINE_BYTES {
            return Err(wrong(LineError::new("line", format!("is longer than {MAX_LINE_BYTES} bytes"))));
        }
        let event = parse_line(text).map_err(wrong)?;
        self.order.accept(&event).map_err(|error| wrong(LineError::new(error.field, error.problem)))?;
        Ok(Some(Read { event, line: text }))
    }

    /// Puts the next line into the buffer, or as much of it as shows that it is too long. False at the end.
    fn fill_buffer(&mut self) -> Result<bool, ReadError> {
        self.buffer.clear();
        let limit = MAX_LINE_BYTES as u64 + 2;
        let read = std::io::Read::take(&mut self.source, limit).read_until(b'\n', &mut self.buffer);
        read.map(|bytes| bytes > 0).map_err(|error| ReadError::Io { line: self.line, error })
    }
}
