//! A portrait that turns its head, nods, blinks and is lit: frames as a webcam would send them.
//!
//! For tests, the demo's learners and films for a browser's fake camera: real films of people who do what a challenge
//! asks for cannot be had. The points of the face have depth, so that the portrait can be seen from the side; what the
//! camera did not see, behind a cheek or under a lid, is stretched from what lies beside it. It is no attack on purpose,
//! but it is what one by rendering looks like: what is judged by films from here is said to be so in
//! models/MODEL_CARD.md.

mod lids;
mod motion;
mod render;
mod shape;

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use rand::rngs::ChaCha12Rng;
use rand::{Rng as _, SeedableRng as _};

pub use motion::{Acting, Motion, Stance};

use self::render::{Canvas, Corner};
use self::shape::{Place, Shape};
use super::{Checker, EyeReader, Eyes, Mesh, Mesher, Models, Photo, PhotoError, VisionError, decode, pose};

/// The camera's distance, in face widths: an arm's length.
const CAMERA: f32 = 4.5;
/// How much of the light comes from one direction; the rest from everywhere.
const DIRECTED: f32 = 0.3;

/// What browsers take for a webcam's photos.
const JPEG_QUALITY: u8 = 85;

/// Why a photo makes no puppet.
#[derive(Debug, thiserror::Error)]
pub enum PuppetError {
    /// It is no photo that is taken.
    #[error(transparent)]
    Photo(#[from] PhotoError),
    /// Nobody is in it.
    #[error("no face was found")]
    NoFace,
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] VisionError),
}

/// A film that a puppet plays in.
#[derive(Clone, Copy, Debug)]
pub struct Film<'a> {
    /// What it does.
    pub motion: Motion,
    /// How far, as a share of what people do when they are asked to: 30° to the side, 20° up or down, eyes shut.
    pub extent: f32,
    /// When it begins, ms after the first frame; it takes as long as the film would without this.
    pub begins_ms: u32,
    /// How many frames there are.
    pub frames: u32,
    /// From one frame to the next, in milliseconds.
    pub every_ms: u32,
    /// The same seed gives the same film.
    pub seed: u64,
    /// The camera's noise, of 255 (standard deviation): about 2 in a lit room, 6 in the dark.
    pub noise: f32,
    /// What is behind the person instead of the portrait's own background; it is stretched to the portrait's size.
    pub background: Option<&'a Photo>,
}

impl Film<'static> {
    /// Ten frames a quarter of a second apart, as a challenge asks for them, in a lit room.
    pub fn of(motion: Motion, seed: u64) -> Self {
        Self { motion, extent: 1.0, begins_ms: 0, frames: 10, every_ms: 250, seed, noise: 2.0, background: None }
    }
}

/// A portrait that can be moved.
pub struct Puppet {
    photo: Photo,
    eyes: Eyes,
    shape: Shape,
}

impl Puppet {
    /// Makes a puppet of a portrait with its face's mesh and eyes.
    pub fn new(photo: Photo, mesh: &Mesh, eyes: Eyes) -> Self {
        let shape = Shape::of(&photo, mesh);
        Self { photo, eyes, shape }
    }

    /// Makes a puppet of the largest face in a photo.
    ///
    /// # Errors
    /// When there is no face in it, or a model fails.
    pub fn of(photo: &[u8], models: &Models) -> Result<Self, PuppetError> {
        let decoded = decode(photo)?;
        let faces = Checker::new(models)?.detect(photo)??;
        let face = faces.first().ok_or(PuppetError::NoFace)?;
        let mesh = Mesher::new(models)?.mesh(&decoded, face)?;
        if !mesh.is_face() {
            return Err(PuppetError::NoFace);
        }
        let eyes = EyeReader::new(models)?.eyes(&decoded, &mesh)?;
        Ok(Self::new(decoded, &mesh, eyes))
    }

    /// The frames of a film, each with its time in milliseconds from the first.
    pub fn play<'a>(&'a self, film: Film<'a>) -> impl Iterator<Item = (u32, Photo)> + 'a {
        (0..film.frames).map(move |number| self.frame(film, number))
    }

    /// One frame of a film, which is the same whether or not the others are looked at, and its time.
    pub fn frame(&self, film: Film<'_>, number: u32) -> (u32, Photo) {
        let whole_ms = film.frames.saturating_sub(1).saturating_mul(film.every_ms);
        let at_ms = number.saturating_mul(film.every_ms);
        let stance = Acting::new(film, whole_ms).stance(at_ms);
        let mut camera = Camera::new(film.noise, film.seed.wrapping_add(u64::from(number) << 32));
        (at_ms, self.seen(&stance, film.background, &mut camera))
    }

