//! The installation's own keys: made at the first start, kept in the data folder, readable by their owner alone.
//!
//! They can be given instead, by whoever keeps secrets elsewhere. `keys.check` then tells the right ones from others: it
//! holds a digest under each key, of the first start.
//!
//! `master.key` seals what the database must not show (data keys of learners, webhook secrets, templates);
//! `identity.pepper` turns an ID number into an identity that cannot be guessed back without it.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

use crate::clock::Entropy;
use crate::config::KeySettings;

/// Why a key could not be had or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read or made.
    #[error("{path}: {source}")]
    File {
        /// the key file
        path: PathBuf,
        /// what the system said
        source: std::io::Error,
    },
    /// The file holds something that is not a key.
    #[error("{0}: not a key of 32 bytes")]
    Length(PathBuf),
    /// A key that was given cannot be read.
    #[error("{0}")]
    Given(String),
    /// The data was written under another key.
    #[error("{0} is not the one under which the data in this folder was written")]
    Other(&'static str),
    /// Sealed bytes were changed, or sealed for something else, or under another key.
    #[error("cannot be opened with this key")]
    Sealed,
}

/// A key that seals bytes (AES-256-GCM, a fresh random nonce in front).
#[derive(Clone)]
pub struct DataKey([u8; 32]);

impl DataKey {
    /// A new random key.
    pub fn generate(entropy: &Entropy) -> Self {
        Self(entropy.bytes())
    }

    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes: to be sealed under another key, and for nothing else.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals `plain` for `context`: only who names the same context opens it again.
    pub fn seal(&self, entropy: &Entropy, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = entropy.bytes();
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = self
            .cipher()
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut sealed[NONCE_LEN..],
            )
            .expect("AES-GCM seals anything shorter than 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what [`DataKey::seal`] made for the same context.
    ///
    /// # Errors
    /// [`KeyError::Sealed`] when a byte, the context or the key differs.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(KeyError::Sealed)?;
        let mut body = body.to_vec();
        let plain = self
            .cipher()
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context.as_bytes()), &mut body)
            .map_err(|_| KeyError::Sealed)?
            .len();
        body.truncate(plain);
        Ok(body)
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0).expect("the key has 32 bytes"))
    }
}

/// Says under which keys a data folder was begun.
const CHECK_FILE: &str = "keys.check";

