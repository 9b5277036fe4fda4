//! One server a database, or several that share their sessions through the same Redis; never the one beside the others.

use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Database;
use super::session::Session;
use crate::store::StoreError;
use crate::store::sql::Connection;

/// How long to wait for the one before to let go, s: PostgreSQL may need a moment to see that a process has died.
const WAIT_S: u64 = 5;
/// How long the server may then take to say so, s.
const GRACE_S: u64 = 5;

/// Keeps servers of the other kind away from the database for as long as it is held, and its connection lasts. Should
/// that be lost, the epochs of the journal still keep two servers from writing one session.
pub struct Hold {
    /// its thread holds the connection until this is gone
    _held: mpsc::Sender<()>,
}

/// Who else may use the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// nobody
    Alone,
    /// other nodes, which know through Redis whose each session is
    Nodes,
}

impl Database {
    /// Takes the database for this server.
    ///
    /// # Errors
    /// When another has it that does not share it, or PostgreSQL cannot be reached.
    pub(in crate::store) async fn hold(&self, sharing: Sharing) -> Result<Hold, StoreError> {
        let (server, (held, released), (answer, answered)) =
            (self.0.server.clone(), mpsc::channel(), oneshot::channel());
        std::thread::Builder::new()
            .name("postgres-hold".into())
            .spawn(move || {
                let session = Session::connect(server.address(), Duration::from_secs(WAIT_S + GRACE_S));
                let taken =
                    session.map_err(StoreError::from).and_then(|session| lock(&session, sharing).map(|()| session));
                let (session, told) = match taken {
                    Ok(session) => (Some(session), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                if answer.send(told).is_ok() && session.is_some() {
                    // An error is what is waited for: the holder is gone.
                    let _ = released.recv();
                }
            })
            .map_err(|error| StoreError::Start(error.into()))?;
        answered.await.map_err(|_| StoreError::Stopped)??;
        Ok(Hold { _held: held })
    }
}

fn lock(session: &Session, sharing: Sharing) -> Result<(), StoreError> {
    let connection = Connection::postgres(session);
    connection.execute_batch(&format!("SET lock_timeout = '{WAIT_S}s'"))?;
    let (kind, other) = match sharing {
        Sharing::Alone => ("", "another invigil uses this database, and several share one only by the same redis.url"),
        Sharing::Nodes => ("_shared", "an invigil without redis.url uses this database"),
    };
    let locked =
        connection.execute_batch(&format!("SELECT pg_advisory_lock{kind}(hashtextextended('invigil server', 0))"));
    locked.map_err(
        |error| {
            if session.is_lost() { error.into() } else { StoreError::Unfit(format!("{other} ({error})")) }
        },
    )
}
