//! WebSocket frames by hand: what a load generator needs of the protocol and nothing more.
//!
//! It shares two cores with the server that it drives, so it must cost little: one buffer in, one buffer out, no
//! allocation for an event. The mask is zero, which is valid and spares the masking on this side only.

/// Longest frame that a server may send: the captures with their pictures are a few KiB.
const FRAME_LIMIT_BYTES: usize = 1 << 20;

const TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;

/// Appends a text frame as a client sends it.
pub(super) fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(TEXT);
    match text.len() {
        short @ 0..=125 => out.push(MASKED | short as u8),
        long => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(text);
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A text message.
    Text(&'a [u8]),
    /// The end, with its code.
    Close(u16),
    /// Anything else.
    Other,
}

/// Takes the first frame off `bytes`, if all of it is there: the frame and its length with its header.
///
/// # Errors
/// When the frame is longer than any that a server sends.
pub(super) fn first(bytes: &[u8]) -> anyhow::Result<Option<(Frame<'_>, usize)>> {
    let [kind, length, ..] = bytes else { return Ok(None) };
    let (length, header) = match (length & 0x7f, bytes) {
        (126, [_, _, high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 4),
        (127, [_, _, a, b, c, d, e, f, g, h, ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, 10)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (usize::from(short), 2),
    };
    anyhow::ensure!(length <= FRAME_LIMIT_BYTES, "the server sent a frame of {length} bytes");
    let Some(payload) = bytes.get(header..header + length) else { return Ok(None) };
    let frame = match kind & 0x0f {
        1 => Frame::Text(payload),
        8 => Frame::Close(payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code))),
        _ => Frame::Other,
    };
    Ok(Some((frame, header + length)))
}

/// The number behind `key` in a message that begins with it.
pub(super) fn leading_number(text: &[u8], key: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(key)?.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart_wherever_they_are_cut() {
        let mut bytes = vec![TEXT, 5];
        bytes.extend(b"hello");
        bytes.extend([TEXT, 126, 1, 0]);
        bytes.extend([b'x'; 256]);
        bytes.extend([0x88, 2, 3, 232]);
        let mut seen = Vec::new();
        let mut start = 0;
        for end in 0..=bytes.len() {
            while let Some((frame, length)) = first(&bytes[start..end]).unwrap() {
                seen.push(match frame {
                    Frame::Text(text) => text.len(),
                    Frame::Close(code) => code.into(),
                    Frame::Other => 0,
                });
                start += length;
            }
        }
        assert_eq!((seen, start), (vec![5, 256, 1000], bytes.len()));
        assert!(first(&[TEXT, 127, 0, 0, 0, 0, 0xff, 0, 0, 0]).is_err());
    }

    #[test]
    fn what_is_sent_is_read_by_tungstenite() {
        use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};
        for length in [0, 125, 126, 4_000] {
            let (mut bytes, text) = (Vec::new(), vec![b'a'; length]);
            push_text(&mut bytes, &text);
            let mut socket = WebSocket::from_raw_socket(std::io::Cursor::new(bytes), Role::Server, None);
            assert_eq!(socket.read().unwrap().into_data(), text);
        }
    }

    #[test]
    fn acknowledgements_are_read_without_parsing() {
        assert_eq!(leading_number(br#"{"type":"ack","seq":120}"#, br#"{"type":"ack","seq":"#), Some(120));
        assert_eq!(leading_number(br#"{"type":"play"}"#, br#"{"type":"ack","seq":"#), None);
    }
}
