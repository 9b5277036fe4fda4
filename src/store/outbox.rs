//! The outbox: what platforms must be told, written in the transaction that made it true.
//!
//! A row is pending until it is delivered, given up, or its platform's endpoint is disabled. Rows with the same
//! ordering key go out oldest first, one at a time. How a delivery is sent, and when it is tried again, is decided in
//! [`crate::delivery`].

use super::sql::{self, Connection, Dialect, OptionalExtension as _, Row, params};

use super::{Store, StoreError, checksum};

/// Longest reason kept of a failure, in characters: enough to find the cause, whatever a receiver answers.
const ERROR_CHARS_LIMIT: usize = 500;

/// Something that a platform must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Identifies the event, whichever attempt brings it: the `webhook-id`.
    pub event: String,
    /// Who is told.
    pub platform: String,
    /// Deliveries with the same key go out one after the other: the session's id.
    pub ordering: String,
    /// What is sent, byte for byte.
    pub body: String,
    /// When it became true, in ms since the Unix epoch; due at once.
    pub now_ms: i64,
}

/// A delivery that may be attempted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDelivery {
    /// The row, for reporting back.
    pub id: i64,
    /// The `webhook-id`.
    pub event: String,
    /// Who is told.
    pub platform: String,
    /// The body, byte for byte.
    pub body: String,
    /// Attempts made so far.
    pub attempts: u32,
    /// When the first attempt ended, in ms since the Unix epoch.
    pub first_attempt_at_ms: Option<i64>,
    /// Where the platform wants it.
    pub url: String,
    /// The platform's webhook secret, as sealed.
    pub sealed_secret: Vec<u8>,
    /// Whether the body is what was once queued; one that is not must never be sent.
    pub intact: bool,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// Waits for its (next) attempt.
    Pending,
    /// The receiver answered with success.
    Delivered,
    /// Given up, or the endpoint was disabled.
    Failed,
}

/// What is known of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryStatus {
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts made so far.
    pub attempts: u32,
    /// When it is tried next, while pending, in ms since the Unix epoch.
    pub next_attempt_at_ms: i64,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// Queues `delivery` in the caller's transaction, if its platform has a webhook that is not disabled; says whether it
/// did. An event that is queued already stays as it is. Wake the worker once the transaction is on disk.
///
/// # Errors
/// When the database refuses.
pub fn enqueue(transaction: &Connection, delivery: &NewDelivery) -> Result<bool, StoreError> {
    let queued = transaction
        .prepare_cached(
            "INSERT INTO outbox (event, platform, ordering, body, next_attempt_at, created_at, checksum)
             SELECT ?1, id, ?3, ?4, ?5, ?5, ?6 FROM platform
             WHERE id = ?2 AND webhook_url IS NOT NULL AND webhook_secret IS NOT NULL AND webhook_disabled IS NULL
             ON CONFLICT (event) DO NOTHING",
        )?
        .execute(params![
            delivery.event,
            delivery.platform,
            delivery.ordering,
            delivery.body,
            delivery.now_ms,
            checksum::of_delivery(&delivery.event, &delivery.body)
        ])?;
    Ok(queued > 0)
}

/// The oldest pending delivery of each ordering key, of the platform `p`: those that may be attempted at all.
macro_rules! heads_of_platform {
    ($columns:literal, $when:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM outbox AS head WHERE head.platform = p.id AND head.state = 'pending' AND ",
            $when,
            " AND NOT EXISTS (SELECT 1 FROM outbox AS older WHERE older.state = 'pending'
                 AND older.ordering = head.ordering AND older.id < head.id)"
        )
    };
}

const DUE_OF_PLATFORM: &str = concat!(
    heads_of_platform!("head.id", "head.next_attempt_at <= ?1"),
    " ORDER BY head.next_attempt_at, head.id LIMIT ?2"
);

fn due(dialect: Dialect) -> String {
    format!(
        "SELECT d.id, d.event, d.platform, d.body, d.attempts, d.first_attempt_at, p.webhook_url, p.webhook_secret,
             d.checksum
         FROM platform AS p {}
         WHERE p.webhook_url IS NOT NULL AND p.webhook_secret IS NOT NULL AND p.webhook_disabled IS NULL
         ORDER BY d.next_attempt_at, d.id LIMIT ?3",
        dialect.join_found("outbox", "d", DUE_OF_PLATFORM)
    )
}

const NEXT_DUE: &str = concat!(
    "SELECT min((",
    heads_of_platform!("head.next_attempt_at", "head.next_attempt_at > ?1"),
    " ORDER BY head.next_attempt_at LIMIT 1))
     FROM platform AS p
     WHERE p.webhook_url IS NOT NULL AND p.webhook_secret IS NOT NULL AND p.webhook_disabled IS NULL"
);

