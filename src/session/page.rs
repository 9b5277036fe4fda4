//! Whether the learner can see the page (docs/rules.md, section 4.4).

use serde::{Deserialize, Serialize};

/// What the page last said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageState {
    /// Whether it can be seen.
    pub visible: bool,
    /// Whether it has the focus; means nothing while it is hidden.
    pub focused: bool,
}

impl Default for PageState {
    fn default() -> Self {
        Self { visible: true, focused: true }
    }
}

impl PageState {
    /// Whether it can be seen but has not the focus.
    pub fn is_blurred(self) -> bool {
        self.visible && !self.focused
    }
}
