//! What waits to be appended, and what is known of each session's end: which batch may go into which group.
//!
//! One process at a time owns a session, so what it has appended and what it found when it took the session is all that
//! there is: the next number is known here, as it is to SQLite's single writer. The database is asked only whether the
//! owner is still the owner. Nothing here waits; who does, and for what, is not this file's business.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use crate::store::{AppendError, Batch, SessionKey, StoreError};

/// Batches that may wait; one more is refused.
const WAITING_LIMIT: usize = 8_192;
/// Bytes of lines that may wait: as much as all that may wait if each is of 8 KiB, which is a long one.
const WAITING_BYTES: usize = 64 << 20;
/// Batches of a group: enough to spread a commit thin, few enough to keep it short.
const GROUP_LIMIT: usize = 512;
/// Bytes of lines of a group, so that nobody waits for long behind a few who write much.
const GROUP_BYTES: usize = 2 << 20;
/// While a group is under way another one begins only if this many wait: what comes meanwhile shares the next commit.
const WORTH_ANOTHER: usize = 128;

/// A batch, and who waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) batch: Batch,
    /// CRC-32 of the row
    pub(super) checksum: u32,
    /// where the row lies: the session's, once it is the batch's turn
    pub(super) month: i64,
    /// Its number is not the next: either it was appended before, or it is refused.
    pub(super) repeated: bool,
    pub(super) answer: oneshot::Sender<Result<(), AppendError>>,
}

impl Waiting {
    pub(super) fn new(batch: Batch, checksum: u32) -> (Self, oneshot::Receiver<Result<(), AppendError>>) {
        let (answer, answered) = oneshot::channel();
        (Self { batch, checksum, month: 0, repeated: false, answer }, answered)
    }

    fn tell(self, result: Result<(), AppendError>) {
        // Who no longer listens has let go of the session, and reads its log when it takes it up again.
        let _ = self.answer.send(result);
    }
}

/// Where a session's log goes on, and under which epoch this process may do that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// in which the session was opened: its rows lie there, however long it lasts
    pub(super) month: i64,
    pub(super) epoch: i64,
    pub(super) next_n: u64,
}

#[derive(Default)]
pub(super) struct Queue {
    tails: HashMap<SessionKey, Tail>,
    ready: VecDeque<Waiting>,
    /// in `ready`, or behind another batch of their session
    waiting: usize,
    waiting_bytes: usize,
    groups_under_way: usize,
    closed: bool,
}

/// What is known of the end of a session's log.
struct Tail {
    place: Place,
    /// a batch is under way: until that is decided nobody knows what comes next
    in_hand: bool,
    behind: VecDeque<Waiting>,
}

impl Queue {
    /// The session is owned here now, and its log goes on there.
    pub(super) fn enter(&mut self, session: SessionKey, place: Place) {
        let tail = Tail { place, in_hand: false, behind: VecDeque::new() };
        let before = self.tails.insert(session, tail);
        self.call_up(before);
    }

    /// Whether the session is owned here.
    pub(super) fn knows(&self, session: SessionKey) -> bool {
        self.tails.contains_key(&session)
    }

    /// The session is not owned here any more.
    pub(super) fn forget(&mut self, session: SessionKey) {
        let before = self.tails.remove(&session);
        self.call_up(before);
    }

    /// What waited behind a tail that is gone is looked at again, and refused for what is true by then.
    fn call_up(&mut self, tail: Option<Tail>) {
        for waiting in tail.into_iter().flat_map(|tail| tail.behind).rev() {
            self.ready.push_front(waiting);
        }
    }

    pub(super) fn push(&mut self, waiting: Waiting) -> Result<(), StoreError> {
        if self.closed {
            return Err(StoreError::Stopped);
        }
        let bytes = waiting.batch.lines.len();
        let too_much = self.waiting > 0 && self.waiting_bytes + bytes > WAITING_BYTES;
        if self.waiting >= WAITING_LIMIT || too_much {
            return Err(StoreError::Busy);
        }
        self.waiting += 1;
        self.waiting_bytes += bytes;
        self.ready.push_back(waiting);
        Ok(())
    }

    /// Whether a group may begin now.
    pub(super) fn may_begin(&self) -> bool {
        self.groups_under_way == 0 && !self.ready.is_empty() || self.ready.len() >= WORTH_ANOTHER
    }

    /// Whether somebody waits for a group that is under way, and is the first: if that one takes long, another may begin.
    pub(super) fn has_begun_to_wait(&self) -> bool {
        self.ready.len() == 1
    }

    /// Whether anybody waits for a group to begin.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next group, if one may begin, or if what waits is `overdue`: of each session one batch at most, and none that
    /// has one under way.
    pub(super) fn take(&mut self, overdue: bool) -> Option<Vec<Waiting>> {
        while self.may_begin() || overdue && self.is_ready() {
            let mut group = Vec::with_capacity(self.ready.len().min(GROUP_LIMIT));
            let mut bytes = 0;
            while group.len() < GROUP_LIMIT
                && bytes < GROUP_BYTES
                && let Some(waiting) = self.ready.pop_front()
            {
                let size = waiting.batch.lines.len();
                if let Some(waiting) = self.admit(waiting) {
                    bytes += size;
                    group.push(waiting);
                }
            }
            if !group.is_empty() {
                self.groups_under_way += 1;
                return Some(group);
            }
        }
        None
    }

