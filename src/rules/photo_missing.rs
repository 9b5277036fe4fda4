//! `photo_missing`: a class hour of which no photo of the learner is kept.
//!
//! Clause: 有…每课时无随机保留影像照片等情形之一的，视同培训无效 (宛技领办〔2022〕10号 20(3)).

use serde::{Deserialize, Serialize};

use super::face_unchecked::FaceUnchecked;
use super::{Detail, Finding, Findings, Rule};
use crate::policy::Parameters;
use crate::session::{Intervals, MAX_LISTED, Watching};

/// Which class hours have what. Hours are kept as intervals, so that a long session takes no more room than a short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhotoMissing {
    with_photo: Intervals,
    with_error: Intervals,
}

impl PhotoMissing {
    /// Starts with what is known of the hour that the last session left.
    pub(crate) fn opened(hour_has_photo: bool) -> Self {
        let mut rule = Self::default();
        if hour_has_photo {
            rule.photo_kept(0);
        }
        rule
    }

    /// A matching photo of this hour is kept.
    pub(crate) fn photo_kept(&mut self, hour: i64) {
        self.with_photo.add(hour, hour + 1);
    }

    /// The engine could not check a photo of this hour.
    pub(crate) fn check_failed(&mut self, hour: i64) {
        self.with_error.add(hour, hour + 1);
    }

    /// Whether this hour has its photo.
    pub fn has_photo(&self, hour: i64) -> bool {
        self.with_photo.contains(hour)
    }

    /// Judges all hours at the closing.
    pub(crate) fn closed(
        &self,
        watching: &Watching,
        parameters: &Parameters,
        unchecked: &mut FaceUnchecked,
        findings: &mut Findings,
    ) {
        let due_ms = parameters.photo_due_ms;
        if watching.watch_ms() <= 0 || watching.hour_watch_ms() < due_ms {
            return;
        }
        // The hours that were watched long enough: all but the last are whole, and an hour is never shorter than that.
        let hours = (watching.hour_watch_ms() - due_ms) / parameters.class_hour_ms + 1;
        let without = missing(&self.with_photo, hours);
        if watching.watch_ms() < parameters.short_session_ms {
            if without > 0 {
                unchecked.find(findings);
            }
            return;
        }
        let mut excused = self.with_photo.clone();
        self.with_error.as_slice().iter().for_each(|&(from, to)| excused.add(from, to));
        let inexcusable = missing(&excused, hours);
        if inexcusable < without {
            unchecked.find(findings);
        }
        let first = excused.gaps(0, hours).flat_map(|(from, to)| from..to).take(MAX_LISTED);
        findings.listed.extend(first.map(|class_hour| Finding {
            rule: Rule::PhotoMissing,
            cause: None,
            detail: Some(Detail { class_hour }),
        }));
        findings.unlisted_photos += inexcusable.saturating_sub(MAX_LISTED as u64);
    }
}

fn missing(hours_with: &Intervals, hours: i64) -> u64 {
    hours_with.gaps(0, hours).map(|(from, to)| from.abs_diff(to)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good_facts, names};
    use super::*;
    use crate::log::{Carried, Facts, SessionOpened};
    use crate::policy::Policy;

    /// A session that started with `hour_watch_ms` in hour 0 and then watched for `watch_ms`.
    fn watched(hour_watch_ms: i64, watch_ms: i64) -> Watching {
        let text = String::new;
        let mut watching = Watching::opened(&SessionOpened {
            session: text(),
            platform: text(),
            learner: text(),
            project: text(),
            lesson: text(),
            policy: text(),
            duration_ms: 0,
            facts: Facts { carried: Carried { hour_watch_ms, ..Carried::default() }, ..good_facts() },
        });
        let parameters = Parameters { gap_limit_ms: watch_ms, ..Policy::default().parameters };
        watching.observe(&parameters, 0, true, 0, true);
        watching.observe(&parameters, watch_ms, true, 0, true);
        watching
    }

    fn judged(rule: &PhotoMissing, watching: &Watching) -> (Vec<String>, Vec<i64>, u64) {
        let mut findings = Findings::default();
        rule.closed(watching, &Policy::default().parameters, &mut FaceUnchecked::default(), &mut findings);
        let hours = findings.listed.iter().filter_map(|finding| finding.detail).map(|detail| detail.class_hour);
        (names(&findings), hours.collect(), findings.unlisted_photos)
    }

    #[test]
    fn half_an_hour_needs_its_photo() {
        assert!(judged(&PhotoMissing::default(), &watched(0, 1_199_999)).0.is_empty());
        assert_eq!(judged(&PhotoMissing::default(), &watched(0, 1_200_000)).1, [0]);
        assert_eq!(judged(&PhotoMissing::default(), &watched(1_100_000, 100_000)).1, [0]);
        assert!(judged(&PhotoMissing::opened(true), &watched(1_100_000, 100_000)).0.is_empty());
        assert_eq!(judged(&PhotoMissing::opened(true), &watched(0, 3_600_000)).1, [1]);
    }

    #[test]
    fn the_engines_errors_and_short_sessions_are_for_review() {
        let mut rule = PhotoMissing::default();
        rule.check_failed(1);
        rule.check_failed(2);
        rule.photo_kept(2);
        let (found, hours, _) = judged(&rule, &watched(0, 7_200_000));
        assert_eq!((found, hours), (vec!["face_unchecked".to_owned(), "photo_missing".to_owned()], vec![0]));
        assert_eq!(judged(&PhotoMissing::default(), &watched(1_200_000, 59_999)).0, ["face_unchecked"]);
        assert!(judged(&PhotoMissing::default(), &watched(1_200_000, 0)).0.is_empty());
    }

    #[test]
    fn an_absurd_number_of_hours_is_counted_not_listed() {
        let (found, hours, unlisted) = judged(&PhotoMissing::default(), &watched(crate::log::MAX_INTEGER, 60_000));
        assert_eq!((found.len(), hours[199]), (200, 199));
        assert_eq!(unlisted, 3_752_999_490);
    }
}
