//! Batches as signed POST requests: the way that most provincial platforms take data.
//!
//! The signature is HMAC-SHA-256 over batch number, timestamp, nonce and body, joined by full stops, as `v1,` and
//! base64. Timestamp and nonce are new at every attempt; number and body are not.

use futures_util::future::BoxFuture;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client, Response, StatusCode, Url};
use ring::hmac;

use super::connector::{Acknowledgement, Batch, Connector, PushError};
use super::mapping::AnswerMapping;
use crate::clock::{Clock, Entropy};
use crate::config::{Report, Webhook};
use crate::delivery::address_guard::check_url;
use crate::delivery::attempt::{chain, client_builder, retry_after_s};
use crate::delivery::sign;

/// The batch's number: the same at every attempt.
pub const BATCH_HEADER: &str = "invigil-batch";
/// When the attempt was signed, in s since the Unix epoch.
pub const TIMESTAMP_HEADER: &str = "invigil-timestamp";
/// 32 hex digits that no other attempt has.
pub const NONCE_HEADER: &str = "invigil-nonce";
/// The signature.
pub const SIGNATURE_HEADER: &str = "invigil-signature";

/// A platform may work on a batch of a thousand items for a while before it answers.
const ATTEMPT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
/// A thousand acknowledgements with a reason each.
const ANSWER_BYTES_LIMIT: usize = 4 << 20;
/// What is kept of an answer that is a refusal, in characters.
const REASON_CHARS: usize = 200;
/// HMAC-SHA-256 is worth no more than its secret.
const SECRET_BYTES_LEAST: usize = 16;

/// Why reports cannot be sent as configured.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file cannot be read.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// There is no secret.
    #[error("report.secret_file (or report.secret) is needed where report.url is given")]
    NoSecret,
    /// The secret is too short to sign with.
    #[error("the secret has {0} bytes, it must have at least {SECRET_BYTES_LEAST}")]
    Secret(usize),
    /// The certificates cannot be read, or there is no client.
    #[error("{0}")]
    Client(String),
    /// The address is none that reports may go to.
    #[error("report.url: {0}")]
    Url(String),
}

/// Pushes batches to one address.
pub struct HttpsConnector {
    client: Client,
    url: Url,
    key: hmac::Key,
    answer: AnswerMapping,
    clock: Clock,
    entropy: Entropy,
}

impl HttpsConnector {
    /// A connector as configured; `answer` says how the platform acknowledges.
    ///
    /// # Errors
    /// When a file cannot be read, the secret is too short, or the address is not allowed.
    pub fn new(config: &Report, answer: AnswerMapping, clock: Clock, entropy: Entropy) -> Result<Self, SetupError> {
        let guard = Webhook {
            allow_private_addresses: config.allow_private_addresses,
            allow_http: config.allow_http,
            ..Webhook::default()
        };
        let url = check_url(&config.url, &guard).map_err(|error| SetupError::Url(error.to_string()))?;
        let mut builder = client_builder(&guard).timeout(ATTEMPT_TIMEOUT);
        if let Some(path) = &config.ca_file {
            let unreadable = |why: reqwest::Error| SetupError::Client(format!("{}: {}", path.display(), chain(&why)));
            let certificates = Certificate::from_pem_bundle(&read(path)?).map_err(unreadable)?;
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build().map_err(|error| SetupError::Client(chain(&error)))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret(config)?);
        Ok(Self { client, url, key, answer, clock, entropy })
    }

    async fn post(&self, batch: &Batch) -> Result<Response, PushError> {
        let timestamp = self.clock.now_ms().div_euclid(1_000).to_string();
        let nonce = hex::encode(self.entropy.bytes::<16>());
        let signature = sign::signature(&self.key, &[&batch.number, &timestamp, &nonce, &batch.body]);
        self.client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(BATCH_HEADER, &batch.number)
            .header(TIMESTAMP_HEADER, timestamp)
            .header(NONCE_HEADER, nonce)
            .header(SIGNATURE_HEADER, signature)
            .body(batch.body.clone())
            .send()
            .await
            .map_err(|error| PushError::failed(chain(&error.without_url())))
    }
}

impl Connector for HttpsConnector {
    fn push<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<Acknowledgement>, PushError>> {
        Box::pin(async move {
            let response = self.post(batch).await?;
            let (status, retry_after_s) = (response.status(), retry_after_s(&response));
            let body = read_answer(response).await?;
            match status {
                status if status.is_success() => self.answer.acknowledgements(&body).map_err(PushError::failed),
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                    Err(PushError::Rejected(format!("the receiver answered {status}: {}", shortened(&body))))
                }
                _ => Err(PushError::Failed { error: format!("the receiver answered {status}"), retry_after_s }),
            }
        })
    }
}

async fn read_answer(mut response: Response) -> Result<String, PushError> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() <= ANSWER_BYTES_LIMIT => bytes.extend_from_slice(&chunk),
            Ok(Some(_)) => return Err(PushError::failed("the answer is too long")),
            Ok(None) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => return Err(PushError::failed(chain(&error.without_url()))),
        }
    }
}

fn shortened(body: &str) -> String {
    super::mapping::without_numbers(&body.chars().take(REASON_CHARS).collect::<String>())
}

fn secret(config: &Report) -> Result<Vec<u8>, SetupError> {
    let secret = match (&config.secret, &config.secret_file) {
        (Some(secret), _) => secret.expose().as_bytes().to_vec(),
        (None, Some(path)) => read(path)?.trim_ascii().to_vec(),
        (None, None) => return Err(SetupError::NoSecret),
    };
    if secret.len() < SECRET_BYTES_LEAST { Err(SetupError::Secret(secret.len())) } else { Ok(secret) }
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, SetupError> {
    std::fs::read(path).map_err(|error| SetupError::File(path.display().to_string(), error))
}
