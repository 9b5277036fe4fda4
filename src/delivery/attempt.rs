//! One attempt at one delivery: sign, send, and say what came of it.
//!
//! What follows a failure is decided in [`super::retry`] and recorded by the worker.

use std::sync::{Arc, Once};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Response, StatusCode, redirect};

use super::address_guard::{GuardedResolver, check_url};
use super::sign::{ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, WebhookSecret};
use super::{DeliveryError, cloud_event};
use crate::auth::keys::Keys;
use crate::clock::Clock;
use crate::config::Webhook;
use crate::store::outbox::DueDelivery;

/// For everything from the name's resolution to the answer's last byte. A receiver should answer and then work.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer's body, which means nothing, so that the connection can be used again.
const ANSWER_BYTES_LIMIT: usize = 64 * 1024;
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver has it.
    Delivered,
    /// It was not sent, because the body is not what was once queued.
    Damaged,
    /// The receiver wants no more of them (410).
    Gone,
    /// The receiver does not have it, as far as we know.
    Failed {
        /// for the operator
        error: String,
        /// what the receiver asked for, in s
        retry_after_s: Option<u32>,
    },
}

/// Sends deliveries.
pub(super) struct Sender {
    client: Client,
    keys: Arc<Keys>,
    clock: Clock,
    config: Webhook,
}

impl Sender {
    pub(super) fn new(keys: Arc<Keys>, clock: Clock, config: Webhook) -> Result<Self, DeliveryError> {
        let client = client(&config).or_else(|error| {
            // Without any root certificate there is no client; a server that only receives photos should start still.
            tracing::warn!(error = %chain(&error), "no root certificates: https webhooks will fail until there are");
            client_builder(&config).tls_certs_only([]).build()
        });
        Ok(Self { client: client.map_err(DeliveryError::Client)?, keys, clock, config })
    }

    pub(super) async fn attempt(&self, delivery: &DueDelivery) -> Outcome {
        match self.post(delivery).await {
            Ok(response) => {
                let outcome = judge(&response);
                discard_body(response).await;
                outcome
            }
            Err(error) => Outcome::Failed { error, retry_after_s: None },
        }
    }

    async fn post(&self, delivery: &DueDelivery) -> Result<Response, String> {
        let url = check_url(&delivery.url, &self.config).map_err(|error| error.to_string())?;
        let secret = WebhookSecret::open(&self.keys, &delivery.platform, &delivery.sealed_secret)
            .map_err(|error| format!("the webhook secret {error}"))?;
        let signed = secret.sign(&delivery.event, self.clock.now_ms(), &delivery.body);
        self.client
            .post(url)
            .header(CONTENT_TYPE, cloud_event::CONTENT_TYPE)
            .header(ID_HEADER, signed.id)
            .header(TIMESTAMP_HEADER, signed.timestamp)
            .header(SIGNATURE_HEADER, signed.signature)
            .body(delivery.body.clone())
            .send()
            .await
            // The URL may hold a token of the platform's.
            .map_err(|error| chain(&error.without_url()))
    }
}

fn client(config: &Webhook) -> reqwest::Result<Client> {
    client_builder(config).build()
}

/// A client that goes where webhooks may go, follows nothing and tries nothing twice.
pub(crate) fn client_builder(config: &Webhook) -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Fails when the process has chosen a provider already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder()
        .user_agent(concat!("invigil/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(GuardedResolver::new(config.clone()))
        // A redirect or a proxy would lead past the guard of addresses.
        .redirect(redirect::Policy::none())
        .no_proxy()
        .retry(reqwest::retry::never())
        .https_only(!config.allow_http)
        .timeout(ATTEMPT_TIMEOUT)
        .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
        .pool_max_idle_per_host(super::PLATFORM_LIMIT)
}

fn judge(response: &Response) -> Outcome {
    match response.status() {
        status if status.is_success() => Outcome::Delivered,
        StatusCode::GONE => Outcome::Gone,
        status => {
            let hint = if status.is_redirection() { "; redirects are not followed" } else { "" };
            let error = format!("the receiver answered {status}{hint}");
            Outcome::Failed { error, retry_after_s: retry_after_s(response) }
        }
    }
}

/// When the receiver wants to be asked again, in s.
pub(crate) fn retry_after_s(response: &Response) -> Option<u32> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

async fn discard_body(mut response: Response) {
    let mut read = 0;
    // The answer is judged by its status; a body that breaks off changes nothing.
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > ANSWER_BYTES_LIMIT {
            return;
        }
    }
}

/// An error with its causes: the outermost alone says no more than that sending failed.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