    /// Gives the batch back if it is its turn; otherwise it is refused, or waits for the one before it.
    fn admit(&mut self, mut waiting: Waiting) -> Option<Waiting> {
        let refusal = match self.tails.get_mut(&waiting.batch.session) {
            None => Some(AppendError::NotOpen),
            Some(tail) if tail.in_hand => {
                tail.behind.push_back(waiting);
                return None;
            }
            Some(tail) => tail.refusal(&waiting.batch),
        };
        self.leave(&waiting);
        if let Some(refusal) = refusal {
            waiting.tell(Err(refusal));
            return None;
        }
        if let Some(tail) = self.tails.get_mut(&waiting.batch.session) {
            tail.in_hand = true;
            waiting.month = tail.place.month;
            waiting.repeated = waiting.batch.first_n < tail.place.next_n;
        }
        Some(waiting)
    }

    fn leave(&mut self, waiting: &Waiting) {
        self.waiting -= 1;
        self.waiting_bytes -= waiting.batch.lines.len();
    }

    /// What has come of a batch that was under way.
    pub(super) fn settle(&mut self, waiting: Waiting, result: Result<(), AppendError>) {
        let batch = &waiting.batch;
        // Whoever took the session meanwhile has another epoch, and knows more.
        if let Some(tail) = self.tails.get_mut(&batch.session).filter(|tail| tail.place.epoch == batch.epoch) {
            tail.in_hand = false;
            if let Some(next) = tail.behind.pop_front() {
                self.ready.push_front(next);
            }
            match &result {
                Ok(()) => tail.place.next_n = tail.place.next_n.max(batch.first_n + batch.count),
                Err(AppendError::StaleEpoch { .. } | AppendError::NotOpen) => self.forget(batch.session),
                Err(AppendError::WrongNumber { .. } | AppendError::Store(_)) => {}
            }
        }
        waiting.tell(result);
    }

