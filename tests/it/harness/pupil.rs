//! An honest learner on our own client, who remembers all that was sent and all that was acknowledged.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use invigil::client::{Client, ClientKey, Credentials, Ending, Event, Link, PlaybackEvent, PlayerState};
use invigil::clock::{Clock, Entropy};
use invigil::gateway::wire::{Capture, ErrorCode, LeaveReason, Prompt, ServerMessage};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::wire::sha256;
use super::{Opened, frame};

/// An honest page stops the player when the server could not be reached for so long.
const LOST_LINK_PAUSES_MS: i64 = 20_000;

/// Gives another photo of the same person each time. A clone is the same camera.
#[derive(Clone)]
pub struct Camera {
    person: &'static str,
    frames: Arc<[u32]>,
    next: Arc<AtomicUsize>,
}

impl Camera {
    pub fn new(person: &'static str, frames: Range<u32>) -> Self {
        Self { person, frames: frames.collect(), next: Arc::default() }
    }

    fn photo(&self) -> Vec<u8> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let mut photo = frame(self.person, self.frames[next % self.frames.len()]);
        // No camera gives the same bytes twice.
        photo.extend(std::iter::repeat_n(0, next / self.frames.len()));
        photo
    }
}

/// What must be in the log of a session that is over.
pub struct Kept {
    pub session: String,
    /// types and data of all events, in the order of their `seq`
    pub sent: Vec<(String, Value)>,
    /// the highest `seq` that was acknowledged
    pub acknowledged: u64,
    /// as the client was told, if it was
    pub verdict: Option<String>,
}

/// A player without a picture.
#[derive(Default)]
struct Player {
    playing: bool,
    from_pos_ms: i64,
    since_ms: i64,
}

impl Player {
    fn state(&self, now_ms: i64) -> PlayerState {
        let played_ms = if self.playing { now_ms - self.since_ms } else { 0 };
        PlayerState { playing: self.playing, pos_ms: self.from_pos_ms + played_ms, rate: 1.0 }
    }

    fn set_playing(&mut self, now_ms: i64, playing: bool) {
        *self = Self { playing, from_pos_ms: self.state(now_ms).pos_ms, since_ms: now_ms };
    }
}

/// One session of an honest learner.
pub struct Pupil {
    session: String,
    client: Client,
    clock: Clock,
    camera: Camera,
    player: Player,
    heartbeat_ms: i64,
    /// the server asked for a pause
    held: bool,
    leaving: bool,
    sent: Vec<(String, Value)>,
    /// prompts and captures that were answered: after a crash they may come again
    answered: HashSet<String>,
    matches: usize,
    passes: usize,
    verdict: Option<String>,
    acknowledged: JoinHandle<u64>,
}

impl Pupil {
    /// Sits down in real time; the player stands still. `heard` hears of every acknowledgement.
    pub fn sit_down(
        url: &str,
        opened: Opened,
        camera: Camera,
        entropy: Entropy,
        heartbeat_ms: i64,
        heard: Arc<Notify>,
    ) -> Self {
        let Opened { session, token } = opened;
        let key = ClientKey::generate().unwrap().into();
        let credentials = Credentials { session: session.clone(), token, key, device: None };
        let clock = Clock::system();
        let client = Client::connect(url, credentials, clock.clone(), entropy);
        Self {
            session,
            acknowledged: tokio::spawn(highest_acknowledged(client.handle().acknowledged(), heard)),
            client,
            clock,
            camera,
            player: Player::default(),
            heartbeat_ms,
            held: false,
            leaving: false,
            sent: Vec::new(),
            answered: HashSet::new(),
            matches: 0,
            passes: 0,
            verdict: None,
        }
    }

    /// Watches until `over`, and until a face has matched and a prompt was passed.
    pub async fn stay(mut self, mut over: watch::Receiver<bool>) -> Kept {
        self.watch(async { drop(over.wait_for(|over| *over).await.unwrap()) }).await;
        while self.matches == 0 || self.passes == 0 {
            self.watch(self.clock.clone().sleep_ms(self.heartbeat_ms)).await;
        }
        self.leave().await
    }

    /// Watches until `end`.
    pub async fn watch(&mut self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        let mut beat_at_ms = self.clock.now_ms();
        loop {
            self.adjust_player().await;
            tokio::select! {
                () = &mut end => return,
                message = self.client.next() => {
                    let ending = *self.client.handle().link().borrow();
                    self.hear(message.unwrap_or_else(|| panic!("{}: {ending:?}", self.session))).await;
                }
                () = self.clock.sleep_until_ms(beat_at_ms) => {
                    beat_at_ms = self.clock.now_ms() + self.heartbeat_ms;
                    let player = self.player.state(self.clock.now_ms());
                    self.send(Event::Heartbeat(player)).await;
                }
            }
        }
    }

