//! The dialogues of tests/transcripts: here the server is real and the client's lines are read out, as in the web SDK's
//! tests the client is real and the server's are.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::Path;

use invigil::client::ClientKey;
use invigil::clock::Clock;
use invigil::config::Config;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::wire::{Heard, Wire, photo_frame};
use crate::harness::{Course, Opened, PLAIN_FILE, START_MS, Stage, frame, text};

/// The pack that a dialogue's `server.schedule` changes.
const PACK: &str = "dialogue";
const LESSON_MS: i64 = 2_700_000;
/// A network that ends a connection says this of it; nothing of it reaches the server.
const GONE: u16 = 1006;
/// Names that a dialogue gives to what is another each time.
const NAMES: [&str; 5] = ["session", "prompt", "capture", "nonce", "token"];
/// What is said in words or depends on much else: there, and of its kind.
const VARIES: [&str; 5] = ["server", "detail", "text", "options", "verdict"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transcript {
    title: String,
    /// how a server is configured that says this
    #[serde(default)]
    server: Settings,
    /// why one server by itself never says this
    beyond: Option<String>,
    steps: Vec<Step>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    token_lifetime_ms: Option<i64>,
    schedule: Map<String, Value>,
}

/// What happens, by its kind.
#[derive(Deserialize)]
struct Step {
    at: i64,
    #[serde(flatten)]
    what: Map<String, Value>,
}

/// A dialogue under way.
struct Dialogue {
    settings: Settings,
    stage: Stage,
    course: Course,
    key: ClientKey,
    wire: Option<Wire>,
    /// what was heard before it was asked for
    heard: VecDeque<Heard>,
    /// what the dialogue's names stand for
    names: HashMap<String, String>,
    is_cut: bool,
    sent: u64,
    acknowledged: u64,
    now_ms: i64,
}

#[tokio::test]
async fn a_real_server_holds_the_dialogues_that_clients_are_held_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let (mut held, mut beyond) = (0, Vec::new());
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let transcript: Transcript = serde_json::from_slice(&std::fs::read(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if transcript.beyond.is_some() {
            beyond.push(name);
            continue;
        }
        Dialogue::hold(&name, transcript).await;
        held += 1;
    }
    assert_eq!(beyond, ["moved", "overloaded"]);
    assert!(held >= 10, "{held}");
}

impl Dialogue {
    async fn hold(name: &str, Transcript { title, server, steps, .. }: Transcript) {
        let clock = || Clock::manual(START_MS);
        let stage = Stage::start_with(clock(), clock(), |folder, config| configure(folder, config, &server)).await;
        let course = stage.operator.course(&[LESSON_MS], PACK).await;
        let learner = course.learner(frame("webcam_man", 1)).await;
        let Opened { session, token } = course.open(&course.lessons[0], &learner).await;
        let mut dialogue = Self {
            settings: server,
            stage,
            course,
            key: ClientKey::generate().unwrap(),
            wire: None,
            heard: VecDeque::new(),
            names: [("s1".to_owned(), session), ("ivt_1".to_owned(), token)].into(),
            is_cut: false,
            sent: 0,
            acknowledged: 0,
            now_ms: 0,
        };
        for (number, Step { at, what }) in steps.into_iter().enumerate() {
            dialogue.stage.advance_ms(at - dialogue.now_ms);
            dialogue.now_ms = at;
            for (kind, value) in what {
                let step = format!("{name} ({title}), step {}, {kind} {value}", number + 1);
                dialogue.step(&kind, &value).await.unwrap_or_else(|why| panic!("{step}: {why}"));
            }
        }
    }

    async fn step(&mut self, kind: &str, value: &Value) -> Result<(), String> {
        match (kind, value.as_str().unwrap_or_default()) {
            ("connect", _) => self.connect().await,
            ("server", _) => return self.server(value).await,
            ("client", _) => self.client(value).await,
            ("token", name) => self.renew(name).await,
            ("close", _) if *value == GONE => return self.lose().await,
            ("close", _) => return self.closes(value).await,
            ("cut", _) => self.is_cut = true,
            ("world", "token_expires") => self.stage.advance_ms(self.token_lifetime_ms()),
            ("world", "another_connection") => {
                drop(Wire::enter(&self.stage.stream_url(), &self.opened("ivt_1"), &self.key, self.now_ms).await);
            }
            ("world", "restart") => {
                self.arrived().await?;
                self.restart().await;
            }
            // What only the client's side shows.
            ("do" | "later" | "silent" | "ended", _) => {}
            _ => return Err("no such step".into()),
        }
        Ok(())
    }

    fn token_lifetime_ms(&self) -> i64 {
        self.settings.token_lifetime_ms.unwrap_or(Config::default().token_lifetime_ms)
    }

    /// The session, with the token of this name.
    fn opened(&self, token: &str) -> Opened {
        Opened { session: self.names["s1"].clone(), token: self.names[token].clone() }
    }

    async fn connect(&mut self) {
        let (wire, _) = Wire::connect(&self.stage.stream_url()).await;
        self.heard = [Heard::Message(wire.seen[0].clone())].into();
        self.wire = Some(wire);
        self.is_cut = false;
        self.sent = self.acknowledged;
    }

    async fn hear(&mut self) -> Result<Heard, String> {
        match (self.heard.pop_front(), &mut self.wire) {
            (Some(heard), _) => Ok(heard),
            (None, Some(wire)) => Ok(wire.hear().await),
            (None, None) => Err("there is no connection".into()),
        }
    }

    /// The next message that says something: a server may acknowledge and ping more often than a dialogue has it.
    async fn next(&mut self, awaited: &Value) -> Result<Heard, String> {
        loop {
            let heard = self.hear().await?;
            let Heard::Message(message) = &heard else { return Ok(heard) };
            match (&message["type"], &awaited["type"]) {
                (kind, awaited) if kind == "ping" && awaited != "ping" => {
                    let pong = json!({"type": "pong", "id": message["id"], "ct": self.now_ms});
                    self.wire.as_mut().ok_or("there is no connection")?.send(pong).await;
                }
                (kind, _) if kind == "ack" => {
                    self.acknowledged = message["seq"].as_u64().ok_or("an ack without seq")?;
                    if message["seq"] == awaited["seq"] {
                        return Ok(heard);
                    }
                }
                _ => return Ok(heard),
            }
        }
    }

    async fn server(&mut self, expected: &Value) -> Result<(), String> {
        match self.next(expected).await? {
            Heard::Message(said) => self.agree(expected, &said).map_err(|why| format!("{why}; the server said {said}")),
            end => Err(format!("the server ended: {end:?}")),
        }
    }

    /// Whether the server has said what was expected; learns what the dialogue's names stand for.
    fn agree(&mut self, expected: &Value, said: &Value) -> Result<(), String> {
        let (expected, said) = (expected.as_object().ok_or("not an object")?, said.as_object().ok_or("not an object")?);
        let fields = |of: &Map<String, Value>| of.keys().cloned().collect::<BTreeSet<_>>();
        if fields(expected) != fields(said) {
            return Err(format!("other fields than {:?}", fields(expected)));
        }
        let is_new = expected["type"] == "challenge";
        for (field, want) in expected {
            let got = &said[field];
            let agrees = match (want, got) {
                (Value::String(name), Value::String(real)) if NAMES.contains(&field.as_str()) => {
                    if is_new {
                        self.names.insert(name.clone(), real.clone());
                    }
                    self.names.entry(name.clone()).or_insert_with(|| real.clone()) == real
                }
                _ if VARIES.contains(&field.as_str()) => std::mem::discriminant(want) == std::mem::discriminant(got),
                _ => want == got,
            };
            if !agrees {
                return Err(format!("another {field}"));
            }
        }
        Ok(())
    }

    async fn client(&mut self, line: &Value) {
        if self.is_cut {
            return;
        }
        let message = if line.get("photo").is_some() {
            let header = json!({"capture": line["photo"], "nonce": line["nonce"], "ct": self.now_ms});
            let header = self.named(&header).to_string();
            Message::binary(photo_frame(&header, text(line, "text").as_bytes()))
        } else if line["type"] == "hello" {
            Message::text(self.hello(line).to_string())
        } else {
            Message::text(self.named(line).to_string())
        };
        self.sent = line["seq"].as_u64().unwrap_or(self.sent);
        self.wire.as_mut().expect("a dialogue begins with a connection").raw(message).await;
    }

    /// The same hello, with a key and its signature.
    fn hello(&self, line: &Value) -> Value {
        let nonce = text(&self.wire.as_ref().unwrap().seen[0], "nonce");
        let mut hello = Wire::hello(&self.opened(&text(line, "token")), &self.key, &nonce, self.now_ms);
        hello["acknowledged"] = line["acknowledged"].clone();
        hello
    }

    /// With what the names in it stand for, and the time.
    fn named(&self, value: &Value) -> Value {
        match value {
            Value::String(name) if name == "<number>" => json!(self.now_ms),
            Value::String(name) => json!(self.names.get(name).unwrap_or(name)),
            Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), self.named(value))).collect(),
            other => other.clone(),
        }
    }

    async fn renew(&mut self, name: &str) {
        let path = format!("/sessions/{}/tokens", self.names["s1"]);
        let renewed = self.course.platform.post(&path, json!({})).await;
        self.names.insert(name.to_owned(), text(&renewed, "token"));
    }

    /// The connection breaks. What the client had sent has arrived; what the server said to it is lost.
    async fn lose(&mut self) -> Result<(), String> {
        self.arrived().await?;
        self.wire = None;
        Ok(())
    }

    /// Waits until the server has taken what the client sent, unless the network was cut before.
    async fn arrived(&mut self) -> Result<(), String> {
        while !self.is_cut && self.acknowledged < self.sent {
            match self.next(&json!({"type": "ack", "seq": self.sent})).await? {
                Heard::Message(_) => {}
                end => return Err(format!("the server ended: {end:?}")),
            }
        }
        Ok(())
    }

    async fn closes(&mut self, code: &Value) -> Result<(), String> {
        match self.next(&Value::Null).await? {
            Heard::Close(said) if *code == said => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    async fn restart(&mut self) {
        let Self { wire, heard, stage, settings, .. } = self;
        let listening = async {
            loop {
                match wire.as_mut().expect("a dialogue begins with a connection").hear().await {
                    Heard::Gone => break,
                    said => heard.push_back(said),
                }
            }
        };
        tokio::join!(stage.restart_with(|folder, config| configure(folder, config, settings)), listening);
        self.course.platform = self.stage.operator.with_key(&self.course.platform.key);
    }
}

fn configure(folder: &Path, config: &mut Config, settings: &Settings) {
    let mut pack: toml::Table = toml::from_str(&std::fs::read_to_string(PLAIN_FILE).unwrap()).unwrap();
    pack.insert("id".into(), PACK.into());
    let schedule = pack["schedule"].as_table_mut().unwrap();
    for (name, value) in &settings.schedule {
        schedule.insert(name.clone(), toml::Value::try_from(value).unwrap());
    }
    let file = folder.join("dialogue.toml");
    std::fs::write(&file, pack.to_string()).unwrap();
    config.policies.push(file);
    config.token_lifetime_ms = settings.token_lifetime_ms.unwrap_or(config.token_lifetime_ms);
}
