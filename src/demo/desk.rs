//! A learner's desk: player, camera and page, and the habits of whoever sits there.
//!
//! The scripts in `learners` say what somebody does, as in "play, watch to the second minute, cut the cable"; the desk
//! does meanwhile what a page does by itself: heartbeats, prompts, photos, pausing when it is told to. What a cheat
//! does differently is in [`Habits`] and in the script, never in here.

use std::collections::HashSet;

use tokio::sync::watch;

use super::camera::Camera;
use super::course;
use super::progress::Progress;
use crate::client::{Client, Ended, Event, Link, PlaybackEvent, PlayerState};
use crate::clock::{Clock, Entropy};
use crate::demo::player::Player;
use crate::gateway::wire::{Capture, LeaveReason, Prompt, ServerMessage, Welcome};
use crate::vision::burst::{self, Frame};

/// An honest page stops the player when the server could not be reached for so long.
const LOST_LINK_PAUSES_MS: i64 = 20_000;
/// Nobody sits longer than this in front of a lesson of six minutes.
const PATIENCE_MS: i64 = 600_000;
/// A server that waits for a photo first takes up to a minute and a half for the verdict.
const VERDICT_WITHIN_MS: i64 = 120_000;
/// How long a person takes, ms, between the two: to read and answer a question, for the page to take a photo, to come
/// back to a paused player.
const ANSWER_MS: [i64; 2] = [4_000, 12_000];
const PHOTO_MS: [i64; 2] = [1_000, 3_000];
const READY_MS: [i64; 2] = [2_000, 5_000];

/// The photos as a page sends them, each taken so long after the one before.
fn submission(photos: &[Vec<u8>], every_ms: i64) -> Vec<u8> {
    let every_ms = u32::try_from(every_ms).unwrap_or(u32::MAX);
    let at_ms = (0..).map(|number: u32| number.saturating_mul(every_ms));
    let frames: Vec<Frame<'_>> = at_ms.zip(photos).map(|(at_ms, photo)| Frame { at_ms, photo }).collect();
    burst::compose(&frames)
}

/// What somebody does without being told.
#[derive(Debug, Clone)]
pub struct Habits {
    /// answers prompts, rightly
    pub answers: bool,
    /// stops the player when the server says so, and when the connection is lost
    pub obeys: bool,
    /// what the page reports of the player
    pub reports: Reports,
    /// what the camera sees; none: photos are not taken
    pub camera: Option<Camera>,
}

/// What a page reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reports {
    /// What is.
    Truth,
    /// Always the normal rate.
    NormalRate,
}

/// The session has ended, or cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over;

impl From<Ended> for Over {
    fn from(_: Ended) -> Self {
        Self
    }
}

/// Something to do later, as people do.
#[derive(Debug)]
enum Duty {
    Answer { prompt: String, answer: String },
    Photo(Capture),
    Ready,
}

/// Until when a script waits.
#[derive(Debug, Clone, Copy)]
enum Until {
    Time(i64),
    Position(i64),
}

/// One session of one learner.
pub struct Desk {
    session: String,
    client: Client,
    link: watch::Receiver<Link>,
    clock: Clock,
    entropy: Entropy,
    player: Player,
    habits: Habits,
    progress: Progress,
    wants_to_play: bool,
    /// the server asked for a pause
    held: bool,
    visible: bool,
    duties: Vec<(i64, Duty)>,
    /// prompts that were seen: after a reconnect they come again
    prompts: HashSet<String>,
    heartbeat_ms: i64,
    next_heartbeat_at_ms: i64,
    patience_ends_at_ms: i64,
}