    /// The portrait as it is seen in `stance`, as sharp as it was, before `background` or its own.
    pub fn seen(&self, stance: &Stance, background: Option<&Photo>, camera: &mut Camera) -> Photo {
        let lidded;
        let photo = if stance.closed > 0.0 {
            lidded = self.lidded(stance.closed);
            &lidded
        } else {
            &self.photo
        };
        let corners: Vec<Corner> = self.corners(stance);
        let mut canvas = Canvas::new(photo.width_px, photo.height_px, background);
        let columns = self.shape.columns;
        for row in 0..self.shape.rows - 1 {
            for column in 0..columns - 1 {
                let at = row * columns + column;
                let [upper_left, upper_right] = [corners[at], corners[at + 1]];
                let [lower_left, lower_right] = [corners[at + columns], corners[at + columns + 1]];
                canvas.triangle(photo, [upper_left, upper_right, lower_left], background.is_some());
                canvas.triangle(photo, [upper_right, lower_right, lower_left], background.is_some());
            }
        }
        camera.taken(photo.width_px, photo.height_px, canvas.colours(), stance.gain)
    }

    fn lidded(&self, closed: f32) -> Photo {
        let mut photo = self.photo.clone();
        lids::closed(&mut photo, &self.eyes.right, closed);
        lids::closed(&mut photo, &self.eyes.left, closed);
        photo
    }

    fn corners(&self, stance: &Stance) -> Vec<Corner> {
        let Shape { pivot, width_px, .. } = self.shape;
        let rotation = stance.pose.rotation();
        let camera_px = CAMERA * width_px;
        let (lit_right, lit_down) = (stance.light[0], stance.light[1]);
        let corner = |place: &Place| {
            let [x, y, z]: [f32; 3] = std::array::from_fn(|i| place.at[i] - pivot[i]);
            // The portrait is what the camera saw: places further away were seen smaller.
            let near = (camera_px + z) / camera_px;
            let [rx, ry, rz] = pose::turned(&rotation, [x * near, y * near, z]);
            let again = camera_px / (camera_px + rz).max(f32::EPSILON);
            let moved = [rx * again, ry * again, rz];
            let [x, y, z]: [f32; 3] = std::array::from_fn(|i| {
                let still = [x, y, z][i];
                still + place.follows * (moved[i] - still)
            });
            let normal = pose::turned(&rotation, place.normal);
            let frontal = 1.0 - lit_right.abs() - lit_down.abs();
            let lit = |normal: [f32; 3], from: [f32; 3]| (0..3).map(|i| normal[i] * from[i]).sum::<f32>().max(0.0);
            let before = 1.0 + DIRECTED * (lit(place.normal, [0.0, 0.0, -1.0]) - 1.0);
            let now = 1.0 + DIRECTED * (lit(normal, [lit_right, lit_down, -frontal]) - 1.0);
            let seen = [
                pivot[0] + stance.zoom * x + stance.shift[0] * width_px,
                pivot[1] + stance.zoom * y + stance.shift[1] * width_px,
                z,
            ];
            let light = 1.0 + place.follows * (now / before - 1.0);
            Corner { seen, source: [place.at[0], place.at[1]], light, person: place.person }
        };
        self.shape.places.iter().map(corner).collect()
    }
}

/// A frame as a webcam's page sends it: a JPEG.
///
/// # Panics
/// When the photo has not three bytes a pixel.
pub fn jpeg(photo: &Photo) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (width_px, height_px) = (photo.width_px as u32, photo.height_px as u32);
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    encoder.encode(&photo.rgb, width_px, height_px, ExtendedColorType::Rgb8).expect("a decoded photo has its pixels");
    bytes
}

/// A camera, with its noise.
pub struct Camera {
    random: ChaCha12Rng,
    noise: f32,
}

impl Camera {
    /// A camera whose pixels vary by `noise` of 255 (standard deviation): about 2 in a lit room, 6 in the dark.
    pub fn new(noise: f32, seed: u64) -> Self {
        Self { random: ChaCha12Rng::seed_from_u64(seed), noise }
    }

    fn taken(&mut self, width_px: usize, height_px: usize, colours: Vec<[f32; 3]>, gain: f32) -> Photo {
        let mut rgb = Vec::with_capacity(3 * colours.len());
        for colour in colours {
            let [grey, red, green, blue] = self.noise();
            for (value, own) in colour.into_iter().zip([red, green, blue]) {
                rgb.push((value * gain + 0.8 * grey + 0.6 * own).round().clamp(0.0, 255.0) as u8);
            }
        }
        Photo { width_px, height_px, rgb }
    }

    /// Four numbers, each nearly normally distributed: the sum of four bytes.
    fn noise(&mut self) -> [f32; 4] {
        // The standard deviation of four bytes' sum.
        const SPREAD: f32 = 147.8;
        std::array::from_fn(|_| {
            let bytes = self.random.next_u32().to_le_bytes();
            let sum: f32 = bytes.into_iter().map(f32::from).sum();
            self.noise * (sum - 510.0) / SPREAD
        })
    }
}
