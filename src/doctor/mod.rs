//! What is wrong with an installation, in plain words, and what to do about it.
//!
//! Everything is only looked at: the folder of a running server as well as that of one that does not start.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::Access;
use rustix::process::Resource;
use serde::Serialize;

use crate::auth::keys::Keys;
use crate::backup::KEY_FILES;
use crate::config::{Config, Tls};
use crate::lifecycle::tls;
use crate::store::evidence::{DRAFTS, EvidenceId, PHOTOS_FOLDER, relative_path};
use crate::store::forgetting::{TOMBSTONES_FILE, read_tombstones};
use crate::store::inspect::Inspection;
use crate::store::reading::Records;
use crate::store::{DATABASE_FILE, MOVED_FILE, StoreError, sound_log};
use crate::vision::{Checker, Manifest, Models, Wanted};

mod bucket;
mod nodes;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// as it should be
    Ok,
    /// will become worse, or is not as it should be and harms nobody yet
    Warning,
    /// the server does not work as it should, or records are damaged
    Error,
}

/// What one check came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// what was looked at
    pub check: &'static str,
    /// how bad it is
    pub level: Level,
    /// what was seen
    pub what: String,
    /// what to do about it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

/// Free space below which the server may soon stop taking events, and below which it is about to, bytes.
const SPACE_WARNING_BYTES: u64 = 2 << 30;
const SPACE_ERROR_BYTES: u64 = 128 << 20;
/// Closed sessions whose logs are read without `deep`: the newest.
const SESSIONS_WITHOUT_DEEP: u32 = 1_000;
/// Files without a row that are younger than this may get one yet, s.
const YOUNG_S: i64 = 600;
/// A delivery that waits longer than this is stuck, ms.
const STUCK_MS: i64 = 3_600_000;
/// How far a log may be ahead of the clock: two processes read it one after the other, ms.
const AHEAD_LIMIT_MS: i64 = 1_000;
/// A certificate that ends sooner than this should be renewed already, s.
const CERTIFICATE_WARNING_S: i64 = 14 * DAY_S;
const DAY_S: i64 = 86_400;
/// Findings of one kind that are listed one by one.
const LISTED: usize = 20;

const RESTORE: &str = "stop the server, keep a copy of the folder, and restore the newest backup that `invigil backup \
                       verify` finds whole, or PostgreSQL's own (docs/backup.md)";

const REACH: &str = "look at [database] in the settings, and at PostgreSQL: nothing is acknowledged until it answers";

/// Collects what is found.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, check: &'static str, what: impl Into<String>) {
        self.0.push(Finding { check, level: Level::Ok, what: what.into(), advice: None });
    }

    fn add(&mut self, check: &'static str, level: Level, what: impl Into<String>, advice: &'static str) {
        self.0.push(Finding { check, level, what: what.into(), advice: Some(advice) });
    }

    /// Lists some of many, and counts the rest.
    fn many(&mut self, check: &'static str, level: Level, all: &[String], advice: &'static str) {
        for what in all.iter().take(LISTED) {
            self.add(check, level, what, advice);
        }
        if all.len() > LISTED {
            self.add(check, level, format!("… and {} more", all.len() - LISTED), advice);
        }
    }
}

