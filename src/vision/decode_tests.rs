//! Bytes that are no photo, or claim more than they are, or are turned.

use image::{DynamicImage, ImageFormat, RgbImage};
use proptest::prelude::*;

use super::*;

fn sample(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 90]))
}

fn encoded(picture: RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A JPEG header that announces so many pixels, and nothing of them.
fn jpeg_header(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8];
    bytes.extend(height.to_be_bytes());
    bytes.extend(width.to_be_bytes());
    bytes.extend([3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
    bytes.extend([0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0, 0, 0xFF, 0xD9]);
    bytes
}

fn png_chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(body);
    [&(body.len() as u32).to_be_bytes()[..], kind, body, &crc.sum().to_be_bytes()].concat()
}

/// A PNG of black pixels, packed as small as can be, whose header may announce another size than it holds.
fn png(width: u32, height: u32, rows: usize) -> Vec<u8> {
    use std::io::Write as _;
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let row = vec![0; 1 + 3 * width as usize];
    for _ in 0..rows {
        packed.write_all(&row).unwrap();
    }
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let parts = [
        b"\x89PNG\r\n\x1A\n".to_vec(),
        png_chunk(b"IHDR", &header),
        png_chunk(b"IDAT", &packed.finish().unwrap()),
        png_chunk(b"IEND", &[]),
    ];
    parts.concat()
}

/// `jpeg` with an EXIF segment that says only how the picture is turned.
fn with_orientation(jpeg: &[u8], orientation: u16) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    exif.extend(orientation.to_be_bytes());
    exif.extend([0, 0, 0, 0, 0, 0]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn the_three_formats_are_told_by_their_bytes() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
        let photo = decode(&encoded(sample(80, 60), format)).unwrap();
        assert_eq!((photo.width_px, photo.height_px, photo.rgb.len()), (80, 60, 80 * 60 * 3), "{format:?}");
    }
}

#[test]
fn what_is_no_photo_is_called_that() {
    let gif = b"GIF89a\x01\0\x01\0\0\0\0;";
    for bytes in [&b"a text file that calls itself photo.jpg"[..], b"", b"\xFF", gif, b"RIFF\0\0\0\0WAVEfmt "] {
        assert_eq!(decode(bytes), Err(PhotoError::NotAPhoto));
    }
}

#[test]
fn a_header_of_65_500_pixels_is_refused_before_anything_is_decoded() {
    let wanted = Err(PhotoError::TooManyPixels { width_px: 65_500, height_px: 65_500 });
    assert_eq!(decode(&jpeg_header(65_500, 65_500)), wanted);
    assert_eq!(decode(&png(65_500, 65_500, 1)), wanted);
    let mut webp = encoded(sample(8, 8), ImageFormat::WebP);
    let at = webp.windows(4).position(|part| part == b"VP8L").unwrap() + 9;
    webp[at..at + 4].copy_from_slice(&(16_382_u32 | 16_382 << 14).to_le_bytes());
    assert_eq!(decode(&webp), Err(PhotoError::TooManyPixels { width_px: 16_383, height_px: 16_383 }));
}

#[test]
fn limits_are_exact() {
    let decoded = decode(&png(2000, 2000, 2000)).unwrap();
    assert_eq!(decoded.width_px * decoded.height_px, 4_000_000);
    assert!(matches!(decode(&png(2000, 2001, 2001)), Err(PhotoError::TooManyPixels { .. })));
    assert!(matches!(decode(&png(4097, 10, 10)), Err(PhotoError::TooManyPixels { .. })));
    let large = vec![0; PHOTO_LIMIT_BYTES + 1];
    assert_eq!(decode(&large), Err(PhotoError::TooLarge { bytes: PHOTO_LIMIT_BYTES + 1 }));
}

#[test]
fn a_png_that_holds_more_or_less_than_it_announces_is_no_bomb() {
    // 300 MB of black rows behind a header of 64×64: a decoder that unpacks first and looks later would choke.
    let bomb = {
        let mut bytes = png(64, 64, 1_600_000);
        bytes.truncate(PHOTO_LIMIT_BYTES);
        bytes
    };
    assert!(decode(&bomb).is_err() || decode(&bomb).unwrap().rgb.len() == 64 * 64 * 3);
    assert!(decode(&png(2000, 2000, 1)).is_err());
}

