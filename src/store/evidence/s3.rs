//! Encrypted photos as objects in a bucket of an S3-compatible store.
//!
//! A put is one request: whole or absent, refused when the name is taken (`If-None-Match: *`), its SHA-256 checked by
//! the store. Where an answer is lost nobody knows whether the object is there; asking again settles it, because the
//! sealed bytes begin with a random nonce: what equals ours is ours.
//!
//! Transport, signatures and retries are `object_store`'s. Its errors repeat what the store answers, and a store that
//! refuses a signature answers with the key's name; here only the status and the code of it are passed on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path as ObjectPath;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, Error, HeaderValue, ObjectStore as _, ObjectStoreExt as _, PutMode,
    PutPayload, RetryConfig,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{EvidenceError, EvidenceId, Stored, relative_path};
use crate::config::{Bucket, EvidenceSettings};

/// A store in the same city answers in 50 ms; whoever takes ten times ten as long is not well.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// What the store says it could not do just now (5xx, 429), and connections that were not made, are tried again so often
/// and for so long. With the last request's time a photo knows within 15 s; a page waits a minute for its answer.
const RETRIES: usize = 4;
const RETRY_LIMIT: Duration = Duration::from_secs(8);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often a put is made whose answer was lost.
const PUT_ATTEMPTS: u32 = 2;
/// Requests under way at a time: at 50 ms each, over a thousand photos a second.
const REQUESTS_LIMIT: usize = 64;
/// Photos under way or waiting: at 100 kB each, 200 MB while a store stalls. One more is refused.
const WAITING_LIMIT: usize = 2_048;
/// The largest object that is read: nothing that was sealed here is nearly as large.
const OBJECT_BYTES_LIMIT: u64 = 64 << 20;
/// What is said of an answer, in characters.
const REASON_CHARS: usize = 300;
/// The object by which [`S3::check`] finds out whether the store replaces what is there. No photo has a dot in its name.
const PROBE: &str = "invigil.probe";

/// The bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct S3(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: AmazonS3,
    prefix: String,
    /// as people name it: `s3://BUCKET/PREFIX`
    place: String,
    requests: Semaphore,
    waiting: Semaphore,
    /// whether the last request came to nothing because the store is away
    away: AtomicBool,
}