impl Desk {
    /// Sits down: waits for the welcome, and says that the page is there. The player stands still.
    ///
    /// # Errors
    /// When the session ended before it began.
    pub async fn sit_down(
        mut client: Client,
        clock: Clock,
        entropy: Entropy,
        habits: Habits,
        progress: Progress,
    ) -> Result<Self, Over> {
        let welcome = loop {
            match client.next().await.ok_or(Over)? {
                ServerMessage::Welcome(welcome) => break welcome,
                ServerMessage::Error(error) => progress.note_error(&error),
                _ => {}
            }
        };
        let now_ms = clock.now_ms();
        let mut desk = Self {
            session: welcome.session.clone(),
            link: client.handle().link(),
            client,
            player: Player::new(welcome.duration_ms, welcome.position_ms, now_ms),
            clock,
            entropy,
            habits,
            progress,
            wants_to_play: false,
            held: false,
            visible: true,
            duties: Vec::new(),
            prompts: HashSet::new(),
            heartbeat_ms: welcome.heartbeat_ms,
            next_heartbeat_at_ms: now_ms + welcome.heartbeat_ms,
            patience_ends_at_ms: now_ms + PATIENCE_MS,
        };
        desk.welcomed(&welcome);
        desk.show_page(true).await?;
        desk.send(Event::Windows { count: 1 }).await?;
        Ok(desk)
    }

    /// Length of the lesson, ms.
    pub fn duration_ms(&self) -> i64 {
        self.player.duration_ms()
    }

    /// Presses play.
    pub async fn play(&mut self) -> Result<(), Over> {
        self.wants_to_play = true;
        self.adjust_player().await
    }

    /// Presses pause.
    pub async fn pause(&mut self) -> Result<(), Over> {
        self.wants_to_play = false;
        self.adjust_player().await
    }

    /// Drags the player to a position, ms.
    pub async fn seek(&mut self, to_ms: i64) -> Result<(), Over> {
        let now_ms = self.clock.now_ms();
        let from_ms = self.player.seek(now_ms, to_ms);
        self.report(now_ms, PlaybackEvent::Seek, Some(from_ms)).await
    }

    /// Plays faster or slower.
    pub async fn set_rate(&mut self, rate: f64) -> Result<(), Over> {
        let now_ms = self.clock.now_ms();
        self.player.set_rate(now_ms, rate);
        self.report(now_ms, PlaybackEvent::Rate, None).await
    }

    /// Hides the page behind another, or brings it back.
    pub async fn show_page(&mut self, visible: bool) -> Result<(), Over> {
        self.visible = visible;
        let now_ms = self.clock.now_ms();
        let player = self.as_reported(now_ms);
        self.send_at(now_ms, Event::Page { visible, focused: visible, player }).await
    }

    /// Pulls the network cable out, for so long.
    pub async fn cut_network(&mut self, for_ms: i64) -> Result<(), Over> {
        Ok(self.client.handle().cut(for_ms).await?)
    }

    /// Reports a position that no player ever had.
    pub async fn forge_progress(&mut self, pos_ms: i64) -> Result<(), Over> {
        let player = PlayerState { playing: true, pos_ms, rate: 1.0 };
        self.send(Event::Playback { event: PlaybackEvent::Progress, from_ms: None, player }).await
    }

    /// The page finds that the camera is a program.
    pub async fn find_virtual_camera(&mut self) -> Result<(), Over> {
        self.send(Event::Tamper { what: "virtual_camera".to_owned() }).await
    }

    /// Sits there for so long.
    pub async fn wait(&mut self, for_ms: i64) -> Result<(), Over> {
        self.live(Until::Time(self.clock.now_ms() + for_ms)).await
    }

    /// Sits there until the player stands at `pos_ms`, or until patience ends.
    pub async fn watch_to(&mut self, pos_ms: i64) -> Result<(), Over> {
        self.live(Until::Position(pos_ms)).await
    }

    /// Watches to the end of the lesson.
    pub async fn watch_to_end(&mut self) -> Result<(), Over> {
        self.watch_to(self.duration_ms()).await?;
        self.wants_to_play = false;
        let now_ms = self.clock.now_ms();
        self.player.set_playing(now_ms, false);
        self.report(now_ms, PlaybackEvent::Ended, None).await
    }

