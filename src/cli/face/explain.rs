//! A picture of a check for people: each photo with the face's box, its points and pose, and below them the decision.

use std::path::Path;

use image::{Rgb, RgbImage};

use crate::vision::{Check, Checker, Outcome, Photo, Reason, Sighting, decode};

/// Photos stand side by side, so many in a row, each so wide, in pixels.
const IN_A_ROW: u32 = 4;
const WIDTH_PX: u32 = 480;
const LINE_PX: u32 = 18;
const WHITE: Rgb<u8> = Rgb([240, 240, 240]);
const GREEN: Rgb<u8> = Rgb([70, 220, 90]);
const RED: Rgb<u8> = Rgb([255, 90, 70]);
const BLUE: Rgb<u8> = Rgb([110, 170, 255]);
const YELLOW: Rgb<u8> = Rgb([255, 210, 60]);

/// Draws the check of `photos` and writes it to `file`.
///
/// # Errors
/// When a model fails or the file cannot be written.
pub fn write(file: &Path, checker: &mut Checker, photos: &[Vec<u8>], check: &Check) -> anyhow::Result<()> {
    let mut tiles = Vec::new();
    for photo in photos {
        // What cannot be decoded has no picture; the decision says so.
        let Ok(photo) = decode(photo) else { continue };
        let sighting = checker.sighting(&photo)?;
        tiles.push(tile(&photo, sighting.as_ref()));
    }
    let lines = decision(check);
    let rows = tiles.chunks(IN_A_ROW as usize).map(|row| row.iter().map(RgbImage::height).max().unwrap_or(0));
    let height = rows.sum::<u32>() + LINE_PX * (lines.len() as u32 + 1);
    let columns = (tiles.len() as u32).clamp(1, IN_A_ROW).max(2);
    let mut sheet = RgbImage::new(WIDTH_PX * columns, height);
    let mut top = 0;
    for row in tiles.chunks(IN_A_ROW as usize) {
        for (at, tile) in row.iter().enumerate() {
            image::imageops::replace(&mut sheet, tile, i64::from(at as u32 * WIDTH_PX), i64::from(top));
        }
        top += row.iter().map(RgbImage::height).max().unwrap_or(0);
    }
    for (at, (text, colour)) in lines.iter().enumerate() {
        write_text(&mut sheet, [6, top + LINE_PX / 2 + at as u32 * LINE_PX], text, *colour);
    }
    sheet.save_with_format(file, image::ImageFormat::Png)?;
    Ok(())
}

fn tile(photo: &Photo, sighting: Option<&Sighting>) -> RgbImage {
    let size = (photo.width_px as u32, photo.height_px as u32);
    let picture = RgbImage::from_raw(size.0, size.1, photo.rgb.clone()).unwrap_or_default();
    let height = (size.1 * WIDTH_PX / size.0.max(1)).max(1);
    let mut tile = image::imageops::resize(&picture, WIDTH_PX, height, image::imageops::FilterType::Triangle);
    let Some(sighting) = sighting else {
        write_text(&mut tile, [6, 6], "NO FACE", RED);
        return tile;
    };
    let scale = WIDTH_PX as f32 / size.0.max(1) as f32;
    let place = |[x, y]: [f32; 2]| [x * scale, y * scale];
    for point in &sighting.mesh {
        dot(&mut tile, place(*point), 0, BLUE);
    }
    let flaw = sighting.quality.flaw();
    frame(&mut tile, sighting, scale, if flaw.is_some() { YELLOW } else { GREEN });
    for point in sighting.face.points {
        dot(&mut tile, place(point), 2, YELLOW);
    }
    if let Some(pose) = sighting.pose {
        let nose = place(sighting.face.points[2]);
        let length = sighting.face.side_px() * scale / 2.0;
        let (yaw, pitch) = (pose.yaw_degrees.to_radians(), pose.pitch_degrees.to_radians());
        line(&mut tile, nose, [nose[0] + length * yaw.sin(), nose[1] - length * pitch.sin()], RED);
    }
    for (at, text) in words(sighting).iter().enumerate() {
        write_text(&mut tile, [6, 6 + at as u32 * LINE_PX], text, WHITE);
    }
    tile
}

fn words(sighting: &Sighting) -> Vec<String> {
    let quality = &sighting.quality;
    let mut words =
        vec![format!("SHARP {:.2} LIGHT {:.0} SURE {:.2}", quality.sharpness, quality.brightness, quality.certainty)];
    if let Some(pose) = sighting.pose {
        words
            .push(format!("YAW {:.0} PITCH {:.0} ROLL {:.0}", pose.yaw_degrees, pose.pitch_degrees, pose.roll_degrees));
    }
    words.extend(sighting.eyes_open.map(|open| format!("EYES {open:.2}")));
    words.extend(quality.flaw().map(|flaw| flaw.as_str().to_owned()));
    words
}

