//! The token by which a learner reaches their own session and nothing else: signed, and good until a day.
//!
//! It is not kept anywhere. Whoever has it can read what the learner can, so it belongs behind the `#` of an address, where no
//! server's log sees it.

use super::keys::Keys;

/// Longest token, bytes.
const TOKEN_BYTES: usize = 200;

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppealLink {
    /// the session
    pub session: String,
    /// until when it is good, ms since the Unix epoch
    pub expires_at: i64,
}

impl AppealLink {
    /// Its token.
    pub fn sign(&self, keys: &Keys) -> String {
        let text = self.text();
        format!("{text}.{}", hex::encode(keys.signature("appeal link", &text)))
    }

    /// What a token stands for, if it was signed here and is not over.
    pub fn verify(token: &str, keys: &Keys, now_ms: i64) -> Option<Self> {
        if token.len() > TOKEN_BYTES {
            return None;
        }
        let (text, signature) = token.rsplit_once('.')?;
        let (session, expires_at) = text.rsplit_once('.')?;
        let link = Self { session: session.to_owned(), expires_at: expires_at.parse().ok()? };
        let signature = hex::decode(signature).ok()?;
        let is_ours = link.text() == text && keys.is_signature("appeal link", text, &signature);
        (is_ours && now_ms < link.expires_at).then_some(link)
    }

    fn text(&self) -> String {
        format!("{}.{}", self.session, self.expires_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Entropy;

    #[test]
    fn a_token_is_good_for_its_session_and_its_time() {
        let keys = |seed| {
            let folder = tempfile::tempdir().unwrap();
            Keys::open_or_create(folder.path(), &Entropy::seeded(seed)).unwrap()
        };
        let (here, there) = (keys(1), keys(2));
        let link = AppealLink { session: "s.1".into(), expires_at: 1_000 };
        let token = link.sign(&here);
        assert_eq!(AppealLink::verify(&token, &here, 999), Some(link));
        assert_eq!(AppealLink::verify(&token, &here, 1_000), None);
        assert_eq!(AppealLink::verify(&token, &there, 999), None);
        for other in [
            token.replace("s.1", "s.2"),
            token.replace("1000", "2000"),
            token[..token.len() - 2].to_owned(),
            "..".into(),
        ] {
            assert_eq!(AppealLink::verify(&other, &here, 999), None, "{other}");
        }
    }
}