/// Looks at everything; `deep` reads all logs and compares indexes with tables. `now_ms` is the machine's time.
pub fn examine(config: &Config, deep: bool, now_ms: i64) -> Vec<Finding> {
    let mut findings = Findings::default();
    let folder = &config.data_folder;
    match config.database.address() {
        Err((key, why)) => findings.add("database", Level::Error, format!("{key}: {why}"), REACH),
        // PostgreSQL knows how much room it has, and whether its disk is well; keys and photos are in the folder.
        Ok(Some(address)) => {
            if look_at_folder(folder, &[], &mut findings) {
                look_at_space(folder, &mut findings);
            }
            look_at_records(config, &Records::Postgres(Box::new(address)), deep, now_ms, &mut findings);
        }
        Ok(None) => {
            if look_at_folder(folder, &[DATABASE_FILE], &mut findings) {
                look_at_space(folder, &mut findings);
                look_at_sync(folder, &mut findings);
                if folder.join(MOVED_FILE).exists() {
                    let what =
                        "the records were moved to PostgreSQL, and the settings name none: no server starts here";
                    findings.add(
                        "folder",
                        Level::Error,
                        what,
                        "give the settings with database.url (docs/migration.md)",
                    );
                }
                look_at_records(config, &Records::Folder(folder.clone()), deep, now_ms, &mut findings);
            }
        }
    }
    nodes::look_at_nodes(config, &mut findings);
    look_at_certificate(&config.tls, now_ms / 1_000, &mut findings);
    look_at_models(&config.models_folder, config.vision.wanted(), &mut findings);
    look_at_limits(config.limits.connections_limit, &mut findings);
    findings.0
}

fn look_at_records(config: &Config, records: &Records, deep: bool, now_ms: i64, findings: &mut Findings) {
    let is_postgres = matches!(records, Records::Postgres(_));
    let database = Inspection::of(records);
    match database.and_then(|database| Ok((database.schema()?, database))) {
        Ok(((schema, known), database)) => {
            look_at_schema(schema, known, findings);
            if schema != known {
                return;
            }
            if let Err(error) = database.refuse_unfinished() {
                let advice = "end the move, or serve the data folder (docs/operations.md)";
                return findings.add("database", Level::Error, error.to_string(), advice);
            }
            look_at_keys(config, &database, findings);
            look_into(config, &database, deep, now_ms, findings);
        }
        Err(error) => {
            let advice = if is_postgres { REACH } else { RESTORE };
            findings.add("database", Level::Error, format!("cannot be read: {error}"), advice);
        }
    }
}

/// Looks for these files in it. False: there is nothing further to look at.
fn look_at_folder(folder: &Path, wanted: &[&str], findings: &mut Findings) -> bool {
    let shown = folder.display();
    let Ok(about) = fs::metadata(folder) else {
        let advice = "name the server's folder with --data, or start the server once";
        findings.add("folder", Level::Error, format!("{shown} is not there or may not be looked at"), advice);
        return false;
    };
    if let Some(missing) = wanted.iter().find(|name| !folder.join(name).is_file()) {
        let advice = "name the server's folder with --data, or start the server once";
        findings.add("folder", Level::Error, format!("{shown} holds no {missing}"), advice);
        return false;
    }
    let before = findings.0.len();
    if about.mode() & 0o077 != 0 {
        let what = format!("{shown} may be read by others (mode {:03o})", about.mode() & 0o777);
        findings.add("folder", Level::Warning, what, "chmod 700 the folder");
    }
    let own = [DATABASE_FILE].into_iter().chain(KEY_FILES);
    for (name, about) in own.filter_map(|name| Some((name, fs::metadata(folder.join(name)).ok()?))) {
        if about.mode() & 0o077 != 0 {
            let what = format!("{name} may be read by others (mode {:03o})", about.mode() & 0o777);
            findings.add("folder", Level::Error, what, "chmod 600 the file; if others may have read a key, replace it");
        }
        if about.uid() != fs::metadata(folder).map_or(about.uid(), |folder| folder.uid()) {
            let what = format!("{name} belongs to user {}, its folder to another", about.uid());
            findings.add("folder", Level::Warning, what, "chown the whole folder to the user that runs the server");
        }
    }
    if let Err(error) = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        let advice = "mount it writable (a file system that met errors is made read-only: look at the kernel's log), or \
                      run this as the server's user";
        findings.add("folder", Level::Error, format!("{shown} cannot be written: {error}"), advice);
    }
    if findings.0.len() == before {
        findings.ok("folder", format!("{shown} is the owner's alone and can be written"));
    }
    true
}

