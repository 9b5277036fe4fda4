//! Threads that have a connection each, and the queue that they take their work from.
//!
//! The client blocks, so it must not be used on the event loop's threads; nor may it be dropped there.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::link::Link;
use crate::store::StoreError;
use crate::telemetry::instruments::Gauge;

/// Work that may wait for a thread; one more is refused.
const QUEUE_LIMIT: usize = 8_192;

/// Something to be done over a connection.
pub(super) type Job = Box<dyn FnOnce(&mut Link) + Send>;

/// A queue and its threads, which end when this is dropped and the queue is empty.
pub(super) struct Lane {
    queue: Arc<Queue>,
    depth: Gauge,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

enum Next {
    Job(Job),
    /// nothing has come for as long as was to be waited
    Nothing,
    End,
}

impl Lane {
    /// Starts a thread for each link.
    pub(super) fn start(name: &str, links: Vec<Link>, depth: Gauge) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue::default());
        let lane = Self { queue: queue.clone(), depth };
        for link in links {
            let (queue, depth) = (queue.clone(), lane.depth.clone());
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || work(&queue, link, &depth))
                .map_err(|error| StoreError::Start(Arc::new(error)))?;
        }
        Ok(lane)
    }

    pub(super) fn push(&self, job: Job) -> Result<(), StoreError> {
        let mut state = self.queue.lock();
        if state.jobs.len() >= QUEUE_LIMIT {
            return Err(StoreError::Busy);
        }
        state.jobs.push_back(job);
        self.depth.inc();
        self.queue.arrived.notify_one();
        Ok(())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.arrived.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for work; with a `patience` no longer than that.
    fn next(&self, patience: Option<Duration>) -> Next {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Next::Job(job);
            }
            if state.closed {
                return Next::End;
            }
            let Some(patience) = patience else {
                state = self.arrived.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                continue;
            };
            let waited = self.arrived.wait_timeout(state, patience);
            let (woken, waited) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            state = woken;
            if waited.timed_out() && state.jobs.is_empty() && !state.closed {
                return Next::Nothing;
            }
        }
    }
}

fn work(queue: &Queue, mut link: Link, depth: &Gauge) {
    loop {
        match queue.next(link.probe_interval()) {
            Next::Job(job) => {
                depth.dec();
                // A mistake in the program costs its own answer and this connection, which may be in a transaction.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&mut link))).is_err() {
                    tracing::error!("work on the database has failed by a mistake in the program");
                    link.drop_session();
                }
            }
            Next::Nothing => {}
            Next::End => return,
        }
        link.probe_if_due();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses() {
        let lane = Lane::start("none", Vec::new(), Gauge::default()).unwrap();
        assert!((0..QUEUE_LIMIT).all(|_| lane.push(Box::new(|_| ())).is_ok()));
        assert!(matches!(lane.push(Box::new(|_| ())), Err(StoreError::Busy)));
    }

    #[test]
    fn what_waits_is_given_out_before_the_end_and_silence_is_said() {
        let queue = Queue::default();
        queue.lock().jobs.push_back(Box::new(|_| ()));
        assert!(matches!(queue.next(None), Next::Job(_)));
        assert!(matches!(queue.next(Some(Duration::from_millis(1))), Next::Nothing));
        queue.lock().jobs.push_back(Box::new(|_| ()));
        queue.lock().closed = true;
        assert!(matches!(queue.next(None), Next::Job(_)));
        assert!(matches!(queue.next(None), Next::End));
    }
}
