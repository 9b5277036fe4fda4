//! Those who learn: nothing that happens to them may be held against them.

use super::Seat;
use crate::demo::desk::Over;
use crate::demo::world::Place;
use crate::gateway::wire::LeaveReason;

/// Watches the lesson, answers what is asked, looks into the camera.
pub(super) async fn watches(seat: Seat) -> Result<(), Over> {
    learns(seat, Place::First).await
}

/// The same at the platform that looks more closely.
pub(super) async fn is_looked_at_closely(seat: Seat) -> Result<(), Over> {
    learns(seat, Place::Close).await
}

async fn learns(seat: Seat, place: Place) -> Result<(), Over> {
    let mut desk = seat.begin(place, seat.honest_habits()).await?;
    desk.play().await?;
    desk.watch_to_end().await?;
    desk.leave(LeaveReason::Completed).await
}

/// The same, on a network that is gone again and again. Once it stays away so long that the page stops the player.
pub(super) async fn is_cut_off(seat: Seat) -> Result<(), Over> {
    let mut desk = seat.begin(Place::First, seat.honest_habits()).await?;
    desk.play().await?;
    for (pos_ms, gone_ms) in
        [(40_000, 5_000), (110_000, 12_000), (190_000, 25_000), (260_000, 8_000), (330_000, 18_000)]
    {
        desk.watch_to(pos_ms).await?;
        desk.cut_network(gone_ms).await?;
    }
    desk.watch_to_end().await?;
    desk.leave(LeaveReason::Completed).await
}

/// Answers the telephone, goes back to what was missed, and later looks something up again.
pub(super) async fn rewinds(seat: Seat) -> Result<(), Over> {
    let mut desk = seat.begin(Place::First, seat.honest_habits()).await?;
    desk.play().await?;
    desk.watch_to(90_000).await?;
    desk.pause().await?;
    desk.wait(40_000).await?;
    desk.seek(75_000).await?;
    desk.play().await?;
    desk.watch_to(200_000).await?;
    desk.seek(120_000).await?;
    desk.wait(15_000).await?;
    desk.seek(200_000).await?;
    desk.watch_to_end().await?;
    desk.leave(LeaveReason::Completed).await
}
