//! The slot for passive models: two of another shape than the one in the manifest, described in a file, are asked as
//! they are described. They are made here, byte by byte, and know nothing of liveness: what they answer can be worked
//! out on paper.

use std::path::Path;

use super::super::manifest::{Manifest, PASSIVE_FILE, VerifyError};
use super::super::tests::folder;
use super::super::{Digest, FaceBox, Models, Photo, VisionError};
use super::*;

// --- ONNX files, as small as they can be ---------------------------------------------------------------------------

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn message(field: u64, parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    [varint(field << 3 | 2), varint(body.len() as u64), body].concat()
}

fn text(field: u64, text: &str) -> Vec<u8> {
    message(field, &[text.as_bytes().to_vec()])
}

/// A named tensor of 32-bit floating-point numbers, as an input or an output is described.
fn described(field: u64, name: &str, sides: &[u64]) -> Vec<u8> {
    let sides: Vec<_> = sides.iter().map(|side| message(1, &[number(1, *side)])).collect();
    message(field, &[text(1, name), message(2, &[message(1, &[number(1, 1), message(2, &sides)])])])
}

/// The mean over some axes, which then are gone.
fn mean(input: &str, output: &str, axes: &[u64]) -> Vec<u8> {
    let axes: Vec<_> = axes.iter().map(|axis| number(8, *axis)).collect();
    let axes = message(5, &[vec![text(1, "axes")], axes, vec![number(20, 7)]].concat());
    let keep = message(5, &[text(1, "keepdims"), number(3, 0), number(20, 2)]);
    message(1, &[text(1, input), text(2, output), text(4, "ReduceMean"), axes, keep])
}

fn product(input: &str, weights: &str, output: &str) -> Vec<u8> {
    message(1, &[text(1, input), text(1, weights), text(2, output), text(4, "MatMul")])
}

fn constant(name: &str, sides: &[u64], values: &[f32]) -> Vec<u8> {
    let sides: Vec<_> = sides.iter().map(|side| number(1, *side)).collect();
    let values = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    message(5, &[sides, vec![number(2, 1), text(8, name), message(9, &[values])]].concat())
}

fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    let graph = [&[text(2, "made by hand")], graph].concat();
    [number(1, 8), message(7, &graph), message(8, &[number(2, 13)])].concat()
}

/// Pixels, blue first; three numbers, each four times a colour's mean.
fn colours() -> Vec<u8> {
    model(&[
        mean("image", "means", &[1, 2]),
        product("means", "weights", "logits"),
        constant("weights", &[3, 3], &[4.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 4.0]),
        described(11, "image", &[1, 24, 24, 3]),
        described(12, "logits", &[1, 3]),
    ])
}

/// Planes, red first; their mean.
fn brightness() -> Vec<u8> {
    model(&[
        mean("planes", "score", &[1, 2, 3]),
        described(11, "planes", &[1, 3, 16, 16]),
        described(12, "score", &[1]),
    ])
}

// --- a folder with them --------------------------------------------------------------------------------------------

const COLOURS: &str = r#"
[[model]]
name = "colours"
role = "passive"
file = "colours.onnx"
sha256 = "DIGEST"
licence = "MIT"
input = { name = "image", layout = "NHWC", channels = "BGR", scale = 0.00392156862745098, mean = 0.0, side = 24, crop = 1.0 }
output = { formula = "softmax", name = "logits", index = 2, high_means = "live" }
thresholds = { attack = 0.4 }
"#;

const BRIGHTNESS: &str = r#"
[[model]]
name = "brightness"
role = "passive"
file = "brightness.onnx"
sha256 = "DIGEST"
licence = "MIT"
input = { name = "planes", layout = "NCHW", channels = "RGB", scale = [0.001, 0.002, 0.003], mean = [10, 20, 30], side = 16, crop = 2.0 }
output = { formula = "value", name = "score", index = 0, high_means = "attack" }
thresholds = { attack = 0.3 }
"#;

