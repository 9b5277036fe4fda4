//! Learner tokens: what a learner's page shows to stream into one session.
//!
//! A token is short-lived and opens one session's stream, nothing else: it is no API key. The store keeps the
//! digest and the expiry; see `store/tokens.rs`.

use super::secret::secret_text;

const PREFIX: &str = "ivt_";

/// How long a token is good for, unless configured otherwise: long enough to load a page and connect over a bad
/// network, short enough that a leaked one is soon worthless. A stream renews it while it is connected.
pub const DEFAULT_LIFETIME_MS: i64 = 15 * 60 * 1_000;

secret_text! {
    /// A learner's token in the clear.
    LearnerToken, PREFIX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Entropy;

    #[test]
    fn only_what_was_generated_has_the_shape_of_a_token() {
        let token = LearnerToken::generate(&Entropy::seeded(1));
        assert_eq!(LearnerToken::parse(token.expose()), Some(token.clone()));
        let body = token.expose().strip_prefix(PREFIX).unwrap();
        for wrong in ["", "ivt_", body, &format!("ivk_{body}"), &format!("ivt_{body}A"), &format!("ivt_{body}!")] {
            assert_eq!(LearnerToken::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_does_not_show_itself_in_logs() {
        let token = LearnerToken::generate(&Entropy::seeded(2));
        assert!(!format!("{token:?}").contains(&token.expose()[4..]));
    }
}
