//! Those who want the hours without the time: faster, further, or without any film at all.

use super::Seat;
use crate::demo::desk::{Habits, Over, Reports};
use crate::demo::world::Place;
use crate::gateway::wire::LeaveReason;

const RATE: f64 = 4.0;

/// Sets the player to four times the speed.
pub(super) async fn hurries(seat: Seat) -> Result<(), Over> {
    let habits = seat.honest_habits();
    hurry(&seat, habits).await
}

/// The same, in a page whose player always claims the normal rate.
pub(super) async fn hurries_and_lies(seat: Seat) -> Result<(), Over> {
    let habits = Habits { reports: Reports::NormalRate, ..seat.honest_habits() };
    hurry(&seat, habits).await
}

async fn hurry(seat: &Seat, habits: Habits) -> Result<(), Over> {
    let mut desk = seat.begin(Place::First, habits).await?;
    desk.play().await?;
    desk.watch_to(5_000).await?;
    desk.set_rate(RATE).await?;
    desk.watch_to_end().await?;
    desk.leave(LeaveReason::Completed).await
}

/// Has no player: posts progress for the whole film within seconds, and no photo.
pub(super) async fn forges(seat: Seat) -> Result<(), Over> {
    let habits = Habits { answers: false, camera: None, ..seat.restless_habits() };
    let mut desk = seat.begin(Place::First, habits).await?;
    for tenth in 0..=10 {
        desk.forge_progress(desk.duration_ms() * tenth / 10).await?;
        desk.wait(500).await?;
    }
    desk.leave(LeaveReason::Completed).await
}

/// Watches a little, then drags the player nearly to the end.
pub(super) async fn jumps(seat: Seat) -> Result<(), Over> {
    let mut desk = seat.begin(Place::First, seat.honest_habits()).await?;
    desk.play().await?;
    desk.watch_to(30_000).await?;
    desk.seek(desk.duration_ms() - 10_000).await?;
    desk.watch_to_end().await?;
    desk.leave(LeaveReason::Completed).await
}
