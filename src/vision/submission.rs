//! The layers that a submission goes through, the cheap ones first: its bytes and times, light, whether photos repeat or are
//! earlier ones, the faces, how well they can be seen, how they move, who it is, whether it stays the same person, what was asked for.
//!
//! The first layer that objects decides. Only what passes all of them is a match.

use super::check::{FACE_SIDE_LEAST_PX, Seen, chosen};
use super::embed::{self, NUMBERS};
use super::grey::Grey;
use super::motion::{self, Still, Unnatural};
use super::question::{Asked, Question};
use super::{
    Check, Checker, Compared, FaceBox, MovementModels, NotDone, Observed, Outcome, Photo, PhotoError, Picture, Quality,
    Reason, VisionError, burst, decode, judge_challenge,
};

/// Pixels of all photos of a burst: 16 of a webcam's 1280×720, or what comes to 72 MB.
const BURST_LIMIT_PIXELS: usize = 24_000_000;
/// A photo with no part brighter than this shows nothing: a covered lens, or no light at all.
const BLACK_BELOW: f32 = 16.0;
/// Two levelled faces at least this alike, laid where they fit best, are one face, a moment later. Of photos of two people
/// the most was 0.63; of one person's, 300 ms apart, more than nine of ten are above, and of the others the recogniser is asked.
const SAME_LOOK_LEAST: f32 = 0.8;

/// Least similarity at which a face is not called another's, although it is below the threshold: of two people one pair in
/// three hundred is above; a person with a hand before the mouth is at 0.31 to 0.5.
const DOUBTFUL_FROM: f32 = 0.3;

/// Least similarity of a face that is seen badly in the middle of a movement: of two people's photos 99 of 100 are below; of
/// rendered turns and nods none is below 0.6.
const MEANWHILE_LEAST: f32 = 0.2;

/// Of several people in a photo so many are held against the enrolled face, the largest.
const SEVERAL_COMPARED: usize = 5;

/// Of the photos of a movement, one in so many may be without a face that can be compared. Of rendered movements none is;
/// two of ten were enough for somebody else to be there meanwhile.
const UNSEEN_ONE_IN: usize = 8;

/// Why it goes no further.
enum Stop {
    Found(Outcome, Option<Reason>),
    /// more than one person, in this photo
    Several(usize),
    Failed(VisionError),
}

impl From<VisionError> for Stop {
    fn from(error: VisionError) -> Self {
        Self::Failed(error)
    }
}

fn unusable(reason: Reason) -> Stop {
    Stop::Found(Outcome::Unusable, Some(reason))
}

/// One decoded photo of the submission.
struct Opened {
    /// which it is, from 0
    frame: usize,
    at_ms: u32,
    photo: Photo,
    scene: Grey,
}

impl Opened {
    fn picture(&self, face: &FaceBox) -> Option<Picture> {
        Picture::of(&self.photo, &self.scene, face)
    }
}

/// A photo with the face that counts in it.
struct Looked<'a> {
    opened: &'a Opened,
    face: FaceBox,
    levelled: Grey,
    quality: Quality,
}

impl Checker {
    /// Holds a submission against the question and writes into `check` what each layer found.
    ///
    /// # Errors
    /// When a model fails; never because of what a photo shows.
    pub(super) fn fill_in(
        &mut self,
        submission: &[u8],
        question: &Question,
        check: &mut Check,
    ) -> Result<(), VisionError> {
        let opened = match opened(submission, &question.asked) {
            Ok(opened) => opened,
            Err(reason) => {
                (check.outcome, check.reason) = (Outcome::Unusable, Some(reason));
                return Ok(());
            }
        };
        check.frames = opened.len();
        match self.pass(&opened, question, check) {
            Ok(()) => check.outcome = Outcome::Match,
            Err(Stop::Found(outcome, reason)) => (check.outcome, check.reason) = (outcome, reason),
            Err(Stop::Several(frame)) => {
                check.outcome = Outcome::MultipleFaces;
                self.most_like(&opened[frame], question, check)?;
            }
            Err(Stop::Failed(error)) => return Err(error),
        }
        Ok(())
    }

