//! The loop of a live session: take what waits, keep the schedule, make it durable, tell.

use tokio::sync::mpsc::Receiver;

use super::live::Live;
use super::mailbox::Message;
use crate::clock::Clock;
use crate::store::AppendError;

/// Messages that are taken together, so that they share a commit.
const MESSAGES_LIMIT: usize = 64;

impl Live {
    /// Lives until the session is closed, the server stops, or the journal refuses. True: the journal refused; the
    /// log on disk is whole, and the session must be taken up from it again.
    pub(super) async fn run(mut self, mut mailbox: Receiver<Message>) -> bool {
        self.resume().await;
        let lived = self.live(&mut mailbox).await;
        match &lived {
            // The writer has said that the disk refuses: thousands of sessions need not repeat it.
            Err(AppendError::Store(error)) if error.is_passing() => {
                tracing::debug!(session = self.id, %error, "a session waits for the disk");
            }
            Err(error) => {
                tracing::error!(session = self.id, %error, "a session lost its journal and is taken up again");
            }
            Ok(()) => {}
        }
        lived.is_err()
    }

    /// What a restart has left: a connection that is no more, a photo that was kept but not checked.
    async fn resume(&mut self) {
        if self.schedule.connected() {
            self.record_disconnect(self.now());
        }
        for played in std::mem::take(&mut self.played_before) {
            self.meet_others(played);
        }
        let now_ms = self.now();
        self.schedule.recovered(now_ms);
        let Some(pending) = self.schedule.pending_capture() else { return };
        let (capture, committed) = (pending.id.clone(), pending.committed.clone());
        let Some(sha256) = committed else { return };
        if let Ok(Some(_)) = self.services.store.kept_photo(self.key, &capture).await {
            self.start_check(capture, sha256, None);
        }
    }

    async fn live(&mut self, mailbox: &mut Receiver<Message>) -> Result<(), AppendError> {
        loop {
            self.keep_schedule();
            self.leave_if_silent();
            if self.may_close() {
                return self.close().await;
            }
            self.settle().await?;
            let wake_at = self.wake_at();
            let first = tokio::select! {
                // What has arrived comes before what time brings: it may be the answer that was in time.
                biased;
                message = mailbox.recv() => message,
                () = sleep_until(&self.services.clock, wake_at) => continue,
            };
            let Some(first) = first else { return Ok(()) };
            if !self.take(first) {
                return self.settle().await;
            }
            for _ in 1..MESSAGES_LIMIT {
                let Ok(message) = mailbox.try_recv() else { break };
                if !self.take(message) {
                    return self.settle().await;
                }
            }
        }
    }

    /// Takes one message. False: the server stops.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Attach { connection, outlet, arrival, attached } => {
                self.attach(connection, outlet, arrival, attached);
            }
            Message::Synced { connection, ct, at } => self.synced(connection, ct, at),
            Message::Welcome { connection } => self.welcome(connection),
            Message::Events { connection, events, at, arrived } => self.events(connection, events, at, arrived),
            Message::Photo { connection, photo, at } => self.photo(connection, photo, at),
            Message::Ready { connection } => self.ready = self.is_current(connection),
            Message::Leave { connection, reason, at } if self.is_current(connection) => self.leave(reason, at),
            Message::Leave { .. } => {}
            Message::Detached { connection, at } => self.detached(connection, at),
            Message::PhotoKept { capture } => self.photo_kept(capture),
            Message::Checked(checked) => self.checked(checked),
            Message::Overlaps => self.take_overlaps(),
            Message::Close { reason, closed } => self.begin_leaving(reason, closed),
            Message::Stop => return false,
        }
        true
    }
}

/// Sleeps until then; for ever when there is nothing to wake for.
async fn sleep_until(clock: &Clock, wake_at: Option<i64>) {
    match wake_at {
        Some(wake_at) => clock.sleep_until_ms(wake_at).await,
        None => std::future::pending().await,
    }
}
