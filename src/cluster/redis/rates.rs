//! Buckets of tokens that several nodes share.

use super::connection::{Away, Redis};
use super::script::Script;
use crate::gateway::bucket::{PARTS, Rate};

/// How long a request may wait for its bucket, ms. Without an answer the node's own buckets decide.
const ANSWER_LIMIT_MS: i64 = 200;

/// The buckets in Redis.
#[derive(Debug)]
pub struct SharedBuckets {
    redis: Redis,
    script: Script,
}

impl SharedBuckets {
    /// The buckets in this Redis.
    pub fn new(redis: Redis) -> Self {
        Self { redis, script: Script::new(include_str!("lua/bucket.lua")) }
    }

    /// Takes a token of `whose` bucket among those of `limit`, or looks whether there is one. In how many ms there will
    /// be, if there is none.
    ///
    /// # Errors
    /// When Redis does not answer in time.
    pub async fn ask(&self, limit: &str, whose: &str, rate: Rate, take: bool) -> Result<Result<(), i64>, Away> {
        if rate.is_unlimited() {
            return Ok(Ok(()));
        }
        let key = format!("invigil:rate:{limit}:{whose}");
        let arguments = |command: &mut redis::Cmd| {
            command.arg(rate.per_minute).arg(rate.burst).arg(PARTS).arg(i32::from(take));
        };
        let wait_ms: i64 = self.script.run_within(ANSWER_LIMIT_MS, &self.redis, &[&key], arguments).await?;
        Ok(if wait_ms == 0 { Ok(()) } else { Err(wait_ms) })
    }
}