    fn pass(&mut self, opened: &[Opened], question: &Question, check: &mut Check) -> Result<(), Stop> {
        let repeated = before_networks(opened)?;
        check.same_picture = opened.iter().find_map(|opened| question.known.again(&opened.photo, &opened.scene));
        if check.same_picture.is_some() {
            return Err(Stop::Found(Outcome::Spoof, Some(Reason::SamePicture)));
        }
        let first = self.first_face(&opened[0], check)?;
        if let Some(unnatural) = repeated {
            return Err(Stop::Found(Outcome::Spoof, Some(unnatural.into())));
        }
        check.pictures.extend(opened[0].picture(&first));
        let looked = self.look_through(opened, first, question, check)?;
        let best = best_of(&looked);
        check.quality = Some(looked[best].quality);
        let unnatural = (looked.len() > 1).then(|| moving(&looked, check)).flatten();
        if let Some(unnatural @ (Unnatural::Frozen | Unnatural::Looped)) = unnatural {
            return Err(Stop::Found(Outcome::Spoof, Some(unnatural.into())));
        }
        let numbers = match self.recognise(&looked[best], question, check) {
            Err(Stop::Found(Outcome::Mismatch, None)) if self.shows_enrolled(&looked, best, question)? => {
                return Err(Stop::Found(Outcome::Mismatch, Some(Reason::PersonChanged)));
            }
            numbers => numbers?,
        };
        self.hold_together(&looked, best, &numbers, question)?;
        if let Some(unnatural) = unnatural {
            return Err(unusable(unnatural.into()));
        }
        if let Some(asked) = question.asked.challenge {
            let challenge = judge_challenge(asked, self.observed(&looked)?);
            let not_done = challenge.not_done;
            check.challenge = Some(challenge);
            check.movement_models = Some(MovementModels { mesh: self.mesher.digest(), eyes: self.eyes.digest() });
            if let Some(not_done) = not_done {
                return Err(unusable(Reason::Challenge(not_done)));
            }
        }
        if let Some(passive) = self.passive.as_mut().filter(|_| question.asked.passive) {
            check.passive = Some(passive.score(&looked[best].opened.photo, &looked[best].face)?);
        }
        // The first photo is described already.
        check.pictures.extend(looked[1..].iter().filter_map(|other| other.opened.picture(&other.face)));
        Ok(())
    }