/// The keys of one installation.
pub struct Keys {
    master: DataKey,
    pepper: hmac::Key,
    /// by what they are known again, with their names
    marks: [(&'static str, String); 2],
}

impl Keys {
    /// Reads the keys in `folder`, making those that are not there yet (mode 0600, on disk before it returns).
    ///
    /// # Errors
    /// When a file cannot be read or made, or holds no key.
    pub fn open_or_create(folder: &Path, entropy: &Entropy) -> Result<Self, KeyError> {
        Self::open(folder, &KeySettings::default(), entropy)
    }

    /// The keys that are given; for the others as [`Keys::open_or_create`].
    ///
    /// # Errors
    /// When a key cannot be read or made, or is not the one that `folder` was begun with.
    pub fn open(folder: &Path, given: &KeySettings, entropy: &Entropy) -> Result<Self, KeyError> {
        let or_made = |given: Result<Option<[u8; 32]>, String>, key: &str, file: &str| match given {
            Ok(Some(given)) => Ok(given),
            Ok(None) => read_or_create(&folder.join(file), entropy),
            Err(why) => Err(KeyError::Given(format!("{key} {why}"))),
        };
        let master = or_made(given.master(), "keys.master", "master.key")?;
        let pepper = or_made(given.pepper(), "keys.pepper", "identity.pepper")?;
        let marks = marks([("keys.master", &master), ("keys.pepper", &pepper)]);
        compare(&folder.join(CHECK_FILE), &marks)?;
        Ok(Self { master: DataKey(master), pepper: hmac::Key::new(hmac::HMAC_SHA256, &pepper), marks })
    }

    /// The keys that are given, and for the others those in `folder`; makes none.
    ///
    /// # Errors
    /// When a file is missing, cannot be read, or holds no key.
    pub fn open_existing(folder: &Path, given: &KeySettings) -> Result<Self, KeyError> {
        let or_read = |given: Result<Option<[u8; 32]>, String>, key: &str, file: &str| match given {
            Ok(Some(given)) => Ok(given),
            Ok(None) => read(&folder.join(file)),
            Err(why) => Err(KeyError::Given(format!("{key} {why}"))),
        };
        let master = or_read(given.master(), "keys.master", "master.key")?;
        let pepper = or_read(given.pepper(), "keys.pepper", "identity.pepper")?;
        let marks = marks([("keys.master", &master), ("keys.pepper", &pepper)]);
        Ok(Self { master: DataKey(master), pepper: hmac::Key::new(hmac::HMAC_SHA256, &pepper), marks })
    }

    /// Notes by what these keys are known again, unless that was done before. Only for keys that are known to be those
    /// of `folder`: no others will be taken afterwards.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn note(&self, folder: &Path) -> Result<(), KeyError> {
        let path = folder.join(CHECK_FILE);
        if path.exists() {
            return Ok(());
        }
        let all: String = self.marks.iter().map(|(_, mark)| format!("{mark}\n")).collect();
        create(&path, all.as_bytes()).map_err(|source| KeyError::File { path, source })
    }

    /// The key that seals other keys and secrets.
    pub fn master(&self) -> &DataKey {
        &self.master
    }

    /// The identity of the person with this (checked, normalised) ID number.
    pub fn identity(&self, id_number: &str) -> [u8; 32] {
        let tag = hmac::sign(&self.pepper, id_number.as_bytes());
        tag.as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
    }

    /// What stands for a network address or a device (`kind`) where it must not stand in the clear: 16 hex digits, the
    /// same for the same value here, and nothing to anybody without the pepper.
    pub fn pseudonym(&self, kind: &str, value: &str) -> String {
        // No ID number holds a line feed, so an identity and a pseudonym are never of the same text.
        let tag = hmac::sign(&self.pepper, format!("{kind}\n{value}").as_bytes());
        hex::encode(&tag.as_ref()[..8])
    }

    /// What shows that a text of this kind was written by this installation.
    pub fn signature(&self, kind: &str, text: &str) -> [u8; 32] {
        // Two line feeds: no pseudonym is of the same text, whose kinds and values hold none.
        let tag = hmac::sign(&self.pepper, format!("{kind}\n\n{text}").as_bytes());
        tag.as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
    }

    /// Whether this is the signature of a text; compared in constant time.
    pub fn is_signature(&self, kind: &str, text: &str, signature: &[u8]) -> bool {
        hmac::verify(&self.pepper, format!("{kind}\n\n{text}").as_bytes(), signature).is_ok()
    }

    /// A learner's data key as the database keeps it.
    pub fn wrap(&self, entropy: &Entropy, learner: &str, key: &DataKey) -> Vec<u8> {
        self.master.seal(entropy, &format!("learner {learner}"), &key.0)
    }

    /// The reverse of [`Keys::wrap`].
    ///
    /// # Errors
    /// [`KeyError::Sealed`] when it was not wrapped for this learner by this installation.
    pub fn unwrap(&self, learner: &str, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        let key = self.master.open(&format!("learner {learner}"), wrapped)?;
        key.try_into().map(DataKey).map_err(|_| KeyError::Sealed)
    }
}

/// The master key that is given, or else the one in `folder`, for whoever needs no other; makes none.
///
/// # Errors
/// When there is none, or it cannot be read or is no key.
pub fn master_key(folder: &Path, given: &KeySettings) -> Result<DataKey, KeyError> {
    match given.master() {
        Ok(Some(given)) => Ok(DataKey(given)),
        Ok(None) => read(&folder.join("master.key")).map(DataKey),
        Err(why) => Err(KeyError::Given(format!("keys.master {why}"))),
    }
}

fn read_or_create(path: &Path, entropy: &Entropy) -> Result<[u8; 32], KeyError> {
    if !path.exists() {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        create(path, &entropy.bytes::<32>()).map_err(failed)?;
    }
    read(path)
}

fn read(path: &Path) -> Result<[u8; 32], KeyError> {
    let failed = |source| KeyError::File { path: path.to_owned(), source };
    let mut key = Vec::with_capacity(32);
    std::fs::File::open(path).and_then(|file| file.take(33).read_to_end(&mut key)).map_err(failed)?;
    key.try_into().map_err(|_| KeyError::Length(path.to_owned()))
}

/// By what keys are known again. A digest under a random key says nothing of it.
fn marks(keys: [(&'static str, &[u8; 32]); 2]) -> [(&'static str, String); 2] {
    keys.map(|(name, key)| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), format!("invigil {name}").as_bytes());
        (name, format!("{name} {}", hex::encode(tag)))
    })
}

