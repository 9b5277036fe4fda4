//! Checksums of what verdicts rest on: a byte that flipped on disk must be noticed before anybody believes it.
//!
//! CRC-32 finds what a failing disk does (every burst of up to 32 bits); it is no seal against people, who can write a
//! new one. A sealed log has a SHA-256 besides.

use flate2::Crc;

use super::StoreError;

/// Of a row of the journal.
pub fn of_lines(session: i64, first_n: i64, count: i64, lines: &[u8]) -> u32 {
    of(&[&session.to_le_bytes(), &first_n.to_le_bytes(), &count.to_le_bytes(), lines])
}

/// Of a verdict.
pub fn of_verdict(session: i64, version: i64, body: &str) -> u32 {
    of(&[&session.to_le_bytes(), &version.to_le_bytes(), body.as_bytes()])
}

/// Of a delivery in the outbox.
pub(super) fn of_delivery(event: &str, body: &str) -> u32 {
    of(&[&(event.len() as u64).to_le_bytes(), event.as_bytes(), body.as_bytes()])
}

/// Whether a stored checksum is the one of the content; a row from before checksums has none.
pub(super) fn holds(stored: Option<i64>, content: u32) -> bool {
    stored.is_none_or(|stored| stored == i64::from(content))
}

/// A verdict that is still what was written.
pub(super) fn intact_verdict(
    session: i64,
    version: i64,
    body: String,
    stored: Option<i64>,
) -> Result<String, StoreError> {
    if holds(stored, of_verdict(session, version, &body)) {
        return Ok(body);
    }
    let why = format!("version {version} of session key {session} is not what was written: its checksum differs");
    Err(StoreError::Corrupt { what: "verdict", why })
}

fn of(parts: &[&[u8]]) -> u32 {
    let mut crc = Crc::new();
    for part in parts {
        crc.update(part);
    }
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts() {
        let sum = of_lines(1, 2, 3, b"line\n");
        for other in [of_lines(2, 2, 3, b"line\n"), of_lines(1, 3, 3, b"line\n"), of_lines(1, 2, 3, b"lime\n")] {
            assert_ne!(sum, other);
        }
        assert_ne!(of_verdict(1, 1, "a"), of_verdict(1, 2, "a"));
        assert_ne!(of_delivery("ab", "c"), of_delivery("a", "bc"));
        assert!(holds(None, 1) && holds(Some(1), 1) && !holds(Some(2), 1));
    }
}
