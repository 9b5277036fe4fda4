//! One server a database, until several can share their sessions.

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

/// Keeps other servers away from the database for as long as it is held, and its connection lasts. Should that be lost,
/// the epochs of the journal still keep two servers from writing one session.
pub struct Alone {
    /// its thread holds the connection until this is gone
    _held: mpsc::Sender<()>,
}

impl Database {
    /// Takes the database for this server.
    ///
    /// # Errors
    /// When another has it, or PostgreSQL cannot be reached.
    pub(in crate::store) async fn alone(&self) -> Result<Alone, StoreError> {
        let (server, (held, released), (answer, answered)) =
            (self.0.server.clone(), mpsc::channel(), oneshot::channel());
        std::thread::Builder::new()
            .name("postgres-alone".into())
            .spawn(move || {
                let session = Session::connect(server.address(), Duration::from_secs(WAIT_S + GRACE_S));
                let taken = session.map_err(StoreError::from).and_then(|session| lock(&session).map(|()| session));
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
        Ok(Alone { _held: held })
    }
}

fn lock(session: &Session) -> Result<(), StoreError> {
    let connection = Connection::postgres(session);
    connection.execute_batch(&format!("SET lock_timeout = '{WAIT_S}s'"))?;
    let locked = connection.execute_batch("SELECT pg_advisory_lock(hashtextextended('invigil server', 0))");
    locked.map_err(|error| {
        let why = format!("another invigil uses this database, and several cannot share one yet ({error})");
        if session.is_lost() { error.into() } else { StoreError::Unfit(why) }
    })
}