    /// Ends the session, through whatever happens meanwhile.
    pub async fn leave(mut self) -> Kept {
        self.player.set_playing(self.clock.now_ms(), false);
        self.report(PlaybackEvent::Pause).await;
        self.leaving = true;
        self.client.handle().close(LeaveReason::Left).await.unwrap();
        while let Some(message) = self.client.next().await {
            self.hear(message).await;
        }
        let mut link = self.client.handle().link();
        let ending = *link.wait_for(|link| matches!(link, Link::Ended(_))).await.unwrap();
        let ended = [Ending::Closed, Ending::Refused(ErrorCode::SessionClosed)].map(Link::Ended);
        assert!(ended.contains(&ending), "{}: {ending:?}", self.session);
        // The channel of acknowledgements closes with the last handle.
        drop((link, self.client));
        let acknowledged = self.acknowledged.await.unwrap();
        Kept { session: self.session, sent: self.sent, acknowledged, verdict: self.verdict }
    }

    async fn hear(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Welcome(welcome) => self.held = welcome.pause.is_some(),
            ServerMessage::Prompt(prompt) => self.answer(prompt).await,
            ServerMessage::Capture(capture) => self.take_photo(capture).await,
            ServerMessage::Pause { .. } => self.held = true,
            ServerMessage::Play => self.held = false,
            ServerMessage::PromptClosed { outcome, .. } => self.passes += usize::from(outcome == "passed"),
            ServerMessage::CaptureClosed { outcome, .. } => self.matches += usize::from(outcome == "match"),
            ServerMessage::Closed(closed) => self.verdict = Some(closed.verdict.get().to_owned()),
            ServerMessage::Warning { .. } | ServerMessage::Notice { .. } => {
                panic!("{}: an honest learner is told {message:?}", self.session)
            }
            // Where it ends the session, the link says so.
            ServerMessage::Error(error) => {
                // Who was cut off for long, twice, sends again more than a page ever does: it comes back in a second.
                let harmless =
                    matches!(error.code, ErrorCode::SessionClosed | ErrorCode::Overloaded | ErrorCode::TooManyEvents);
                assert!(harmless, "{}: an honest learner is refused: {error:?}", self.session);
            }
            _ => {}
        }
        if self.held && !self.leaving {
            let _ = self.client.handle().ready().await;
        }
    }

    async fn answer(&mut self, prompt: Prompt) {
        // Once the session is to end, open prompts expire.
        if !self.leaving && self.answered.insert(prompt.prompt.clone()) {
            self.send(Event::PromptAnswered { prompt: prompt.prompt, answer: "right".into() }).await;
        }
    }

    async fn take_photo(&mut self, capture: Capture) {
        // The client answers by itself as long as it holds the photo, and it holds it until the server has it.
        assert_eq!(capture.committed, None, "{}: asked for a photo that the server has", self.session);
        if self.answered.insert(capture.capture.clone()) {
            let photo = self.camera.photo();
            let data = json!({"capture": capture.capture, "sha256": sha256(&photo)});
            self.sent.push(("capture.submitted".into(), data));
            self.client.handle().send_photo(capture, photo).await.unwrap();
        }
    }

    async fn adjust_player(&mut self) {
        let now_ms = self.clock.now_ms();
        let link = *self.client.handle().link().borrow();
        let lost = matches!(link, Link::Down { since_ms } if now_ms - since_ms >= LOST_LINK_PAUSES_MS);
        let playing = !self.held && !lost;
        if playing != self.player.playing {
            self.player.set_playing(now_ms, playing);
            self.report(if playing { PlaybackEvent::Play } else { PlaybackEvent::Pause }).await;
        }
    }

    async fn report(&mut self, event: PlaybackEvent) {
        let player = self.player.state(self.clock.now_ms());
        self.send(Event::Playback { event, from_ms: None, player }).await;
    }

    async fn send(&mut self, event: Event) {
        let data = serde_json::from_str(event.data().get()).unwrap();
        self.sent.push((event.kind().to_owned(), data));
        self.client.handle().send_event(event).await.unwrap();
    }
}

/// Follows the acknowledgements to the end; none may ever be taken back.
async fn highest_acknowledged(mut acknowledged: watch::Receiver<u64>, heard: Arc<Notify>) -> u64 {
    let mut highest = 0;
    loop {
        let now = *acknowledged.borrow_and_update();
        assert!(now >= highest, "{highest} was acknowledged, and then only {now}");
        highest = now;
        if acknowledged.changed().await.is_err() {
            return highest;
        }
        heard.notify_waiters();
    }
}