#[test]
fn a_file_that_ends_early_is_truncated() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
        let whole = encoded(sample(200, 150), format);
        for length in [whole.len() / 3, whole.len() / 2, whole.len() * 9 / 10, whole.len() - 2] {
            assert_eq!(decode(&whole[..length]), Err(PhotoError::Truncated), "{format:?}, {length} bytes");
        }
    }
}

#[test]
fn a_thumbnails_end_marker_is_not_the_photos() {
    let jpeg = encoded(sample(200, 150), ImageFormat::Jpeg);
    let comment = [0xFF, 0xFE, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9];
    let whole = [&jpeg[..2], &comment, &jpeg[2..]].concat();
    assert!(decode(&whole).is_ok());
    assert_eq!(decode(&whole[..whole.len() / 2]), Err(PhotoError::Truncated));
}

#[test]
fn a_jpeg_of_thousands_of_scans_is_refused() {
    let jpeg = encoded(sample(64, 64), ImageFormat::Jpeg);
    let scan = [0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0];
    let many = [&jpeg[..jpeg.len() - 2], &scan.repeat(3000), &[0xFF, 0xD9]].concat();
    assert!(matches!(decode(&many), Err(PhotoError::Broken(_))));
}

#[test]
fn an_animation_is_refused() {
    let still = encoded(sample(40, 40), ImageFormat::Png);
    let moving = [&still[..33], &png_chunk(b"acTL", &[0; 8]), &still[33..]].concat();
    assert_eq!(decode(&moving), Err(PhotoError::Animated));
}

#[test]
fn every_exif_orientation_gives_the_same_upright_picture() {
    let picture = DynamicImage::ImageRgb8(sample(96, 64));
    let upright = decode(&encoded(picture.to_rgb8(), ImageFormat::Jpeg)).unwrap();
    for orientation in 1..=8 {
        // How a camera that writes this orientation would have stored the picture.
        let stored = match orientation {
            2 => picture.fliph(),
            3 => picture.rotate180(),
            4 => picture.flipv(),
            5 => picture.rotate90().fliph(),
            6 => picture.rotate270(),
            7 => picture.rotate270().fliph(),
            8 => picture.rotate90(),
            _ => picture.clone(),
        };
        let jpeg = encoded(stored.to_rgb8(), ImageFormat::Jpeg);
        let photo = decode(&with_orientation(&jpeg, orientation)).unwrap();
        assert_eq!((photo.width_px, photo.height_px), (96, 64), "orientation {orientation}");
        let furthest = photo.rgb.iter().zip(&upright.rgb).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(furthest < 24, "orientation {orientation} is off by {furthest}");
    }
}

#[test]
fn four_quarter_turns_are_none() {
    let photo = decode(&encoded(sample(30, 20), ImageFormat::Png)).unwrap();
    let once = photo.quarter_turn();
    assert_eq!((once.width_px, once.height_px), (20, 30));
    // Clockwise: what was at the bottom left is now at the top left.
    assert_eq!(once.rgb[..3], photo.rgb[3 * 30 * 19..][..3]);
    assert_eq!(once.quarter_turn().quarter_turn().quarter_turn(), photo);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0..4_usize) {
        let start: &[u8] = [&b""[..], b"\xFF\xD8\xFF", b"\x89PNG\r\n\x1A\n", b"RIFF\x80\x01\0\0WEBP"][kind];
        let _ = decode(&[start, &bytes].concat());
    }

    #[test]
    fn mutated_photos_never_panic(
        kind in 0..3_usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let format = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP][kind];
        let mut bytes = encoded(sample(48, 40), format);
        for (place, value) in changes {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(photo) = decode(&bytes) {
            prop_assert_eq!(photo.rgb.len(), 3 * photo.width_px * photo.height_px);
        }
    }
}
