//! Draws a sum as a picture, so that the page's source does not hold it as text.
//!
//! It keeps out a script that reads the wire, not one that reads pictures: who types, sees. Legible first: dark
//! strokes, whole pixels, a little wander and speckle.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use rand::RngExt as _;

use super::Seed;

const WIDTH: usize = 220;
const HEIGHT: usize = 72;
/// Side of the square that one dot of a glyph becomes, in pixels.
const DOT: usize = 6;
const GLYPH_ROWS: usize = 7;
const GLYPH_COLUMNS: usize = 5;

/// Draws `text` (digits, `+`, `-` and spaces) as a PNG. The same seed and number give the same picture.
pub fn draw(seed: &Seed, number: u64, text: &str) -> Vec<u8> {
    let mut generator = seed.generator("picture", number);
    let mut pixels = vec![245_u8; WIDTH * HEIGHT];
    for _ in 0..WIDTH * HEIGHT / 60 {
        pixels[generator.random_range(0..WIDTH * HEIGHT)] = generator.random_range(120..220);
    }
    let mut left = generator.random_range(6..18);
    for glyph in text.chars() {
        let top = generator.random_range(8..HEIGHT - GLYPH_ROWS * DOT - 8);
        let shade = generator.random_range(10..90);
        stamp(&mut pixels, rows_of(glyph), left, top, shade);
        left += if glyph == ' ' { 3 * DOT } else { (GLYPH_COLUMNS + 1) * DOT };
    }
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&pixels, WIDTH as u32, HEIGHT as u32, ExtendedColorType::L8)
        .expect("a grey picture of this size can be written into memory");
    png
}

fn stamp(pixels: &mut [u8], rows: [u8; GLYPH_ROWS], left: usize, top: usize, shade: u8) {
    for (row, bits) in rows.iter().enumerate() {
        for column in (0..GLYPH_COLUMNS).filter(|column| bits >> (GLYPH_COLUMNS - 1 - column) & 1 == 1) {
            for y in 0..DOT {
                let start = (top + row * DOT + y) * WIDTH + left + column * DOT;
                pixels[start..start + DOT].fill(shade);
            }
        }
    }
}

/// The dots of a glyph, a row a byte, the lowest five bits from left to right.
fn rows_of(glyph: char) -> [u8; GLYPH_ROWS] {
    match glyph {
        '0' => [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
        '1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        '2' => [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111],
        '3' => [0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110],
        '4' => [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
        '5' => [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
        '6' => [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
        '7' => [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
        '8' => [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
        '9' => [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
        '+' => [0b00000, 0b00100, 0b00100, 0b11111, 0b00100, 0b00100, 0b00000],
        '-' => [0b00000, 0b00000, 0b00000, 0b11111, 0b00000, 0b00000, 0b00000],
        _ => [0; GLYPH_ROWS],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_sum_fits_and_decodes() {
        for number in 0..50 {
            let png = draw(&Seed::new(&[number as u8; 32]), number, "20 + 9");
            let picture = image::load_from_memory(&png).unwrap();
            assert_eq!((picture.width() as usize, picture.height() as usize), (WIDTH, HEIGHT));
            let dark = picture.to_luma8().pixels().filter(|pixel| pixel.0[0] < 100).count();
            assert!(dark > 40 * DOT * DOT, "the glyphs are drawn in full");
        }
    }
}
