//! One-time codes of six digits out of a shared secret and the time (TOTP, RFC 6238, HMAC-SHA-1, 30 s), as every
//! authenticator app makes them.

use ring::hmac;

use crate::clock::Entropy;

/// How long a code stands, s.
const STEP_S: i64 = 30;
/// Steps before and after the present one whose codes are taken: clocks differ, and people type slowly.
const STEPS_ASIDE: i64 = 1;
/// Secret bytes, as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;

/// A shared secret.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret(Vec<u8>);

impl TotpSecret {
    /// A new one.
    pub fn generate(entropy: &Entropy) -> Self {
        Self(entropy.bytes::<SECRET_BYTES>().to_vec())
    }

    /// The secret with these bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its bytes: to be sealed.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// As it is typed into an app: base 32 (RFC 4648), without padding.
    pub fn to_base32(&self) -> String {
        const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let (mut text, mut bits, mut held) = (String::new(), 0_u32, 0);
        for byte in &self.0 {
            bits = (bits << 8) | u32::from(*byte);
            held += 8;
            while held >= 5 {
                held -= 5;
                text.push(char::from(DIGITS[(bits >> held) as usize & 31]));
            }
        }
        if held > 0 {
            text.push(char::from(DIGITS[(bits << (5 - held)) as usize & 31]));
        }
        text
    }

    /// What an app reads from a picture.
    pub fn uri(&self, account: &str) -> String {
        let account = serde_urlencoded::to_string([("", account)]).unwrap_or_default();
        let account = account.trim_start_matches('=').replace('+', "%20");
        format!("otpauth://totp/invigil:{account}?secret={}&issuer=invigil", self.to_base32())
    }

    /// The step whose code this is, if it is one of the present and later than `after`: a code is good once.
    pub fn step_of(&self, code: &str, now_ms: i64, after: Option<i64>) -> Option<i64> {
        let present = now_ms.div_euclid(1_000 * STEP_S);
        let matches = |step: &i64| {
            let right = self.code(*step);
            // In constant time, whatever the code.
            let differing = right.bytes().zip(code.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
            code.len() == right.len() && differing == 0 && after.is_none_or(|after| *step > after)
        };
        (present - STEPS_ASIDE..=present + STEPS_ASIDE).rfind(matches)
    }

    /// The six digits of a step.
    pub(crate) fn code(&self, step: i64) -> String {
        format!("{:06}", self.truncated(step) % 1_000_000)
    }

    fn truncated(&self, step: i64) -> u32 {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag[19] & 15);
        u32::from_be_bytes([tag[offset], tag[offset + 1], tag[offset + 2], tag[offset + 3]]) & 0x7FFF_FFFF
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_rfc() {
        let secret = TotpSecret::from_bytes(b"12345678901234567890".to_vec());
        for (at_s, code) in [
            (59, 94_287_082),
            (1_111_111_109, 7_081_804),
            (1_111_111_111, 14_050_471),
            (1_234_567_890, 89_005_924),
            (2_000_000_000, 69_279_037),
            (20_000_000_000, 65_353_130),
        ] {
            assert_eq!(secret.truncated(at_s / STEP_S) % 100_000_000, code, "{at_s}");
        }
        assert_eq!(secret.to_base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(TotpSecret::from_bytes(b"foobar".to_vec()).to_base32(), "MZXW6YTBOI");
        assert_eq!(
            secret.uri("王 a"),
            format!("otpauth://totp/invigil:%E7%8E%8B%20a?secret={}&issuer=invigil", secret.to_base32())
        );
    }

    #[test]
    fn a_code_is_good_for_a_while_and_once() {
        let secret = TotpSecret::from_bytes(b"12345678901234567890".to_vec());
        let code = "287082";
        assert_eq!(secret.step_of(code, 59_000, None), Some(1));
        assert_eq!((secret.step_of(code, 89_000, None), secret.step_of(code, 90_000, None)), (Some(1), None));
        assert_eq!((secret.step_of(code, 0, None), secret.step_of(code, 59_000, Some(1))), (Some(1), None));
        for wrong in ["", "28708", "2870820", "287083", "94287082"] {
            assert_eq!(secret.step_of(wrong, 59_000, None), None, "{wrong}");
        }
    }
}
