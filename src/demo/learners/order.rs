//! Those who learn, but not what or when they should.

use super::Seat;
use crate::demo::desk::Over;
use crate::demo::world::Place;
use crate::gateway::wire::LeaveReason;

/// Begins with the second lesson.
pub(super) async fn second_lesson_first(seat: Seat) -> Result<(), Over> {
    let mut desk = seat.begin(Place::Second, seat.honest_habits()).await?;
    desk.play().await?;
    desk.wait(120_000).await?;
    desk.leave(LeaveReason::Left).await
}

/// Has two minutes left of what may be learned online, and would watch the whole lesson: the server ends it.
pub(super) async fn to_the_quota(seat: Seat) -> Result<(), Over> {
    let mut desk = seat.begin(Place::Small, seat.honest_habits()).await?;
    desk.play().await?;
    desk.watch_to_end().await?;
    desk.leave(LeaveReason::Completed).await
}
