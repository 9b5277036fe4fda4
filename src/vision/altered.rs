//! What is done to a stored photo so that it passes for a new one (docs: attacks by `photo_injection`), for measurements
//! and tests.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{DynamicImage, Rgb, RgbImage};
use rand::rngs::ChaCha12Rng;
use rand::{RngExt as _, SeedableRng as _};

/// A photo and what became of it, by name. The same seed alters it in the same way.
pub fn alterations(photo: &RgbImage, seed: u64) -> Vec<(&'static str, RgbImage)> {
    let mut chance = ChaCha12Rng::seed_from_u64(seed);
    vec![
        ("JPEG quality 90", encoded(photo, 90)),
        ("JPEG quality 60", encoded(photo, 60)),
        ("JPEG quality 30", encoded(photo, 30)),
        ("lowest bits", noisy(photo, 1, &mut chance)),
        ("noise of 3", noisy(photo, 3, &mut chance)),
        ("noise of 8", noisy(photo, 8, &mut chance)),
        ("cropped by 3 %", cropped(photo, 0.03, &mut chance)),
        ("cropped by 8 %", cropped(photo, 0.08, &mut chance)),
        ("half the size", resized(photo, 0.5)),
        ("3/4 of the size", resized(photo, 0.75)),
        ("1.5 times the size", resized(photo, 1.5)),
        ("darker", lit(photo, |value| value * 0.7)),
        ("brighter", lit(photo, |value| value * 1.25)),
        ("other gamma", lit(photo, |value| 255.0 * (value / 255.0).powf(0.7))),
        ("blurred", imageops::blur(photo, photo.width() as f32 / 500.0)),
        ("mirrored", imageops::flip_horizontal(photo)),
        ("written on", written_on(photo)),
        ("all of it", {
            let smaller = resized(&cropped(photo, 0.03, &mut chance), 0.8);
            encoded(&noisy(&lit(&smaller, |value| value * 1.1), 3, &mut chance), 70)
        }),
    ]
}

fn encoded(photo: &RgbImage, quality: u8) -> RgbImage {
    let mut bytes = Cursor::new(Vec::new());
    let written = JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(photo);
    let read = written.and_then(|()| image::load_from_memory(bytes.get_ref()));
    read.map_or_else(|_| photo.clone(), DynamicImage::into_rgb8)
}

fn noisy(photo: &RgbImage, most: i16, chance: &mut ChaCha12Rng) -> RgbImage {
    let mut photo = photo.clone();
    for value in photo.iter_mut() {
        *value = (i16::from(*value) + chance.random_range(-most..=most)).clamp(0, 255) as u8;
    }
    photo
}

fn cropped(photo: &RgbImage, most: f32, chance: &mut ChaCha12Rng) -> RgbImage {
    let mut cut = |side: u32| (side as f32 * chance.random_range(0.0..most)) as u32;
    let (width, height) = photo.dimensions();
    let (left, right, top, bottom) = (cut(width), cut(width), cut(height), cut(height));
    imageops::crop_imm(photo, left, top, width - left - right, height - top - bottom).to_image()
}

fn resized(photo: &RgbImage, times: f32) -> RgbImage {
    let side = |side: u32| (side as f32 * times).round() as u32;
    imageops::resize(photo, side(photo.width()), side(photo.height()), FilterType::Triangle)
}

fn lit(photo: &RgbImage, light: impl Fn(f32) -> f32) -> RgbImage {
    let mut photo = photo.clone();
    photo.iter_mut().for_each(|value| *value = light(f32::from(*value)).clamp(0.0, 255.0) as u8);
    photo
}

/// Bars like those of a line of faint text, across the middle.
fn written_on(photo: &RgbImage) -> RgbImage {
    let mut photo = photo.clone();
    let (width, height) = photo.dimensions();
    let letter = (width / 60).max(2);
    for y in height / 2..(height / 2 + 2 * letter).min(height) {
        for x in (width / 10..width * 9 / 10).filter(|x| (x / letter + y / letter) % 3 == 0) {
            let Rgb(colour) = *photo.get_pixel(x, y);
            photo.put_pixel(x, y, Rgb(colour.map(|value| value / 3 * 2 + 85)));
        }
    }
    photo
}
