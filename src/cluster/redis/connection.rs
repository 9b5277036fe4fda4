//! The connection to Redis: kept up by a task of its own, so that who asks while there is none hears so at once.
//!
//! Every question has a limit of time. One that was not answered in it leaves a connection of which nobody knows what it
//! is good for (the server stands still, or the other end is gone without a word), so it is replaced.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::address::{Client, RedisAddress};
use crate::clock::Clock;

/// How long a question may take, ms: a tenth of a lease and a half, and a thousand times what one takes.
const ANSWER_LIMIT_MS: i64 = 1_000;
/// How long the first connection may take, ms.
const FIRST_LIMIT_MS: i64 = 5_000;
/// The pause before the next attempt to connect, ms, doubled up to the longest.
const PAUSE_MS: i64 = 50;
const LONGEST_PAUSE_MS: i64 = 1_000;

/// Redis did not answer, or not as it should. What was asked may have happened all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Redis: {0}")]
pub struct Away(pub(super) Arc<str>);

impl Away {
    pub(super) fn because(why: impl std::fmt::Display) -> Self {
        Self(why.to_string().into())
    }
}

/// Redis. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    address: RedisAddress,
    steady: Clock,
    limit_ms: i64,
    link: watch::Receiver<Link>,
    /// the newest connection that somebody found broken
    broken: watch::Sender<u64>,
    keeper: JoinHandle<()>,
}

/// The connection, numbered so that a broken one is replaced once.
#[derive(Clone)]
struct Link {
    number: u64,
    connection: Result<Connection, Away>,
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Redis")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Redis {
    /// Connects. `steady` runs as the machine does, whatever the clock of sessions shows.
    ///
    /// # Errors
    /// When no connection comes about within five seconds.
    pub async fn connect(address: RedisAddress, steady: Clock) -> Result<Self, Away> {
        let this = Self::start(address, steady.clone(), ANSWER_LIMIT_MS);
        let mut link = this.0.link.clone();
        let connected = async {
            // The keeper lives as long as this does.
            let _ = link.wait_for(|link| link.connection.is_ok()).await;
        };
        let in_time = tokio::select! {
            () = connected => true,
            () = steady.sleep_ms(FIRST_LIMIT_MS) => false,
        };
        let why = this.0.link.borrow().connection.as_ref().err().cloned();
        match why {
            Some(why) if !in_time => Err(why),
            _ => Ok(this),
        }
    }

    /// One more connection, for questions that wait on the server for up to `limit_ms`: they would hold up all others.
    #[must_use]
    pub fn aside(&self, limit_ms: i64) -> Self {
        Self::start(self.0.address.clone(), self.0.steady.clone(), limit_ms + ANSWER_LIMIT_MS)
    }

    fn start(address: RedisAddress, steady: Clock, limit_ms: i64) -> Self {
        let none = Link { number: 0, connection: Err(Away::because("not connected yet")) };
        let (link, seen) = watch::channel(none);
        let (broken, found_broken) = watch::channel(0);
        let keeper = tokio::spawn(keep(address.clone(), steady.clone(), link, found_broken));
        Self(Arc::new(Inner { address, steady, limit_ms, link: seen, broken, keeper }))
    }

    /// The clock that limits are kept by.
    pub(super) fn steady(&self) -> &Clock {
        &self.0.steady
    }

    /// Returns once there is a connection.
    pub(super) async fn connected(&self) {
        let _ = self.0.link.clone().wait_for(|link| link.connection.is_ok()).await;
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// [`Away`] when there is no connection, no answer in time, or one that is an error.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Away> {
        self.query_within(self.0.limit_ms, command).await
    }

    /// Asks one thing that somebody waits for: within `limit_ms`.
    ///
    /// # Errors
    /// As for [`Redis::query`].
    pub async fn query_within<T: FromRedisValue>(&self, limit_ms: i64, command: &Cmd) -> Result<T, Away> {
        self.asked(limit_ms, command).await.map_err(Away::because)
    }

    /// Whether it answers within `limit_ms`.
    pub async fn answers_within(&self, limit_ms: i64) -> bool {
        self.query_within::<redis::Value>(limit_ms, &redis::cmd("PING")).await.is_ok()
    }

    pub(super) async fn asked<T: FromRedisValue>(&self, limit_ms: i64, command: &Cmd) -> RedisResult<T> {
        let Link { number, connection } = self.0.link.borrow().clone();
        let mut connection = connection.map_err(|away| (ErrorKind::Io, "no connection", away.0.to_string()))?;
        let answer = tokio::select! {
            biased;
            answer = connection.ask(command) => answer,
            () = self.0.steady.sleep_ms(limit_ms) => Err((ErrorKind::Io, "no answer in time").into()),
        };
        if let Err(error) = &answer
            && is_of_the_connection(error)
        {
            self.0.broken.send_if_modified(|broken| number > std::mem::replace(broken, number.max(*broken)));
        }
        answer
    }

    pub(super) fn limit_ms(&self) -> i64 {
        self.0.limit_ms
    }
}

impl Connection {
    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    async fn open(client: &Client) -> RedisResult<Self> {
        // Limits of time are kept here, by one clock.
        let plain = || AsyncConnectionConfig::new().set_response_timeout(None);
        let mut this = match client {
            Client::Single(client) => {
                Self::Single(client.get_multiplexed_async_connection_with_config(&plain()).await?)
            }
            Client::Cluster(client) => Self::Cluster(client.get_async_connection().await?),
        };
        // A server that still loads its data, or stands still, accepts connections.
        if matches!(this, Self::Single(_)) {
            this.ask::<()>(&redis::cmd("PING")).await?;
        }
        Ok(this)
    }
}

/// Whether another connection may do better.
fn is_of_the_connection(error: &redis::RedisError) -> bool {
    let demoted = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
    demoted || error.is_io_error() || error.is_unrecoverable_error()
}

/// Connects, and again whenever somebody says that the connection is broken.
async fn keep(address: RedisAddress, steady: Clock, link: watch::Sender<Link>, mut broken: watch::Receiver<u64>) {
    let mut pause_ms = PAUSE_MS;
    let mut said = false;
    for number in 1.. {
        let opened = tokio::select! {
            opened = Connection::open(&address.0) => opened.map_err(Away::because),
            () = steady.sleep_ms(FIRST_LIMIT_MS) => Err(Away::because("no connection in time")),
        };
        match opened {
            Ok(connection) => {
                if said {
                    tracing::info!("Redis is back");
                }
                (pause_ms, said) = (PAUSE_MS, false);
                link.send_replace(Link { number, connection: Ok(connection) });
                if broken.wait_for(|broken| *broken >= number).await.is_err() {
                    return;
                }
                let away = Err(Away::because("the connection is broken"));
                link.send_replace(Link { number, connection: away });
            }
            Err(why) => {
                if !said {
                    tracing::warn!(%why, "Redis cannot be reached");
                }
                said = true;
                link.send_replace(Link { number, connection: Err(why) });
                steady.sleep_ms(pause_ms).await;
                pause_ms = (2 * pause_ms).min(LONGEST_PAUSE_MS);
            }
        }
    }
}