impl S3 {
    pub(super) fn new(settings: &EvidenceSettings, bucket: Bucket) -> Result<Self, EvidenceError> {
        // Fails when the process has chosen a provider already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let place = bucket.to_string();
        let unfit = |why: String| EvidenceError::Settings(format!("{place}: {why}"));
        let given = settings.secret_access_key().map_err(unfit)?;
        let (Some(secret), Some(key_id)) = (given, &settings.access_key_id) else {
            return Err(unfit("evidence.access_key_id and evidence.secret_access_key are needed".into()));
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&bucket.name)
            .with_region(&settings.region)
            .with_access_key_id(key_id)
            .with_secret_access_key(secret.expose())
            .with_checksum_algorithm(Checksum::SHA256)
            // Not every store knows the request that deletes many.
            .with_disable_bulk_delete(true)
            .with_client_options(client_options(settings).map_err(unfit)?)
            .with_retry(RetryConfig {
                backoff: BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: LONGEST_PAUSE, base: 2.0 },
                max_retries: RETRIES,
                retry_timeout: RETRY_LIMIT,
            });
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        let store = builder.build().map_err(|error| unfit(reason(&error)))?;
        let (requests, waiting) = (Semaphore::new(REQUESTS_LIMIT), Semaphore::new(WAITING_LIMIT));
        let away = AtomicBool::new(false);
        Ok(Self(Arc::new(Shared { store, prefix: bucket.prefix, place, requests, waiting, away })))
    }

    pub(super) fn place(&self) -> &str {
        &self.0.place
    }

    /// Makes the same object twice: the second time it must be refused.
    pub(super) async fn check(&self) -> Result<(), EvidenceError> {
        let path = self.path(PROBE);
        let mut made = 0;
        while made < 2 {
            match self.0.store.put_opts(&path, PutPayload::from_static(b"invigil\n"), PutMode::Create.into()).await {
                Ok(_) => made += 1,
                Err(Error::AlreadyExists { .. }) => return Ok(()),
                Err(error) => return Err(self.failed(PROBE, &error)),
            }
        }
        Err(EvidenceError::Bucket {
            object: self.object(PROBE),
            why: "the store replaced an object in spite of If-None-Match: it cannot keep evidence".into(),
            passing: false,
        })
    }

    /// Asks for the object that [`S3::check`] makes. That it is not there yet is as good an answer.
    pub(super) async fn check_reading(&self) -> Result<(), EvidenceError> {
        match self.0.store.get(&self.path(PROBE)).await {
            Ok(_) => Ok(()),
            Err(error) if is_of_the_object(&error) => Ok(()),
            Err(error) => Err(self.failed(PROBE, &error)),
        }
    }

    pub(super) async fn put(&self, id: &EvidenceId, sealed: Vec<u8>) -> Result<(), EvidenceError> {
        let _place = self.0.waiting.try_acquire().map_err(|_| {
            self.is_away("more photos wait for it than may");
            EvidenceError::Busy
        })?;
        let (path, sealed) = (self.path_of(id), Bytes::from(sealed));
        let mut attempts = 0;
        loop {
            attempts += 1;
            let payload = PutPayload::from_bytes(sealed.clone());
            let put = {
                let _turn = self.turn().await?;
                self.0.store.put_opts(&path, payload, PutMode::Create.into()).await
            };
            match put {
                Ok(_) => {
                    self.is_back();
                    return Ok(());
                }
                Err(Error::AlreadyExists { .. }) => match self.get(id).await {
                    Ok(there) if there == sealed => return Ok(()),
                    Ok(_) => return Err(EvidenceError::Exists(id.clone())),
                    // Another put of the name was under way, and came to nothing.
                    Err(EvidenceError::Missing(_)) if attempts < PUT_ATTEMPTS => {}
                    Err(error) => return Err(error),
                },
                Err(error) if attempts < PUT_ATTEMPTS && answer_was_lost(&error) => {}
                Err(error) => return Err(self.failed(id.as_str(), &error)),
            }
        }
    }

    pub(super) async fn get(&self, id: &EvidenceId) -> Result<Vec<u8>, EvidenceError> {
        let _turn = self.turn().await?;
        let missing_or_failed = |error: Error| match is_of_the_object(&error) {
            true => EvidenceError::Missing(id.clone()),
            false => self.failed(id.as_str(), &error),
        };
        let found = self.0.store.get(&self.path_of(id)).await.map_err(missing_or_failed)?;
        if found.meta.size > OBJECT_BYTES_LIMIT {
            let why = format!("has {} bytes, and no photo has more than {OBJECT_BYTES_LIMIT}", found.meta.size);
            return Err(EvidenceError::Bucket { object: self.object(id.as_str()), why, passing: false });
        }
        let bytes = found.bytes().await.map_err(missing_or_failed)?;
        self.is_back();
        Ok(bytes.into())
    }

    pub(super) async fn has(&self, id: &EvidenceId) -> Result<bool, EvidenceError> {
        let _turn = self.turn().await?;
        match self.0.store.head(&self.path_of(id)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(id.as_str(), &error)),
        }
    }

    pub(super) async fn delete(&self, id: &EvidenceId) -> Result<(), EvidenceError> {
        let _turn = self.turn().await?;
        match self.0.store.delete(&self.path_of(id)).await {
            Err(error) if !is_of_the_object(&error) => Err(self.failed(id.as_str(), &error)),
            _ => Ok(()),
        }
    }

    pub(super) fn stored(&self) -> BoxStream<'_, Result<Stored, EvidenceError>> {
        let prefix = (!self.0.prefix.is_empty()).then(|| ObjectPath::from(self.0.prefix.as_str()));
        let all = self.0.store.list(prefix.as_ref()).map(|object| match object {
            Ok(object) => Ok(Stored {
                name: object.location.filename().unwrap_or_default().to_owned(),
                place: format!("s3 object {}", object.location),
                written_at_ms: object.last_modified.timestamp_millis(),
            }),
            Err(error) => Err(self.failed("", &error)),
        });
        all.filter(|stored| std::future::ready(!matches!(stored, Ok(stored) if stored.name == PROBE))).boxed()
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, EvidenceError> {
        self.0.requests.acquire().await.map_err(|_| EvidenceError::Stopped)
    }

    fn path_of(&self, id: &EvidenceId) -> ObjectPath {
        self.path(&relative_path(id).to_string_lossy())
    }

    fn path(&self, name: &str) -> ObjectPath {
        ObjectPath::from(format!("{}/{name}", self.0.prefix))
    }

    /// The object, or the bucket when it has no name, for people.
    fn object(&self, name: &str) -> String {
        if name.is_empty() { self.0.place.clone() } else { format!("evidence {name} in {}", self.0.place) }
    }

    fn failed(&self, name: &str, error: &Error) -> EvidenceError {
        let (object, why, passing) = (self.object(name), reason(error), is_passing(error));
        if passing {
            self.is_away(&why);
        }
        EvidenceError::Bucket { object, why, passing }
    }

    /// Said once, and not for every photo that meets it.
    fn is_away(&self, why: &str) {
        if !self.0.away.swap(true, Ordering::Relaxed) {
            tracing::error!(
                store = self.0.place,
                why,
                "the store of photos is away: until it is back, photo checks count as errors, which no learner is blamed for"
            );
        }
    }

    /// The store has done what it was asked.
    fn is_back(&self) {
        if self.0.away.load(Ordering::Relaxed) && self.0.away.swap(false, Ordering::Relaxed) {
            tracing::info!(store = self.0.place, "the store of photos is back");
        }
    }
}

