//! `online_quota`: a blended project spent more online hours than its share.
//!
//! Clause: 不超过总课时40%的理论学习部分依托…互联网平台进行 (宛技领办〔2022〕10号 21); 线上课时不超过总课时的40% (福建八条措施 五).
//!
//! A server stops a session when its quota is spent, so only a client that goes on regardless gets here.

use super::{Findings, Rule};
use crate::log::{Delivery, Facts};
use crate::policy::Parameters;
use crate::session::saturate;

/// The online time that the project allows, ms.
pub fn quota_ms(facts: &Facts, parameters: &Parameters) -> i64 {
    let total_ms = i128::from(facts.total_hours) * i128::from(parameters.class_hour_ms);
    saturate((total_ms * i128::from(parameters.online_quota_milli)).div_euclid(1000))
}

/// What is left of the quota when `creditable_ms` of this session are spent too, ms; none when nothing limits it.
pub fn left_ms(creditable_ms: i64, facts: &Facts, parameters: &Parameters) -> Option<i64> {
    let spent_ms = facts.online_used_ms.saturating_add(creditable_ms);
    let left_ms = || quota_ms(facts, parameters).saturating_sub(spent_ms).max(0);
    (facts.delivery == Delivery::Blended).then(left_ms)
}

/// What of `creditable_ms` the quota still holds.
pub fn within_quota_ms(creditable_ms: i64, facts: &Facts, parameters: &Parameters) -> i64 {
    left_ms(0, facts, parameters).map_or(creditable_ms, |left_ms| creditable_ms.min(left_ms))
}

/// Judges the closing.
pub(crate) fn closed(creditable_ms: i64, facts: &Facts, parameters: &Parameters, findings: &mut Findings) {
    if facts.delivery != Delivery::Blended {
        return;
    }
    let (quota_ms, used_ms) = (quota_ms(facts, parameters), facts.online_used_ms);
    let exceeded = used_ms.saturating_add(creditable_ms) > quota_ms.saturating_add(parameters.online_quota_grace_ms);
    if exceeded || (used_ms >= quota_ms && creditable_ms > 0) {
        findings.add(Rule::OnlineQuota);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good_facts, names};
    use super::*;
    use crate::policy::Policy;

    const HOUR_MS: i64 = 2_400_000;

    fn judged(facts: Facts, creditable_ms: i64) -> Vec<String> {
        let mut findings = Findings::default();
        closed(creditable_ms, &facts, &Policy::default().parameters, &mut findings);
        names(&findings)
    }

    #[test]
    fn forty_percent_and_a_minute() {
        let facts = Facts { online_used_ms: 15 * HOUR_MS, ..good_facts() };
        assert_eq!(quota_ms(&facts, &Policy::default().parameters), 16 * HOUR_MS);
        assert!(judged(facts.clone(), HOUR_MS + 60_000).is_empty());
        assert_eq!(judged(facts.clone(), HOUR_MS + 60_001), ["online_quota"]);
        assert_eq!(within_quota_ms(HOUR_MS + 60_000, &facts, &Policy::default().parameters), HOUR_MS);
        let parameters = &Policy::default().parameters;
        assert_eq!(left_ms(HOUR_MS - 1, &facts, parameters), Some(1));
        assert_eq!(left_ms(2 * HOUR_MS, &facts, parameters), Some(0));
        assert_eq!(left_ms(0, &Facts { delivery: Delivery::OnlineOnly, ..facts.clone() }, parameters), None);
        assert!(judged(Facts { delivery: Delivery::OnlineOnly, ..facts }, 9 * HOUR_MS).is_empty());
    }

    #[test]
    fn a_spent_quota_gives_no_grace() {
        let facts = Facts { online_used_ms: 16 * HOUR_MS, ..good_facts() };
        assert!(judged(facts.clone(), 0).is_empty());
        assert_eq!(judged(facts, 1), ["online_quota"]);
    }

    #[test]
    fn absurd_facts_do_not_overflow() {
        let most = crate::log::MAX_INTEGER;
        for (total_hours, online_used_ms) in [(most, -most), (-most, most)] {
            let facts = Facts { total_hours, online_used_ms, ..good_facts() };
            judged(facts.clone(), most);
            assert!(within_quota_ms(most, &facts, &Policy::default().parameters) >= 0);
        }
    }
}
