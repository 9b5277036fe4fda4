//! What a database and a Redis server cost that a benchmark uses, by the kernel's accounting, and a way to it.

use anyhow::Context as _;
use tokio_postgres::{Client, Config, NoTls};

use super::ingest::accounts;
use crate::cluster::redis::Redis;

/// A server that somebody else started or we did, and its processes, if they run on this machine.
pub struct PostgresAccounts {
    /// the server's first process
    first: Option<u32>,
}

impl PostgresAccounts {
    /// Of the server that `client` is connected to.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn of(client: &Client) -> anyhow::Result<Self> {
        let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?;
        Ok(Self { first: u32::try_from(backend).ok().and_then(accounts::postgres_parent) })
    }

    /// Processor time of all its processes since its start, µs, those that have ended too.
    pub fn cpu_us(&self) -> Option<u64> {
        self.first.and_then(|first| accounts::family_cpu_us(first).ok())
    }
}

/// Connects to a database without TLS.
///
/// # Errors
/// When it does not let us in.
pub async fn connect(config: &Config) -> anyhow::Result<Client> {
    let (client, connection) = config.connect(NoTls).await.context("the database")?;
    tokio::spawn(connection);
    Ok(client)
}

/// A Redis server that we started.
pub struct RedisAccounts {
    pid: u32,
}

impl RedisAccounts {
    /// Of the server that `redis` is connected to, which must run on this machine.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn of(redis: &Redis) -> anyhow::Result<Self> {
        let info: String = redis.query(redis::cmd("INFO").arg("server")).await?;
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
        Ok(Self { pid: pid.context("Redis does not say which process it is")? })
    }

    /// Processor time since its start, µs.
    pub fn cpu_us(&self) -> anyhow::Result<u64> {
        accounts::cpu_us(self.pid)
    }

    /// Resident memory, bytes.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        accounts::resident_bytes(self.pid)
    }
}
