//! `unfocused`: the film played in a page that could be seen, but the learner was working in another.
//!
//! Clause (ours, integrity of the evidence): 确保培训过程有记录、可查询、可追溯 (福建八条措施 三).

use serde::{Deserialize, Serialize};

use super::{Findings, Rule};
use crate::policy::Parameters;
use crate::session::PageState;

/// What is remembered of the present episode without focus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfocused {
    blur_play_ms: i64,
    counted: bool,
}

impl Unfocused {
    /// Judges a stretch that was played in a visible page without focus.
    pub(crate) fn played_blurred(&mut self, dt_ms: i64, parameters: &Parameters, findings: &mut Findings) {
        self.blur_play_ms += dt_ms;
        if self.blur_play_ms > parameters.blur_grace_ms && !self.counted {
            self.counted = true;
            findings.add(Rule::Unfocused);
        }
    }

    /// The page changed: getting the focus, or being hidden, ends the episode.
    pub(crate) fn page_changed(&mut self, page: PageState) {
        if !page.is_blurred() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::names;
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn a_minute_is_forgiven_in_each_episode() {
        let (mut rule, mut findings) = (Unfocused::default(), Findings::default());
        let parameters = Policy::default().parameters;
        rule.played_blurred(60_000, &parameters, &mut findings);
        rule.page_changed(PageState { visible: true, focused: false });
        assert!(findings.is_empty());
        rule.played_blurred(1, &parameters, &mut findings);
        rule.played_blurred(1, &parameters, &mut findings);
        rule.page_changed(PageState { visible: false, focused: false });
        rule.played_blurred(60_000, &parameters, &mut findings);
        assert_eq!(names(&findings), ["unfocused"]);
    }
}