    /// A group is over: all its batches are settled.
    pub(super) fn end_group(&mut self) {
        self.groups_under_way -= 1;
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Nothing is taken any more, and who waits hears that nobody will come.
    pub(super) fn close(&mut self) {
        *self = Self { closed: true, groups_under_way: self.groups_under_way, ..Self::default() };
    }
}

impl Tail {
    /// Why `batch` cannot be what comes next. One that was appended before is let through: whether it is the same one
    /// again, the database knows.
    fn refusal(&self, batch: &Batch) -> Option<AppendError> {
        let Place { epoch, next_n, .. } = self.place;
        if epoch != batch.epoch {
            return Some(AppendError::StaleEpoch { held: batch.epoch, current: epoch });
        }
        if batch.first_n > next_n {
            return Some(AppendError::WrongNumber { expected: next_n, found: batch.first_n });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = oneshot::Receiver<Result<(), AppendError>>;

    fn waiting(session: i64, epoch: i64, first_n: u64, bytes: usize) -> (Waiting, Answer) {
        Waiting::new(Batch { session: SessionKey(session), epoch, first_n, count: 1, lines: vec![b'x'; bytes] }, 0)
    }

    fn own(queue: &mut Queue, session: i64, epoch: i64, next_n: u64) {
        queue.enter(SessionKey(session), Place { month: 202_601, epoch, next_n });
    }

    fn numbers(group: &[Waiting]) -> Vec<(i64, u64)> {
        group.iter().map(|waiting| (waiting.batch.session.0, waiting.batch.first_n)).collect()
    }

    fn settle(queue: &mut Queue, group: Vec<Waiting>, result: Result<(), AppendError>) {
        for waiting in group {
            queue.settle(waiting, result.clone());
        }
        queue.end_group();
    }

    #[test]
    fn batches_of_a_session_go_one_after_the_other() {
        let mut queue = Queue::default();
        own(&mut queue, 1, 0, 1);
        own(&mut queue, 2, 0, 5);
        let mut answers = Vec::new();
        for (session, first_n) in [(1, 1), (1, 2), (2, 5), (1, 3)] {
            let (batch, answer) = waiting(session, 0, first_n, 1);
            queue.push(batch).unwrap();
            answers.push(answer);
        }
        let group = queue.take(false).unwrap();
        assert_eq!(numbers(&group), [(1, 1), (2, 5)]);
        assert!(queue.take(false).is_none(), "what came later waits for what came before");
        settle(&mut queue, group, Ok(()));
        let group = queue.take(false).unwrap();
        assert_eq!(numbers(&group), [(1, 2)]);
        // What was not written leaves a gap before the one behind it.
        settle(&mut queue, group, Err(StoreError::Busy.into()));
        assert!(queue.take(false).is_none());
        assert!(matches!(answers[0].try_recv(), Ok(Ok(()))));
        assert!(matches!(answers[3].try_recv(), Ok(Err(AppendError::WrongNumber { expected: 2, found: 3 }))));
        let (again, _answer) = waiting(1, 0, 2, 1);
        queue.push(again).unwrap();
        let group = queue.take(false).unwrap();
        assert_eq!(numbers(&group), [(1, 2)], "it can be appended again");
        assert!(!group[0].repeated);
        settle(&mut queue, group, Ok(()));
        let (twice, _answer) = waiting(1, 0, 2, 1);
        queue.push(twice).unwrap();
        assert!(queue.take(false).unwrap()[0].repeated, "whether it is the same, the database knows");
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn a_refused_owner_takes_those_behind_it_along() {
        let mut queue = Queue::default();
        own(&mut queue, 1, 1, 1);
        let (first, _first) = waiting(1, 1, 1, 1);
        let (second, mut answer) = waiting(1, 1, 2, 1);
        queue.push(first).unwrap();
        queue.push(second).unwrap();
        let group = queue.take(false).unwrap();
        settle(&mut queue, group, Err(AppendError::StaleEpoch { held: 1, current: 2 }));
        assert!(queue.take(false).is_none());
        assert!(matches!(answer.try_recv(), Ok(Err(AppendError::NotOpen))));
        let (unknown, mut answer) = waiting(9, 0, 1, 1);
        queue.push(unknown).unwrap();
        assert!(queue.take(false).is_none());
        assert!(matches!(answer.try_recv(), Ok(Err(AppendError::NotOpen))));
    }

    #[test]
    fn who_takes_a_session_is_not_disturbed_by_what_its_former_owner_has_under_way() {
        let mut queue = Queue::default();
        own(&mut queue, 1, 1, 1);
        let (former, _former) = waiting(1, 1, 1, 1);
        let (behind, mut answer) = waiting(1, 1, 2, 1);
        queue.push(former).unwrap();
        queue.push(behind).unwrap();
        let group = queue.take(false).unwrap();
        assert!(queue.take(false).is_none());
        own(&mut queue, 1, 2, 7);
        settle(&mut queue, group, Ok(()));
        let (next, _next) = waiting(1, 2, 7, 1);
        queue.push(next).unwrap();
        assert_eq!(numbers(&queue.take(false).unwrap()), [(1, 7)]);
        assert!(matches!(answer.try_recv(), Ok(Err(AppendError::StaleEpoch { held: 1, current: 2 }))));
    }

    #[test]
    fn a_second_group_begins_only_for_many() {
        let mut queue = Queue::default();
        let mut answers = Vec::new();
        let mut push = |queue: &mut Queue, session: i64| {
            own(queue, session, 0, 1);
            let (batch, answer) = waiting(session, 0, 1, 1);
            queue.push(batch).unwrap();
            answers.push(answer);
        };
        push(&mut queue, 0);
        assert_eq!(queue.take(false).unwrap().len(), 1, "the first begins at once");
        for session in 1..WORTH_ANOTHER as i64 {
            push(&mut queue, session);
            assert!(queue.take(false).is_none());
        }
        push(&mut queue, WORTH_ANOTHER as i64);
        assert_eq!(queue.take(false).unwrap().len(), WORTH_ANOTHER);
        for session in 1_000..1_000 + GROUP_LIMIT as i64 + 1 {
            push(&mut queue, session);
        }
        assert_eq!(queue.take(false).unwrap().len(), GROUP_LIMIT);
        assert!(queue.take(false).is_none() && queue.has_begun_to_wait());
        assert_eq!(queue.take(true).unwrap().len(), 1, "nobody waits for long");
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_bytes() {
        let mut queue = Queue::default();
        for _ in 0..WAITING_LIMIT {
            queue.push(waiting(1, 0, 1, 1).0).unwrap();
        }
        assert!(matches!(queue.push(waiting(1, 0, 1, 1).0), Err(StoreError::Busy)));
        let mut queue = Queue::default();
        queue.push(waiting(1, 0, 1, WAITING_BYTES + 1).0).unwrap();
        assert!(matches!(queue.push(waiting(1, 0, 1, 1).0), Err(StoreError::Busy)));
        let (batch, mut answer) = waiting(1, 0, 1, 1);
        let mut queue = Queue::default();
        queue.push(batch).unwrap();
        queue.close();
        assert!(matches!(queue.push(waiting(1, 0, 1, 1).0), Err(StoreError::Stopped)));
        assert!(answer.try_recv().is_err() && queue.take(false).is_none());
    }

    #[test]
    fn long_batches_make_smaller_groups() {
        let mut queue = Queue::default();
        for session in 0..8 {
            own(&mut queue, session, 0, 1);
            queue.push(waiting(session, 0, 1, GROUP_BYTES / 4).0).unwrap();
        }
        assert_eq!(queue.take(false).unwrap().len(), 4);
    }
}
