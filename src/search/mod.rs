//! Searching enrolled faces: a set is gathered in pages, its templates are opened in memory only, and every face is
//! compared ([`crate::vision::search`]).
//!
//! Nothing is kept of a set between two searches, so there is nothing to be forgotten with a learner but the rows. What is
//! searched by itself, and when, is in `worker`; what a hit means to a supervisor is in `found`.

mod found;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::keys::{KeyError, Keys};
use crate::policy::RiskThresholds;
use crate::store::enrolled_photos::EnrolledPhoto;
use crate::store::face_scope::{Scope, SearchKind};
use crate::store::face_searches::SearchRecord;
use crate::store::{Store, StoreError};
use crate::vision::search::{Effort, Gallery, LEAST_SIMILARITY, Prospect};
use crate::vision::{Digest, Template};

pub use found::findings;
pub use worker::{Means, Searcher};

/// Templates that are read and compared at once: 600 KiB of the database. Tests do with fewer.
const PAGE: u32 = if cfg!(test) { 64 } else { 1_024 };
/// Hits of one face that are told of; who has more is found with these.
pub const HITS_LIMIT: usize = 20;
/// Most faces that are compared with each other, all with all: two million comparisons.
pub const PAIRS_LIMIT: usize = 2_000;

/// An enrolled face, by what names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = EnrolledFace)]
pub struct EnrolledFace {
    /// the learner's random identifier
    pub learner: String,
    /// version of the enrolment photo
    pub version: i64,
    /// SHA-256 hex of the enrolment photo
    pub photo: String,
    /// the platform that gave it
    pub platform: String,
}

/// A face that is looked for.
#[derive(Clone)]
pub struct Probe {
    /// whose it is; none: of a photo that was given
    pub face: Option<EnrolledFace>,
    /// the face
    pub template: Template,
}

/// A face of the set that is like one that was looked for.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = FaceHit)]
pub struct Hit {
    /// whose face was looked for; null: of a photo that was given
    pub of: Option<EnrolledFace>,
    /// the face that is like it
    pub face: EnrolledFace,
    /// cosine of the two faces, −1 to 1
    pub similarity: f32,
    #[serde(skip)]
    score: f32,
}

/// How a set is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// each probe among all others
    Each,
    /// all with all, each pair once
    Pairs,
}

/// What came of a search, with what was to be expected of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = FaceSearchResult)]
pub struct SearchResult {
    /// comparisons
    pub compared: u64,
    /// faces of the set that another model has described: they must be enrolled again to be compared
    pub other_model: u64,
    /// faces of the set that could not be opened
    pub unreadable: u64,
    /// the least similarity that is a hit, of photos of full size; smaller ones need more
    pub threshold: f64,
    /// the share of strangers who are as alike
    pub false_match_rate: f64,
    /// false hits to be expected of this search
    pub expected_false_hits: f64,
    /// searches a day that the threshold is made for
    pub searches_day: u64,
    /// false hits a day to be expected of as many searches like this one
    pub expected_false_hits_day: f64,
    /// false hits a day that are allowed for this kind of search
    pub allowed_false_hits_day: f64,
    /// the share of the pairs of one person that are found at this threshold, of ordinary photos
    pub found_share: f64,
    /// the hits, the nearest first
    pub hits: Vec<Hit>,
}

/// How many false hits of a kind a day are allowed, by the pack.
pub fn allowed_day(risk: &RiskThresholds, kind: SearchKind) -> f64 {
    let milli = match kind {
        SearchKind::Class => risk.face_class_false_hits_milli,
        SearchKind::Platform => risk.face_platform_false_hits_milli,
        SearchKind::Device => risk.face_device_false_hits_milli,
        SearchKind::Address => risk.face_address_false_hits_milli,
        SearchKind::Chosen => risk.face_chosen_false_hits_milli,
    };
    milli as f64 / 1e3
}

/// Opens the template of an enrolled photo.
///
/// # Errors
/// When it is not of this installation, or damaged.
pub fn open(photo: &EnrolledPhoto, keys: &Keys) -> Result<Template, KeyError> {
    let bytes = photo.open_template(keys)?;
    Template::from_bytes(&bytes).map_err(|_| KeyError::Sealed)
}

