//! PostgreSQL as the engine of records: a few threads with a connection each, for writing and for reading.
//!
//! A write is a serializable transaction, so that what was written for a single writer stays right with many; one that
//! met another is run again. A connection that is lost before the commit was sent is replaced, and the work is done
//! again. One that is lost while the commit is under way leaves nobody who knows; that is said ([`StoreError::Unknown`]).

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

mod connect;
mod hold;
pub mod journal;
mod lane;
mod link;
pub(super) mod log;
mod migrate;
mod session;
mod values;

pub use connect::{Address, AddressError};
pub use hold::{Hold, Sharing};
use journal::{Journal, Target};
use lane::Lane;
use link::{Link, PATIENCE, Server, Use};
use session::Failure;
pub(super) use session::{Session, in_words, is_passing};
pub(super) use values::column;

use super::sql::Connection;
use super::{StoreError, StoreMeters, Writing, moving};
use crate::clock::Stopwatch;
use crate::telemetry::instruments::Gauge;

/// Fewest connections that are of use: the journal's, and of records one to write and one to read.
pub const CONNECTIONS_LEAST: usize = journal::CONNECTIONS + 2;

/// Records and journal of the database at `address`, over so many connections; the schema is brought up to date.
///
/// # Errors
/// When the server cannot be reached or is unfit, or the schema is newer than this binary.
pub(super) async fn open(
    address: Address,
    connections_limit: usize,
) -> Result<(Database, Journal, watch::Receiver<Writing>), StoreError> {
    let target = Target { config: address.config.clone(), tls: address.tls.clone() };
    let meters = StoreMeters::default();
    let of_records = connections_limit.saturating_sub(journal::CONNECTIONS);
    // What waits is counted apart: the journal says how many, and does not count up and down.
    let own_meters = StoreMeters { queue_depth: Gauge::default(), ..meters.clone() };
    let database = Database::connect(address, of_records, own_meters).await?;
    let journal = Journal::open_with(target, meters).await?;
    let writing = worse_of(database.writing(), journal.writing());
    Ok((database, journal, writing))
}

/// Makes the schema, or brings it up to date.
///
/// # Errors
/// As [`open`].
pub(super) fn bring_up_to_date(session: &Session) -> Result<(), StoreError> {
    migrate::migrate(session)
}

/// Steps that the schema has taken, none where there is no schema, and steps that this binary knows.
///
/// # Errors
/// When the server cannot be asked.
pub(super) fn schema_steps(session: &Session) -> Result<(usize, usize), StoreError> {
    migrate::steps(&Connection::postgres(session))
}

