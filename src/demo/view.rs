//! What can be seen while it runs: one line a learner that changes in place, or lines one after the other where there
//! is no terminal.

use console::{Alignment, pad_str, style};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::course::LESSON_MS;
use super::nodes::{NodeSeen, Nodes};
use super::progress::{Progress, Seen};
use super::table::coloured;
use crate::clock::{Clock, Stopwatch};

/// Fast enough for the eye, and little work.
const REDRAW_MS: i64 = 100;
const NAME_COLUMNS: usize = 16;
const BAR_COLUMNS: usize = 24;
const COUNTS_COLUMNS: usize = 24;

/// Shows everybody, and the nodes if there are several, on stderr until it is dropped.
pub async fn follow(learners: Vec<(&'static str, Progress)>, nodes: Option<Nodes>, wall: Clock) {
    if console::user_attended_stderr() { draw(learners, nodes, wall).await } else { tell(learners, nodes, wall).await }
}

async fn draw(learners: Vec<(&'static str, Progress)>, nodes: Option<Nodes>, wall: Clock) {
    let all = MultiProgress::new();
    let line = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = || all.add(ProgressBar::no_length().with_style(line.clone()));
    let lines: Vec<_> = learners.into_iter().map(|(name, progress)| (name, progress, bar())).collect();
    let of_nodes = nodes.iter().flat_map(Nodes::seen).map(|_| bar()).collect::<Vec<_>>();
    let all_lines = lines.iter().map(|(_, _, bar)| bar).chain(&of_nodes);
    let _left_standing = LeftStanding(all_lines.cloned().collect());
    loop {
        for (name, progress, bar) in &lines {
            bar.set_message(one_line(name, &progress.seen()));
            bar.tick();
        }
        let seen = nodes.iter().flat_map(Nodes::seen).enumerate();
        for ((number, seen), bar) in seen.zip(&of_nodes) {
            bar.set_message(node_line(number + 1, seen));
            bar.tick();
        }
        wall.sleep_ms(REDRAW_MS).await;
    }
}

/// Leaves the lines as they were last when the view is dropped.
struct LeftStanding(Vec<ProgressBar>);

impl Drop for LeftStanding {
    fn drop(&mut self) {
        for bar in &self.0 {
            bar.abandon();
        }
    }
}

/// A node's line as it stands.
fn node_line(number: usize, seen: NodeSeen) -> String {
    if seen.lives {
        format!(
            "node {number}  {} {:2} sessions  {}",
            style("●").green(),
            seen.sessions,
            style(format!("key {number} kills it")).dim()
        )
    } else {
        format!(
            "node {number}  {} killed       {}",
            style("✗").red(),
            style(format!("key {number} starts it again")).dim()
        )
    }
}

/// A learner's line as it stands.
fn one_line(name: &str, seen: &Seen) -> String {
    let name = pad_str(name, NAME_COLUMNS, Alignment::Left, Some("…"));
    let counts = format!(
        "{} {}",
        style(format!("prompts {}/{}", seen.passed, seen.prompts)).dim(),
        style(format!("photos {}/{}", seen.matches, seen.photos)).dim()
    );
    let counts = pad_str(&counts, COUNTS_COLUMNS, Alignment::Left, None).into_owned();
    format!("{name} {} {counts} {}", playback(seen), state(seen))
}

fn playback(seen: &Seen) -> String {
    let Some(player) = seen.player else { return " ".repeat(BAR_COLUMNS + 8) };
    let filled = (player.pos_ms * BAR_COLUMNS as i64 / LESSON_MS).clamp(0, BAR_COLUMNS as i64) as usize;
    let sign = if player.playing { "▶" } else { "‖" };
    let (done, left) = ("━".repeat(filled), "─".repeat(BAR_COLUMNS - filled));
    let seconds = player.pos_ms / 1000;
    format!("{sign} {:02}:{:02} {}{}", seconds / 60, seconds % 60, style(done).cyan(), style(left).dim())
}

fn state(seen: &Seen) -> String {
    let mut words = Vec::new();
    if let Some(status) = worst_status(seen).filter(|_| seen.left) {
        words.push(coloured(&status));
    } else if seen.offline {
        words.push(style("offline").yellow().to_string());
    }
    if seen.sessions.len() > 1 {
        words.push(style(format!("{} sessions", seen.sessions.len())).dim().to_string());
    }
    words.extend(seen.violations.iter().map(|name| style(name).red().to_string()));
    words.join(" ")
}

/// The worst verdict that the learner was told.
fn worst_status(seen: &Seen) -> Option<String> {
    let statuses: Vec<String> = seen.closed.values().filter_map(|closed| status_of(closed.verdict.get())).collect();
    ["invalid", "review", "valid"].into_iter().find(|status| statuses.iter().any(|s| s == status)).map(str::to_owned)
}

fn status_of(verdict: &str) -> Option<String> {
    let verdict: serde_json::Value = serde_json::from_str(verdict).ok()?;
    verdict["status"].as_str().map(str::to_owned)
}

async fn tell(learners: Vec<(&'static str, Progress)>, nodes: Option<Nodes>, wall: Clock) {
    let stopwatch = Stopwatch::start();
    let mut before = vec![Seen::default(); learners.len()];
    let mut told = 0;
    loop {
        for ((name, progress), before) in learners.iter().zip(&mut before) {
            let seen = progress.seen();
            for news in news(before, &seen) {
                eprintln!(
                    "{:5.1} s  {}  {news}",
                    stopwatch.elapsed().as_secs_f64(),
                    pad_str(name, NAME_COLUMNS, Alignment::Left, None)
                );
            }
            *before = seen;
        }
        let happened = nodes.iter().flat_map(Nodes::happened).collect::<Vec<_>>();
        for news in happened.iter().skip(told) {
            eprintln!(
                "{:5.1} s  node {} is {} with {} sessions",
                stopwatch.elapsed().as_secs_f64(),
                news.node,
                news.what,
                news.sessions
            );
        }
        told = happened.len();
        wall.sleep_ms(REDRAW_MS).await;
    }
}

/// What has happened since.
fn news(before: &Seen, seen: &Seen) -> Vec<String> {
    let mut news = Vec::new();
    if before.sessions.is_empty() && !seen.sessions.is_empty() {
        news.push("begins".to_owned());
    }
    if seen.offline && !before.offline {
        news.push("is offline".to_owned());
    }
    news.extend(seen.violations.iter().skip(before.violations.len()).map(|name| format!("breaks {name}")));
    if seen.left && !before.left {
        news.push(format!("leaves: {}", worst_status(seen).unwrap_or_else(|| "no verdict".to_owned())));
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::PlayerState;

    #[test]
    fn a_line_shows_where_somebody_stands() {
        console::set_colors_enabled(false);
        let player = PlayerState { playing: true, pos_ms: 195_000, rate: 1.0 };
        let seen = Seen {
            player: Some(player),
            prompts: 2,
            passed: 1,
            photos: 1,
            matches: 1,
            violations: vec!["fast_forward/rate".into()],
            ..Seen::default()
        };
        insta::assert_snapshot!(one_line("speeder", &seen), @"speeder          ▶ 03:15 ━━━━━━━━━━━━──────────── prompts 1/2 photos 1/1   fast_forward/rate");
        let offline = Seen { offline: true, ..seen.clone() };
        assert_eq!(state(&offline), "offline fast_forward/rate");
        assert_eq!(
            news(&Seen { violations: vec![], ..seen.clone() }, &offline),
            ["is offline", "breaks fast_forward/rate"]
        );
    }
}
