//! Scripts in Lua: what must happen at once. Each touches one key, or several that share a hash tag, so that all of it
//! is in one slot of a cluster.

use redis::{Cmd, ErrorKind, FromRedisValue, ServerErrorKind};

use super::connection::{Away, Redis};

/// A script, and the digest by which the server knows it once it has seen it.
#[derive(Debug)]
pub(super) struct Script {
    text: &'static str,
    digest: String,
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, digest: redis::Script::new(text).get_hash().to_owned() }
    }

    /// Runs it with these keys and what `arguments` adds.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        redis: &Redis,
        keys: &[&str],
        arguments: impl Fn(&mut Cmd),
    ) -> Result<T, Away> {
        self.run_within(redis.limit_ms(), redis, keys, arguments).await
    }

    /// The same for somebody who waits: within `limit_ms`.
    pub(super) async fn run_within<T: FromRedisValue>(
        &self,
        limit_ms: i64,
        redis: &Redis,
        keys: &[&str],
        arguments: impl Fn(&mut Cmd),
    ) -> Result<T, Away> {
        let call = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(keys.len()).arg(keys);
            arguments(&mut command);
            command
        };
        match redis.asked(limit_ms, &call("EVALSHA", &self.digest)).await {
            // New to this server, or it was started again.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                redis.query_within(limit_ms, &call("EVAL", self.text)).await
            }
            answer => answer.map_err(Away::because),
        }
    }
}