/// Compares keys with those that were noted at the first start, if they were.
fn compare(path: &Path, marks: &[(&'static str, String); 2]) -> Result<(), KeyError> {
    let noted = match std::fs::read_to_string(path) {
        Ok(noted) => noted,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(KeyError::File { path: path.to_owned(), source }),
    };
    let other = marks.iter().find(|(_, mark)| !noted.lines().any(|noted| noted == mark));
    other.map_or(Ok(()), |(name, _)| Err(KeyError::Other(name)))
}

/// Writes a secret so that a crash leaves either the whole file or none, never one that others may read.
pub fn create(path: &Path, secret: &[u8]) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(secret)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let first = Keys::open_or_create(folder.path(), &Entropy::seeded(1)).unwrap();
        let second = Keys::open_or_create(folder.path(), &Entropy::seeded(2)).unwrap();
        assert_eq!(first.identity("110101199003070011"), second.identity("110101199003070011"));
        let mode = std::fs::metadata(folder.path().join("master.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn pseudonyms_are_of_a_kind_and_of_this_installation() {
        let keys = |seed| {
            let folder = tempfile::tempdir().unwrap();
            Keys::open_or_create(folder.path(), &Entropy::seeded(seed)).unwrap()
        };
        let (here, there) = (keys(1), keys(2));
        let address = here.pseudonym("address", "192.0.2.1");
        assert_eq!((address.len(), &address), (16, &here.pseudonym("address", "192.0.2.1")));
        for other in [
            here.pseudonym("device", "192.0.2.1"),
            here.pseudonym("address", "192.0.2.2"),
            there.pseudonym("address", "192.0.2.1"),
        ] {
            assert_ne!(address, other);
        }
    }

    #[test]
    fn keys_that_are_given_are_not_kept_and_must_stay_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let given = |name: &str, byte: u8| {
            let path = folder.path().join(format!("given {name} {byte}"));
            std::fs::write(&path, [byte; 32]).unwrap();
            Some(path)
        };
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let right = KeySettings { master_file: given("m", 1), pepper_file: given("p", 2), ..KeySettings::default() };
        let open = |keys: &KeySettings| Keys::open(&data, keys, &Entropy::seeded(1));
        let first = open(&right).unwrap();
        first.note(&data).unwrap();
        assert_eq!(first.identity("a"), open(&right).unwrap().identity("a"));
        assert!(!data.join("master.key").exists() && !data.join("identity.pepper").exists());
        let wrong = KeySettings { pepper_file: given("p", 3), ..right.clone() };
        assert!(matches!(open(&wrong), Err(KeyError::Other("keys.pepper"))));
        let wrong = KeySettings { master_file: None, ..right.clone() };
        assert!(matches!(open(&wrong), Err(KeyError::Other("keys.master"))), "a made key does not replace a given one");
    }

    #[test]
    fn sealed_bytes_open_only_whole_and_in_their_context() {
        let entropy = Entropy::seeded(3);
        let key = DataKey::generate(&entropy);
        let mut sealed = key.seal(&entropy, "photo 1", b"face");
        assert_eq!(key.open("photo 1", &sealed).unwrap(), b"face");
        assert!(key.open("photo 2", &sealed).is_err());
        assert!(DataKey::generate(&entropy).open("photo 1", &sealed).is_err());
        *sealed.last_mut().unwrap() ^= 1;
        assert!(key.open("photo 1", &sealed).is_err());
        assert!(key.open("photo 1", b"short").is_err());
    }
}
