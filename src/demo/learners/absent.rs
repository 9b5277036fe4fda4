//! Those who are not there: nobody answers, nobody sits in the chair, or somebody else does.

use super::Seat;
use crate::demo::course::LESSON_MS;
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
    shows_no_learner(seat, Place::First, 240_000).await
}

/// The same, where photos are looked at more closely.
pub(super) async fn at_the_third_platform(seat: Seat) -> Result<(), Over> {
    shows_no_learner(seat, Place::Close, LESSON_MS).await
}

async fn shows_no_learner(seat: Seat, place: Place, to_pos_ms: i64) -> Result<(), Over> {
    let mut desk = seat.begin(place, seat.restless_habits()).await?;
    desk.play().await?;
    desk.watch_to(to_pos_ms).await?;
    desk.leave(LeaveReason::Left).await
}

/// Is there, as far as the photos show, but the camera is a program: a person must look.
pub(super) async fn behind_a_program(seat: Seat) -> Result<(), Over> {
    let mut desk = seat.begin(Place::First, seat.honest_habits()).await?;
    desk.find_virtual_camera().await?;
    desk.play().await?;
    desk.watch_to_end().await?;
    desk.leave(LeaveReason::Completed).await
}
