//! Where learners play, as several nodes know it: the same answers as the table of one node, and nothing lost with Redis.

use invigil::cluster::redis::{Redis, SharedPresence};
use invigil::cluster::{Overlap, Played, Presence, PresenceTable, Report, Told};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::connect;
use crate::harness::servers::redis::{RedisCluster, RedisServer};

const SESSIONS: [&str; 3] = ["a", "b", "c"];

/// What a session does, and when.
#[derive(Clone, Debug)]
enum Step {
    /// it plays so long after a pause, in ms, and perhaps goes on
    Plays { session: usize, pause_ms: i64, for_ms: i64, plays_on: bool },
    /// it begins or stops
    Turns { session: usize, plays_on: bool },
    /// the same report once more
    Repeats { session: usize },
    /// it asks what there is for it
    Takes { session: usize },
    /// it closes
    Leaves { session: usize },
    /// a node takes it up anew, and says all that it knows
    TakenUp { session: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let session = 0..SESSIONS.len();
    // Around the bounds: ten seconds of pause, forty alone, sixty after leaving.
    let pause = prop_oneof![4 => Just(0), 2 => 0..12_000_i64, 1 => 0..80_000_i64];
    let long = prop_oneof![3 => 1..6_000_i64, 1 => 1..60_000_i64];
    let step = prop_oneof![
        8 => (session.clone(), pause, long, any::<bool>())
            .prop_map(|(session, pause_ms, for_ms, plays_on)| Step::Plays { session, pause_ms, for_ms, plays_on }),
        2 => (session.clone(), any::<bool>()).prop_map(|(session, plays_on)| Step::Turns { session, plays_on }),
        1 => session.clone().prop_map(|session| Step::Repeats { session }),
        1 => session.clone().prop_map(|session| Step::Takes { session }),
        1 => session.clone().prop_map(|session| Step::Leaves { session }),
        1 => session.prop_map(|session| Step::TakenUp { session }),
    ];
    prop::collection::vec(step, 1..60)
}

/// What a session remembers of itself.
#[derive(Clone, Default)]
struct Memory {
    at: i64,
    all: Vec<Played>,
    last: Vec<Played>,
    told: Vec<Overlap>,
    reported: bool,
    plays_on: bool,
}

/// Runs the steps over both tables.
async fn both_say_the_same(learner: &str, shared: &Presence, steps: &[Step]) -> Result<(), TestCaseError> {
    let table = PresenceTable::default();
    let mut sessions = vec![Memory::default(); SESSIONS.len()];
    for (number, step) in steps.iter().enumerate() {
        let (index, left) = match *step {
            Step::Plays { session, pause_ms, for_ms, plays_on } => {
                let memory = &mut sessions[session];
                let played = Played { from_at: memory.at + pause_ms, to_at: memory.at + pause_ms + for_ms };
                memory.at = played.to_at;
                memory.all.push(played);
                (memory.last, memory.plays_on) = (vec![played], plays_on);
                (session, false)
            }
            Step::Turns { session, plays_on } => {
                sessions[session].last.clear();
                sessions[session].plays_on = plays_on;
                (session, false)
            }
            Step::Repeats { session } => (session, false),
            Step::Takes { session } => {
                sessions[session].last.clear();
                (session, false)
            }
            Step::Leaves { session } => {
                sessions[session].last.clear();
                sessions[session].plays_on = false;
                (session, true)
            }
            Step::TakenUp { session } => {
                let memory = &mut sessions[session];
                (memory.last, memory.told, memory.reported) = (memory.all.clone(), Vec::new(), false);
                (session, false)
            }
        };
        let memory = &sessions[index];
        let report = Report {
            learner,
            session: SESSIONS[index],
            platform: ["p1", "p2", "p1"][index],
            played: &memory.last,
            logged: &memory.told,
            continues: memory.reported,
            plays_on: memory.plays_on,
            left_at: left.then_some(memory.at),
        };
        let (expected, told) = (table.report(report), shared.report(report).await.unwrap());
        prop_assert_eq!(&told, &expected, "step {} of {:?}", number, steps);
        let memory = &mut sessions[index];
        // Every third answer is as if it had been lost.
        if number % 3 != 0 {
            memory.told.clone_from(&told.mine);
        }
        memory.reported = told.known || !memory.last.is_empty() && !memory.reported;
    }
    Ok(())
}

fn holds_for_any_sequence(runtime: &tokio::runtime::Runtime, redis: Redis, cases: u32) {
    let shared = Presence::Redis(SharedPresence::new(redis));
    let mut case = 0;
    let case = std::cell::RefCell::new(&mut case);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&steps(), |steps| {
        **case.borrow_mut() += 1;
        let learner = format!("l{}", **case.borrow());
        runtime.block_on(both_say_the_same(&learner, &shared, &steps))
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn the_shared_table_says_what_the_table_of_one_node_says() {
    let (runtime, server) = (runtime(), RedisServer::start());
    let redis = runtime.block_on(connect(&server.url()));
    holds_for_any_sequence(&runtime, redis, 200);
}

#[test]
fn on_a_cluster_too() {
    let runtime = runtime();
    let cluster = RedisCluster::start();
    let redis = runtime.block_on(connect(&cluster.url()));
    holds_for_any_sequence(&runtime, redis, 20);
}

const OF_A: Report = Report {
    learner: "l",
    session: "a",
    platform: "p1",
    played: &[Played { from_at: 1_790_000_000_000, to_at: 1_790_000_020_000 }],
    logged: &[],
    continues: false,
    plays_on: false,
    left_at: None,
};

/// Reports until there is an answer.
async fn insist(presence: &Presence, report: Report<'_>) -> Told {
    loop {
        match presence.report(report).await {
            Ok(told) => return told,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn whoever_is_not_answered_reports_again_and_nothing_counts_twice() {
    let mut server = RedisServer::start();
    let presence = Presence::Redis(SharedPresence::new(connect(&server.url()).await));
    let of_b = Report { session: "b", ..OF_A };
    presence.report(OF_A).await.unwrap();
    server.pause();
    presence.report(of_b).await.unwrap_err();
    server.resume();
    // The first may have arrived after all.
    let told = insist(&presence, of_b).await;
    assert_eq!((told.mine.len(), told.overlapping_ms), (0, Some(20_000)));
    let told = insist(&presence, Report { session: "b", played: &[], left_at: Some(0), ..OF_A }).await;
    assert_eq!((told.mine.len(), told.others.as_slice()), (1, ["a".to_owned()].as_slice()));
    assert_eq!(told.mine[0].played, OF_A.played[0], "times are whole numbers, and large ones");
    server.restart_empty();
    let told = insist(&presence, Report { continues: true, ..OF_A }).await;
    assert_eq!(told, Told::default(), "it must be told all, and says so");
    assert_eq!(server.ask(&["exists", "invigil:presence:l"]), "0");
}