    /// Ends the session and waits for its verdict, which ends the desk: so `Over` is what is hoped for here.
    pub async fn leave(mut self, reason: LeaveReason) -> Result<(), Over> {
        self.pause().await?;
        self.client.handle().close(reason).await?;
        let _ = self.wait(VERDICT_WITHIN_MS).await;
        Ok(())
    }

    async fn live(&mut self, until: Until) -> Result<(), Over> {
        let lived = self.live_on(until).await;
        if matches!(*self.link.borrow(), Link::Ended(_)) {
            // The end is noticed by what can no longer be sent, perhaps before the verdict was read.
            while let Some(message) = self.client.next().await {
                if let ServerMessage::Closed(closed) = message {
                    self.progress.closed(self.session.clone(), closed);
                }
            }
        }
        lived
    }

    async fn live_on(&mut self, until: Until) -> Result<(), Over> {
        loop {
            let now_ms = self.clock.now_ms();
            self.do_what_is_due(now_ms).await?;
            self.progress.at(self.player.state(now_ms), matches!(*self.link.borrow(), Link::Down { .. }));
            let wake_at_ms = match until {
                Until::Time(at_ms) if at_ms <= now_ms => return Ok(()),
                Until::Position(pos_ms) if self.player.pos_ms(now_ms) >= pos_ms => return Ok(()),
                _ if now_ms >= self.patience_ends_at_ms => return Err(Over),
                Until::Time(at_ms) => self.wake_at_ms(at_ms),
                Until::Position(pos_ms) => self.wake_at_ms(self.player.reaches_at_ms(pos_ms).unwrap_or(i64::MAX)),
            };
            tokio::select! {
                message = self.client.next() => self.hear(message.ok_or(Over)?).await?,
                _ = self.link.changed() => {}
                () = self.clock.sleep_until_ms(wake_at_ms) => {}
            }
        }
    }

    fn wake_at_ms(&self, goal_at_ms: i64) -> i64 {
        let duty_at_ms = self.duties.iter().map(|(at_ms, _)| *at_ms).min().unwrap_or(i64::MAX);
        goal_at_ms.min(duty_at_ms).min(self.next_heartbeat_at_ms).min(self.patience_ends_at_ms)
    }

    async fn do_what_is_due(&mut self, now_ms: i64) -> Result<(), Over> {
        self.adjust_player().await?;
        if now_ms >= self.next_heartbeat_at_ms {
            self.next_heartbeat_at_ms = now_ms + self.heartbeat_ms;
            let player = self.as_reported(now_ms);
            self.send_at(now_ms, Event::Heartbeat(player)).await?;
        }
        while let Some(index) = self.duties.iter().position(|(at_ms, _)| *at_ms <= now_ms) {
            let (_, duty) = self.duties.swap_remove(index);
            self.perform(duty).await?;
        }
        Ok(())
    }

    async fn perform(&mut self, duty: Duty) -> Result<(), Over> {
        match duty {
            Duty::Answer { prompt, answer } => self.send(Event::PromptAnswered { prompt, answer }).await,
            Duty::Ready => Ok(self.client.handle().ready().await?),
            Duty::Photo(capture) => {
                let Some(camera) = &self.habits.camera else { return Ok(()) };
                let Some(photos) = camera.photos(&capture).await else { return Ok(()) };
                self.progress.photo_taken();
                let submission = submission(&photos, capture.frame_every_ms);
                Ok(self.client.handle().send_photo(capture, submission).await?)
            }
        }
    }

    /// Makes the player do what the learner wants, as far as the server and the network let it.
    async fn adjust_player(&mut self) -> Result<(), Over> {
        let now_ms = self.clock.now_ms();
        let stopped = self.habits.obeys && (self.held || self.link_lost(now_ms));
        let playing = self.wants_to_play && !stopped;
        if playing == self.player.playing() {
            return Ok(());
        }
        self.player.set_playing(now_ms, playing);
        let event = if playing { PlaybackEvent::Play } else { PlaybackEvent::Pause };
        self.report(now_ms, event, None).await
    }

