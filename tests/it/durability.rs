//! No acknowledgement leaves before its data is on disk, shown by the system calls of the real binary.
//!
//! SIGKILL leaves the kernel's memory alone, so `crash` would pass without any `fsync`. Here the order is read off a
//! trace: the bytes of an event in the WAL, a sync of the WAL after that, and only then the message on the socket.

use invigil::client::ClientKey;
use invigil::clock::{Clock, Entropy};
use serde_json::{Value, json};

use crate::harness::process::{Home, Process};
use crate::harness::trace::{CALLS, Trace};
use crate::harness::wire::{Wire, play, sha256};
use crate::harness::{QUICK, frame};

const HEARTBEAT_MS: i64 = 100;
/// Events that are sent one by one, each after the acknowledgement of the one before.
const ALONE: u64 = 10;
/// Events that are sent at once.
const TOGETHER: u64 = 8;
const WAL: &str = "invigil.sqlite-wal";

/// What a session has said and been told, to be found again in the trace.
struct Told {
    /// bytes that only the event with this `seq` has
    events: Vec<(u64, String)>,
    /// bytes that only the end of the session has
    log_digest: String,
    /// where photos are kept
    photos: String,
}

#[tokio::test]
async fn durability_is_seen_in_the_order_of_system_calls() {
    let home = Home::new(HEARTBEAT_MS);
    let file = home.path().join("trace");
    let strace = ["strace", "-f", "-y", "-s", "65536", "--seccomp-bpf", "-e"];
    let (calls, file_name) = (format!("trace={CALLS}"), file.to_str().unwrap());
    let command = home.command(&[&strace[..], &[&calls, "-o", file_name]].concat(), None);
    let server = Process::start(command).await.unwrap_or_else(|said| {
        panic!("the server does not run under strace (make test-setup installs it; it needs leave to ptrace): {said}")
    });
    let told = hold_session(&home, &server).await;
    // strace itself must live on, to write the rest of its trace.
    assert_eq!(server.kill_wrapped(), Vec::<String>::new());

    let trace = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
    let proved = check(&trace, &told).unwrap();
    assert!(proved > ALONE, "{proved} acknowledgements");
    for (how, doctored, seen) in doctor(&trace) {
        assert_ne!(doctored, trace, "{how}: nothing was doctored");
        let refused = check(&doctored, &told).expect_err(how);
        assert!(refused.contains(seen), "{how}: {refused}");
    }
}

/// A short session of all kinds of events: alone, several at once, a photo, the end.
async fn hold_session(home: &Home, server: &Process) -> Told {
    let course = home.operator(server.address).course(&[600_000], QUICK).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let url = format!("ws://{}/v1/stream", server.address);
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let origin_ms = clock.now_ms();
    let ct = || clock.now_ms() - origin_ms;
    let (mut wire, _) = Wire::enter(&url, &opened, &ClientKey::generate().unwrap(), 0).await;
    let mut events = Vec::new();
    let mut marked = |seq: u64, mut data: Value| {
        let mark = hex::encode(entropy.bytes::<16>());
        data["mark"] = json!(mark);
        events.push((seq, mark));
        data
    };
    wire.kept(ct(), "playback", marked(1, play(0))).await;
    for _ in 0..ALONE {
        let (ct, seq) = (ct(), wire.seq + 1);
        wire.kept(ct, "heartbeat", marked(seq, json!({"playing": true, "pos_ms": ct, "rate": 1.0}))).await;
    }
    for _ in 0..TOGETHER {
        let (ct, seq) = (ct(), wire.seq + 1);
        wire.event(ct, "heartbeat", marked(seq, json!({"playing": true, "pos_ms": ct, "rate": 1.0}))).await;
    }
    wire.acknowledged().await;
    let capture = capture(&mut wire, &ct).await;
    let photo = frame("webcam_man", 2);
    wire.commit(ct(), &capture, &photo).await;
    events.push((wire.seq, sha256(&photo)));
    wire.photo(&capture, &photo).await;
    wire.expect("capture.closed").await;
    assert_eq!(wire.seen_of("photo.received").len(), 1);
    wire.send(json!({"type": "close", "reason": "left"})).await;
    let closed = wire.expect("closed").await;
    let log_digest = closed["verdict"]["log_digest"].as_str().unwrap().to_owned();
    let photos = home.path().canonicalize().unwrap().join("data/photos/").to_str().unwrap().to_owned();
    Told { events, log_digest, photos }
}

