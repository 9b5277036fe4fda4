//! What nodes say to each other: a bounded stream a node, questions with answers, and messages without.
//!
//! A message may come twice, and may be lost with Redis; whoever asks has a limit of time. What a newer invigil says and
//! this one does not know is left out, so that nodes can be replaced one after the other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::streams::StreamReadReply;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::connection::{Away, Redis};
use super::script::Script;
use crate::schedule::NotNow;

/// Messages that may wait for one node: some seconds of what a thousand learners who move to other nodes cause.
const WAITING_LIMIT: usize = 4_096;
/// How long messages for a node wait that does not read them, ms: ten leases.
const KEPT_MS: i64 = 60_000;
/// Messages that are read together.
const READ_LIMIT: usize = 128;
/// How long a read waits on the server, ms.
const BLOCK_MS: i64 = 2_000;
/// The pause after a read that failed, ms.
const RETRY_MS: i64 = 100;
/// Messages that were read and wait for whoever does what they say.
const RECEIVED_LIMIT: usize = 256;
/// Longest message, bytes: the answer about a photo that is full of faces.
pub(crate) const MESSAGE_LIMIT_BYTES: usize = 192 * 1024;

/// What one node asks of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Command {
    /// Let this session rest, and give it up to who asks.
    Release {
        /// which
        session: String,
        /// when its learner came to who asks, by the clock of sessions (ms)
        arrived_at: i64,
    },
    /// Close this session; the answer comes once its verdict is on record.
    Close {
        /// which
        session: String,
        /// why, as the log says it
        reason: String,
    },
    /// Ask the learner of this session; the answer comes once the log has it.
    Ask {
        /// which
        session: String,
        /// for what
        what: String,
    },
    /// There is an overlap for this session to take.
    Wake {
        /// which
        session: String,
    },
    /// Something waits in the outbox, and it is your turn to deliver.
    Deliver,
    /// What sessions have told, and it is your turn to detect.
    Observed {
        /// each as the detectors of this version say it
        observations: Vec<Value>,
    },
}

/// What the other node answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// It is done.
    Done,
    /// The session does not live there.
    NotHere,
    /// Its learner has come there since.
    Newer,
    /// Its learner cannot be asked now.
    NotNow {
        /// why
        why: NotNow,
    },
    /// It could not be done now.
    Failed {
        /// for the log
        why: String,
    },
    /// A photo was checked.
    Checked {
        /// what came of it, as who asked and who checks have agreed
        check: Value,
    },
    /// The photo was not checked before its deadline.
    Expired,
    /// What a newer invigil answers.
    #[serde(other)]
    Unknown,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Redis did not take the question.
    #[error(transparent)]
    Away(#[from] Away),
    /// Too many messages wait for that node.
    #[error("too many messages wait for that node")]
    Busy,
    /// The other node did not answer in time.
    #[error("the other node has not answered in time")]
    Silent,
}

/// A command that another node sent.
#[derive(Debug)]
pub struct Received {
    /// what it asks
    pub command: Command,
    /// who asks
    pub from: String,
    /// the number of its question; none: no answer is expected
    question: Option<u64>,
}

/// A message as it goes over the stream.
#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    from: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    question: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    command: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    answer: Option<&'a RawValue>,
}

/// The messages of this node. Cheap to clone.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    post: Arc<Post>,
    reading: JoinHandle<()>,
}

struct Post {
    node: String,
    redis: Redis,
    send: Script,
    last_question: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
}

/// A question whose answer is awaited. It is forgotten when this is dropped.
pub struct Question {
    /// names it among those of this node
    pub number: u64,
    answer: oneshot::Receiver<Answer>,
    post: Arc<Post>,
}

impl Drop for Question {
    fn drop(&mut self) {
        self.post.waiting().remove(&self.number);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Bus {
    /// Begins to read what others say to `node`, and hands the commands among it to whoever holds the receiver.
    pub fn start(redis: Redis, node: String) -> (Self, mpsc::Receiver<Received>) {
        let (commands, received) = mpsc::channel(RECEIVED_LIMIT);
        let send = Script::new(include_str!("lua/send.lua"));
        let aside = redis.aside(BLOCK_MS);
        let (last_question, waiting) = (AtomicU64::new(0), Mutex::default());
        let post = Arc::new(Post { node, redis, send, last_question, waiting });
        let reading = tokio::spawn(post.clone().read(aside, commands));
        (Self(Arc::new(Inner { post, reading })), received)
    }

    /// Asks `node`, and waits for its answer for up to `limit_ms`.
    ///
    /// # Errors
    /// See [`AskError`]. What was asked may have happened all the same.
    pub async fn ask(&self, node: &str, command: &Command, limit_ms: i64) -> Result<Answer, AskError> {
        let mut question = self.question();
        let text = to_raw(command);
        let envelope = Envelope { question: Some(question.number), command: Some(&text), ..self.envelope() };
        self.0.post.send(node, &envelope).await?;
        self.answer_to(&mut question, limit_ms).await.ok_or(AskError::Silent)
    }

    /// Tells `node`, which does not answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn tell(&self, node: &str, command: &Command) -> Result<(), AskError> {
        let text = to_raw(command);
        self.0.post.send(node, &Envelope { command: Some(&text), ..self.envelope() }).await
    }

    /// Answers a command, if an answer is expected.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn answer(&self, received: &Received, answer: &Answer) -> Result<(), AskError> {
        match received.question {
            Some(question) => self.answer_question(&received.from, question, answer).await,
            None => Ok(()),
        }
    }

