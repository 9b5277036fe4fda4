//! Where photos are kept: the data folder, or a bucket of an S3-compatible store; and for how long.

use std::path::PathBuf;

use reqwest::Url;
use serde::Deserialize;

use super::Secret;
use super::secret::read_text;

/// Fewest days for which photos are kept. 宛技领办〔2022〕10号 21 gives an application for subsidies ten working days, its
/// public notice five and the payment fifteen: six weeks, with holidays eight, in which somebody may want to look.
const RETENTION_DAYS_LEAST: u32 = 60;
/// A century: whoever means for ever says 0.
const RETENTION_DAYS_MOST: u32 = 36_500;
const DAY_MS: i64 = 86_400_000;

/// Keeping photos.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceSettings {
    /// The bucket and the prefix in it, as `s3://BUCKET/PREFIX`, or a folder that all nodes see, as `file:///FOLDER`; not
    /// given: the data folder.
    pub url: Option<String>,
    /// The store's address; not given: that of Amazon's service.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// Whose key it is.
    pub access_key_id: Option<String>,
    /// The key.
    pub secret_access_key: Option<Secret>,
    /// File that holds it.
    pub secret_access_key_file: Option<PathBuf>,
    /// Certificates (PEM) of whoever vouches for the store, in place of those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Whether the endpoint may be plain HTTP.
    pub allow_http: bool,
    /// Days for which photos of captures are kept after their session's end; 0: for ever.
    pub retention_days: u32,
}

/// A place in an S3-compatible store, as `s3://BUCKET/PREFIX` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// the bucket
    pub name: String,
    /// what the names of all objects begin with, without slashes at its ends; may be empty
    pub prefix: String,
}

impl EvidenceSettings {
    /// The bucket that photos are kept in, if it is one.
    pub fn bucket(&self) -> Option<Bucket> {
        self.url.as_deref().and_then(Bucket::parse)
    }

    /// The folder that photos are kept in, if it is one that all nodes see.
    pub fn shared_folder(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.url.as_deref()?.strip_prefix("file://")?);
        (path.is_absolute() && path.parent().is_some()).then_some(path)
    }

    /// The key, if one was given.
    ///
    /// # Errors
    /// When the file cannot be read or is empty.
    pub fn secret_access_key(&self) -> Result<Option<Secret>, String> {
        if self.secret_access_key.is_some() {
            return Ok(self.secret_access_key.clone());
        }
        let Some(path) = &self.secret_access_key_file else { return Ok(None) };
        let text = read_text(path)?;
        if text.is_empty() { Err(format!("{}: is empty", path.display())) } else { Ok(Some(Secret::new(text))) }
    }

    /// How long photos of captures are kept after their session's end, ms; none: for ever.
    pub fn retention_ms(&self) -> Option<i64> {
        (self.retention_days > 0).then(|| i64::from(self.retention_days) * DAY_MS)
    }

    /// What cannot work, by its key.
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut problem = |is: bool, key, why: &str| {
            if is {
                found.push((key, why.to_owned()));
            }
        };
        let secrets = [self.secret_access_key.is_some(), self.secret_access_key_file.is_some()];
        if self.url.is_some() && self.shared_folder().is_none() {
            let why = "is neither s3://BUCKET, s3://BUCKET/PREFIX nor file:///FOLDER";
            problem(self.bucket().is_none(), "evidence.url", why);
            let unnamed = self.access_key_id.as_deref().unwrap_or_default().is_empty();
            problem(unnamed, "evidence.access_key_id", "is needed where evidence.url is given");
            let none = secrets == [false, false];
            problem(none, "evidence.secret_access_key", "is needed where evidence.url is given, or its file");
        }
        let twice = secrets == [true, true];
        problem(twice, "evidence.secret_access_key_file", "is given, and evidence.secret_access_key as well: which?");
        problem(self.region.is_empty(), "evidence.region", "is empty");
        let kept =
            self.retention_days == 0 || (RETENTION_DAYS_LEAST..=RETENTION_DAYS_MOST).contains(&self.retention_days);
        let why =
            format!("{} is neither 0 nor within {RETENTION_DAYS_LEAST} and {RETENTION_DAYS_MOST}", self.retention_days);
        problem(!kept, "evidence.retention_days", &why);
        let endpoint = self.endpoint.as_deref().and_then(|endpoint| endpoint_problem(endpoint, self.allow_http));
        found.extend(endpoint.map(|why| ("evidence.endpoint", why.to_owned())));
        found
    }
}