impl Store {
    /// What may be attempted at `now_ms`, longest due first: at most `limit` in all and `platform_limit` of one
    /// platform, so that a slow receiver with a long queue leaves room for the others.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn due_deliveries(
        &self,
        now_ms: i64,
        platform_limit: usize,
        limit: usize,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&due(connection.dialect()))?;
            let rows = statement.query_map(params![now_ms, platform_limit as i64, limit as i64], due_delivery)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// When the next delivery becomes due after `now_ms`, in ms since the Unix epoch; none when nothing waits for a
    /// time. What is due already does not count.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn next_due_at(&self, now_ms: i64) -> Result<Option<i64>, StoreError> {
        self.read(move |connection| Ok(connection.prepare_cached(NEXT_DUE)?.query_row([now_ms], |row| row.get(0))?))
            .await
    }

    /// How many deliveries wait.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn pending_deliveries(&self) -> Result<i64, StoreError> {
        self.read(|connection| {
            let mut count = connection.prepare_cached("SELECT count(*) FROM outbox WHERE state = 'pending'")?;
            Ok(count.query_row((), |row| row.get(0))?)
        })
        .await
    }

    /// The receiver took the delivery.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn delivered(&self, id: i64, now_ms: i64) -> Result<(), StoreError> {
        self.finish_delivery(id, "delivered", None, now_ms).await
    }

    /// The attempt failed for this `error`; the next one is due at `next_attempt_at_ms`.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn failed_attempt(
        &self,
        id: i64,
        next_attempt_at_ms: i64,
        error: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let error = shortened(error);
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "UPDATE outbox SET attempts = attempts + 1, next_attempt_at = ?2, last_error = ?3,
                         first_attempt_at = coalesce(first_attempt_at, ?4)
                     WHERE id = ?1 AND state = 'pending'",
                )?
                .execute(params![id, next_attempt_at_ms, error, now_ms])?;
            Ok(())
        })
        .await
    }

    /// The last attempt failed for this `error`, and there will be no other.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn give_up(&self, id: i64, error: &str, now_ms: i64) -> Result<(), StoreError> {
        self.finish_delivery(id, "failed", Some(shortened(error)), now_ms).await
    }

    /// The receiver at `url` wants no more: stops the platform's webhook, and fails what waits for it, with the
    /// reason. Does nothing, and says so, if the platform has named another address meanwhile.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn disable_webhook(&self, platform: &str, url: &str, why: &str, now_ms: i64) -> Result<bool, StoreError> {
        let (platform, url, why) = (platform.to_owned(), url.to_owned(), shortened(why));
        self.write(move |transaction| {
            let disabled = transaction
                .prepare_cached("UPDATE platform SET webhook_disabled = ?3 WHERE id = ?1 AND webhook_url = ?2")?
                .execute(params![platform, url, why])?;
            if disabled > 0 {
                transaction
                    .prepare_cached(
                        "UPDATE outbox SET state = 'failed', last_error = ?2, finished_at = ?3
                         WHERE platform = ?1 AND state = 'pending'",
                    )?
                    .execute(params![platform, why, now_ms])?;
            }
            Ok(disabled > 0)
        })
        .await
    }

    /// Where the delivery of `event` stands; none when nobody had to be told.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delivery_status(&self, event: &str) -> Result<Option<DeliveryStatus>, StoreError> {
        let event = event.to_owned();
        self.read(move |connection| status_of(connection, &event)).await
    }

    async fn finish_delivery(
        &self,
        id: i64,
        state: &'static str,
        error: Option<String>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction
                .prepare_cached(
                    "UPDATE outbox SET state = ?2, attempts = attempts + 1, last_error = coalesce(?3, last_error),
                         first_attempt_at = coalesce(first_attempt_at, ?4), finished_at = ?4
                     WHERE id = ?1 AND state = 'pending'",
                )?
                .execute(params![id, state, error, now_ms])?;
            Ok(())
        })
        .await
    }
}

fn due_delivery(row: &Row) -> sql::Result<DueDelivery> {
    let (event, body): (String, String) = (row.get(1)?, row.get(3)?);
    Ok(DueDelivery {
        id: row.get(0)?,
        platform: row.get(2)?,
        intact: checksum::holds(row.get(8)?, checksum::of_delivery(&event, &body)),
        event,
        body,
        attempts: row.get(4)?,
        first_attempt_at_ms: row.get(5)?,
        url: row.get(6)?,
        sealed_secret: row.get(7)?,
    })
}

