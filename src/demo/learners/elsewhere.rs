//! Those who are busy with something else: another course, another page.

use super::Seat;
use crate::demo::desk::{Habits, Over};
use crate::demo::world::Place;
use crate::gateway::wire::LeaveReason;

/// Lets two platforms' lessons play at the same time. Either session must come to know.
pub(super) async fn two_platforms(seat: Seat) -> Result<(), Over> {
    let here = watch_a_while(&seat, Place::First);
    let there = watch_a_while(&seat, Place::Elsewhere);
    let (here, there) = tokio::join!(here, there);
    here.and(there)
}

async fn watch_a_while(seat: &Seat, place: Place) -> Result<(), Over> {
    let mut desk = seat.begin(place, seat.honest_habits()).await?;
    desk.play().await?;
    desk.wait(200_000).await?;
    desk.leave(LeaveReason::Left).await
}

/// Hides the page and reads something else while the film plays on.
pub(super) async fn hides(seat: Seat) -> Result<(), Over> {
    let habits = Habits { obeys: false, ..seat.honest_habits() };
    let mut desk = seat.begin(Place::First, habits).await?;
    desk.play().await?;
    desk.watch_to(60_000).await?;
    desk.show_page(false).await?;
    desk.wait(60_000).await?;
    desk.show_page(true).await?;
    desk.watch_to_end().await?;
    desk.leave(LeaveReason::Completed).await
}
