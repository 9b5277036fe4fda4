//! Reads the shells of JPEG, PNG and WebP files: what they are, how large a picture they announce, whether they are
//! whole. So a file is refused by its first bytes, before anything is allocated for the picture it claims to hold.
//!
//! It decodes nothing and checks no checksum: the decoder does.

use super::PhotoError;

/// A file's kind and the size it announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shell {
    pub format: image::ImageFormat,
    pub width_px: u32,
    pub height_px: u32,
}

/// Progressive files come in about ten scans. Each scan costs a pass over the picture, however few bytes it has, so a
/// small file with thousands would keep a worker busy for minutes.
const SCANS_LIMIT: u32 = 64;

/// Looks at a file's shell.
///
/// # Errors
/// Says what is wrong; a size above the limits is not judged here.
pub fn inspect(bytes: &[u8]) -> Result<Shell, PhotoError> {
    if bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
        return jpeg(bytes);
    }
    if bytes.starts_with(b"\x89PNG\r\n\x1A\n") {
        return png(bytes);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return webp(bytes);
    }
    Err(PhotoError::NotAPhoto)
}

fn big_endian_u16(bytes: &[u8], at: usize) -> Result<usize, PhotoError> {
    bytes.get(at..at + 2).map(|pair| usize::from(u16::from_be_bytes([pair[0], pair[1]]))).ok_or(PhotoError::Truncated)
}

fn big_endian_u32(bytes: &[u8], at: usize) -> Result<u32, PhotoError> {
    let word = bytes.get(at..at + 4).ok_or(PhotoError::Truncated)?;
    Ok(u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

fn little_endian(bytes: &[u8], at: usize, length: usize) -> Result<u32, PhotoError> {
    let part = bytes.get(at..at + length).ok_or(PhotoError::Truncated)?;
    Ok(part.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

fn sized(format: image::ImageFormat, width_px: u32, height_px: u32) -> Result<Shell, PhotoError> {
    if width_px == 0 || height_px == 0 {
        return Err(PhotoError::Broken("it announces a picture without pixels".to_owned()));
    }
    Ok(Shell { format, width_px, height_px })
}

/// Walks from marker to marker. A thumbnail inside a segment has an end marker of its own, so searching for the last
/// one would not do.
fn jpeg(bytes: &[u8]) -> Result<Shell, PhotoError> {
    let (mut at, mut frame, mut scans) = (2, None, 0);
    loop {
        let marker = jpeg_marker(bytes, &mut at)?;
        if marker == 0xD9 {
            let found = frame.filter(|_| scans > 0);
            return found.ok_or_else(|| PhotoError::Broken("it ends before its picture".to_owned()));
        }
        let length = big_endian_u16(bytes, at)?;
        if length < 2 {
            return Err(PhotoError::Broken("a segment is shorter than its own length".to_owned()));
        }
        if is_frame_header(marker) {
            if frame.is_some() {
                return Err(PhotoError::Broken("it holds two pictures".to_owned()));
            }
            let (height_px, width_px) = (big_endian_u16(bytes, at + 3)?, big_endian_u16(bytes, at + 5)?);
            frame = Some(sized(image::ImageFormat::Jpeg, width_px as u32, height_px as u32)?);
        }
        at += length;
        if marker == 0xDA {
            scans += 1;
            if scans > SCANS_LIMIT {
                return Err(PhotoError::Broken(format!("it has more than {SCANS_LIMIT} scans")));
            }
            skip_scan(bytes, &mut at)?;
        }
    }
}

fn is_frame_header(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
}

/// The marker at `at`, which moves past it and its fill bytes.
fn jpeg_marker(bytes: &[u8], at: &mut usize) -> Result<u8, PhotoError> {
    if *bytes.get(*at).ok_or(PhotoError::Truncated)? != 0xFF {
        return Err(PhotoError::Broken("a segment does not follow the one before it".to_owned()));
    }
    while let Some(0xFF) = bytes.get(*at) {
        *at += 1;
    }
    let marker = *bytes.get(*at).ok_or(PhotoError::Truncated)?;
    *at += 1;
    Ok(marker)
}

/// Moves `at` to the marker that ends the entropy-coded data: not a stuffed zero, not a restart.
fn skip_scan(bytes: &[u8], at: &mut usize) -> Result<(), PhotoError> {
    loop {
        let rest = bytes.get(*at..).ok_or(PhotoError::Truncated)?;
        *at += rest.iter().position(|byte| *byte == 0xFF).ok_or(PhotoError::Truncated)?;
        match *bytes.get(*at + 1).ok_or(PhotoError::Truncated)? {
            0x00 | 0xD0..=0xD7 => *at += 2,
            0xFF => *at += 1,
            _ => return Ok(()),
        }
    }
}

fn png(bytes: &[u8]) -> Result<Shell, PhotoError> {
    let mut at = 8;
    if bytes.get(12..16) != Some(b"IHDR") {
        return Err(PhotoError::Broken("its header does not come first".to_owned()));
    }
    let shell = sized(image::ImageFormat::Png, big_endian_u32(bytes, 16)?, big_endian_u32(bytes, 20)?)?;
    loop {
        let length = big_endian_u32(bytes, at)? as usize;
        let kind = bytes.get(at + 4..at + 8).ok_or(PhotoError::Truncated)?;
        // Length, kind and checksum are four bytes each.
        let end = at + 12 + length;
        if end > bytes.len() {
            return Err(PhotoError::Truncated);
        }
        match kind {
            b"IEND" => return Ok(shell),
            b"acTL" => return Err(PhotoError::Animated),
            _ => at = end,
        }
    }
}

fn webp(bytes: &[u8]) -> Result<Shell, PhotoError> {
    let end = 8 + little_endian(bytes, 4, 4)? as usize;
    if end > bytes.len() {
        return Err(PhotoError::Truncated);
    }
    let (mut at, mut largest) = (12, None);
    while at + 8 <= end {
        let body = at + 8;
        let length = little_endian(bytes, at + 4, 4)? as usize;
        if body + length > end {
            return Err(PhotoError::Truncated);
        }
        if let Some((width_px, height_px)) = webp_size(&bytes[at..body + length])? {
            let (width_before, height_before) = largest.unwrap_or((0, 0));
            largest = Some((width_px.max(width_before), height_px.max(height_before)));
        }
        // Chunks start at even offsets.
        at = body + length + length % 2;
    }
    let (width_px, height_px) = largest.ok_or_else(|| PhotoError::Broken("it holds no picture".to_owned()))?;
    sized(image::ImageFormat::WebP, width_px, height_px)
}

/// The size that a chunk announces, if it is of a kind that does.
fn webp_size(chunk: &[u8]) -> Result<Option<(u32, u32)>, PhotoError> {
    const ANIMATION_FLAG: u32 = 0x02;
    match &chunk[..4] {
        b"VP8X" => {
            if little_endian(chunk, 8, 1)? & ANIMATION_FLAG != 0 {
                return Err(PhotoError::Animated);
            }
            Ok(Some((little_endian(chunk, 12, 3)? + 1, little_endian(chunk, 15, 3)? + 1)))
        }
        b"VP8 " => Ok(Some((little_endian(chunk, 14, 2)? & 0x3FFF, little_endian(chunk, 16, 2)? & 0x3FFF))),
        b"VP8L" => {
            let packed = little_endian(chunk, 9, 4)?;
            Ok(Some(((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1)))
        }
        b"ANIM" | b"ANMF" => Err(PhotoError::Animated),
        _ => Ok(None),
    }
}
