//! How a head is turned, from the points on its face.
//!
//! Which way is right is the sum over pairs of points that lie symmetrically on the bones of a face, so that neither a
//! smile nor a raised eyebrow turns the head; which way is down leads from the top of the forehead to the chin. The
//! angles are those of a body: the head nods about its own ears, then turns about the neck, then leans in the picture.
//!
//! Faces differ: somebody who looks straight into the camera may be reported some degrees up or down. A movement is to be
//! judged by the difference from the person's own rest.

use serde::{Deserialize, Serialize};

/// How a head is turned; zero is straight into the camera.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pose {
    /// Turned to the person's own left, in degrees; to the right is negative.
    pub yaw_degrees: f32,
    /// Looking up, in degrees; down is negative.
    pub pitch_degrees: f32,
    /// Leaning clockwise as the picture shows it, in degrees.
    pub roll_degrees: f32,
}

/// Points of the mesh on the person's right and their mirror images on the left: temples, cheekbones, corners of the eyes.
const PAIRS: [[usize; 2]; 12] = [
    [33, 263],
    [133, 362],
    [234, 454],
    [127, 356],
    [93, 323],
    [116, 345],
    [123, 352],
    [162, 389],
    [21, 251],
    [54, 284],
    [103, 332],
    [132, 361],
];
/// Middle of the forehead's upper edge, and of the chin's lower.
const FOREHEAD: usize = 10;
const CHIN: usize = 152;

impl Pose {
    /// The pose of a face by the points of its mesh: right, down, away from the camera. `None` when they lie in one line
    /// or in one place.
    pub fn of(points: &[[f32; 3]]) -> Option<Self> {
        let across = PAIRS.iter().fold([0.0; 3], |sum, [right, left]| plus(sum, minus(points[*left], points[*right])));
        let right = unit(across)?;
        let down = minus(points[CHIN], points[FOREHEAD]);
        let along = dot(down, right);
        let down = unit(minus(down, right.map(|part| part * along)))?;
        let away = cross(right, down);
        Some(Self {
            yaw_degrees: right[2].clamp(-1.0, 1.0).asin().to_degrees(),
            pitch_degrees: (-down[2]).atan2(away[2]).to_degrees(),
            roll_degrees: right[1].atan2(right[0]).to_degrees(),
        })
    }

    /// The rotation that takes a face that looks straight into the camera to this pose: its rows, for points that are
    /// right, down, away.
    pub fn rotation(&self) -> [[f32; 3]; 3] {
        let (sin_yaw, cos_yaw) = (-self.yaw_degrees).to_radians().sin_cos();
        let (sin_pitch, cos_pitch) = (-self.pitch_degrees).to_radians().sin_cos();
        let (sin_roll, cos_roll) = self.roll_degrees.to_radians().sin_cos();
        let nod = [[1.0, 0.0, 0.0], [0.0, cos_pitch, -sin_pitch], [0.0, sin_pitch, cos_pitch]];
        let turn = [[cos_yaw, 0.0, sin_yaw], [0.0, 1.0, 0.0], [-sin_yaw, 0.0, cos_yaw]];
        let lean = [[cos_roll, -sin_roll, 0.0], [sin_roll, cos_roll, 0.0], [0.0, 0.0, 1.0]];
        product(lean, product(turn, nod))
    }
}

/// A point turned by a rotation.
pub fn turned(rotation: &[[f32; 3]; 3], point: [f32; 3]) -> [f32; 3] {
    rotation.map(|row| dot(row, point))
}

fn product(a: [[f32; 3]; 3], b: [[f32; 3]; 3]) -> [[f32; 3]; 3] {
    a.map(|row| std::array::from_fn(|column| (0..3).map(|i| row[i] * b[i][column]).sum()))
}

fn plus(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|i| a[i] + b[i])
}

fn minus(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    std::array::from_fn(|i| a[i] - b[i])
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    (0..3).map(|i| a[i] * b[i]).sum()
}

fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn unit(a: [f32; 3]) -> Option<[f32; 3]> {
    let length = dot(a, a).sqrt();
    (length > 1e-6 && length.is_finite()).then(|| a.map(|part| part / length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::mesh::POINTS;
    use super::*;

    /// A face whose pairs lie at any depth and height, but symmetrically, and whose forehead is above its chin.
    fn straight(depths: &[f32], heights: &[f32]) -> Vec<[f32; 3]> {
        let mut points = vec![[0.0; 3]; POINTS];
        for (at, [right, left]) in PAIRS.iter().enumerate() {
            let across = 20.0 + 3.0 * at as f32;
            points[*right] = [-across, heights[at], depths[at]];
            points[*left] = [across, heights[at], depths[at]];
        }
        points[FOREHEAD] = [0.0, -80.0, 5.0];
        points[CHIN] = [0.0, 90.0, 5.0];
        points
    }

    proptest! {
        #[test]
        fn an_angle_is_read_back(
            yaw_degrees in -85.0_f32..85.0,
            pitch_degrees in -85.0_f32..85.0,
            roll_degrees in -175.0_f32..175.0,
            scale in 0.2_f32..5.0,
            away in prop::array::uniform3(-300.0_f32..300.0),
            depths in prop::collection::vec(-30.0_f32..60.0, PAIRS.len()),
            heights in prop::collection::vec(-60.0_f32..60.0, PAIRS.len()),
        ) {
            let pose = Pose { yaw_degrees, pitch_degrees, roll_degrees };
            let rotation = pose.rotation();
            let placed = |point| plus(turned(&rotation, point).map(|part| part * scale), away);
            let points: Vec<_> = straight(&depths, &heights).into_iter().map(placed).collect();
            let found = Pose::of(&points).unwrap();
            prop_assert!((found.yaw_degrees - yaw_degrees).abs() < 0.1, "{found:?}");
            prop_assert!((found.pitch_degrees - pitch_degrees).abs() < 0.1, "{found:?}");
            prop_assert!((found.roll_degrees - roll_degrees).abs() < 0.1, "{found:?}");
        }
    }

    #[test]
    fn left_is_the_persons_own_and_up_is_up() {
        let nose = [0.0, 0.0, -1.0];
        let towards = |yaw_degrees, pitch_degrees| {
            turned(&Pose { yaw_degrees, pitch_degrees, roll_degrees: 0.0 }.rotation(), nose)
        };
        assert!(towards(30.0, 0.0)[0] > 0.4, "the person's left is the picture's right");
        assert!(towards(0.0, 30.0)[1] < -0.4, "up is towards the picture's first row");
    }

    #[test]
    fn points_in_one_place_have_no_pose() {
        assert_eq!(Pose::of(&vec![[1.0; 3]; POINTS]), None);
    }
}