fn endpoint_problem(text: &str, allow_http: bool) -> Option<&'static str> {
    // Not repeated: an address may have been given with its password.
    match Url::parse(text) {
        Err(_) => Some("is not a URL"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => Some("is neither http:// nor https://"),
        Ok(url) if url.scheme() == "http" && !allow_http => Some("is plain HTTP, and evidence.allow_http is not set"),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Some("names a user"),
        Ok(url) if url.query().is_some() || url.fragment().is_some() => Some("has a query or a fragment"),
        Ok(_) => None,
    }
}

impl Bucket {
    fn parse(url: &str) -> Option<Self> {
        let (name, prefix) = url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))?;
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let of_a_bucket = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        let of_a_prefix = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let part_is_fit = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(of_a_prefix);
        let fit = (3..=63).contains(&name.len())
            && name.bytes().all(of_a_bucket)
            && (prefix.is_empty() || (prefix.len() <= 512 && prefix.split('/').all(part_is_fit)));
        fit.then(|| Self { name: name.to_owned(), prefix: prefix.to_owned() })
    }
}

impl std::fmt::Display for Bucket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "s3://{}", self.name)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_names() {
        let bucket = |name: &str, prefix: &str| Some(Bucket { name: name.into(), prefix: prefix.into() });
        assert_eq!(Bucket::parse("s3://photos"), bucket("photos", ""));
        assert_eq!(Bucket::parse("s3://photos/"), bucket("photos", ""));
        assert_eq!(Bucket::parse("s3://my.photos-1/a/B_c/"), bucket("my.photos-1", "a/B_c"));
        assert_eq!(Bucket::parse("s3://photos/a").unwrap().to_string(), "s3://photos/a");
        for text in [
            "photos",
            "s3:photos",
            "https://photos",
            "s3://",
            "s3://ab",
            "s3://Photos",
            "s3://a b c",
            "s3://photos//a",
            "s3://photos/../a",
            "s3://photos/a?b",
            "s3://photos/中",
        ] {
            assert_eq!(Bucket::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_folder_is_named_by_its_whole_path() {
        let folder = |url: &str| {
            let settings = EvidenceSettings { url: Some(url.into()), ..crate::config::Config::default().evidence };
            settings.shared_folder()
        };
        assert_eq!(folder("file:///srv/photos"), Some("/srv/photos".into()));
        for url in ["file://srv/photos", "file://", "file:///", "/srv/photos", "s3://photos"] {
            assert_eq!(folder(url), None, "{url}");
        }
    }

    #[test]
    fn the_secret_comes_from_a_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let settings = EvidenceSettings {
            secret_access_key_file: Some(path.clone()),
            ..crate::config::Config::default().evidence
        };
        assert!(settings.secret_access_key().unwrap_err().contains("secret"));
        std::fs::write(&path, "\n").unwrap();
        assert!(settings.secret_access_key().unwrap_err().ends_with("is empty"));
        std::fs::write(&path, "5ec2e7\n").unwrap();
        assert_eq!(settings.secret_access_key().unwrap().unwrap().expose(), "5ec2e7");
    }

    #[test]
    fn photos_are_kept_for_ever_unless_days_are_given() {
        let settings = crate::config::Config::default().evidence;
        assert_eq!((settings.retention_ms(), settings.bucket()), (None, None));
        let settings = EvidenceSettings { retention_days: 365, ..settings };
        assert_eq!(settings.retention_ms(), Some(31_536_000_000));
    }
}