    /// Answers the question of `node` that has this number.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn answer_question(&self, node: &str, question: u64, answer: &Answer) -> Result<(), AskError> {
        let text = to_raw(answer);
        let envelope = Envelope { question: Some(question), answer: Some(&text), ..self.envelope() };
        self.0.post.send(node, &envelope).await
    }

    /// A question that goes another way than over the stream; its answer comes over it.
    pub fn question(&self) -> Question {
        let post = self.0.post.clone();
        let number = post.last_question.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = oneshot::channel();
        post.waiting().insert(number, sender);
        Question { number, answer, post }
    }

    /// The answer, if it comes within `limit_ms`. Without one it may be waited for again.
    pub async fn answer_to(&self, question: &mut Question, limit_ms: i64) -> Option<Answer> {
        tokio::select! {
            answer = &mut question.answer => answer.ok(),
            () = self.0.post.redis.steady().sleep_ms(limit_ms) => None,
        }
    }

    fn envelope(&self) -> Envelope<'_> {
        Envelope { from: &self.0.post.node, question: None, command: None, answer: None }
    }
}

fn to_raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("commands and answers are plain data")
}

impl Post {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, node: &str, envelope: &Envelope<'_>) -> Result<(), AskError> {
        let text = serde_json::to_string(envelope).map_err(Away::because)?;
        if text.len() > MESSAGE_LIMIT_BYTES {
            return Err(Away::because(format!("a message of {} bytes is not sent", text.len())).into());
        }
        let arguments = |command: &mut redis::Cmd| {
            command.arg(&text).arg(WAITING_LIMIT).arg(KEPT_MS);
        };
        let sent: i64 = self.send.run(&self.redis, &[&key(node)], arguments).await?;
        if sent == 1 { Ok(()) } else { Err(AskError::Busy) }
    }

    /// Reads for ever. What was read is removed first: it may then be lost with this process, with which its meaning is
    /// lost as well.
    async fn read(self: Arc<Self>, aside: Redis, commands: mpsc::Sender<Received>) {
        let key = key(&self.node);
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(READ_LIMIT).arg("BLOCK").arg(BLOCK_MS).arg("STREAMS").arg(&key).arg("0");
        loop {
            let messages = match aside.query::<Option<StreamReadReply>>(&read).await {
                Ok(reply) => reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids),
                Err(away) => {
                    tracing::debug!(%away, "messages of other nodes cannot be read now");
                    aside.connected().await;
                    aside.steady().sleep_ms(RETRY_MS).await;
                    continue;
                }
            };
            let (ids, texts): (Vec<String>, Vec<Option<String>>) =
                messages.map(|message| (message.id.clone(), message.get::<String>("m"))).unzip();
            if !ids.is_empty()
                && let Err(away) = aside.query::<()>(redis::cmd("XDEL").arg(&key).arg(ids)).await
            {
                // They come again, and what they ask can be done twice.
                tracing::debug!(%away, "messages that were read are not removed");
            }
            for text in texts.into_iter().flatten() {
                if let Some(received) = self.take(&text)
                    && commands.send(received).await.is_err()
                {
                    return;
                }
            }
        }
    }

    /// Gives an answer to who waits for it; returns a command.
    fn take(&self, text: &str) -> Option<Received> {
        let unknown = |error: &dyn std::fmt::Display| {
            tracing::warn!(%error, "a message of another node is left out: its invigil may be newer");
        };
        let envelope = serde_json::from_str::<Envelope>(text).map_err(|error| unknown(&error)).ok()?;
        if let (Some(question), Some(answer)) = (envelope.question, envelope.answer) {
            let answer = serde_json::from_str(answer.get()).map_err(|error| unknown(&error)).ok()?;
            // Without anybody who waits, it came too late.
            if let Some(waiting) = self.waiting().remove(&question) {
                let _ = waiting.send(answer);
            }
            return None;
        }
        let command = serde_json::from_str(envelope.command?.get()).map_err(|error| unknown(&error)).ok()?;
        Some(Received { command, from: envelope.from.to_owned(), question: envelope.question })
    }
}

fn key(node: &str) -> String {
    format!("invigil:messages:{node}")
}