/// What `make models` fetched, and `description` with the two models.
fn described_in(description: &str) -> tempfile::TempDir {
    let made = tempfile::tempdir().unwrap();
    for (file, _) in Manifest::embedded().files() {
        let to = made.path().join(file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(folder().join(file), to).unwrap();
    }
    std::fs::write(made.path().join("colours.onnx"), colours()).unwrap();
    std::fs::write(made.path().join("brightness.onnx"), brightness()).unwrap();
    std::fs::write(made.path().join(PASSIVE_FILE), description).unwrap();
    made
}

fn with_digest(description: &str, model: &[u8]) -> String {
    description.replace("DIGEST", &Digest::of(model).to_string())
}

fn scored(folder: &Path, photo: &Photo, face: &FaceBox) -> Passive {
    let models = Models::load(folder).unwrap_or_else(|error| panic!("{error}"));
    PassiveReader::new(&models).unwrap().unwrap().score(photo, face).unwrap()
}

const INSIDE: [u8; 3] = [180, 90, 60];
const AROUND: [u8; 3] = [210, 120, 80];

/// A square of one colour, which is the face, in another.
fn photo() -> (Photo, FaceBox) {
    let inside = |at: usize| (50..150).contains(&(at % 200)) && (50..150).contains(&(at / 200));
    let rgb = (0..200 * 200).flat_map(|at| if inside(at) { INSIDE } else { AROUND }).collect();
    // A pixel inside the edge, so that no neighbour of another colour is mixed in.
    let face = FaceBox { x: 50.0, y: 50.0, width: 99.0, height: 99.0, score: 1.0, points: [[0.0; 2]; 5] };
    (Photo { width_px: 200, height_px: 200, rgb }, face)
}

/// Softmax of red, against its threshold, the other way round.
fn expected_of_colours() -> f32 {
    let powers = INSIDE.map(|value| (4.0 * f32::from(value) / 255.0).exp());
    let red = powers[0] / powers.iter().sum::<f32>();
    assert!(red > 0.4, "the test is worked out for this side of the threshold");
    1.0 - (0.5 + 0.5 * (red - 0.4) / 0.6)
}

/// A quarter of what it sees is the face.
fn expected_of_brightness() -> f32 {
    let (scale, mean) = ([0.001, 0.002, 0.003], [10.0, 20.0, 30.0]);
    let seen = |i: usize| 0.25 * f32::from(INSIDE[i]) + 0.75 * f32::from(AROUND[i]);
    let score: f32 = (0..3).map(|i| (seen(i) - mean[i]) * scale[i]).sum::<f32>() / 3.0;
    assert!(score < 0.3, "the test is worked out for this side of the threshold");
    0.5 * score / 0.3
}

#[test]
fn a_model_of_another_shape_is_shown_and_read_as_it_is_described() {
    let (photo, face) = photo();
    let made = described_in(&with_digest(COLOURS, &colours()));
    let found = scored(made.path(), &photo, &face);
    assert!((found.attack - expected_of_colours()).abs() < 1e-3, "{found:?}, not {}", expected_of_colours());
    let made = described_in(&with_digest(BRIGHTNESS, &brightness()));
    let found = scored(made.path(), &photo, &face);
    assert!((found.attack - expected_of_brightness()).abs() < 0.02, "{found:?}, not {}", expected_of_brightness());
    assert!(!found.is_attack());
}

#[test]
fn several_models_are_averaged() {
    let (photo, face) = photo();
    let both = [with_digest(COLOURS, &colours()), with_digest(BRIGHTNESS, &brightness())].concat();
    let found = scored(described_in(&both).path(), &photo, &face);
    let expected = (expected_of_colours() + expected_of_brightness()) / 2.0;
    assert_eq!(found.models, [Digest::of(&colours()), Digest::of(&brightness())]);
    assert!((found.attack - expected).abs() < 0.02, "{found:?}, not {expected}");
}

#[test]
fn without_a_passive_model_the_engine_runs_and_has_no_score() {
    let made = described_in("model = []");
    assert!(PassiveReader::new(&Models::load(made.path()).unwrap()).unwrap().is_none());
}

#[test]
fn a_description_that_makes_no_sense_is_refused_by_name() {
    let good = with_digest(COLOURS, &colours());
    for (from, to, said) in [
        ("crop = 1.0", "crop = 0.0", "colours: input.crop"),
        (", side = 24", "", "colours: input.side"),
        ("attack = 0.4", "attack = 1.5", "colours: thresholds.attack"),
        ("role = \"passive\"", "role = \"detector\"", "colours: role"),
        ("\"NHWC\"", "\"HWC\"", "HWC"),
        ("formula = \"softmax\"", "formula = \"guess\"", "guess"),
    ] {
        assert!(good.contains(from));
        let made = described_in(&good.replace(from, to));
        let Err(VisionError::Verify(error @ VerifyError::Description { .. })) = Models::load(made.path()) else {
            panic!("{to} is taken");
        };
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_model_with_other_bytes_than_described_is_refused() {
    let made = described_in(&with_digest(COLOURS, &brightness()));
    let error = Models::load(made.path()).err().unwrap();
    assert!(matches!(error, VisionError::Verify(VerifyError::Changed { .. })), "{error}");
}

#[test]
fn an_output_that_is_not_there_is_an_error_and_no_score() {
    let (photo, face) = photo();
    for (from, to) in [("name = \"logits\"", "name = \"other\""), ("index = 2", "index = 3")] {
        let made = described_in(&with_digest(COLOURS, &colours()).replace(from, to));
        let models = Models::load(made.path()).unwrap();
        let mut reader = PassiveReader::new(&models).unwrap().unwrap();
        assert!(matches!(reader.score(&photo, &face), Err(VisionError::Model(_))), "{to}");
    }
}

#[test]
fn thresholds_meet_in_the_middle() {
    use super::super::manifest::HighMeans::{Attack, Live};
    assert_eq!(common(0.2, 0.2, Attack), 0.5);
    assert_eq!((common(0.0, 0.2, Attack), common(1.0, 0.2, Attack)), (0.0, 1.0));
    assert_eq!((common(0.0, 0.2, Live), common(1.0, 0.2, Live)), (1.0, 0.0));
    assert_eq!(common(7.0, 0.2, Attack), 1.0);
}
