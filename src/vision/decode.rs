//! From untrusted bytes to upright pixels, within limits that are read from the header before anything is decoded.
//!
//! Types are told by magic bytes, never by name. A file that ends early is refused even where a decoder would shrug:
//! half a JPEG decodes without an error. Pictures that move are refused: which frame would be the evidence?

use std::io::Cursor;

use image::codecs::{jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, Limits};
use serde::{Deserialize, Serialize};

use super::container::{self, Shell};

/// Largest photo that is looked at, in bytes.
pub const PHOTO_LIMIT_BYTES: usize = 512 * 1024;
/// Largest photo that is decoded, in pixels: a 4-megapixel camera.
pub const PHOTO_LIMIT_PIXELS: u64 = 4_000_000;
/// Longest side, in pixels. No camera makes a strip of 65 500 × 60, and every row costs.
pub const PHOTO_LIMIT_SIDE_PX: u32 = 4096;
/// What a decoder may allocate: 4 megapixels of four 16-bit channels twice over, rounded up.
const DECODER_LIMIT_BYTES: u64 = 96 * 1024 * 1024;

/// Upright pixels, three bytes each: red, green, blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    /// Width in pixels.
    pub width_px: usize,
    /// Height in pixels.
    pub height_px: usize,
    /// Row by row, `3 × width_px × height_px` bytes.
    pub rgb: Vec<u8>,
}

/// Why bytes are no photo that can be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhotoError {
    /// Neither JPEG, PNG nor WebP, by the first bytes.
    #[error("this is not a JPEG, PNG or WebP file")]
    NotAPhoto,
    /// Too many bytes.
    #[error("the photo has {bytes} bytes; at most {PHOTO_LIMIT_BYTES} are taken")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
    },
    /// Its header announces a picture that is too large.
    #[error(
        "the photo announces {width_px}×{height_px} pixels; at most {PHOTO_LIMIT_PIXELS} in all and {PHOTO_LIMIT_SIDE_PX} a side are taken"
    )]
    TooManyPixels {
        /// Announced width.
        width_px: u32,
        /// Announced height.
        height_px: u32,
    },
    /// An animation.
    #[error("the photo moves; one still picture is taken")]
    Animated,
    /// The file ends before its picture does.
    #[error("the photo ends before its end marker")]
    Truncated,
    /// The decoder, or the walk through the file before it, found it inconsistent.
    #[error("the photo cannot be decoded: {0}")]
    Broken(String),
    /// Several photos in one submission that are not put together as they should be.
    #[error("the burst of photos cannot be read: {0}")]
    BadBurst(String),
}

impl PhotoError {
    /// The word for it in a check's reason.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotAPhoto => "not_a_photo",
            Self::TooLarge { .. } => "too_large",
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::Animated => "animated",
            Self::Truncated => "truncated",
            Self::Broken(_) => "broken",
            Self::BadBurst(_) => "bad_burst",
        }
    }
}

/// Decodes a photo and turns it upright as its EXIF orientation says.
///
/// # Errors
/// [`PhotoError`], for whatever bytes; it does not panic and allocates within limits.
pub fn decode(bytes: &[u8]) -> Result<Photo, PhotoError> {
    if bytes.len() > PHOTO_LIMIT_BYTES {
        return Err(PhotoError::TooLarge { bytes: bytes.len() });
    }
    let shell = container::inspect(bytes)?;
    let Shell { width_px, height_px, .. } = shell;
    let pixels = u64::from(width_px) * u64::from(height_px);
    if pixels > PHOTO_LIMIT_PIXELS || width_px.max(height_px) > PHOTO_LIMIT_SIDE_PX {
        return Err(PhotoError::TooManyPixels { width_px, height_px });
    }
    let picture = upright(bytes, shell).map_err(broken)?.into_rgb8();
    let (width_px, height_px) = (picture.width() as usize, picture.height() as usize);
    Ok(Photo { width_px, height_px, rgb: picture.into_raw() })
}

fn broken(error: ImageError) -> PhotoError {
    PhotoError::Broken(error.to_string())
}

fn upright(bytes: &[u8], shell: Shell) -> Result<DynamicImage, ImageError> {
    let reader = Cursor::new(bytes);
    match shell.format {
        ImageFormat::Jpeg => turned(JpegDecoder::new(reader)?, shell),
        ImageFormat::Png => turned(PngDecoder::with_limits(reader, limits())?, shell),
        _ => turned(WebPDecoder::new(reader)?, shell),
    }
}

fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(PHOTO_LIMIT_SIDE_PX);
    limits.max_image_height = Some(PHOTO_LIMIT_SIDE_PX);
    limits.max_alloc = Some(DECODER_LIMIT_BYTES);
    limits
}

fn turned(mut decoder: impl ImageDecoder, shell: Shell) -> Result<DynamicImage, ImageError> {
    decoder.set_limits(limits())?;
    // The walk and the decoder must have read the same header, or the limits were held against the wrong one.
    if decoder.dimensions() != (shell.width_px, shell.height_px) {
        let kind = image::error::LimitErrorKind::DimensionError;
        return Err(ImageError::Limits(image::error::LimitError::from_kind(kind)));
    }
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

impl Photo {
    /// The pixels of one row.
    pub(super) fn row(&self, row: usize) -> &[u8] {
        let stride = 3 * self.width_px;
        &self.rgb[row * stride..(row + 1) * stride]
    }

    /// The photo turned clockwise by a quarter.
    pub(super) fn quarter_turn(&self) -> Self {
        let (width_px, height_px) = (self.height_px, self.width_px);
        let mut rgb = Vec::with_capacity(self.rgb.len());
        for row in 0..height_px {
            for column in 0..width_px {
                let at = 3 * ((self.height_px - 1 - column) * self.width_px + row);
                rgb.extend_from_slice(&self.rgb[at..at + 3]);
            }
        }
        Self { width_px, height_px, rgb }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
