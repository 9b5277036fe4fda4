//! Several nodes: whether each part of the service has one that is alive, and whether all have the same master key.

use super::{Findings, Level, bucket};
use crate::auth::keys::master_key;
use crate::clock::Clock;
use crate::cluster::redis::{Redis, Roster, RosterEntry};
use crate::config::{Config, Role};

const AWAY: &str = "look at [redis] in the settings, and at Redis: without it the nodes acknowledge nothing";
const START: &str = "start a node with that role (roles, or --roles; docs/operations.md, \"Several nodes\")";
const OTHER_KEY: &str = "give these settings the keys.master of the other nodes";

pub(super) fn look_at_nodes(config: &Config, findings: &mut Findings) {
    let address = match config.redis.address() {
        Ok(None) => return,
        Ok(Some(address)) => address,
        Err((key, why)) => return findings.add("nodes", Level::Error, format!("{key}: {why}"), AWAY),
    };
    // What is wrong with the keys is said elsewhere.
    let Ok(master) = master_key(&config.data_folder, &config.keys) else { return };
    let heard = bucket::with_runtime(async {
        let redis = Redis::connect(address, Clock::scaled(1)).await.map_err(|away| away.to_string())?;
        RosterEntry::listener(redis, master).say().await.map_err(|away| away.to_string())
    });
    match heard {
        Ok(heard) => judge(&heard, findings),
        Err(why) => findings.add("nodes", Level::Error, format!("Redis does not answer: {why}"), AWAY),
    }
}

fn judge(heard: &Roster, findings: &mut Findings) {
    if heard.opens == Some(false) {
        findings.add("nodes", Level::Error, "what the nodes seal does not open with this master key", OTHER_KEY);
    }
    match heard.missing.as_slice() {
        [] => findings.ok("nodes", "every role has a node that is alive"),
        all if all.len() == Role::ALL.len() => {
            findings.add("nodes", Level::Warning, "no node is alive", "start the servers");
        }
        some => some.iter().for_each(|role| {
            let what = format!("no node that is alive has the role {}", role.as_str());
            findings.add("nodes", Level::Error, what, START);
        }),
    }
}
