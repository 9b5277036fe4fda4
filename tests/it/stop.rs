//! How a server stops, and what it tells systemd: the real process, with real signals.

use invigil::client::ClientKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixDatagram};

use crate::harness::process::{Home, Process};
use crate::harness::wire::{Wire, play};
use crate::harness::{QUICK, frame};

async fn started(home: &Home) -> Process {
    let mut command = home.command(&[], None);
    command.args(["--metrics-listen", "127.0.0.1:0"]);
    Process::start(command).await.unwrap()
}

#[tokio::test]
async fn clients_are_told_to_reconnect_and_one_that_is_stuck_holds_nothing_up() {
    let home = Home::new(1_000);
    let mut server = started(&home).await;
    let course = home.operator(server.address).course(&[600_000], QUICK).await;
    let learner = course.learner(frame("webcam_man", 1)).await;
    let opened = course.open(&course.lessons[0], &learner).await;
    let key = ClientKey::generate().unwrap();
    let (mut wire, _) = Wire::enter(&format!("ws://{}/v1/stream", server.address), &opened, &key, 0).await;
    wire.kept(10, "playback", play(0)).await;
    let seq = wire.seq;
    // Two that keep a connection open: one in the middle of a request, one between two.
    let _stuck = stuck_with_body(&home, &server).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let metrics = server.metrics.unwrap();

    server.terminate();
    server.says("stopping: clients are told to reconnect").await;
    let ready = reqwest::get(format!("http://{metrics}/readyz")).await.unwrap();
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.json::<Value>().await.unwrap()["running"], "failing");
    let go_away = wire.expect("go_away").await;
    assert_eq!((&go_away["reason"], go_away["reconnect_in_ms"].is_i64()), (&json!("shutdown"), true));
    assert_eq!(wire.close_code().await, 1012);
    // No new session: either the connection is closed, or the request is refused.
    let _ = idle.write_all(b"POST /api/v1/sessions HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
    let mut answer = String::new();
    let _ = idle.read_to_string(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503"), "{answer}");

    let (content, log) = server.ended().await;
    assert!(content);
    assert!(log.last().unwrap().contains(r#""message":"stopped""#), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains(r#""level":"ERROR""#)), "{log:#?}");

    // Everything that was acknowledged is there.
    let server = started(&home).await;
    let (_, welcome) = Wire::enter(&format!("ws://{}/v1/stream", server.address), &opened, &key, 20).await;
    assert_eq!(welcome["acknowledged"], seq);
}

/// A request whose body never comes, of somebody with a key.
async fn stuck_with_body(home: &Home, server: &Process) -> TcpStream {
    let key = home.operator(server.address).key;
    let mut stuck = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /api/v1/platforms HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nauthorization: Bearer {key}\r\n\
         content-length: 100\r\nexpect: 100-continue\r\n\r\n"
    );
    stuck.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body once somebody waits for it.
    let mut asked = [0; 25];
    stuck.read_exact(&mut asked).await.unwrap();
    assert!(asked.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&asked));
    stuck
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let home = Home::new(1_000);
    let mut server = started(&home).await;
    let _stuck = stuck_with_body(&home, &server).await;
    server.terminate();
    server.says("stopping: clients are told to reconnect").await;
    server.terminate();
    let (content, log) = server.ended().await;
    assert!(content);
    assert!(log.last().unwrap().contains("stopped at once"), "{log:#?}");
}

#[tokio::test]
async fn systemd_is_told() {
    let home = Home::new(1_000);
    let path = home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = home.command(&[], None);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let starting = tokio::spawn(Process::start(command));
    assert_eq!(heard(&socket).await, "READY=1");
    let server = starting.await.unwrap().unwrap();
    for _ in 0..3 {
        assert_eq!(heard(&socket).await, "WATCHDOG=1");
    }
    server.terminate();
    while heard(&socket).await != "STOPPING=1" {}
    assert!(server.ended().await.0);
}

async fn heard(socket: &UnixDatagram) -> String {
    let mut message = [0; 256];
    let length = socket.recv(&mut message).await.unwrap();
    String::from_utf8_lossy(&message[..length]).trim().to_owned()
}