/// Watches until a photo is asked for.
async fn capture(wire: &mut Wire, ct: &impl Fn() -> i64) -> Value {
    loop {
        if let Some(capture) = wire.seen_of("capture").first() {
            return (*capture).clone();
        }
        Clock::system().sleep_ms(HEARTBEAT_MS).await;
        let ct = ct();
        wire.kept(ct, "heartbeat", json!({"playing": true, "pos_ms": ct, "rate": 1.0})).await;
    }
}

/// Whether every message that tells of something kept left after it was on disk. Returns how many acknowledgements
/// were proved.
fn check(trace: &str, told: &Told) -> Result<u64, String> {
    let trace = Trace::parse(trace);
    let acknowledged = trace.sent(|text| numbers_after(text, r#""type":"ack","seq":"#));
    for (line, seq) in &acknowledged {
        for (_, bytes) in told.events.iter().filter(|(event, _)| event <= seq) {
            trace.on_disk(bytes, WAL, *line)?;
        }
    }
    let highest = acknowledged.iter().map(|(_, seq)| *seq).max().unwrap_or(0);
    let last = told.events.last().map_or(0, |(seq, _)| *seq);
    if highest < last {
        return Err(format!("{last} was never acknowledged, only {highest}"));
    }
    let photo_received = line_with(&trace, r#""type":"photo.received""#)?;
    let evidence = trace.file_on_disk(&told.photos, photo_received)?;
    trace.on_disk(&evidence, WAL, photo_received)?;
    trace.on_disk(&told.log_digest, WAL, line_with(&trace, r#""type":"closed""#)?)?;
    Ok(acknowledged.len() as u64)
}

/// The numbers that follow `words` in `text`.
fn numbers_after(text: &str, words: &str) -> Vec<u64> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    text.split(words).skip(1).filter_map(digits).collect()
}

/// The line at which a message with `words` left.
fn line_with(trace: &Trace, words: &str) -> Result<usize, String> {
    let lines = trace.sent(|text| text.matches(words).map(drop).collect());
    lines.first().map(|(line, ())| *line).ok_or_else(|| format!("{words} was never sent"))
}

/// The trace as it would be of servers that are careless in some way, and what the check must say of each.
fn doctor(trace: &str) -> Vec<(&'static str, String, &'static str)> {
    let is_sync = |line: &str| line.contains("fsync") || line.contains("fdatasync");
    let of_wal = |line: &str| is_sync(line) && (line.contains(WAL) || line.contains(" resumed>"));
    let of_photos = |line: &str| is_sync(line) && line.contains("/photos/");
    let writes_wal = |line: &str| line.contains("pwrite64(") && line.contains(WAL);
    let without = |drop: &dyn Fn(&str) -> bool| lines(trace.lines().filter(|line| !drop(line)));
    let late = |late: &dyn Fn(&str) -> bool| without(late) + &lines(trace.lines().filter(|line| late(line)));
    let each = |change: &dyn Fn(&str) -> String| {
        lines(trace.lines().map(|line| if of_wal(line) { change(line) } else { line.to_owned() }))
    };
    let first_ack = trace.lines().position(|line| line.contains(r#"\"ack\",\"seq\":"#)).unwrap();
    let before = trace.lines().take(first_ack).enumerate();
    let last_sync = before.filter(|(_, line)| of_wal(line)).last().unwrap().0;
    let one_less = trace.lines().enumerate().filter(|(number, _)| *number != last_sync).map(|(_, line)| line);
    vec![
        ("the WAL is never synced", without(&of_wal), "sqlite-wal was not synced"),
        ("the WAL is synced too late", late(&of_wal), "sqlite-wal was not synced"),
        ("the WAL is written too late", late(&writes_wal), "was not in invigil.sqlite-wal then"),
        ("syncs of the WAL fail", each(&|line| line.replace(" = 0", " = -1 EIO")), "sqlite-wal was not synced"),
        ("another file is synced", each(&|line| line.replace(WAL, "invigil.sqlite")), "sqlite-wal was not synced"),
        ("one sync is missing", lines(one_less), "sqlite-wal was not synced"),
        ("photos are never synced", without(&of_photos), "drafts"),
    ]
}

fn lines(lines: impl Iterator<Item = impl AsRef<str>>) -> String {
    lines.map(|line| line.as_ref().to_owned() + "\n").collect()
}
