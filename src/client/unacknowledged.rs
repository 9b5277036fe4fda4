//! Events that the server has not acknowledged: numbered, replayed after a reconnect, forgotten once they are on disk.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde_json::value::RawValue;

use super::event::Event;
use crate::gateway::wire::{ClientEvent, ClientMessage};

/// Events kept at most: an hour of a connection that is down, at a heartbeat every five seconds, five times over.
const EVENTS_LIMIT: usize = 4_096;

/// Names an event for as long as this client lives; its `seq` is only known once the server has said where the
/// session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

#[derive(Debug, Default)]
pub(super) struct Unacknowledged {
    kept: VecDeque<Kept>,
    /// events forgotten since this client began, because they were acknowledged
    forgotten: u64,
    /// the `seq` of the event before the first that is kept; none before the first welcome
    acknowledged: Option<u64>,
    /// how many of those kept were sent on this connection
    sent: usize,
    newest_ct: i64,
    lost: Option<Lost>,
}

#[derive(Debug)]
struct Kept {
    ct: i64,
    kind: &'static str,
    data: Box<RawValue>,
}

#[derive(Debug)]
struct Lost {
    count: u64,
    from_ct: i64,
    to_ct: i64,
}

impl Unacknowledged {
    /// Takes an event that happened at `ct`. When too many wait it is lost, and a `gap` will say so.
    pub(super) fn push(&mut self, ct: i64, event: &Event) -> Option<Ticket> {
        let ct = ct.max(self.newest_ct);
        if self.kept.len() >= EVENTS_LIMIT {
            let lost = self.lost.get_or_insert(Lost { count: 0, from_ct: ct, to_ct: ct });
            lost.count += 1;
            lost.to_ct = ct;
            return None;
        }
        if let Some(Lost { count, from_ct, to_ct }) = self.lost.take() {
            self.keep(ct, &Event::Gap { lost: count, from_ct, to_ct });
        }
        Some(self.keep(ct, event))
    }

    fn keep(&mut self, ct: i64, event: &Event) -> Ticket {
        self.newest_ct = ct;
        self.kept.push_back(Kept { ct, kind: event.kind(), data: event.data() });
        Ticket(self.forgotten + self.kept.len() as u64)
    }

    /// The server has everything up to `seq` on disk.
    pub(super) fn acknowledge(&mut self, seq: u64) {
        let Some(before) = self.acknowledged.filter(|before| *before < seq) else { return };
        let count = ((seq - before) as usize).min(self.kept.len());
        self.kept.drain(..count);
        self.forgotten += count as u64;
        self.sent = self.sent.saturating_sub(count);
        self.acknowledged = Some(seq);
    }

    /// A connection begins: everything that the server lacks is to be sent again.
    pub(super) fn resume(&mut self, acknowledged: u64) {
        self.sent = 0;
        match self.acknowledged {
            // What was kept before the first welcome is new to the server, wherever it stands.
            None => self.acknowledged = Some(acknowledged),
            Some(_) => self.acknowledge(acknowledged),
        }
    }

    /// The next message to send on this connection.
    pub(super) fn next_to_send(&mut self) -> Option<String> {
        let first = self.acknowledged? + 1;
        let kept = self.kept.get(self.sent)?;
        let event = ClientEvent {
            seq: first + self.sent as u64,
            ct: kept.ct,
            kind: Cow::Borrowed(kept.kind),
            data: &kept.data,
        };
        self.sent += 1;
        let text = serde_json::to_string(&ClientMessage::Event(event));
        Some(text.expect("the data is JSON already"))
    }

    /// Whether the server has that event on disk.
    pub(super) fn is_acknowledged(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.forgotten
    }

    /// The highest `seq` that was seen acknowledged; 0: none.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(count: u32) -> Event {
        Event::Windows { count }
    }

    fn sent(events: &mut Unacknowledged) -> Vec<String> {
        std::iter::from_fn(|| events.next_to_send()).collect()
    }

    #[test]
    fn events_wait_for_the_welcome_and_are_numbered_by_it() {
        let mut events = Unacknowledged::default();
        events.push(10, &windows(1));
        events.push(7, &windows(2));
        assert!(sent(&mut events).is_empty());
        events.resume(40);
        assert_eq!(
            sent(&mut events),
            [
                r#"{"seq":41,"ct":10,"type":"windows","data":{"count":1}}"#,
                r#"{"seq":42,"ct":10,"type":"windows","data":{"count":2}}"#
            ]
        );
        assert!(sent(&mut events).is_empty());
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again() {
        let mut events = Unacknowledged::default();
        events.resume(0);
        let tickets: Vec<_> = (1..=3).filter_map(|count| events.push(0, &windows(count))).collect();
        assert_eq!(sent(&mut events).len(), 3);
        events.acknowledge(1);
        assert!(events.is_acknowledged(tickets[0]) && !events.is_acknowledged(tickets[1]));
        events.resume(2);
        assert_eq!(sent(&mut events), [r#"{"seq":3,"ct":0,"type":"windows","data":{"count":3}}"#]);
        events.acknowledge(2);
        assert_eq!(events.acknowledged(), 2);
    }

    #[test]
    fn a_full_buffer_leaves_one_gap() {
        let mut events = Unacknowledged::default();
        events.resume(0);
        for ct in 0..EVENTS_LIMIT as i64 + 3 {
            events.push(ct, &windows(1));
        }
        assert_eq!(sent(&mut events).len(), EVENTS_LIMIT);
        events.acknowledge(2);
        events.push(5_000, &windows(1));
        assert_eq!(
            sent(&mut events),
            [
                r#"{"seq":4097,"ct":5000,"type":"gap","data":{"lost":3,"from_ct":4096,"to_ct":4098}}"#,
                r#"{"seq":4098,"ct":5000,"type":"windows","data":{"count":1}}"#
            ]
        );
    }
}