    fn link_lost(&self, now_ms: i64) -> bool {
        matches!(*self.link.borrow(), Link::Down { since_ms } if now_ms - since_ms >= LOST_LINK_PAUSES_MS)
    }

    async fn hear(&mut self, message: ServerMessage) -> Result<(), Over> {
        match message {
            ServerMessage::Welcome(welcome) => self.welcomed(&welcome),
            ServerMessage::Prompt(prompt) => self.prompted(prompt),
            ServerMessage::Capture(capture) => {
                // Asked again after a reconnect: the newest deadline counts.
                self.duties.retain(|(_, duty)| !matches!(duty, Duty::Photo(old) if old.capture == capture.capture));
                let burst_ms = (capture.frames - 1).max(0) * capture.frame_every_ms;
                self.later(PHOTO_MS.map(|ms| ms + burst_ms), Duty::Photo(capture));
            }
            ServerMessage::Pause { .. } => self.hold(),
            ServerMessage::Play => self.held = false,
            ServerMessage::PromptClosed { outcome, .. } => self.progress.prompt_closed(&outcome),
            ServerMessage::CaptureClosed { outcome, .. } => self.progress.capture_closed(&outcome),
            ServerMessage::Warning { rule, cause, since_ms: None } => self.progress.warned(&rule, cause.as_deref()),
            ServerMessage::Error(error) => self.progress.note_error(&error),
            ServerMessage::Closed(closed) => {
                self.progress.closed(self.session.clone(), closed);
                return Err(Over);
            }
            _ => {}
        }
        Ok(())
    }

    fn prompted(&mut self, prompt: Prompt) {
        if !self.prompts.insert(prompt.prompt.clone()) {
            return;
        }
        self.progress.prompted();
        if let Some(answer) = course::right_answer(&prompt.text).filter(|_| self.habits.answers) {
            self.later(ANSWER_MS, Duty::Answer { prompt: prompt.prompt, answer: answer.to_owned() });
        }
    }

    fn welcomed(&mut self, welcome: &Welcome) {
        self.heartbeat_ms = welcome.heartbeat_ms;
        if welcome.pause.is_some() {
            self.hold();
        } else {
            self.held = false;
        }
    }

    fn hold(&mut self) {
        self.held = true;
        // Who does not stop need not say that they are back.
        if self.habits.obeys && !self.duties.iter().any(|(_, duty)| matches!(duty, Duty::Ready)) {
            self.later(READY_MS, Duty::Ready);
        }
    }

    fn later(&mut self, [min_ms, max_ms]: [i64; 2], duty: Duty) {
        let drawn = u64::from_le_bytes(self.entropy.bytes()) % (max_ms - min_ms + 1) as u64;
        self.duties.push((self.clock.now_ms() + min_ms + drawn as i64, duty));
    }

    async fn report(&mut self, now_ms: i64, event: PlaybackEvent, from_ms: Option<i64>) -> Result<(), Over> {
        let player = self.as_reported(now_ms);
        self.send_at(now_ms, Event::Playback { event, from_ms, player }).await
    }

    fn as_reported(&self, now_ms: i64) -> PlayerState {
        let state = self.player.state(now_ms);
        match self.habits.reports {
            Reports::Truth => state,
            Reports::NormalRate => PlayerState { rate: 1.0, ..state },
        }
    }

    async fn send(&mut self, event: Event) -> Result<(), Over> {
        self.send_at(self.clock.now_ms(), event).await
    }

    async fn send_at(&mut self, now_ms: i64, event: Event) -> Result<(), Over> {
        let handle = self.client.handle();
        Ok(handle.send_event_at(handle.ct_at(now_ms), event).await?)
    }
}