/// The signal of two in one, until one of them ends.
fn worse_of(mut records: watch::Receiver<Writing>, mut journal: watch::Receiver<Writing>) -> watch::Receiver<Writing> {
    let (tell, told) = watch::channel(Writing::Well);
    tokio::spawn(async move {
        loop {
            let both = [records.borrow_and_update().clone(), journal.borrow_and_update().clone()];
            let worse = match both {
                [Writing::Dead, _] | [_, Writing::Dead] => Writing::Dead,
                [Writing::Well, other] | [other, _] => other,
            };
            tell.send_if_modified(|before| std::mem::replace(before, worse.clone()) != worse);
            let changed = tokio::select! {
                changed = records.changed() => changed,
                changed = journal.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    });
    told
}

/// The database on one server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Database(Arc<Inner>);

struct Inner {
    server: Arc<Server>,
    writers: Lane,
    readers: Lane,
}

impl Database {
    /// Connects, and brings the schema up to date. Half of the connections write, half read.
    ///
    /// # Errors
    /// When the server cannot be reached or is unfit, or the schema is newer than this binary.
    async fn connect(address: Address, connections_limit: usize, meters: StoreMeters) -> Result<Self, StoreError> {
        let depth = meters.queue_depth.clone();
        let server = Arc::new(Server::new(address, meters));
        let links = |of_use, count: usize| (0..count.max(1)).map(|_| Link::new(server.clone(), of_use)).collect();
        let readers = Lane::start("postgres-reader", links(Use::Reading, connections_limit / 2), Default::default())?;
        let writing = links(Use::Writing, connections_limit - connections_limit / 2);
        let writers = Lane::start("postgres-writer", writing, depth)?;
        let database = Self(Arc::new(Inner { server, writers, readers }));
        database
            .on(&database.0.writers, |link, asked| {
                let session = link.session(asked).map_err(StoreError::Database)?;
                migrate::migrate(session)?;
                moving::refuse_unfinished(&Connection::postgres(session))
            })
            .await?;
        Ok(database)
    }

    fn writing(&self) -> watch::Receiver<Writing> {
        self.0.server.writing()
    }

    /// Runs `change` in a transaction, again if it must be; durable when it returns.
    pub(super) async fn write<T, E>(
        &self,
        change: impl Fn(&Connection<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.on(&self.0.writers, move |link, asked| write(link, asked, &change)).await
    }

    /// Runs `query`, again if the connection is lost. Each of its statements sees what was committed before it began.
    pub(super) async fn read<T, E>(
        &self,
        query: impl Fn(&Connection<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.on(&self.0.readers, move |link, asked| {
            loop {
                let session = link.session(asked).map_err(StoreError::Database)?;
                let found = query(&Connection::postgres(session));
                let failure = session.take_failure();
                let again = found.is_err() && matches!(failure, Some(Failure::Lost | Failure::Conflict));
                if !again || asked.elapsed() > PATIENCE {
                    return found;
                }
            }
        })
        .await
    }

    /// Whether a write is made durable now: writes a row that means nothing new.
    pub(super) async fn check_writable(&self) -> Result<(), StoreError> {
        self.write(|connection| {
            connection.execute("UPDATE schema_version SET step = step WHERE step = 1", ())?;
            Ok(())
        })
        .await
    }

    async fn on<T, E>(
        &self,
        lane: &Lane,
        work: impl FnOnce(&mut Link, Stopwatch) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let asked = Stopwatch::start();
        lane.push(Box::new(move |link| drop(answer.send(work(link, asked)))))?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }
}

/// What became of a transaction.
enum Ended<T, E> {
    Done(Result<T, E>),
    /// nothing of it has happened, and it may be run again; else this is why
    Again(E, Failure),
}

fn write<T, E: From<StoreError>>(
    link: &mut Link,
    asked: Stopwatch,
    change: &impl Fn(&Connection<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let mut runs = 0;
    loop {
        let server = link.server().clone();
        let session = link.session(asked).map_err(StoreError::Commit)?;
        match transact(&server, session, change) {
            Ended::Done(result) => return result,
            Ended::Again(error, failure) if asked.elapsed() > PATIENCE => {
                if failure == Failure::Lost {
                    server.refused(session.said());
                }
                return Err(error);
            }
            Ended::Again(..) => runs += 1,
        }
        // Whoever is in the way is mostly gone at once.
        if runs > 3 {
            server.pause();
        }
    }
}

fn transact<T, E: From<StoreError>>(
    server: &Server,
    session: &Session,
    change: &impl Fn(&Connection<'_>) -> Result<T, E>,
) -> Ended<T, E> {
    session.begin();
    match (change(&Connection::postgres(session)), session.take_failure()) {
        (Ok(value), None) => commit(server, session, value),
        (result, failure) => {
            if failure != Some(Failure::Lost) {
                session.roll_back();
                session.take_failure();
            }
            // A closure that swallowed a failure has written nothing.
            let error = result.err().unwrap_or_else(|| StoreError::RolledBack.into());
            match failure {
                Some(failure @ (Failure::Lost | Failure::Conflict)) => Ended::Again(error, failure),
                _ => Ended::Done(Err(error)),
            }
        }
    }
}

fn commit<T, E: From<StoreError>>(server: &Server, session: &Session, value: T) -> Ended<T, E> {
    let committing = Stopwatch::start();
    let committed = session.commit();
    server.meters().commit.observe(committing.elapsed());
    let Err(error) = committed else { return Ended::Done(Ok(value)) };
    let error = Arc::new(error);
    match session.take_failure() {
        Some(Failure::Conflict) => Ended::Again(StoreError::Commit(error).into(), Failure::Conflict),
        Some(Failure::Lost) => {
            server.meters().failures.inc();
            Ended::Done(Err(StoreError::Unknown(error).into()))
        }
        _ => {
            server.meters().failures.inc();
            server.refused(error.to_string());
            Ended::Done(Err(StoreError::Commit(error).into()))
        }
    }
}
