//! A thread's way to the server: the connection that it has, or what to do when it has none.
//!
//! While the server cannot be reached only one attempt a second is made, whoever makes it; the others wait a little,
//! because a fail-over takes seconds, and then are told why. What all links know of the server is in [`Server`].

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use super::connect::Address;
use super::session::Session;
use crate::clock::Stopwatch;
use crate::store::sql::{self, Result};
use crate::store::{StoreMeters, Writing};

/// How often a server that could not be reached, or written to, is tried again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How long work waits for a server that is away, from when it was asked for: a fail-over or a restart is over by then.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait before looking again whether the server is back, or before a transaction is run again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a statement that reads may take, seconds: sums over a year of a province's ledger.
const READING_LIMIT_S: u64 = 60;
/// How long a statement that writes may take, seconds: it changes a few rows, and waits for few.
const WRITING_LIMIT_S: u64 = 10;
/// A server that has not ended a statement by its own clock, so many seconds later, is lost, or the way to it is.
const GRACE_S: u64 = 2;
/// Writes a page that means nothing new. Not serializable: nodes that do it at the same time wait for each other.
const PROBE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; UPDATE schema_version SET step = step; COMMIT";

/// What is known of the server.
pub(super) struct Server {
    address: Address,
    writing: watch::Sender<Writing>,
    meters: StoreMeters,
    attempts: Mutex<Attempts>,
    /// nobody ever signals this: threads sleep a while on it
    pause: Condvar,
}

#[derive(Default)]
struct Attempts {
    /// why nobody can connect, and when that was tried last
    failing: Option<(Arc<sql::Error>, Stopwatch)>,
    /// when the server was last tried for whether it takes writes
    probed: Option<Stopwatch>,
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Reading,
    Writing,
}

/// A thread's way to the server.
pub(super) struct Link {
    server: Arc<Server>,
    of_use: Use,
    session: Option<Session>,
}

impl Server {
    pub(super) fn new(address: Address, meters: StoreMeters) -> Self {
        let (attempts, pause) = (Mutex::default(), Condvar::new());
        Self { address, writing: watch::Sender::new(Writing::Well), meters, attempts, pause }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn writing(&self) -> watch::Receiver<Writing> {
        self.writing.subscribe()
    }

    pub(super) fn meters(&self) -> &StoreMeters {
        &self.meters
    }

    fn lock(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether the caller may try to connect now. While nobody can, one attempt is made in a while.
    fn may_connect(&self) -> bool {
        match &mut self.lock().failing {
            None => true,
            Some((_, tried)) if tried.elapsed() < PROBE_INTERVAL => false,
            Some((_, tried)) => {
                *tried = Stopwatch::start();
                true
            }
        }
    }

    /// Why nobody can connect.
    fn why_failing(&self) -> Option<Arc<sql::Error>> {
        self.lock().failing.as_ref().map(|(why, _)| why.clone())
    }

    fn connect(&self, of_use: Use) -> Result<Session, Arc<sql::Error>> {
        let (mode, limit_s) = match of_use {
            Use::Reading => ("READ ONLY", READING_LIMIT_S),
            Use::Writing => ("ISOLATION LEVEL SERIALIZABLE", WRITING_LIMIT_S),
        };
        let settings = format!(
            "SET statement_timeout = '{limit_s}s'; SET lock_timeout = '5s';
             SET idle_in_transaction_session_timeout = '60s'; SET synchronous_commit = on;
             SET SESSION CHARACTERISTICS AS TRANSACTION {mode}"
        );
        let connected = Session::connect(&self.address, Duration::from_secs(limit_s + GRACE_S))
            .and_then(|session| session.execute_batch(&settings).map(|()| session));
        match connected {
            Ok(session) => {
                self.lock().failing = None;
                Ok(session)
            }
            Err(error) => {
                let error = Arc::new(error);
                self.lock().failing = Some((error.clone(), Stopwatch::start()));
                self.refused(error.to_string());
                Err(error)
            }
        }
    }

    /// Says it, once, that the server takes no writes.
    pub(super) fn refused(&self, why: String) {
        let now = Writing::Refused { why };
        self.writing.send_if_modified(|before| {
            if let (Writing::Well, Writing::Refused { why }) = (&*before, &now) {
                tracing::error!(why, "PostgreSQL takes no writes: nothing is acknowledged until it does again");
            }
            let changed = *before != now;
            *before = now;
            changed
        });
    }

    fn works_again(&self) {
        self.writing.send_if_modified(|before| {
            let changed = *before != Writing::Well;
            if changed {
                tracing::warn!("PostgreSQL takes writes again");
            }
            *before = Writing::Well;
            changed
        });
    }

    fn is_refusing(&self) -> bool {
        *self.writing.borrow() != Writing::Well
    }

    /// Sleeps a little.
    pub(super) fn pause(&self) {
        let attempts = self.lock();
        drop(self.pause.wait_timeout(attempts, PAUSE));
    }
}

impl Link {
    pub(super) fn new(server: Arc<Server>, of_use: Use) -> Self {
        Self { server, of_use, session: None }
    }

    /// What all links know.
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// A connection that is not known to be lost, for work that was `asked` for when this began to run.
    ///
    /// # Errors
    /// Why there is none, once the work has waited for long enough.
    pub(super) fn session(&mut self, asked: Stopwatch) -> Result<&Session, Arc<sql::Error>> {
        loop {
            if self.session.as_ref().is_some_and(Session::is_lost) {
                self.session = None;
            }
            if self.session.is_none() && self.server.may_connect() {
                self.session = self.server.connect(self.of_use).ok();
            }
            if self.session.is_some() {
                break;
            }
            // Who is not let in now will not be in a moment.
            let enough = |why: &Arc<sql::Error>| asked.elapsed() > PATIENCE || !why.is_passing();
            if let Some(why) = self.server.why_failing().filter(enough) {
                return Err(why);
            }
            self.server.pause();
        }
        Ok(self.session.as_ref().expect("the loop ends with one"))
    }

    pub(super) fn drop_session(&mut self) {
        self.session = None;
    }

    /// How long to wait for work before the server is tried again; none while it works.
    pub(super) fn probe_interval(&self) -> Option<Duration> {
        (self.of_use == Use::Writing && self.server.is_refusing()).then_some(PROBE_INTERVAL)
    }

    /// Tries whether a server that took no writes takes them again, if nobody has just tried.
    pub(super) fn probe_if_due(&mut self) {
        if self.probe_interval().is_none() {
            return;
        }
        let server = self.server.clone();
        let due = {
            let mut attempts = server.lock();
            let due = attempts.probed.is_none_or(|probed| probed.elapsed() >= PROBE_INTERVAL);
            if due {
                attempts.probed = Some(Stopwatch::start());
            }
            due
        };
        if !due {
            return;
        }
        if self.session.as_ref().is_none_or(Session::is_lost) {
            self.session = if server.may_connect() { server.connect(self.of_use).ok() } else { None };
        }
        let Some(session) = &self.session else { return };
        match session.execute_batch(PROBE) {
            Ok(()) => server.works_again(),
            Err(error) => {
                self.session = None;
                server.refused(error.to_string());
            }
        }
    }
}
