//! When an event happened: the client's clock, tied to the server's (docs/rules.md, section 3).
//!
//! The server's clock is the authority. The client's only tells how long before its arrival an event happened, and
//! never more than its last connection lets it.

use serde::{Deserialize, Serialize};

/// Where the two clocks were last seen together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The client's clock, ms.
    pub ct: i64,
    /// The server's clock, ms.
    pub at: i64,
    /// Whether a `clock.synced` of this connection set it, and not only the hello.
    pub synced: bool,
}

impl Anchor {
    /// How far the client's clock has come ahead of the server's since, ms.
    fn lead(&self, ct: i64, at: i64) -> i64 {
        (ct - self.ct) - (at - self.at)
    }
}

/// The present tie between the clocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockMap {
    anchor: Option<Anchor>,
    /// The time of the client event before, or of the opening: no client event happens before it.
    earliest_t: i64,
}

impl ClockMap {
    /// The tie between the clocks, once there has been a connection.
    pub fn anchor(&self) -> Option<Anchor> {
        self.anchor
    }

    /// The session was opened.
    pub fn opened(&mut self, at: i64) {
        self.earliest_t = at;
    }

    /// A client said hello.
    pub fn connected(&mut self, ct: i64, at: i64) {
        self.anchor = Some(Anchor { ct, at, synced: false });
    }

    /// A client answered a ping. Returns the lead when there is one to judge: not for the first of a connection.
    pub fn synced(&mut self, ct: i64, at: i64) -> Option<i64> {
        let anchor = self.anchor.as_mut()?;
        if !anchor.synced {
            *anchor = Anchor { ct, at, synced: true };
            return None;
        }
        let lead = anchor.lead(ct, at);
        // Clocks drift apart by up to 0.2 %, and a ping takes a while; a client that slept is behind.
        if lead <= (at - anchor.at) / 500 + 200 {
            *anchor = Anchor { ct, at, synced: true };
        }
        Some(lead)
    }

    /// The lead of a client event, once the connection's clock is synced.
    pub fn lead(&self, ct: i64, at: i64) -> Option<i64> {
        self.anchor.filter(|anchor| anchor.synced).map(|anchor| anchor.lead(ct, at))
    }

    /// When a client event happened that was accepted at `at`.
    pub fn client_time(&mut self, ct: i64, at: i64) -> i64 {
        let mapped = self.anchor.map_or(at, |anchor| at.min(anchor.at + (ct - anchor.ct)));
        self.earliest_t = self.earliest_t.max(mapped);
        self.earliest_t
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected() -> ClockMap {
        let mut clock = ClockMap::default();
        clock.opened(1_000);
        clock.connected(70, 2_000);
        clock
    }

    #[test]
    fn the_first_sync_replaces_a_slow_hello() {
        let mut clock = connected();
        assert_eq!(clock.lead(99_999, 2_000), None);
        assert_eq!(clock.synced(5_000, 2_500), None);
        assert_eq!(clock.client_time(6_000, 9_000), 3_500);
    }

    #[test]
    fn a_client_event_happens_neither_in_the_future_nor_before_the_last() {
        let mut clock = connected();
        clock.synced(70, 2_000);
        assert_eq!(clock.client_time(1_070, 2_900), 2_900);
        assert_eq!(clock.client_time(70, 5_000), 2_900);
        assert_eq!(clock.client_time(-9_000_000, 5_000), 2_900);
    }

    #[test]
    fn without_a_connection_the_time_is_that_of_arrival() {
        let mut clock = ClockMap::default();
        clock.opened(1_000);
        assert_eq!(clock.client_time(5, 1_700), 1_700);
        assert_eq!(clock.synced(5, 1_800), None);
        assert_eq!(clock.anchor(), None);
    }

    #[test]
    fn a_later_sync_follows_drift_but_not_a_fast_clock() {
        let mut clock = connected();
        clock.synced(0, 10_000);
        assert_eq!(clock.synced(100_400, 110_000), Some(400));
        assert_eq!(clock.anchor().map(|anchor| anchor.at), Some(110_000));
        assert_eq!(clock.synced(200_801, 210_000), Some(401));
        assert_eq!(clock.anchor().map(|anchor| anchor.at), Some(110_000));
        // Having slept, the client is far behind: the anchor follows.
        assert_eq!(clock.synced(200_802, 900_000), Some(-689_598));
        assert_eq!(clock.anchor().map(|anchor| anchor.at), Some(900_000));
    }
}
