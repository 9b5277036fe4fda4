//! The journal on PostgreSQL: what waits is written in groups, by many rows a statement, on connections of its own.
//!
//! The contract is that of [`crate::store::Store::append`], and an append may be sent again: a row that is there is
//! found and not written twice. So when a connection is lost in the middle of a group, the group is sent again over the
//! next, for as long as it takes; meanwhile acknowledgements wait, and what comes beyond the queue is refused.
//!
//! A new owner cannot overlap with a former one, and nobody waits for anybody. An append first takes the next number and
//! then looks who owns the session; whoever takes a session over, or closes it, first says so and then takes the next
//! number. So one of the two sees the other: either the append is refused, or the new owner finds its number taken, is told
//! so ([`AppendError::WrongNumber`]) and takes the session again, with what was appended. What the database is not asked is
//! whether a batch continues the log: see [`queue`].

mod link;
mod queue;
mod statements;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use self::link::{Link, Unanswered};
use self::queue::{Place, Queue, Waiting};
use self::statements::Fate;
use crate::clock::Stopwatch;
use crate::store::journal::last_stamp;
use crate::store::{Acquired, AppendError, Batch, SessionKey, StoreError, StoreMeters, Writing, checksum};

pub use link::Target;
pub(super) use link::meets_new_partition;
pub use statements::{ENTER, OWNER, PLACE, UNSEALED, check_seal};

/// Connections for groups: while one is made durable, the next is being written.
const GROUP_CONNECTIONS: usize = 3;
/// Whoever waits for longer because a group takes long goes with another.
const OVERDUE: Duration = Duration::from_millis(25);
/// Connections for what is not an append.
const OTHER_CONNECTIONS: usize = 4;
/// All of its connections; one is for cutting off who is in the way.
pub const CONNECTIONS: usize = GROUP_CONNECTIONS + OTHER_CONNECTIONS + 1;
/// How often a question that changes nothing if it is repeated is asked, when connections are lost.
const ATTEMPTS: usize = 3;
/// Whoever locks a session for longer while it is to be taken is not alive, or not well: it is cut off.
const IN_THE_WAY_LIMIT: Duration = Duration::from_secs(1);
/// A lost server is looked for at once, and then ever less often, up to this.
const SEARCH_PAUSE_LIMIT: Duration = Duration::from_secs(1);
/// The first of these pauses.
const SEARCH_PAUSE: Duration = Duration::from_millis(20);
/// How often a group is sent that others are in the way of, each time for as long as a connection waits for a lock.
const GROUP_ATTEMPTS: usize = 5;
/// Partitions that there are of the months to come: a server that is not restarted makes them while it runs.
const MONTHS_AHEAD: i64 = 3;

/// The journal. Cheap to clone; what is under way ends with the last clone.
#[derive(Clone)]
pub struct Journal(Arc<Holder>);

/// What the clones share: the workers must not hold it, or they would never end.
struct Holder(Arc<Shared>);

struct Shared {
    target: Target,
    queue: Mutex<Queue>,
    /// a group may begin
    begin: Notify,
    closing: watch::Sender<bool>,
    writing: watch::Sender<Writing>,
    meters: StoreMeters,
    idle: Mutex<Vec<Link>>,
    permits: Semaphore,
}

/// What to do about transactions that have locked what a statement needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InTheWay {
    Wait,
    /// after [`IN_THE_WAY_LIMIT`]
    CutOff,
}

impl Journal {
    /// Connects to the database, which has the schema, and starts to work in the tokio runtime of whoever calls.
    ///
    /// # Errors
    /// When the database cannot be reached, or lets nobody in.
    pub async fn open(target: Target) -> Result<Self, StoreError> {
        Self::open_with(target, StoreMeters::default()).await
    }

