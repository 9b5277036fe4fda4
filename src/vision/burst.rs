//! What a page sends for one capture: a photo, or several taken one after the other, as one run of bytes.
//!
//! The bytes are what was committed to, what is kept, and what an auditor gets: so the frames' times are in them.
//! A photo by itself is a burst of one frame. docs/protocol.md section 6 has the form.

use super::PhotoError;

/// First bytes of a burst; the last one is its version.
const MAGIC: &[u8; 4] = b"IVB1";
/// Most frames of one burst.
pub const FRAMES_LIMIT: usize = 16;
const FRAMES_LEAST: usize = 2;
/// Bytes before the first frame.
pub const HEAD_BYTES: usize = 5;
/// Bytes of a frame before its photo.
pub const FRAME_HEAD_BYTES: usize = 8;

/// One photo of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was taken, ms after the first one, by the page's clock.
    pub at_ms: u32,
    /// JPEG, PNG or WebP, as it was encoded there.
    pub photo: &'a [u8],
}

/// Takes a submission apart. It copies nothing, and looks at no photo.
///
/// # Errors
/// [`PhotoError::BadBurst`] says what is wrong with the container.
pub fn parse(submission: &[u8]) -> Result<Vec<Frame<'_>>, PhotoError> {
    let Some(rest) = submission.strip_prefix(MAGIC) else {
        return Ok(vec![Frame { at_ms: 0, photo: submission }]);
    };
    let short = || PhotoError::BadBurst("it ends before its last frame does".to_owned());
    let (&count, mut rest) = rest.split_first().ok_or_else(short)?;
    let count = usize::from(count);
    if !(FRAMES_LEAST..=FRAMES_LIMIT).contains(&count) {
        return Err(PhotoError::BadBurst(format!("it has {count} frames, not {FRAMES_LEAST} to {FRAMES_LIMIT}")));
    }
    let mut frames = Vec::with_capacity(count);
    for number in 1..=count {
        let (at_ms, after) = word(rest).ok_or_else(short)?;
        let (length, after) = word(after).ok_or_else(short)?;
        let (photo, after) = after.split_at_checked(length as usize).ok_or_else(short)?;
        let follows = frames.last().map_or(at_ms == 0, |before: &Frame<'_>| before.at_ms < at_ms);
        if !follows {
            return Err(PhotoError::BadBurst(format!(
                "frame {number} is at {at_ms} ms: the first is at 0, each later than the one before"
            )));
        }
        frames.push(Frame { at_ms, photo });
        rest = after;
    }
    if !rest.is_empty() {
        return Err(PhotoError::BadBurst(format!("{} bytes follow its last frame", rest.len())));
    }
    Ok(frames)
}

/// Puts frames together as a page does; one frame alone is its photo.
///
/// # Panics
/// With no frame, with more than [`FRAMES_LIMIT`], or with a photo of 4 GiB.
pub fn compose(frames: &[Frame<'_>]) -> Vec<u8> {
    if let [only] = frames {
        return only.photo.to_vec();
    }
    assert!((FRAMES_LEAST..=FRAMES_LIMIT).contains(&frames.len()), "{} frames", frames.len());
    let mut bytes = [MAGIC.as_slice(), &[frames.len() as u8]].concat();
    for frame in frames {
        let length = u32::try_from(frame.photo.len()).expect("a photo is smaller than 4 GiB");
        bytes.extend(frame.at_ms.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(frame.photo);
    }
    bytes
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(word, rest)| (u32::from_be_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_photo_is_a_burst_of_one_frame() {
        let photo = b"\xFF\xD8\xFF and so on";
        assert_eq!(parse(photo), Ok(vec![Frame { at_ms: 0, photo }]));
        assert_eq!(compose(&[Frame { at_ms: 0, photo }]), photo);
    }

    #[test]
    fn what_is_wrong_with_a_burst_is_said() {
        let frames = [Frame { at_ms: 0, photo: b"a" }, Frame { at_ms: 200, photo: b"bc" }];
        let whole = compose(&frames);
        assert_eq!(parse(&whole), Ok(frames.to_vec()));
        let why = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        assert!(why(&[&whole[..], b"x"].concat()).contains("1 bytes follow"));
        assert!(why(b"IVB1\x01").contains("1 frames"));
        assert!(why(b"IVB1\x11").contains("17 frames"));
        for length in 4..whole.len() {
            assert!(why(&whole[..length]).contains("ends before"), "{length}");
        }
        let late = [Frame { at_ms: 1, photo: b"a" }, Frame { at_ms: 200, photo: b"b" }];
        assert!(why(&compose(&late)).contains("frame 1 is at 1 ms"));
        let twice = [Frame { at_ms: 0, photo: b"a" }, Frame { at_ms: 0, photo: b"b" }];
        assert!(why(&compose(&twice)).contains("frame 2 is at 0 ms"));
    }

    proptest! {
        #[test]
        fn what_is_composed_is_parsed(gaps in prop::collection::vec((1u32..10_000, prop::collection::vec(any::<u8>(), 0..50)), 2..=16)) {
            let mut at_ms = 0;
            let frames: Vec<Frame<'_>> = gaps.iter().enumerate().map(|(number, (gap, photo))| {
                at_ms += if number == 0 { 0 } else { *gap };
                Frame { at_ms, photo }
            }).collect();
            let bytes = compose(&frames);
            prop_assert_eq!(parse(&bytes), Ok(frames));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&[MAGIC, bytes.as_slice()].concat());
        }
    }
}
