//! Those who are not there: nobody answers, nobody sits in the chair, or somebody else does.

use super::Seat;
use crate::demo::desk::{Habits, Over};
use crate::demo::world::Place;
use crate::gateway::wire::LeaveReason;

/// Lets the film play to its end; a face is in front of the camera, but no prompt is ever answered.
pub(super) async fn answers_nothing(seat: Seat) -> Result<(), Over> {
    let habits = Habits { answers: false, ..seat.restless_habits() };
    let mut desk = seat.begin(Place::First, habits).await?;
    desk.play().await?;
    desk.watch_to_end().await?;
    desk.leave(LeaveReason::Completed).await
}

/// Begins anew before anything can become of a prompt: what the sessions leave behind adds up all the same.
pub(super) async fn short_sessions(seat: Seat) -> Result<(), Over> {
    for _ in 0..7 {
        let habits = Habits { answers: false, ..seat.restless_habits() };
        let mut desk = seat.begin(Place::First, habits).await?;
        desk.play().await?;
        desk.wait(55_000).await?;
        desk.leave(LeaveReason::Left).await?;
    }
    Ok(())
}

/// Does everything right, except that the camera does not show who is enrolled.
pub(super) async fn in_front_of_the_camera(seat: Seat) -> Result<(), Over> {
    let mut desk = seat.begin(Place::First, seat.restless_habits()).await?;
    desk.play().await?;
    desk.watch_to(240_000).await?;
    desk.leave(LeaveReason::Left).await
}