fn client_options(settings: &EvidenceSettings) -> Result<ClientOptions, String> {
    let options = ClientOptions::new()
        .with_user_agent(HeaderValue::from_static(concat!("invigil/", env!("CARGO_PKG_VERSION"))))
        .with_allow_http(settings.allow_http)
        .with_timeout(REQUEST_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT);
    let Some(path) = &settings.ca_file else { return Ok(options) };
    let failed = |why: &dyn std::fmt::Display| format!("evidence.ca_file {}: {why}", path.display());
    let pem = std::fs::read(path).map_err(|error| failed(&error))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| failed(&reason(&error)))?;
    if certificates.is_empty() {
        return Err(failed(&"holds no certificate"));
    }
    let options = options.with_no_system_certificates(true);
    Ok(certificates.into_iter().fold(options, ClientOptions::with_root_certificate))
}

/// Whether the object is not there. That the whole bucket is not there is something else.
fn is_of_the_object(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) && !reason(error).contains("NoSuchBucket")
}

fn chain(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
}

/// How the request failed on its way, if it did not get an answer.
fn transport_failure(error: &Error) -> Option<HttpErrorKind> {
    chain(error).find_map(|error| error.downcast_ref::<HttpError>().map(HttpError::kind))
}

/// Whether the request may have been carried out all the same. What was never sent has been tried again already.
fn answer_was_lost(error: &Error) -> bool {
    !matches!(transport_failure(error), None | Some(HttpErrorKind::Connect))
}

fn is_passing(error: &Error) -> bool {
    let may_recover = |status: u16| status >= 500 || status == 429 || status == 408;
    transport_failure(error).is_some() || answer(error).is_some_and(|(status, _)| may_recover(status))
}

/// The status of an answer that is a refusal, with its words and code. The rest of the answer stays here.
fn answer(error: &Error) -> Option<(u16, String)> {
    let said = chain(error).last()?.to_string();
    let (_, answer) = said.split_once("status code: ")?;
    let status = answer.split(' ').next()?.parse().ok()?;
    let words = answer.split([':', '<']).next().unwrap_or_default().trim();
    let code = answer.split_once("<Code>").and_then(|(_, rest)| rest.split('<').next());
    Some((status, code.map_or_else(|| words.to_owned(), |code| format!("{words}, {code}"))))
}

/// What went wrong, in words. Without the address, which may be long, and without what an answer repeats of the request.
fn reason(error: &Error) -> String {
    let why = match answer(error) {
        Some((_, words)) => format!("the store answered {words}"),
        None => chain(error).last().map(ToString::to_string).unwrap_or_default(),
    };
    why.chars().take(REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> EvidenceSettings {
        let secret = Some(crate::config::Secret::new("5ec2e7"));
        EvidenceSettings {
            url: Some("s3://photos/a".into()),
            access_key_id: Some("me".into()),
            secret_access_key: secret,
            ..crate::config::Config::default().evidence
        }
    }

    #[test]
    fn a_bucket_is_opened_without_asking_it_and_shows_no_secret() {
        let settings = settings();
        let s3 = S3::new(&settings, settings.bucket().unwrap()).unwrap();
        assert_eq!(s3.place(), "s3://photos/a");
        let id = EvidenceId::parse("photo-1").unwrap();
        assert_eq!(s3.path_of(&id).to_string(), format!("a/{}", relative_path(&id).display()));
        assert!(!format!("{s3:?}").contains("5ec2e7"));
    }

    #[test]
    fn a_bucket_without_its_secret_is_refused() {
        let settings = EvidenceSettings { secret_access_key: None, ..settings() };
        let refused = S3::new(&settings, settings.bucket().unwrap()).unwrap_err();
        assert!(refused.to_string().contains("evidence.secret_access_key"), "{refused}");
    }

    #[test]
    fn certificates_that_cannot_be_read_are_said_with_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let refused = || {
            let settings = EvidenceSettings { ca_file: Some(path.clone()), ..settings() };
            S3::new(&settings, settings.bucket().unwrap()).unwrap_err().to_string()
        };
        assert!(refused().contains("ca.pem"), "{}", refused());
        std::fs::write(&path, "no certificate").unwrap();
        assert!(refused().contains("holds no certificate"), "{}", refused());
    }

    #[test]
    fn of_an_answer_only_status_and_code_are_passed_on() {
        let body = "<?xml?><Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>";
        let said = format!("Server returned non-2xx status code: 403 Forbidden: {body}");
        let error = Error::PermissionDenied { path: "a".into(), source: said.into() };
        assert_eq!(reason(&error), "the store answered 403 Forbidden, SignatureDoesNotMatch");
        assert!(!is_passing(&error));
        let said = "Server returned non-2xx status code: 503 Service Unavailable: upstream of AKIA";
        let error = Error::Generic { store: "S3", source: said.into() };
        assert_eq!(reason(&error), "the store answered 503 Service Unavailable");
        assert!(is_passing(&error) && !answer_was_lost(&error));
        let lost = HttpError::new(HttpErrorKind::Timeout, std::io::Error::other("nothing was heard"));
        let error = Error::Generic { store: "S3", source: Box::new(lost) };
        assert_eq!(reason(&error), "nothing was heard");
        assert!(is_passing(&error) && answer_was_lost(&error));
    }
}
