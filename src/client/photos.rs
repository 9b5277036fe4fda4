//! Photos on their way: committed to, sent once the commitment is on disk, kept until the server has the bytes.

use ring::digest::{SHA256, digest};

use super::event::Event;
use super::unacknowledged::{Ticket, Unacknowledged};
use crate::gateway::wire::{Capture, ErrorCode, PhotoHeader};

#[derive(Debug, Default)]
pub(super) struct Photos(Vec<Photo>);

#[derive(Debug)]
struct Photo {
    capture: String,
    nonce: String,
    bytes: Vec<u8>,
    commitment: Ticket,
    /// whether the server waits for the bytes on this connection
    wanted: bool,
}

impl Photos {
    /// Commits to a photo. A second one for the same capture is dropped: an answer counts once.
    pub(super) fn submit(&mut self, events: &mut Unacknowledged, ct: i64, capture: Capture, bytes: Vec<u8>) {
        if self.0.iter().any(|photo| photo.capture == capture.capture) {
            return;
        }
        let sha256 = hex::encode(digest(&SHA256, &bytes));
        let commitment = events.push(ct, &Event::CaptureSubmitted { capture: capture.capture.clone(), sha256 });
        let Some(commitment) = commitment else { return };
        self.0.push(Photo { capture: capture.capture, nonce: capture.nonce, bytes, commitment, wanted: true });
    }

    /// A connection begins: the server will ask again for what it lacks.
    pub(super) fn resume(&mut self) {
        for photo in &mut self.0 {
            photo.wanted = false;
        }
    }

    /// The server asks for a photo. Whether it is one that we hold already, and that nobody needs to take again.
    pub(super) fn asked(&mut self, capture: &Capture) -> bool {
        let held = self.0.iter_mut().find(|photo| photo.capture == capture.capture);
        if let Some(photo) = held {
            photo.nonce.clone_from(&capture.nonce);
            photo.wanted = true;
            return true;
        }
        false
    }

    /// The next binary message to send.
    pub(super) fn next_to_send(&mut self, events: &Unacknowledged, ct: i64) -> Option<Vec<u8>> {
        let due = |photo: &&mut Photo| photo.wanted && events.is_acknowledged(photo.commitment);
        let photo = self.0.iter_mut().find(due)?;
        photo.wanted = false;
        let header = PhotoHeader { capture: photo.capture.clone(), nonce: photo.nonce.clone(), ct };
        Some(header.frame(&photo.bytes))
    }

    /// The server has the bytes, or wants them no more.
    pub(super) fn forget(&mut self, capture: &str) {
        self.0.retain(|photo| photo.capture != capture);
    }

    /// The server refused a photo: when it is for good, there is nothing to keep.
    pub(super) fn refused(&mut self, capture: &str, code: ErrorCode) {
        use ErrorCode::{CaptureExpired, CaptureUnknown, DigestMismatch, PhotoTooLarge};
        if matches!(code, CaptureExpired | CaptureUnknown | DigestMismatch | PhotoTooLarge) {
            self.forget(capture);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(nonce: &str) -> Capture {
        Capture {
            capture: "c1".into(),
            nonce: nonce.into(),
            reason: "start".into(),
            frames: 3,
            frame_every_ms: 300,
            challenge: None,
            commit_within_ms: 20_000,
            send_within_ms: 60_000,
            bytes_limit: 524_288,
            pixels_limit: 4_000_000,
            committed: None,
        }
    }

    #[test]
    fn bytes_go_out_after_the_commitment_and_again_when_asked_again() {
        let (mut photos, mut events) = (Photos::default(), Unacknowledged::default());
        events.resume(0);
        photos.submit(&mut events, 5, capture("a"), b"jpeg".to_vec());
        photos.submit(&mut events, 5, capture("a"), b"other".to_vec());
        assert!(events.next_to_send().is_some_and(|text| text.contains("capture.submitted")));
        assert!(events.next_to_send().is_none(), "one commitment");
        assert!(photos.next_to_send(&events, 6).is_none());
        events.acknowledge(1);
        assert!(photos.next_to_send(&events, 6).is_some());
        assert!(photos.next_to_send(&events, 6).is_none());
        photos.resume();
        assert!(photos.asked(&capture("b")));
        let again = photos.next_to_send(&events, 9).unwrap();
        let (header, bytes) = PhotoHeader::parse(&again).unwrap();
        assert_eq!((header.nonce.as_str(), header.ct, bytes), ("b", 9, b"jpeg".as_slice()));
        photos.forget("c1");
        assert!(!photos.asked(&capture("c")));
    }
}