    /// How the head is turned and the eyes are open in each photo; those in which the mesh finds no face are left out.
    fn observed(&mut self, looked: &[Looked<'_>]) -> Result<Vec<Observed>, VisionError> {
        let mut observed = Vec::with_capacity(looked.len());
        for Looked { opened, face, .. } in looked {
            let mesh = self.mesher.mesh(&opened.photo, face)?;
            let Some(pose) = mesh.pose().filter(|_| mesh.is_face()) else { continue };
            observed.push(Observed {
                at_ms: opened.at_ms,
                yaw_degrees: pose.yaw_degrees,
                pitch_degrees: pose.pitch_degrees,
                eyes_open: self.eyes.eyes(&opened.photo, &mesh)?.openness(),
            });
        }
        Ok(observed)
    }

    /// The face that counts in the first photo.
    fn first_face(&mut self, opened: &Opened, check: &mut Check) -> Result<FaceBox, Stop> {
        check.faces = self.find(&opened.photo)?;
        match chosen(&opened.photo, &check.faces, FACE_SIDE_LEAST_PX) {
            Seen::One(face) => Ok(face),
            Seen::Nobody => Err(match self.turned(&opened.photo, None)? {
                Some(reason) => unusable(reason),
                None => Stop::Found(Outcome::NoFace, None),
            }),
            Seen::Several => Err(Stop::Several(opened.frame)),
            Seen::Unusable(reason) => Err(unusable(reason)),
        }
    }

    /// Of several people in a photo, which is most like the enrolled one: whoever decides about it wants to know whether the
    /// learner was there.
    fn most_like(&mut self, opened: &Opened, question: &Question, check: &mut Check) -> Result<(), VisionError> {
        for face in check.faces.clone().into_iter().take(SEVERAL_COMPARED) {
            let face = self.closer(&opened.photo, face)?;
            // What has no shape of a face is not the learner, and no reason to call it a failure of the engine.
            let Some(numbers) = self.recogniser.embed(&opened.photo, &face)? else { continue };
            let similarity = embed::dot(&numbers, &question.enrolled.numbers);
            if check.similarity.is_none_or(|most| similarity > most) {
                check.similarity = Some(similarity);
                check.threshold = self.thresholds.at(face.side_px().min(question.enrolled.side_px));
                check.compared = Some(Compared::of(opened.frame, &opened.photo, &face));
            }
        }
        Ok(())
    }

    /// Follows the face through the photos. Each of a plain burst must show it; of a movement, some may lose it, but none may
    /// show somebody else beside it.
    fn look_through<'a>(
        &mut self,
        opened: &'a [Opened],
        first: FaceBox,
        question: &Question,
        check: &mut Check,
    ) -> Result<Vec<Looked<'a>>, Stop> {
        let mut looked = vec![Looked::at(&opened[0], first).ok_or_else(no_shape)?];
        let mut last = first;
        for next in &opened[1..] {
            let face = match self.followed(next, &last, check) {
                Err(Stop::Found(Outcome::NoFace | Outcome::Unusable, _)) if question.asked.challenge.is_some() => {
                    continue;
                }
                face => face?,
            };
            looked.push(Looked::at(next, face).ok_or_else(no_shape)?);
            last = face;
        }
        if (opened.len() - looked.len()) * UNSEEN_ONE_IN > opened.len() {
            return Err(unusable(Reason::Challenge(NotDone::TooLittleSeen)));
        }
        Ok(looked)
    }

    fn followed(&mut self, opened: &Opened, last: &FaceBox, check: &mut Check) -> Result<FaceBox, Stop> {
        let photo = &opened.photo;
        let faces = match self.detector.follow(photo, last)? {
            Some(face) => vec![face],
            None => self.find(photo)?,
        };
        let seen = chosen(photo, &faces, FACE_SIDE_LEAST_PX);
        let stop = match seen {
            Seen::One(face) => return Ok(face),
            Seen::Nobody => Stop::Found(Outcome::NoFace, None),
            Seen::Several => Stop::Several(opened.frame),
            Seen::Unusable(reason) => unusable(reason),
        };
        check.faces = faces;
        Err(stop)
    }

    /// Who it is, by the photo that shows it best.
    fn recognise(&mut self, best: &Looked<'_>, question: &Question, check: &mut Check) -> Result<[f32; NUMBERS], Stop> {
        check.threshold = self.threshold(best, question);
        let to_enrolled = |found: &_| embed::dot(found, &question.enrolled.numbers);
        let (numbers, similarity) = self.described(best, check.threshold, to_enrolled)?;
        check.similarity = Some(similarity);
        check.compared = Some(Compared::of(best.opened.frame, &best.opened.photo, &best.face));
        if similarity >= check.threshold {
            return Ok(numbers);
        }
        // First, because a face on its head has flaws enough.
        if let Some(reason) = self.turned(&best.opened.photo, Some(&best.face))? {
            return Err(unusable(reason));
        }
        Err(match best.quality.flaw() {
            Some(flaw) => unusable(Reason::Quality(flaw)),
            None if similarity >= DOUBTFUL_FROM => unusable(Reason::Doubtful),
            None => Stop::Found(Outcome::Mismatch, None),
        })
    }

    /// Whether the enrolled person is in another photo than the one that shows somebody else.
    fn shows_enrolled(&mut self, looked: &[Looked<'_>], best: usize, question: &Question) -> Result<bool, VisionError> {
        for other in looked {
            if !looked[best].is_like(other) {
                let least = self.threshold(other, question);
                let (_, like) = self.described(other, least, |found| embed::dot(found, &question.enrolled.numbers))?;
                if like >= least {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Describes a face, and says how like it is. One that was followed is placed less exactly, most of all with a hand before
    /// it: when it is less like than `least`, the detector looks closer, as in a single photo, and the better of the two counts.
    fn described(
        &mut self,
        looked: &Looked<'_>,
        least: f32,
        likeness: impl Fn(&[f32; NUMBERS]) -> f32,
    ) -> Result<([f32; NUMBERS], f32), VisionError> {
        let photo = &looked.opened.photo;
        let numbers = self.describe(photo, &looked.face)?;
        let like = likeness(&numbers);
        if like >= least || looked.opened.frame == 0 {
            return Ok((numbers, like));
        }
        let face = self.closer(photo, looked.face)?;
        let closely = self.describe(photo, &face)?;
        let closely_like = likeness(&closely);
        Ok(if closely_like > like { (closely, closely_like) } else { (numbers, like) })
    }

    fn threshold(&self, looked: &Looked<'_>, question: &Question) -> f32 {
        self.thresholds.at(looked.face.side_px().min(question.enrolled.side_px)) + looked.quality.doubt()
    }

    /// Whether it is one person throughout. A face that looks as it did a moment ago is; of others the recogniser is asked.
    fn hold_together(
        &mut self,
        looked: &[Looked<'_>],
        best: usize,
        numbers: &[f32; NUMBERS],
        question: &Question,
    ) -> Result<(), Stop> {
        for other in looked.iter().enumerate().filter(|(at, _)| *at != best).map(|(_, other)| other) {
            if looked[best].is_like(other) {
                continue;
            }
            let least = self.threshold(other, question);
            let to_either = |found: &_| embed::dot(found, numbers).max(embed::dot(found, &question.enrolled.numbers));
            let (_, like) = self.described(other, least, to_either)?;
            if like >= least {
                continue;
            }
            match other.quality.flaw() {
                None if like >= DOUBTFUL_FROM => return Err(unusable(Reason::Doubtful)),
                None => return Err(Stop::Found(Outcome::Mismatch, Some(Reason::PersonChanged))),
                // Who turns their head as they were asked to is not seen well meanwhile; but still to be them.
                Some(_) if question.asked.challenge.is_some() && like >= MEANWHILE_LEAST => {}
                Some(flaw) => return Err(unusable(Reason::Quality(flaw))),
            }
        }
        Ok(())
    }
}

impl<'a> Looked<'a> {
    /// `None` when the face's points lie in one place.
    fn at(opened: &'a Opened, face: FaceBox) -> Option<Self> {
        let levelled = Grey::levelled(&opened.photo, &face.points)?;
        let quality = Quality::of(&opened.photo, &face, &levelled, &opened.scene);
        Some(Self { opened, face, levelled, quality })
    }

    /// Whether it is plainly the same face, without asking the recogniser.
    fn is_like(&self, other: &Self) -> bool {
        self.levelled.likeness_nearby(&other.levelled, SAME_LOOK_LEAST) >= SAME_LOOK_LEAST
    }
}

fn no_shape() -> Stop {
    Stop::Failed(VisionError::Model("the five points of a face lie in one place".to_owned()))
}

/// Decodes the photos, if they are as many as were asked for and could have been taken one after the other.
fn opened(submission: &[u8], asked: &Asked) -> Result<Vec<Opened>, Reason> {
    let frames = burst::parse(submission).map_err(Reason::Photo)?;
    if let Some(reason) = asked.refusal(&frames) {
        return Err(reason);
    }
    let times_ms: Vec<u32> = frames.iter().map(|frame| frame.at_ms).collect();
    if !motion::is_plausible(&times_ms) {
        return Err(Reason::FrameTimes);
    }
    let mut opened: Vec<Opened> = Vec::with_capacity(frames.len());
    let mut pixels = 0;
    for (number, frame) in frames.iter().enumerate() {
        let photo = decode(frame.photo).map_err(Reason::Photo)?;
        pixels += photo.width_px * photo.height_px;
        let wrong = |why: &str| Reason::Photo(PhotoError::BadBurst(why.to_owned()));
        if pixels > BURST_LIMIT_PIXELS {
            return Err(wrong("its photos have more than 24 million pixels together"));
        }
        if let Some(Opened { photo: first, .. }) = opened.first()
            && (first.width_px, first.height_px) != (photo.width_px, photo.height_px)
        {
            return Err(wrong("its photos differ in size"));
        }
        opened.push(Opened { frame: number, at_ms: frame.at_ms, scene: motion::scene(&photo), photo });
    }
    Ok(opened)
}

/// Refuses what shows nothing, and says whether photos repeat.
fn before_networks(opened: &[Opened]) -> Result<Option<Unnatural>, Stop> {
    let is_black = |opened: &Opened| opened.scene.values.iter().all(|value| *value < BLACK_BELOW);
    if opened.iter().any(is_black) {
        return Err(unusable(Reason::Quality(super::Flaw::TooDark)));
    }
    Ok(motion::repeated(opened.iter().map(|opened| &opened.scene)))
}

/// Which photo shows the face best: without a flaw if there is one, as sharp and as straight as can be.
fn best_of(looked: &[Looked<'_>]) -> usize {
    let merit = |looked: &Looked<'_>| {
        let flawless = if looked.quality.flaw().is_none() { 1.0 } else { 0.0 };
        flawless + looked.quality.sharpness.min(1.0) - looked.quality.turn.abs()
    };
    let order = |a: &&usize, b: &&usize| merit(&looked[**a]).total_cmp(&merit(&looked[**b]));
    let all: Vec<usize> = (0..looked.len()).rev().collect();
    all.iter().max_by(order).copied().unwrap_or(0)
}

fn moving(looked: &[Looked<'_>], check: &mut Check) -> Option<Unnatural> {
    let first = &looked.first()?.face;
    let stills = looked.iter().map(|looked| Still {
        at_ms: looked.opened.at_ms,
        face: looked.face,
        // Where the first photo has its face, in each of them.
        surroundings: motion::surroundings(&looked.opened.photo, first),
        scene: &looked.opened.scene,
    });
    let motion = motion::judge(&stills.collect::<Vec<_>>());
    let unnatural = motion.unnatural;
    check.motion = Some(motion);
    unnatural
}

/// The face of one photo, described: for holding photos against each other in numbers, as benchmarks do.
pub struct Portrait {
    /// Where it is.
    pub face: FaceBox,
    /// How well it can be seen.
    pub quality: Quality,
    numbers: [f32; NUMBERS],
    levelled: Grey,
}

impl Portrait {
    /// How alike the recogniser finds two faces: the cosine, −1 to 1.
    pub fn similarity(&self, other: &Self) -> f32 {
        embed::dot(&self.numbers, &other.numbers)
    }

    /// How alike two levelled pictures are, without the recogniser, −1 to 1.
    pub fn look_likeness(&self, other: &Self) -> f32 {
        self.levelled.likeness_nearby(&other.levelled, 1.0)
    }
}

impl Checker {
    /// Describes the face that counts in a photo.
    ///
    /// # Errors
    /// The inner error says why there is none, as a check would; the outer one is the engine's.
    pub fn portrait(&mut self, photo: &[u8]) -> Result<Result<Portrait, (Outcome, Option<Reason>)>, VisionError> {
        let mut check = Check::unanswered(super::Digest::of(&[]), super::Digest::of(&[]), self.models());
        let mut described = |checker: &mut Self| -> Result<Portrait, Stop> {
            let opened = opened(photo, &Asked::PHOTO).map_err(unusable)?;
            before_networks(&opened)?;
            let face = checker.first_face(&opened[0], &mut check)?;
            let Looked { levelled, quality, .. } = Looked::at(&opened[0], face).ok_or_else(no_shape)?;
            let numbers = checker.describe(&opened[0].photo, &face)?;
            Ok(Portrait { face, quality, numbers, levelled })
        };
        match described(self) {
            Ok(portrait) => Ok(Ok(portrait)),
            Err(Stop::Found(outcome, reason)) => Ok(Err((outcome, reason))),
            Err(Stop::Several(_)) => Ok(Err((Outcome::MultipleFaces, None))),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// The least similarity that counts as a match of two faces.
    pub fn threshold_between(&self, a: &Portrait, b: &Portrait) -> f32 {
        self.thresholds.at(a.face.side_px().min(b.face.side_px())) + a.quality.doubt().max(b.quality.doubt())
    }
}

/// What can be seen of the face in one photo, for showing it to people.
pub struct Sighting {
    /// Where it is.
    pub face: FaceBox,
    /// How well it can be seen.
    pub quality: Quality,
    /// How the head is turned; none where the mesh finds no face.
    pub pose: Option<super::Pose>,
    /// Height of the open eyes as a share of their width, likewise.
    pub eyes_open: Option<f32>,
    /// The mesh's points in the photo, in pixels, likewise.
    pub mesh: Vec<[f32; 2]>,
}

impl Checker {
    /// All that can be seen of the largest face of a photo; `None` when there is none.
    ///
    /// # Errors
    /// When a model fails.
    pub fn sighting(&mut self, photo: &Photo) -> Result<Option<Sighting>, VisionError> {
        let Some(face) = self.find(photo)?.into_iter().next() else { return Ok(None) };
        let Some(levelled) = Grey::levelled(photo, &face.points) else { return Ok(None) };
        let quality = Quality::of(photo, &face, &levelled, &motion::scene(photo));
        let mut sighting = Sighting { face, quality, pose: None, eyes_open: None, mesh: Vec::new() };
        let mesh = self.mesher.mesh(photo, &face)?;
        if mesh.is_face() {
            sighting.pose = mesh.pose();
            sighting.eyes_open = Some(self.eyes.eyes(photo, &mesh)?.openness());
            sighting.mesh = mesh.points.iter().map(|[x, y, _]| [*x, *y]).collect();
        }
        Ok(Some(sighting))
    }
}