    /// The same, with instruments that others use as well.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub async fn open_with(target: Target, meters: StoreMeters) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            target,
            queue: Mutex::default(),
            begin: Notify::new(),
            closing: watch::Sender::new(false),
            writing: watch::Sender::new(Writing::Well),
            meters,
            idle: Mutex::default(),
            permits: Semaphore::new(OTHER_CONNECTIONS),
        });
        for _ in 0..GROUP_CONNECTIONS {
            let mut link = Link::connect(&shared.target).await?;
            link.prepare(statements::APPEND).await?;
            tokio::spawn(Worker { shared: shared.clone(), link: Some(link) }.work());
        }
        Ok(Self(Arc::new(Holder(shared))))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }

    /// Appends a batch; on disk when it returns. It may be called again with the same batch.
    ///
    /// # Errors
    /// See [`AppendError`]; then nothing of the batch was written now. What an earlier attempt has written that nobody
    /// heard of may be there, unacknowledged. A session that was neither entered nor acquired here is not open.
    pub async fn append(&self, batch: Batch) -> Result<(), AppendError> {
        let shared = self.shared();
        let checksum = checksum::of_lines(batch.session.0, batch.first_n as i64, batch.count as i64, &batch.lines);
        let (waiting, answered) = Waiting::new(batch, checksum);
        {
            let mut queue = shared.queue();
            queue.push(waiting)?;
            shared.meters.queue_depth.set(queue.waiting() as i64);
            if queue.may_begin() || queue.has_begun_to_wait() {
                shared.begin.notify_one();
            }
        }
        answered.await.map_err(|_| StoreError::Stopped)?
    }

    /// A new session is owned here, under epoch 0, once the transaction that opened it is committed; `month` is what
    /// [`ENTER`] returned, `next_n` the number after the first lines that it has written.
    ///
    /// Whoever has acquired it since then stays its owner.
    pub fn enter(&self, session: SessionKey, month: i64, next_n: u64) {
        let mut queue = self.shared().queue();
        if !queue.knows(session) {
            queue.enter(session, Place { month, epoch: 0, next_n });
        }
    }

    /// The session is closed, or somebody else's from now on.
    pub fn forget(&self, session: SessionKey) {
        self.shared().queue().forget(session);
    }

    /// Takes an open session over: ends the epoch of whoever owned it, and reads the log. What that owner has under way
    /// may still arrive before the new owner's first batch, which is then refused with [`AppendError::WrongNumber`].
    ///
    /// # Errors
    /// [`AppendError::NotOpen`] when it is closed or unknown.
    pub async fn acquire(&self, session: SessionKey) -> Result<Acquired, AppendError> {
        let shared = self.shared();
        let rows = shared.ask(InTheWay::CutOff, statements::ACQUIRE, &[&session.0]).await?;
        let taken = rows.first().ok_or(AppendError::NotOpen)?;
        let (epoch, month) = (taken.try_get(0).map_err(StoreError::from)?, taken.try_get(1).map_err(StoreError::from)?);
        let log = self.read_log(session).await?;
        let next_n = log.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        shared.queue().enter(session, Place { month, epoch, next_n });
        Ok(Acquired { epoch, log })
    }

    /// The whole log of a session, open or closed, as it stands.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    pub async fn read_log(&self, session: SessionKey) -> Result<Vec<u8>, StoreError> {
        statements::log(session, &self.shared().ask(InTheWay::Wait, statements::READ, &[&session.0]).await?)
    }

    /// The latest time that a log or a session's end is stamped with, ms since the epoch, among the sessions that were
    /// opened last; `None` while there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn latest_stamp(&self) -> Result<Option<i64>, StoreError> {
        let ends = self.shared().ask(InTheWay::Wait, statements::RECENT_ENDS, &[]).await?;
        let mut latest: Option<i64> = ends.first().map_or(Ok(None), |row| row.try_get(0))?;
        for row in self.shared().ask(InTheWay::Wait, statements::LAST_LINES, &[]).await? {
            latest = latest.max(last_stamp(row.try_get(0)?));
        }
        Ok(latest)
    }

    /// Makes the partitions of this month and those to come, and drops the empty ones of the past. To be called at
    /// every start and every day, by every node. Returns how many months are still without a partition: sessions of
    /// theirs go on in the one that takes what no other does.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn keep_partitions(&self, now_ms: i64) -> Result<i64, StoreError> {
        let made = self.shared().ask(InTheWay::Wait, statements::MAKE_PARTITIONS, &[&now_ms, &MONTHS_AHEAD]).await?;
        self.shared().ask(InTheWay::Wait, statements::DROP_PARTITIONS, &[&now_ms]).await?;
        Ok(made.first().map_or(Ok(0), |row| row.try_get(0))?)
    }

    /// Whether appends reach the database, as a signal.
    pub fn writing(&self) -> watch::Receiver<Writing> {
        self.shared().writing.subscribe()
    }

    /// What it measures of itself.
    pub fn meters(&self) -> &StoreMeters {
        &self.0.0.meters
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.queue().close();
        self.0.closing.send_replace(true);
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Returns what a statement finds that may be done twice: when a connection is lost, it is asked over the next.
    async fn ask(
        &self,
        others: InTheWay,
        sql: &'static str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let _permit: SemaphorePermit = self.permits.acquire().await.map_err(|_| StoreError::Stopped)?;
        for attempt in 1.. {
            match self.ask_once(others, sql, values).await {
                Err(Unanswered::Lost(_) | Unanswered::InTheWay(_)) if attempt < ATTEMPTS => {}
                other => return Ok(other?),
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn ask_once(
        &self,
        others: InTheWay,
        sql: &'static str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Unanswered> {
        let idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
        let mut link = match idle {
            Some(link) => link,
            None => Link::connect(&self.target).await?,
        };
        let process = link.process;
        let answer = {
            let mut asking = std::pin::pin!(link.query(sql, values));
            match timeout(IN_THE_WAY_LIMIT, &mut asking).await {
                Ok(answer) => answer,
                Err(_) if others == InTheWay::CutOff => tokio::join!(asking, self.cut_off(process)).0,
                Err(_) => asking.await,
            }
        };
        if !matches!(answer, Err(Unanswered::Lost(_))) {
            self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(link);
        }
        answer
    }

    /// Ends whoever keeps a process of the server waiting: a node that was paused in a transaction, or one whose
    /// connection the server believes to be alive.
    async fn cut_off(&self, waiting: i32) {
        let Ok(mut link) = Link::connect(&self.target).await else { return };
        match link.query(statements::CUT_OFF, &[&waiting]).await {
            Ok(ended) if ended.is_empty() => {}
            Ok(ended) => {
                tracing::warn!(connections = ended.len(), "cut off who had locked a session that is to be taken");
            }
            Err(error) => tracing::warn!(?error, "cannot cut off who has locked a session that is to be taken"),
        }
    }

    /// Settles those of a group that are decided, and leaves the others in it.
    fn settle(
        &self,
        group: &mut Vec<Waiting>,
        mut decide: impl FnMut(&mut Waiting) -> Option<Result<(), AppendError>>,
    ) {
        let mut queue = self.queue();
        for mut waiting in std::mem::take(group) {
            match decide(&mut waiting) {
                Some(result) => queue.settle(waiting, result),
                None => group.push(waiting),
            }
        }
    }

    /// Says it once when the database is lost, and once when it is there again.
    fn note(&self, now: Writing) {
        self.writing.send_if_modified(|before| {
            match (&*before, &now) {
                (Writing::Well, Writing::Refused { why }) => {
                    tracing::error!(why, "the journal's database is lost: nothing is acknowledged until it is back");
                }
                (Writing::Refused { .. }, Writing::Well) => tracing::warn!("the journal's database is back"),
                _ => {}
            }
            let changed = *before != now && *before != Writing::Dead;
            if changed {
                *before = now;
            }
            changed
        });
    }
}

/// Writes groups on a connection of its own.
struct Worker {
    shared: Arc<Shared>,
    link: Option<Link>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a writer of the journal has failed: this process must end and be started again");
            self.shared.writing.send_replace(Writing::Dead);
            self.shared.queue().close();
        }
    }
}

impl Worker {
    async fn work(mut self) {
        let mut closing = self.shared.closing.subscribe();
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => {}
            () = self.write_groups() => {}
        }
    }

    async fn write_groups(&mut self) {
        let shared = self.shared.clone();
        let mut overdue = false;
        loop {
            let (group, somebody_waits) = {
                let mut queue = shared.queue();
                let group = queue.take(overdue);
                shared.meters.queue_depth.set(queue.waiting() as i64);
                if group.is_some() && queue.is_ready() {
                    shared.begin.notify_one();
                }
                (group, queue.is_ready())
            };
            overdue = false;
            match group {
                Some(group) => {
                    shared.meters.group_writes.observe_number(group.len() as u64);
                    self.write(group).await;
                    shared.queue().end_group();
                }
                None if somebody_waits => overdue = timeout(OVERDUE, shared.begin.notified()).await.is_err(),
                None => shared.begin.notified().await,
            }
        }
    }

    /// Returns when the group is settled.
    async fn write(&mut self, mut group: Vec<Waiting>) {
        let mut attempts = 1;
        while !group.is_empty() {
            match self.attempt(&mut group).await {
                Ok(()) => {}
                Err(Unanswered::Lost(why)) => self.find_server(why).await,
                Err(Unanswered::InTheWay(_)) if attempts < GROUP_ATTEMPTS => attempts += 1,
                Err(Unanswered::InTheWay(error) | Unanswered::Refused(error)) => return self.refuse(group, error),
            }
        }
    }

    fn refuse(&self, group: Vec<Waiting>, error: tokio_postgres::Error) {
        self.shared.meters.failures.inc();
        let error = StoreError::from(error);
        let mut queue = self.shared.queue();
        for waiting in group {
            queue.settle(waiting, Err(error.clone().into()));
        }
    }

    /// Writes the group and settles what is decided. What is left in it can be tried again.
    async fn attempt(&mut self, group: &mut Vec<Waiting>) -> Result<(), Unanswered> {
        let link = match &mut self.link {
            Some(link) => link,
            none => none.insert(Link::connect(&self.shared.target).await?),
        };
        let watch = Stopwatch::start();
        let obstacle = match append(link, group).await {
            Ok(()) => {
                self.shared.meters.commit.observe(watch.elapsed());
                self.shared.settle(group, |waiting| (!waiting.repeated).then_some(Ok(())));
                None
            }
            Err(Unanswered::InTheWay(error)) => Some(error),
            // The number of one of them is taken, perhaps by itself.
            Err(Unanswered::Refused(error)) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Some(error),
            Err(other) => return Err(other),
        };
        self.shared.note(Writing::Well);
        if !group.is_empty() {
            let mut fates = explain(link, group).await?.into_iter();
            self.shared.settle(group, |waiting| match fates.next() {
                Some(Fate::Written) => Some(Ok(())),
                Some(Fate::Refused(why)) => Some(Err(why)),
                Some(Fate::NotThere) | None => {
                    waiting.repeated = false;
                    None
                }
            });
        }
        match obstacle {
            Some(error) if !group.is_empty() => Err(Unanswered::InTheWay(error)),
            _ => Ok(()),
        }
    }

    /// Returns once there is a connection again.
    async fn find_server(&mut self, why: String) {
        self.shared.meters.failures.inc();
        self.shared.note(Writing::Refused { why });
        self.link = None;
        let mut pause = SEARCH_PAUSE;
        loop {
            match Link::connect(&self.shared.target).await {
                Ok(link) => {
                    self.link = Some(link);
                    return;
                }
                Err(error) => self.shared.note(Writing::Refused { why: StoreError::from(error).to_string() }),
            }
            let _ = timeout(pause, std::future::pending::<()>()).await;
            pause = (pause * 2).min(SEARCH_PAUSE_LIMIT);
        }
    }
}