fn look_at_space(folder: &Path, findings: &mut Findings) {
    let advice = "make room, or move the data folder to a larger disk: at zero no event is acknowledged any more \
                  (docs/faults.md)";
    match rustix::fs::statvfs(folder) {
        Ok(disk) => {
            let free = disk.f_bavail * disk.f_frsize;
            let what = format!("{:.1} GB are free", free as f64 / 1e9);
            match free {
                0..SPACE_ERROR_BYTES => findings.add("space", Level::Error, what, advice),
                SPACE_ERROR_BYTES..SPACE_WARNING_BYTES => findings.add("space", Level::Warning, what, advice),
                _ => findings.ok("space", what),
            }
            if disk.f_files > 0 && disk.f_favail < 10_000 {
                let what = format!("only {} more files can be made: every photo is one", disk.f_favail);
                findings.add("space", Level::Warning, what, advice);
            }
        }
        Err(error) => findings.add("space", Level::Warning, format!("cannot be told: {error}"), advice),
    }
}

fn look_at_sync(folder: &Path, findings: &mut Findings) {
    let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
    match sync(&folder.join(DATABASE_FILE)).and_then(|()| sync(folder)) {
        Ok(()) => findings.ok("fsync", "the disk takes what must be durable"),
        Err(error) => {
            let advice = "the disk or its file system fails: look at the kernel's log and replace it";
            findings.add("fsync", Level::Error, format!("fails: {error}"), advice);
        }
    }
}

fn look_at_schema(schema: usize, known: usize, findings: &mut Findings) {
    match schema.cmp(&known) {
        std::cmp::Ordering::Equal => findings.ok("schema", format!("{schema}, as this invigil writes it")),
        std::cmp::Ordering::Less => {
            let what = format!("{schema}; this invigil's is {known}: the rest is not looked at");
            findings.add(
                "schema",
                Level::Warning,
                what,
                "make a backup, then start the server: it brings it up to date",
            );
        }
        std::cmp::Ordering::Greater => {
            let what = format!("{schema}; this invigil knows up to {known}");
            findings.add("schema", Level::Error, what, "use the invigil that wrote it, or a newer one");
        }
    }
}

fn look_at_keys(config: &Config, database: &Inspection, findings: &mut Findings) {
    let advice = "put the right master.key and identity.pepper back: nothing else opens what was sealed with them";
    let checked =
        Keys::open_existing(&config.data_folder, &config.keys).map_err(|error| error.to_string()).and_then(|keys| {
            let sealed = database.a_sealed_key().map_err(|error| error.to_string())?;
            let Some((learner, sealed)) = sealed else { return Ok("are there; nothing is sealed with them yet") };
            let opened = keys.unwrap(&learner, &sealed).map(|_| "are there and open what was sealed");
            opened.map_err(|_| "master.key does not open what is sealed here: it is of another installation".to_owned())
        });
    match checked {
        Ok(what) => findings.ok("keys", what),
        Err(what) => findings.add("keys", Level::Error, what, advice),
    }
}

