//! A secret as a setting: given as text or by the path of a file, never both, and never shown.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;

/// Longest file that holds a secret, in bytes.
const FILE_BYTES_LIMIT: u64 = 4 * 1024;

/// A secret in the clear. `Debug` does not show it, and nothing writes it out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into keeping.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as it was given.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// The installation's secrets that were given, and need not be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// The master key.
    pub master: Option<Secret>,
    /// A file with the master key.
    pub master_file: Option<PathBuf>,
    /// The pepper of identities.
    pub pepper: Option<Secret>,
    /// A file with the pepper.
    pub pepper_file: Option<PathBuf>,
    /// The operator's API key.
    pub operator: Option<Secret>,
    /// A file with the operator's API key.
    pub operator_file: Option<PathBuf>,
}

impl KeySettings {
    /// The master key, if one was given.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn master(&self) -> Result<Option<[u8; 32]>, String> {
        key(self.master.as_ref(), self.master_file.as_deref())
    }

    /// The pepper, if one was given.
    ///
    /// # Errors
    /// As for the master key.
    pub fn pepper(&self) -> Result<Option<[u8; 32]>, String> {
        key(self.pepper.as_ref(), self.pepper_file.as_deref())
    }

    /// The text of the operator's API key, if one was given.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn operator(&self) -> Result<Option<String>, String> {
        if let Some(secret) = &self.operator {
            return Ok(Some(secret.0.trim().to_owned()));
        }
        let Some(path) = &self.operator_file else { return Ok(None) };
        let text = String::from_utf8(read(path)?).map_err(|_| format!("{}: not text", path.display()))?;
        Ok(Some(text.trim().to_owned()))
    }

    /// The settings that were given as text and as a file too, by the file's key.
    pub(super) fn given_twice(&self) -> impl Iterator<Item = (&'static str, String)> {
        let twice = [
            ("keys.master_file", self.master.is_some() && self.master_file.is_some()),
            ("keys.pepper_file", self.pepper.is_some() && self.pepper_file.is_some()),
            ("keys.operator_file", self.operator.is_some() && self.operator_file.is_some()),
        ];
        twice
            .into_iter()
            .filter(|(_, twice)| *twice)
            .map(|(key, _)| (key, format!("{} is given too: give one of them", key.trim_end_matches("_file"))))
    }

    /// What is wrong with each secret that was given, by its key.
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let given = |text: bool, key: &'static str, file: &'static str| if text { key } else { file };
        let operator = self.operator().and_then(|text| match text {
            Some(text) if crate::auth::api_key::ApiKey::parse(&text).is_none() => {
                Err("is no API key: ivk_ and 43 characters".to_owned())
            }
            _ => Ok(()),
        });
        [
            (given(self.master.is_some(), "keys.master", "keys.master_file"), self.master().map(drop)),
            (given(self.pepper.is_some(), "keys.pepper", "keys.pepper_file"), self.pepper().map(drop)),
            (given(self.operator.is_some(), "keys.operator", "keys.operator_file"), operator),
        ]
        .into_iter()
        .filter_map(|(key, result)| result.err().map(|why| (key, why)))
        .collect()
    }
}

/// A secret text, given as such or as a file.
pub(super) fn text(text: Option<&Secret>, file: Option<&Path>) -> Result<Option<Secret>, String> {
    match (text, file) {
        (Some(secret), _) => Ok(Some(Secret(secret.0.trim().to_owned()))),
        (None, Some(path)) => {
            let text = String::from_utf8(read(path)?).map_err(|_| format!("{}: not text", path.display()))?;
            Ok(Some(Secret(text.trim().to_owned())))
        }
        (None, None) => Ok(None),
    }
}

fn key(text: Option<&Secret>, file: Option<&Path>) -> Result<Option<[u8; 32]>, String> {
    if let Some(secret) = text {
        return decode(secret.0.trim()).map(Some).ok_or_else(|| NO_KEY.to_owned());
    }
    let Some(path) = file else { return Ok(None) };
    let bytes = read(path)?;
    if let Ok(raw) = <[u8; 32]>::try_from(bytes.as_slice()) {
        return Ok(Some(raw));
    }
    let text = String::from_utf8(bytes).unwrap_or_default();
    decode(text.trim()).map(Some).ok_or_else(|| format!("{}: {NO_KEY}", path.display()))
}

const NO_KEY: &str = "is no key of 32 bytes, as 64 hexadecimal digits or base64";

fn decode(text: &str) -> Option<[u8; 32]> {
    let decoded = hex::decode(text).or_else(|_| STANDARD.decode(text)).or_else(|_| URL_SAFE_NO_PAD.decode(text));
    decoded.ok()?.try_into().ok()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_LIMIT).read_to_end(&mut bytes))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret(text.to_owned()))
    }

    #[test]
    fn a_key_is_read_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: [u8; 32] = std::array::from_fn(|i| i as u8 * 7);
        let written = [hex::encode(bytes), STANDARD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)];
        for text in &written {
            let given = KeySettings { master: secret(text), ..KeySettings::default() };
            assert_eq!(given.master().unwrap(), Some(bytes));
            let path = folder.path().join("key");
            std::fs::write(&path, format!("{text}\n")).unwrap();
            let given = KeySettings { pepper_file: Some(path), ..KeySettings::default() };
            assert_eq!(given.pepper().unwrap(), Some(bytes));
        }
        let path = folder.path().join("raw");
        std::fs::write(&path, bytes).unwrap();
        let given = KeySettings { master_file: Some(path), ..KeySettings::default() };
        assert_eq!(given.master().unwrap(), Some(bytes));
        assert_eq!(KeySettings::default().master().unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        let wrong = "5ec2e7".repeat(10);
        let keys = KeySettings {
            master: secret(&wrong),
            pepper_file: Some("/nowhere/pepper".into()),
            operator: secret(&wrong),
            ..KeySettings::default()
        };
        let problems = keys.problems();
        let named: Vec<&str> = problems.iter().map(|(key, _)| *key).collect();
        assert_eq!(named, ["keys.master", "keys.pepper_file", "keys.operator"]);
        assert!(!format!("{problems:?} {keys:?}").contains("5ec2e7"));
    }
}