impl Probe {
    /// The face of an enrolled photo.
    ///
    /// # Errors
    /// See [`open`].
    pub fn of(photo: &EnrolledPhoto, keys: &Keys) -> Result<Self, KeyError> {
        Ok(Self { template: open(photo, keys)?, face: Some(named(photo)) })
    }

    fn learner(&self) -> Option<&str> {
        self.face.as_ref().map(|face| face.learner.as_str())
    }
}

fn named(photo: &EnrolledPhoto) -> EnrolledFace {
    let EnrolledPhoto { learner, version, digest, platform, .. } = photo;
    EnrolledFace { learner: learner.clone(), version: *version, photo: digest.clone(), platform: platform.clone() }
}

/// A search under way: pages go in, and what is nearest stays.
pub struct Sweep {
    keys: Arc<Keys>,
    manner: Manner,
    probes: Vec<Probe>,
    nearest: Vec<Vec<Hit>>,
    compared: Vec<u64>,
    other_model: u64,
    unreadable: u64,
}

impl Sweep {
    /// Begins to look for `probes`.
    pub fn new(keys: Arc<Keys>, probes: Vec<Probe>, manner: Manner) -> Self {
        let nearest = probes.iter().map(|_| Vec::new()).collect();
        let compared = vec![0; probes.len()];
        Self { keys, manner, probes, nearest, compared, other_model: 0, unreadable: 0 }
    }

    /// Compares a page of the set.
    pub fn take(&mut self, page: &[EnrolledPhoto]) {
        let mut galleries: BTreeMap<[u8; 32], (Gallery, Vec<EnrolledFace>)> = BTreeMap::new();
        for photo in page {
            let Ok(template) = open(photo, &self.keys) else {
                self.unreadable += 1;
                continue;
            };
            let recogniser = template.recogniser();
            let (gallery, faces) =
                galleries.entry(recogniser.0).or_insert_with(|| (Gallery::new(recogniser), Vec::new()));
            gallery.add(&template);
            faces.push(named(photo));
        }
        let wanted: Option<Digest> = self.probes.first().map(|probe| probe.template.recogniser());
        let others = galleries.iter().filter(|(recogniser, _)| wanted.is_none_or(|wanted| wanted.0 != **recogniser));
        self.other_model += others.map(|(_, (gallery, _))| gallery.len() as u64).sum::<u64>();
        for index in 0..self.probes.len() {
            if let Some((gallery, faces)) = galleries.get(&self.probes[index].template.recogniser().0) {
                self.look_for(index, gallery, faces);
            }
        }
    }

    fn look_for(&mut self, index: usize, gallery: &Gallery, faces: &[EnrolledFace]) {
        let (probe, manner) = (&self.probes[index], self.manner);
        let counts = |face: &EnrolledFace| match (probe.learner(), manner) {
            (None, _) => true,
            (Some(own), Manner::Each) => face.learner != own,
            (Some(own), Manner::Pairs) => face.learner.as_str() > own,
        };
        self.compared[index] += faces.iter().filter(|face| counts(face)).count() as u64;
        // Whoever does not count may be among the nearest.
        let found = gallery.nearest(&probe.template, LEAST_SIMILARITY, gallery.len());
        let hits = found.into_iter().filter(|hit| counts(&faces[hit.index])).take(HITS_LIMIT).map(|hit| Hit {
            of: probe.face.clone(),
            face: faces[hit.index].clone(),
            similarity: hit.similarity,
            score: hit.score,
        });
        let nearest = &mut self.nearest[index];
        nearest.extend(hits);
        nearest.sort_by(|one, other| other.score.total_cmp(&one.score));
        nearest.truncate(HITS_LIMIT);
    }

    /// What one probe's search has come to.
    pub fn of_probe(&self, index: usize, searches_day: u64, allowed_day: f64) -> SearchResult {
        self.result(self.compared[index], self.nearest[index].iter(), searches_day, allowed_day)
    }

