//! Passwords of accounts: hashed with argon2id, away from the threads that serve.
//!
//! A hash takes 19 MiB and tens of milliseconds on purpose. So few are made at the same time, and who comes when many wait
//! is told to come back; a name that nobody has takes as long as one that somebody has.

use std::sync::{Arc, OnceLock};

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use tokio::sync::Semaphore;

use crate::clock::Entropy;

/// Fewest characters of a password.
pub const PASSWORD_CHARS_LEAST: usize = 12;
/// Longest password, in characters: nobody types more, and it is hashed.
pub const PASSWORD_CHARS_LIMIT: usize = 200;
/// Hashes that are made at the same time.
const AT_ONCE: usize = 2;
/// Hashes that are made or wait for their turn; whoever comes then is refused.
const WAITING_LIMIT: usize = 32;

/// Why a password was neither hashed nor compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait.
    #[error("too many passwords are being checked")]
    Busy,
    /// The hash could not be computed.
    #[error("a password could not be hashed")]
    Failed,
}

/// Hashes and compares passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    room: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    /// the hash of a password that nobody has
    nobodys: Arc<OnceLock<String>>,
}

impl Default for Passwords {
    fn default() -> Self {
        let (room, turns) = (Semaphore::new(WAITING_LIMIT), Semaphore::new(AT_ONCE));
        Self { room: Arc::new(room), turns: Arc::new(turns), nobodys: Arc::default() }
    }
}

impl Passwords {
    /// The hash of a password under a fresh salt, as text (PHC).
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn hash(&self, password: String, entropy: &Entropy) -> Result<String, PasswordError> {
        let salt = entropy.bytes();
        self.turn(move || hash(&password, salt)).await?
    }

    /// Whether the password is the one of the hash. Without a hash it is not, and that takes as long.
    ///
    /// # Errors
    /// See [`PasswordError`].
    pub async fn matches(&self, password: String, hashed: Option<String>) -> Result<bool, PasswordError> {
        let nobodys = self.nobodys.clone();
        self.turn(move || {
            let is_known = hashed.is_some();
            let hashed = match hashed {
                Some(hashed) => hashed,
                None => match nobodys.get() {
                    Some(nobodys) => nobodys.clone(),
                    None => {
                        let made = hash("nobody's", [7; 16])?;
                        nobodys.get_or_init(|| made).clone()
                    }
                },
            };
            let hashed = PasswordHash::new(&hashed).map_err(|_| PasswordError::Failed)?;
            Ok(Argon2::default().verify_password(password.as_bytes(), &hashed).is_ok() && is_known)
        })
        .await?
    }

    async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
        let _room = self.room.try_acquire().map_err(|_| PasswordError::Busy)?;
        // Owned by the work: it goes on when whoever asked hangs up.
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| PasswordError::Failed)
    }
}

/// What is wrong with a new password.
pub fn unfit(password: &str) -> Option<String> {
    let chars = password.chars().count();
    (!(PASSWORD_CHARS_LEAST..=PASSWORD_CHARS_LIMIT).contains(&chars))
        .then(|| format!("must have {PASSWORD_CHARS_LEAST} to {PASSWORD_CHARS_LIMIT} characters"))
}

fn hash(password: &str, salt: [u8; 16]) -> Result<String, PasswordError> {
    let salt = SaltString::encode_b64(&salt).map_err(|_| PasswordError::Failed)?;
    let hashed = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(|_| PasswordError::Failed)?;
    Ok(hashed.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_matches_and_no_hash_repeats() {
        let (passwords, entropy) = (Passwords::default(), Entropy::seeded(1));
        let first = passwords.hash("correct horse".into(), &entropy).await.unwrap();
        let second = passwords.hash("correct horse".into(), &entropy).await.unwrap();
        assert!(first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && first != second, "{first}");
        assert!(passwords.matches("correct horse".into(), Some(second)).await.unwrap());
        assert!(!passwords.matches("correct hors".into(), Some(first)).await.unwrap());
        assert!(!passwords.matches("nobody's".into(), None).await.unwrap());
        assert_eq!(passwords.matches("a".into(), Some("plain".into())).await, Err(PasswordError::Failed));
    }

    #[tokio::test]
    async fn more_than_can_wait_are_refused_at_once() {
        let passwords = Passwords::default();
        let _all = passwords.room.acquire_many(WAITING_LIMIT as u32).await.unwrap();
        assert_eq!(passwords.matches("a".into(), None).await, Err(PasswordError::Busy));
    }

    #[test]
    fn a_password_has_a_length() {
        assert!(
            unfit("elf zeichen").is_some() && unfit("zwölf Zeichen").is_none() && unfit(&"x".repeat(201)).is_some()
        );
    }
}
