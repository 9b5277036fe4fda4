//! Photos changed as light, cameras, networks and cheats change them: for measuring what the layers stand, and for tests.
//!
//! The server never uses it.

use image::{Rgb, RgbImage};
use rand::rngs::ChaCha12Rng;
use rand::{RngExt as _, SeedableRng as _};

/// Each colour of each pixel off by up to `levels`, evenly spread around it.
pub fn noisy(picture: &RgbImage, levels: f32, seed: u64) -> RgbImage {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    mapped(picture, |value| value + random.random_range(-levels..=levels))
}

/// The lowest bit of each value turned over.
pub fn low_bits_flipped(picture: &RgbImage) -> RgbImage {
    let mut flipped = picture.clone();
    flipped.iter_mut().for_each(|value| *value ^= 1);
    flipped
}

/// Brighter or darker: each value times `gain`, plus `offset`.
pub fn lit(picture: &RgbImage, gain: f32, offset: f32) -> RgbImage {
    mapped(picture, |value| value * gain + offset)
}

/// Out of focus by a disc's blur of so many pixels, as a standard deviation.
pub fn blurred(picture: &RgbImage, pixels: f32) -> RgbImage {
    image::imageops::fast_blur(picture, pixels)
}

/// Shifted, zoomed about its middle, and turned clockwise, as a cheat does who wants one photo to look like two.
pub fn moved(picture: &RgbImage, right_px: f32, down_px: f32, zoom: f32, turn_degrees: f32) -> RgbImage {
    let (sine, cosine) = turn_degrees.to_radians().sin_cos();
    let middle = [picture.width() as f32 / 2.0, picture.height() as f32 / 2.0];
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let (x, y) = (x as f32 - middle[0] - right_px, y as f32 - middle[1] - down_px);
        let from_x = (cosine * x + sine * y) / zoom + middle[0];
        let from_y = (cosine * y - sine * x) / zoom + middle[1];
        let (width, height) = (picture.width() as f32 - 1.0, picture.height() as f32 - 1.0);
        image::imageops::interpolate_bilinear(picture, from_x.clamp(0.0, width), from_y.clamp(0.0, height))
            .unwrap_or(Rgb([0; 3]))
    })
}

/// Made smaller by `share` and as large as before again.
pub fn resized(picture: &RgbImage, share: f32) -> RgbImage {
    let filter = image::imageops::FilterType::Triangle;
    let (width, height) = (picture.width() as f32 * share, picture.height() as f32 * share);
    let small = image::imageops::resize(picture, width.max(1.0) as u32, height.max(1.0) as u32, filter);
    image::imageops::resize(&small, picture.width(), picture.height(), filter)
}

/// As a screen that was photographed: lines of the screen against those of the camera, and less contrast.
pub fn moire(picture: &RgbImage, levels: f32) -> RgbImage {
    let mut altered = lit(picture, 0.8, 20.0);
    for (x, y, pixel) in altered.enumerate_pixels_mut() {
        let wave = (0.9 * x as f32 + 0.2 * y as f32).sin() + (1.1 * y as f32 - 0.3 * x as f32).sin();
        pixel.0 = pixel.0.map(|value| (f32::from(value) + levels * wave).clamp(0.0, 255.0) as u8);
    }
    altered
}

/// As a print that was photographed: dots of ink every `dot_px` pixels, less contrast, and the paper's warm white.
pub fn printed(picture: &RgbImage, dot_px: f32) -> RgbImage {
    let mut altered = blurred(&lit(picture, 0.75, 35.0), 0.6);
    let turn = std::f32::consts::TAU / dot_px;
    for (x, y, pixel) in altered.enumerate_pixels_mut() {
        // Lines of dots are not level, so that eyes do not see them.
        let (across, down) = (0.97 * x as f32 + 0.26 * y as f32, 0.97 * y as f32 - 0.26 * x as f32);
        let dots = 7.0 * ((turn * across).sin() + (turn * down).sin());
        for (value, paper) in pixel.0.iter_mut().zip([1.0, 0.97, 0.9]) {
            *value = ((f32::from(*value) + dots) * paper).round().clamp(0.0, 255.0) as u8;
        }
    }
    altered
}

