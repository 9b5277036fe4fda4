//! Reading a log as a stream.
//!
//! Memory does not grow with the log: one line is held at a time, in a buffer that is used again, and a line has a
//! limit.

use std::io::{self, BufRead};

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
        error: io::Error,
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
        let read = read_line(&mut self.source, &mut self.buffer);
        read.map(|bytes| bytes > 0).map_err(|error| ReadError::Io { line: self.line, error })
    }
}

/// Puts the next line into `line`, with its line feed, or as much of it as shows that it is longer than
/// [`MAX_LINE_BYTES`]. Says how many bytes that is; 0 at the end.
///
/// # Errors
/// What the source says.
pub(crate) fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    // The standard library's `read_until` looks for the line feed several times as long.
    line.clear();
    loop {
        let available = match source.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            filled => filled?,
        };
        let room = MAX_LINE_BYTES + 2 - line.len();
        let within = &available[..available.len().min(room)];
        let end = memchr::memchr(b'\n', within);
        let taken = end.map_or(within.len(), |end| end + 1);
        line.extend_from_slice(&within[..taken]);
        source.consume(taken);
        if end.is_some() || taken == 0 {
            return Ok(line.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED: &str = r#"{"n":1,"at":5,"src":"server","type":"session.opened","data":{"session":"s","platform":"p","learner":"l","project":"j","lesson":"e","policy":"default","duration_ms":5,"facts":{"platform_status":"active","project_approved":true,"content_approved":true,"prior_lessons_complete":true,"lesson_kind":"theory","delivery":"blended","total_hours":1,"online_used_ms":0}}}"#;
    const CLOSED: &str = r#"{"n":2,"at":5,"src":"server","type":"session.closed","data":{"reason":"left"}}"#;

    /// The first error of a log: its line and what it says.
    fn refusal(log: &str) -> Option<String> {
        let mut reader = Reader::new(log.as_bytes());
        loop {
            match reader.next() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(error.to_string()),
            }
        }
    }

    #[test]
    fn a_log_is_read_with_or_without_its_last_line_feed() {
        assert_eq!(refusal(&format!("{OPENED}\n{CLOSED}\n")), None);
        assert_eq!(refusal(&format!("{OPENED}\r\n{CLOSED}")), None);
    }

    #[test]
    fn refusals_name_line_and_field() {
        let second = |from: &str, to: &str| format!("{OPENED}\n{}\n", CLOSED.replace(from, to));
        let cases = [
            (String::new(), "line 1: line: the log is empty"),
            ("\n".to_owned(), "line 1: line: not valid JSON"),
            (CLOSED.to_owned(), "line 1: n: is 2, must be 1"),
            (CLOSED.replace("\"n\":2", "\"n\":1"), "line 1: type: the first event must be session.opened"),
            (second("\"n\":2", "\"n\":3"), "line 2: n: is 3, must be 2"),
            (second("\"at\":5", "\"at\":4"), "line 2: at: is 4, before the 5"),
            (second("left", "bored"), "line 2: data.reason: "),
            (format!("{OPENED}\n\n{CLOSED}\n"), "line 2: line: not valid JSON"),
            (format!("{OPENED}\n{}\n", OPENED.replace("\"n\":1", "\"n\":2")), "line 2: type: session.opened may only"),
            (format!("{OPENED}\n{CLOSED}\n{CLOSED}\n"), "line 3: type: nothing may follow session.closed"),
            (format!("{OPENED}\n{CLOSED}\n\n"), "line 3: line: not valid JSON"),
            (format!("{OPENED}\n{}", &CLOSED[..40]), "line 2: "),
        ];
        for (log, expected) in cases {
            let said = refusal(&log).unwrap_or_default();
            assert!(said.starts_with(expected), "{said:?} should start with {expected:?}");
        }
    }

    #[test]
    fn an_endless_line_is_given_up() {
        let log = format!("{OPENED}\n{}", "x".repeat(3 * MAX_LINE_BYTES));
        assert_eq!(refusal(&log).unwrap(), "line 2: line: is longer than 1048576 bytes");
        let mut reader = Reader::new(io::BufReader::new(io::repeat(b' ')));
        assert!(reader.next().is_err());
        assert!(reader.buffer.capacity() < 4 * MAX_LINE_BYTES);
        let padded = format!("{OPENED}{}", " ".repeat(MAX_LINE_BYTES - OPENED.len()));
        assert_eq!(refusal(&padded), None);
        assert!(refusal(&format!("{padded} ")).is_some());
    }
}