/// Writes those of the group that are new: all, or none.
async fn append(link: &mut Link, group: &[Waiting]) -> Result<(), Unanswered> {
    let group = || group.iter().filter(|waiting| !waiting.repeated);
    let column = |of: fn(&Waiting) -> i64| group().map(of).collect::<Vec<_>>();
    let lines: Vec<&[u8]> = group().map(|waiting| waiting.batch.lines.as_slice()).collect();
    if lines.is_empty() {
        return Ok(());
    }
    link.query(
        statements::APPEND,
        &[
            &column(|waiting| waiting.month),
            &column(|waiting| waiting.batch.session.0),
            &column(|waiting| waiting.batch.epoch),
            &column(|waiting| waiting.batch.first_n as i64),
            &column(|waiting| waiting.batch.count as i64),
            &column(|waiting| waiting.checksum.into()),
            &lines,
        ],
    )
    .await
    .map(drop)
}

/// What has become of the group's batches, in their order.
async fn explain(link: &mut Link, group: &[Waiting]) -> Result<Vec<Fate>, Unanswered> {
    let column = |of: fn(&Waiting) -> i64| group.iter().map(of).collect::<Vec<_>>();
    let sessions = column(|waiting| waiting.batch.session.0);
    let (first_ns, counts) =
        (column(|waiting| waiting.batch.first_n as i64), column(|waiting| waiting.batch.count as i64));
    let lines: Vec<&[u8]> = group.iter().map(|waiting| waiting.batch.lines.as_slice()).collect();
    let rows = link.query(statements::EXPLAIN, &[&sessions, &first_ns, &counts, &lines]).await?;
    let mut by_session = HashMap::new();
    for row in &rows {
        by_session.insert(row.try_get::<_, i64>(0)?, row);
    }
    let fate = |waiting: &Waiting| statements::fate(by_session[&waiting.batch.session.0], &waiting.batch);
    Ok(group.iter().map(fate).collect::<Result<_, _>>()?)
}

impl From<Unanswered> for StoreError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Lost(why) => Self::Unreachable(why),
            Unanswered::InTheWay(error) | Unanswered::Refused(error) => error.into(),
        }
    }
}