/// Dark rims and a bridge around two places, as glasses have: `eyes` in pixels.
pub fn with_glasses(picture: &RgbImage, eyes: [[f32; 2]; 2]) -> RgbImage {
    let mut altered = picture.clone();
    let apart = (eyes[1][0] - eyes[0][0]).hypot(eyes[1][1] - eyes[0][1]);
    let (radius, rim) = (0.36 * apart, (0.04 * apart).max(1.0));
    for (x, y, pixel) in altered.enumerate_pixels_mut() {
        let from = |eye: [f32; 2]| (x as f32 - eye[0]).hypot(y as f32 - eye[1]);
        let on_rim = eyes.into_iter().any(|eye| (from(eye) - radius).abs() < rim);
        let between = (from(eyes[0]) - from(eyes[1])).abs() < 0.28 * apart
            && (y as f32 - (eyes[0][1] + eyes[1][1]) / 2.0).abs() < rim;
        if on_rim || between {
            *pixel = Rgb([30, 28, 26]);
        }
    }
    altered
}

/// Encoded anew as JPEG, `quality` 1 to 100.
///
/// # Panics
/// When the picture has no pixels.
pub fn jpeg(picture: &RgbImage, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, quality);
    picture.write_with_encoder(encoder).expect("memory takes any picture");
    bytes
}

/// The middle, without up to `share` of the width and height on each side.
pub fn cropped(picture: &RgbImage, share: f32, seed: u64) -> RgbImage {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let mut cut = |side: u32| (side as f32 * random.random_range(0.0..share)) as u32;
    let (width, height) = picture.dimensions();
    let (left, right, top, bottom) = (cut(width), cut(width), cut(height), cut(height));
    image::imageops::crop_imm(picture, left, top, width - left - right, height - top - bottom).to_image()
}

/// With bars like those of a line of faint text across the middle.
pub fn written_on(picture: &RgbImage) -> RgbImage {
    let mut altered = picture.clone();
    let (width, height) = picture.dimensions();
    let letter = (width / 60).max(2);
    for y in height / 2..(height / 2 + 2 * letter).min(height) {
        for x in (width / 10..width * 9 / 10).filter(|x| (x / letter + y / letter) % 3 == 0) {
            let pixel = altered.get_pixel_mut(x, y);
            pixel.0 = pixel.0.map(|value| value / 3 * 2 + 85);
        }
    }
    altered
}

/// What is done to a stored photo so that it passes for a new one, by name.
pub fn disguises(picture: &RgbImage, seed: u64) -> Vec<(&'static str, RgbImage)> {
    let encoded = |picture: &RgbImage, quality| {
        let read = image::load_from_memory(&jpeg(picture, quality));
        read.map_or_else(|_| picture.clone(), image::DynamicImage::into_rgb8)
    };
    let scaled = |picture: &RgbImage, times: f32| {
        let side = |side: u32| (side as f32 * times).round().max(1.0) as u32;
        let filter = image::imageops::FilterType::Triangle;
        image::imageops::resize(picture, side(picture.width()), side(picture.height()), filter)
    };
    let smaller = scaled(&cropped(picture, 0.03, seed + 2), 0.8);
    vec![
        ("JPEG quality 90", encoded(picture, 90)),
        ("JPEG quality 60", encoded(picture, 60)),
        ("JPEG quality 30", encoded(picture, 30)),
        ("lowest bits", low_bits_flipped(picture)),
        ("noise of 3", noisy(picture, 3.0, seed)),
        ("noise of 8", noisy(picture, 8.0, seed)),
        ("cropped by 3 %", cropped(picture, 0.03, seed)),
        ("cropped by 8 %", cropped(picture, 0.08, seed + 1)),
        ("half the size", scaled(picture, 0.5)),
        ("3/4 of the size", scaled(picture, 0.75)),
        ("1.5 times the size", scaled(picture, 1.5)),
        ("darker", lit(picture, 0.7, 0.0)),
        ("brighter", lit(picture, 1.25, 0.0)),
        ("other gamma", mapped(picture, |value| 255.0 * (value / 255.0).powf(0.7))),
        ("blurred", blurred(picture, picture.width() as f32 / 500.0)),
        ("mirrored", image::imageops::flip_horizontal(picture)),
        ("shifted and turned", moved(picture, 4.0, 3.0, 1.04, 2.0)),
        ("written on", written_on(picture)),
        ("all of it", encoded(&noisy(&lit(&smaller, 1.1, 0.0), 3.0, seed), 70)),
    ]
}

fn mapped(picture: &RgbImage, mut change: impl FnMut(f32) -> f32) -> RgbImage {
    let mut altered = picture.clone();
    altered.iter_mut().for_each(|value| *value = change(f32::from(*value)).round().clamp(0.0, 255.0) as u8);
    altered
}