    /// What all probes together have come to, as one search.
    pub fn of_all(&self, searches_day: u64, allowed_day: f64) -> SearchResult {
        self.result(self.compared.iter().sum(), self.nearest.iter().flatten(), searches_day, allowed_day)
    }

    /// The faces that were looked for.
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    fn result<'a>(
        &self,
        compared: u64,
        nearest: impl Iterator<Item = &'a Hit>,
        searches_day: u64,
        allowed_day: f64,
    ) -> SearchResult {
        let effort = Effort { compared, searches_day, allowed_day };
        let prospect: Prospect = effort.prospect();
        let mut hits: Vec<Hit> = nearest.filter(|hit| f64::from(hit.score) >= prospect.threshold).cloned().collect();
        hits.sort_by(|one, other| other.score.total_cmp(&one.score));
        SearchResult {
            compared,
            other_model: self.other_model,
            unreadable: self.unreadable,
            threshold: prospect.threshold,
            false_match_rate: prospect.false_match_rate,
            expected_false_hits: prospect.false_hits,
            searches_day,
            expected_false_hits_day: prospect.false_hits_day,
            allowed_false_hits_day: allowed_day,
            found_share: prospect.found_share,
            hits,
        }
    }
}

impl SearchResult {
    /// The record of it.
    pub fn record(&self, made: Made) -> SearchRecord {
        let whole = |number: f64| if number < i64::MAX as f64 { number.round() as i64 } else { i64::MAX };
        SearchRecord {
            id: made.id,
            kind: made.kind,
            scope: made.scope.to_string(),
            learner: made.learner,
            asked_by: made.asked_by,
            compared: i64::try_from(self.compared).unwrap_or(i64::MAX),
            expected_nano: whole(self.expected_false_hits * 1e9),
            threshold_milli: whole(self.threshold * 1e3),
            hits: i64::try_from(self.hits.len()).unwrap_or(i64::MAX),
            at: made.at,
        }
    }
}

/// Which search it was.
pub struct Made {
    /// the identifier it gets
    pub id: String,
    /// what kind
    pub kind: SearchKind,
    /// in which set
    pub scope: Scope,
    /// whose face
    pub learner: Option<String>,
    /// who asked
    pub asked_by: Option<String>,
    /// ms since the Unix epoch
    pub at: i64,
}

/// Looks for `probes` among the enrolled faces of a set.
///
/// # Errors
/// When the store could not read.
pub async fn sweep(
    store: &Store,
    keys: &Arc<Keys>,
    scope: &Scope,
    probes: Vec<Probe>,
    manner: Manner,
) -> Result<Sweep, StoreError> {
    let mut sweep = Sweep::new(keys.clone(), probes, manner);
    let mut after = None;
    loop {
        let page = store.enrolled_faces(scope, after.take(), PAGE).await?;
        let (full, last) = (page.len() == PAGE as usize, page.last().map(|photo| photo.learner.clone()));
        let compare = move || {
            sweep.take(&page);
            sweep
        };
        sweep = tokio::task::spawn_blocking(compare).await.map_err(|_| StoreError::Stopped)?;
        if !full {
            return Ok(sweep);
        }
        after = last;
    }
}

/// Every face of a set, to be looked for in it; none when there are more than [`PAIRS_LIMIT`].
///
/// # Errors
/// When the store could not read.
pub async fn all_of(store: &Store, keys: &Arc<Keys>, scope: &Scope) -> Result<Option<Vec<Probe>>, StoreError> {
    let (mut probes, mut after): (Vec<Probe>, _) = (Vec::new(), None);
    loop {
        let page = store.enrolled_faces(scope, after.take(), PAGE).await?;
        let (full, last) = (page.len() == PAGE as usize, page.last().map(|photo| photo.learner.clone()));
        probes.extend(page.iter().filter_map(|photo| Probe::of(photo, keys).ok()));
        if probes.len() > PAIRS_LIMIT {
            return Ok(None);
        }
        if !full {
            return Ok(Some(probes));
        }
        after = last;
    }
}