fn status_of(connection: &Connection, event: &str) -> Result<Option<DeliveryStatus>, StoreError> {
    let found = connection
        .prepare_cached("SELECT state, attempts, next_attempt_at, last_error FROM outbox WHERE event = ?1")?
        .query_row([event], |row| Ok((row.get::<String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    found
        .map(|(state, attempts, next_attempt_at_ms, last_error)| {
            let state = match state.as_str() {
                "pending" => DeliveryState::Pending,
                "delivered" => DeliveryState::Delivered,
                "failed" => DeliveryState::Failed,
                other => return Err(StoreError::Corrupt { what: "delivery", why: format!("state {other}") }),
            };
            Ok(DeliveryStatus { state, attempts, next_attempt_at_ms, last_error })
        })
        .transpose()
}

fn shortened(error: &str) -> String {
    error.chars().take(ERROR_CHARS_LIMIT).collect()
}

#[cfg(test)]
impl Store {
    /// A platform with this webhook, for the tests of those who deliver.
    pub(crate) async fn add_platform_for_test(&self, id: &str, url: &str, sealed_secret: Vec<u8>) {
        let (id, url) = (id.to_owned(), url.to_owned());
        self.write(move |transaction| -> Result<(), StoreError> {
            transaction.execute(
                "INSERT INTO platform (id, name, status, webhook_url, webhook_secret, created_at)
                 VALUES (?1, ?1, 'active', ?2, ?3, 0)",
                params![id, url, sealed_secret],
            )?;
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Queues a delivery in a transaction of its own.
    pub(crate) async fn enqueue_for_test(&self, event: &str, platform: &str, ordering: &str, now_ms: i64) -> bool {
        let delivery = NewDelivery {
            event: event.to_owned(),
            platform: platform.to_owned(),
            ordering: ordering.to_owned(),
            body: format!("{{\"event\":\"{event}\"}}"),
            now_ms,
        };
        self.write(move |transaction| enqueue(transaction, &delivery)).await.unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;

    async fn store_with_platforms() -> (tempfile::TempDir, Store) {
        let (folder, store) = fixture::store().await;
        store.add_platform_for_test("p1", "https://one.example/hook", vec![1]).await;
        store.add_platform_for_test("p2", "https://two.example/hook", vec![2]).await;
        (folder, store)
    }

    async fn due(store: &Store, now_ms: i64) -> Vec<String> {
        store.due_deliveries(now_ms, 4, 100).await.unwrap().into_iter().map(|delivery| delivery.event).collect()
    }

    #[tokio::test]
    async fn the_oldest_of_each_key_is_due_and_holds_back_the_rest() {
        let (_folder, store) = store_with_platforms().await;
        for (event, platform, ordering, at) in
            [("a1", "p1", "a", 10), ("a2", "p1", "a", 11), ("b1", "p2", "b", 12), ("c1", "p1", "c", 99)]
        {
            assert!(store.enqueue_for_test(event, platform, ordering, at).await);
        }
        assert_eq!(due(&store, 50).await, ["a1", "b1"]);
        let first = store.due_deliveries(50, 4, 100).await.unwrap().remove(0);
        assert_eq!((first.url.as_str(), first.sealed_secret), ("https://one.example/hook", vec![1]));

        store.failed_attempt(first.id, 70, "refused", 50).await.unwrap();
        assert_eq!(due(&store, 60).await, ["b1"], "a2 waits for a1");
        assert_eq!(store.next_due_at(60).await.unwrap(), Some(70));
        let again = store.due_deliveries(70, 4, 100).await.unwrap().into_iter().find(|due| due.event == "a1").unwrap();
        assert_eq!((again.attempts, again.first_attempt_at_ms), (1, Some(50)));

        store.delivered(first.id, 71).await.unwrap();
        assert_eq!(due(&store, 80).await, ["a2", "b1"]);
        assert_eq!(store.delivery_status("a1").await.unwrap().unwrap().state, DeliveryState::Delivered);
    }

    #[tokio::test]
    async fn one_platform_cannot_fill_the_list() {
        let (_folder, store) = store_with_platforms().await;
        for n in 0..9 {
            store.enqueue_for_test(&format!("p1-{n}"), "p1", &format!("s{n}"), n).await;
        }
        store.enqueue_for_test("p2-0", "p2", "other", 50).await;
        assert_eq!(due(&store, 50).await, ["p1-0", "p1-1", "p1-2", "p1-3", "p2-0"]);
    }

    #[tokio::test]
    async fn nothing_is_queued_twice_or_for_nobody() {
        let (_folder, store) = store_with_platforms().await;
        assert!(!store.enqueue_for_test("e", "unknown", "a", 1).await);
        assert!(store.enqueue_for_test("e", "p1", "a", 1).await);
        assert!(!store.enqueue_for_test("e", "p1", "a", 2).await);
        assert_eq!(store.next_due_at(0).await.unwrap(), Some(1));
    }

    #[tokio::test]
    async fn disabling_fails_what_waits_but_only_for_the_address_that_asked() {
        let (_folder, store) = store_with_platforms().await;
        store.enqueue_for_test("e1", "p1", "a", 1).await;
        assert!(!store.disable_webhook("p1", "https://old.example/hook", "410 Gone", 5).await.unwrap());
        assert_eq!(due(&store, 5).await, ["e1"]);
        assert!(store.disable_webhook("p1", "https://one.example/hook", "410 Gone", 6).await.unwrap());
        assert_eq!(due(&store, 6).await, [""; 0]);
        let status = store.delivery_status("e1").await.unwrap().unwrap();
        assert_eq!((status.state, status.last_error.as_deref()), (DeliveryState::Failed, Some("410 Gone")));
        assert!(!store.enqueue_for_test("e2", "p1", "a", 7).await);
    }
}
