//! A video player without a picture: where it stands follows from a clock and from what was done to it.
//!
//! It tells the truth. Learners who lie do so when they report what it says.

use crate::client::PlayerState;

/// A player of one lesson. Times are ms on the session's clock, positions ms of media.
#[derive(Debug, Clone)]
pub struct Player {
    duration_ms: i64,
    playing: bool,
    rate: f64,
    /// where it stood
    from_pos_ms: i64,
    /// when it stood there
    from_at_ms: i64,
}

impl Player {
    /// A player that stands still at `pos_ms`.
    pub fn new(duration_ms: i64, pos_ms: i64, now_ms: i64) -> Self {
        Self { duration_ms, playing: false, rate: 1.0, from_pos_ms: pos_ms.clamp(0, duration_ms), from_at_ms: now_ms }
    }

    /// Length of the lesson.
    pub fn duration_ms(&self) -> i64 {
        self.duration_ms
    }

    /// Whether it runs.
    pub fn playing(&self) -> bool {
        self.playing
    }

    /// Where it stands. At the end it stays there.
    pub fn pos_ms(&self, now_ms: i64) -> i64 {
        if !self.playing {
            return self.from_pos_ms;
        }
        let played_ms = (now_ms - self.from_at_ms).max(0) as f64 * self.rate;
        (self.from_pos_ms + played_ms as i64).min(self.duration_ms)
    }

    /// What it shows.
    pub fn state(&self, now_ms: i64) -> PlayerState {
        PlayerState { playing: self.playing, pos_ms: self.pos_ms(now_ms), rate: self.rate }
    }

    /// Starts it, or stops it.
    pub fn set_playing(&mut self, now_ms: i64, playing: bool) {
        self.settle(now_ms);
        self.playing = playing;
    }

    /// Plays faster or slower from now on.
    pub fn set_rate(&mut self, now_ms: i64, rate: f64) {
        self.settle(now_ms);
        self.rate = rate;
    }

    /// Jumps, and says from where.
    pub fn seek(&mut self, now_ms: i64, to_ms: i64) -> i64 {
        self.settle(now_ms);
        std::mem::replace(&mut self.from_pos_ms, to_ms.clamp(0, self.duration_ms))
    }

    /// When it will stand at `pos_ms`, if it goes on as it does. Never, when it stands still before that.
    pub fn reaches_at_ms(&self, pos_ms: i64) -> Option<i64> {
        let left_ms = pos_ms.min(self.duration_ms) - self.from_pos_ms;
        if left_ms <= 0 {
            return Some(self.from_at_ms);
        }
        self.playing.then(|| self.from_at_ms + (left_ms as f64 / self.rate).ceil() as i64)
    }

    fn settle(&mut self, now_ms: i64) {
        self.from_pos_ms = self.pos_ms(now_ms);
        self.from_at_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_follows_the_clock() {
        let mut player = Player::new(60_000, 0, 1_000);
        assert_eq!(player.pos_ms(5_000), 0);
        assert_eq!(player.reaches_at_ms(10), None);
        player.set_playing(5_000, true);
        assert_eq!(player.pos_ms(15_000), 10_000);
        assert_eq!(player.reaches_at_ms(30_000), Some(35_000));
        player.set_rate(15_000, 4.0);
        assert_eq!(player.pos_ms(20_000), 30_000);
        assert_eq!(player.reaches_at_ms(90_000), Some(27_500), "the end");
        assert_eq!(player.pos_ms(99_000), 60_000);
    }

    #[test]
    fn pausing_and_seeking() {
        let mut player = Player::new(60_000, 0, 0);
        player.set_playing(0, true);
        player.set_playing(10_000, false);
        assert_eq!(player.state(50_000), PlayerState { playing: false, pos_ms: 10_000, rate: 1.0 });
        assert_eq!(player.seek(50_000, 5_000), 10_000);
        player.set_playing(60_000, true);
        assert_eq!(player.pos_ms(61_000), 6_000);
        assert_eq!(player.seek(61_000, 999_999), 6_000);
        assert_eq!(player.pos_ms(61_000), 60_000);
    }
}