fn decision(check: &Check) -> Vec<(String, Rgb<u8>)> {
    let reason = check.reason.as_ref().map(|reason| format!(": {}", reason.as_str())).unwrap_or_default();
    let colour = if check.outcome == Outcome::Match { GREEN } else { RED };
    let mut lines = vec![(format!("{}{reason}", check.outcome.as_str()), colour)];
    lines.extend(check.reason.as_ref().map(Reason::to_string).map(|why| (why, WHITE)));
    if let Some(similarity) = check.similarity {
        lines.push((format!("SIMILARITY {similarity:.3} THRESHOLD {:.3}", check.threshold), WHITE));
    }
    if let Some(motion) = &check.motion {
        let (least, most) = (motion.least_per_mille.unwrap_or(0.0), motion.most_per_mille.unwrap_or(0.0));
        lines.push((format!("MOVES {least:.1} TO {most:.1} OF 1000 TRAVEL {:.2}", motion.travel), WHITE));
    }
    if let Some(challenge) = &check.challenge {
        lines.push((format!("{}: EXTENT {:.1}", challenge.asked, challenge.extent), WHITE));
    }
    if let Some(passive) = &check.passive {
        lines.push((format!("PASSIVE {:.2}", passive.attack), WHITE));
    }
    lines
}

fn frame(tile: &mut RgbImage, sighting: &Sighting, scale: f32, colour: Rgb<u8>) {
    let face = &sighting.face;
    let (left, top) = (face.x * scale, face.y * scale);
    let (right, bottom) = (left + face.width * scale, top + face.height * scale);
    for (from, to) in [
        ([left, top], [right, top]),
        ([right, top], [right, bottom]),
        ([right, bottom], [left, bottom]),
        ([left, bottom], [left, top]),
    ] {
        line(tile, from, to, colour);
    }
}

fn line(tile: &mut RgbImage, from: [f32; 2], to: [f32; 2], colour: Rgb<u8>) {
    let steps = (to[0] - from[0]).abs().max((to[1] - from[1]).abs()).ceil().clamp(1.0, 4096.0);
    for step in 0..=steps as u32 {
        let share = step as f32 / steps;
        dot(tile, [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share], 1, colour);
    }
}

fn dot(tile: &mut RgbImage, [x, y]: [f32; 2], size: i64, colour: Rgb<u8>) {
    for down in 0..=size {
        for right in 0..=size {
            set(tile, x as i64 + right - size / 2, y as i64 + down - size / 2, colour);
        }
    }
}

fn set(tile: &mut RgbImage, x: i64, y: i64, colour: Rgb<u8>) {
    let inside = |at: i64| u32::try_from(at).ok();
    if let (Some(x), Some(y)) = (inside(x), inside(y))
        && let Some(pixel) = tile.get_pixel_mut_checked(x, y)
    {
        *pixel = colour;
    }
}

/// Letters of three by five squares: for each row an octal digit.
const LETTERS: [(char, [u8; 5]); 45] = [
    ('A', *b"25755"),
    ('B', *b"65656"),
    ('C', *b"34443"),
    ('D', *b"65556"),
    ('E', *b"74647"),
    ('F', *b"74644"),
    ('G', *b"34553"),
    ('H', *b"55755"),
    ('I', *b"72227"),
    ('J', *b"11152"),
    ('K', *b"55655"),
    ('L', *b"44447"),
    ('M', *b"57755"),
    ('N', *b"65555"),
    ('O', *b"25552"),
    ('P', *b"65644"),
    ('Q', *b"25563"),
    ('R', *b"65655"),
    ('S', *b"34216"),
    ('T', *b"72222"),
    ('U', *b"55557"),
    ('V', *b"55552"),
    ('W', *b"55775"),
    ('X', *b"55255"),
    ('Y', *b"55222"),
    ('Z', *b"71247"),
    ('0', *b"75557"),
    ('1', *b"26227"),
    ('2', *b"71747"),
    ('3', *b"71717"),
    ('4', *b"55711"),
    ('5', *b"74717"),
    ('6', *b"74757"),
    ('7', *b"71222"),
    ('8', *b"75757"),
    ('9', *b"75717"),
    ('.', *b"00002"),
    ('-', *b"00700"),
    ('_', *b"00007"),
    (':', *b"02020"),
    (',', *b"00024"),
    ('/', *b"11244"),
    ('%', *b"51245"),
    ('+', *b"02720"),
    ('\'', *b"22000"),
];
/// Pixels of one of those squares.
const SQUARE: u32 = 2;

/// Writes in capitals, on a dark ground.
fn write_text(tile: &mut RgbImage, [left, top]: [u32; 2], text: &str, colour: Rgb<u8>) {
    for (at, letter) in text.chars().enumerate() {
        let left = left + at as u32 * 4 * SQUARE;
        for down in 0..7 * SQUARE {
            for right in 0..4 * SQUARE {
                if let Some(pixel) = tile.get_pixel_mut_checked(left + right, (top + down).saturating_sub(SQUARE)) {
                    pixel.0 = pixel.0.map(|value| value / 3);
                }
            }
        }
        let shape = LETTERS.iter().find(|(known, _)| *known == letter.to_ascii_uppercase());
        for (row, bits) in shape.into_iter().flat_map(|(_, rows)| rows.iter().enumerate()) {
            for column in (0..3_u32).filter(|column| (bits - b'0') >> (2 - column) & 1 == 1) {
                for square in 0..SQUARE * SQUARE {
                    let (right, down) = (column * SQUARE + square % SQUARE, row as u32 * SQUARE + square / SQUARE);
                    set(tile, i64::from(left + right), i64::from(top + down), colour);
                }
            }
        }
    }
}