fn look_into(config: &Config, database: &Inspection, deep: bool, now_ms: i64, findings: &mut Findings) {
    let folder = &config.data_folder;
    let unreadable = |findings: &mut Findings, check, error: StoreError| {
        findings.add(check, Level::Error, format!("cannot be read to the end: {error}"), RESTORE);
    };
    match database.pages(deep) {
        Ok(None) => {
            findings.ok("database", "PostgreSQL answers; its pages it checks itself (pg_amcheck, data checksums)")
        }
        Ok(Some(problems)) if problems.is_empty() => {
            findings.ok("database", if deep { "pages and indexes are whole" } else { "pages are whole" });
        }
        Ok(Some(problems)) => findings.many("database", Level::Error, &problems, RESTORE),
        Err(error) => unreadable(findings, "database", error),
    }
    let mut wrong = Vec::new();
    match database.open_sessions(&sound_log, &mut |problem| wrong.push(problem)) {
        Ok(open) if wrong.is_empty() => findings.ok("journal", format!("the logs of {open} open sessions are whole")),
        Ok(_) => findings.many("journal", Level::Error, &wrong, RESTORE),
        Err(error) => unreadable(findings, "journal", error),
    }
    wrong.clear();
    let newest = (!deep).then_some(SESSIONS_WITHOUT_DEEP);
    match database.closed_sessions(newest, &mut |problem| wrong.push(problem)) {
        Ok(closed) if wrong.is_empty() => {
            let which = if deep { "all" } else { "the newest" };
            findings.ok("records", format!("logs and verdicts of {which} {closed} closed sessions belong together"));
        }
        Ok(_) => findings.many("records", Level::Error, &wrong, RESTORE),
        Err(error) => unreadable(findings, "records", error),
    }
    let photos = match config.evidence.bucket() {
        None => {
            let photos = config.evidence.shared_folder().unwrap_or_else(|| folder.join(PHOTOS_FOLDER));
            look_at_photos(&photos, database, now_ms, findings)
        }
        Some(_) => bucket::look_at_bucket(config, database, deep, now_ms, findings),
    };
    if let Err(error) = photos {
        unreadable(findings, "photos", error);
    }
    if let Err(error) = look_at_forgotten(folder, database, findings) {
        unreadable(findings, "forgotten", error);
    }
    if let Err(error) = look_at_clock(database, now_ms, findings) {
        unreadable(findings, "clock", error);
    }
    if let Err(error) = look_at_outbox(database, now_ms, findings) {
        unreadable(findings, "webhooks", error);
    }
}

fn look_at_photos(
    photos: &Path,
    database: &Inspection,
    now_ms: i64,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let (mut known, mut missing) = (HashSet::new(), Vec::new());
    database.photos(&mut |name| {
        if !EvidenceId::parse(name).is_ok_and(|id| photos.join(relative_path(&id)).is_file()) {
            missing.push(format!("the file of photo {name} is missing"));
        }
        known.insert(name.to_owned());
        Ok::<_, StoreError>(())
    })?;
    let mut orphans = Vec::new();
    let folders = fs::read_dir(photos).into_iter().flatten().flatten();
    for entry in folders.filter(|entry| entry.file_name() != DRAFTS) {
        for file in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let young = file.metadata().is_ok_and(|about| about.mtime() > now_ms / 1_000 - YOUNG_S);
            if !known.contains(&name) && !young {
                orphans.push(format!("nothing refers to the photo file {}", file.path().display()));
            }
        }
    }
    if missing.is_empty() && orphans.is_empty() {
        findings.ok("photos", format!("{} photos have their files", known.len()));
    }
    let advice = "copy them back from a backup (photos/); the verdicts stand without them";
    findings.many("photos", Level::Error, &missing, advice);
    let advice = "a crash between photo and record leaves such files; they can be removed, nobody refers to them";
    findings.many("photos", Level::Warning, &orphans, advice);
    Ok(())
}

fn look_at_forgotten(folder: &Path, database: &Inspection, findings: &mut Findings) -> Result<(), StoreError> {
    let tombstones = match read_tombstones(&folder.join(TOMBSTONES_FILE)) {
        Ok(tombstones) => tombstones,
        Err(error) => {
            let advice = "the list of forgotten learners is damaged: put it back from a copy, the server does not start \
                          without it";
            findings.add("forgotten", Level::Error, error.to_string(), advice);
            return Ok(());
        }
    };
    let revived = database.revived(&tombstones)?;
    let unpurged = database.unpurged()?;
    if revived.is_empty() && unpurged.is_empty() {
        findings.ok("forgotten", format!("{} learners are forgotten and have no key", tombstones.len()));
    }
    let wrong: Vec<String> =
        revived.iter().map(|learner| format!("learner {learner} is forgotten, and has a key again")).collect();
    findings.many("forgotten", Level::Error, &wrong, "restart the server: it forgets them again at its start");
    let wrong: Vec<String> =
        unpurged.iter().map(|learner| format!("traces of the forgotten learner {learner} may remain")).collect();
    let advice = "forget the learner again (DELETE /api/v1/learners/…) while no backup runs, or restart the server";
    findings.many("forgotten", Level::Warning, &wrong, advice);
    Ok(())
}

fn look_at_clock(database: &Inspection, now_ms: i64, findings: &mut Findings) -> Result<(), StoreError> {
    let ahead_ms = database.latest_stamp()?.map_or(i64::MIN, |latest| latest - now_ms);
    if ahead_ms > AHEAD_LIMIT_MS {
        let what = format!("the machine's clock is {:.1} s behind what is on record", ahead_ms as f64 / 1e3);
        let advice = "set the clock right (NTP) and restart the server; until then its sessions run ahead of the clock";
        findings.add("clock", Level::Error, what, advice);
    } else {
        findings.ok("clock", "nothing on record is in the future");
    }
    Ok(())
}

fn look_at_outbox(database: &Inspection, now_ms: i64, findings: &mut Findings) -> Result<(), StoreError> {
    let waiting = database.waiting()?;
    let oldest_ms = waiting.oldest_at.map_or(0, |oldest_at| now_ms - oldest_at);
    if oldest_ms > STUCK_MS {
        let hours = oldest_ms / 3_600_000;
        let what = format!("{} verdicts wait for their platforms, the oldest for {hours} h", waiting.pending);
        let advice = "look at GET /api/v1/platforms for the address, and at the log for what the receiver answers";
        findings.add("webhooks", Level::Warning, what, advice);
    } else {
        findings.ok("webhooks", format!("{} verdicts wait for their platforms", waiting.pending));
    }
    if waiting.failed > 0 {
        let what = format!("{} deliveries were given up", waiting.failed);
        findings.add("webhooks", Level::Warning, what, "the platforms can read those verdicts by REST");
    }
    Ok(())
}

/// Says nothing when TLS is somebody else's.
fn look_at_certificate(config: &Tls, now_s: i64, findings: &mut Findings) {
    let (Some(certificate), Some(key)) = (&config.certificate_file, &config.key_file) else { return };
    let advice = "put a renewed certificate and its key in the place of the old files: the server takes them up within \
                  ten seconds";
    let pair = match tls::read(certificate, key) {
        Ok(pair) => pair,
        Err(error) => return findings.add("certificate", Level::Error, error.to_string(), advice),
    };
    let Some(expires_at_s) = pair.expires_at_s.and_then(|at_s| i64::try_from(at_s).ok()) else {
        return findings.add("certificate", Level::Warning, "until when it is good cannot be told", advice);
    };
    let (left_s, path) = (expires_at_s - now_s, certificate.display());
    match left_s {
        ..0 => {
            let what = format!("{path} ended {} days ago: browsers refuse it", -left_s / DAY_S);
            findings.add("certificate", Level::Error, what, advice);
        }
        0..CERTIFICATE_WARNING_S => {
            findings.add("certificate", Level::Warning, format!("{path} ends in {} days", left_s / DAY_S), advice);
        }
        _ => findings.ok("certificate", format!("{path} is good for {} days", left_s / DAY_S)),
    }
}

fn look_at_models(folder: &Path, wanted: Wanted, findings: &mut Findings) {
    let advice = "run `make models`, and name the folder with models_folder; or choose another vision.provider";
    let loaded = Models::load_with(folder, wanted);
    match loaded.and_then(|models| Checker::new(&models).map(|_| models.running().clone())) {
        Ok(running) => {
            let files = Manifest::embedded().files().count();
            findings.ok("models", format!("the face models are the right ones ({files} files) and run on {running}"));
        }
        Err(error) => findings.add("models", Level::Error, error.to_string(), advice),
    }
}

fn look_at_limits(connections: usize, findings: &mut Findings) {
    let limit = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let wanted = connections as u64 + 1_000;
    if limit < wanted {
        let what = format!("this shell may open {limit} files; {connections} connections want {wanted}");
        let advice =
            "raise it for the server (LimitNOFILE= in its unit, `ulimit -n`), or lower limits.connections_limit";
        findings.add("files", Level::Warning, what, advice);
    } else {
        findings.ok("files", format!("{limit} files may be open"));
    }
}

#[cfg(test)]
mod tests;
