//! What a process has used, as the kernel has counted it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

/// The unit of times in `/proc/PID/stat`: 100 a second on every Linux that there is (`getconf CLK_TCK`).
const TICK_US: u64 = 10_000;

/// Processor time of a process since its start, µs: all threads, those that have ended too, user and system.
pub(in super::super) fn cpu_us(pid: u32) -> anyhow::Result<u64> {
    times(Path::new(&format!("/proc/{pid}/stat"))).map(|times| times.own_us)
}

/// Processor time of a process and its children since its start, µs, those that have ended too.
pub(in super::super) fn family_cpu_us(pid: u32) -> anyhow::Result<u64> {
    let first = times(Path::new(&format!("/proc/{pid}/stat")))?;
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(&path).context(path)?;
    // One that ends between the two looks is missed, and is among those that have ended at the next.
    let alive = children.split_whitespace().filter_map(|id| cpu_us(id.parse().ok()?).ok());
    Ok(first.own_us + first.children_us + alive.sum::<u64>())
}

/// The parent of a process of PostgreSQL's: the server's first process. None for any other process.
pub(in super::super) fn postgres_parent(pid: u32) -> Option<u32> {
    let times = times(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    (times.name == "postgres").then_some(times.parent)
}

/// Processor time of each kind of thread since its start, µs, by name.
pub(super) fn cpu_us_by_thread(pid: u32) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut by_name = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the two looks.
        if let Ok(times) = times(&task?.path().join("stat")) {
            *by_name.entry(times.name).or_default() += times.own_us;
        }
    }
    Ok(by_name)
}

#[derive(Debug, PartialEq, Eq)]
struct Times {
    name: String,
    parent: u32,
    own_us: u64,
    /// of its children that have ended
    children_us: u64,
}

fn times(path: &Path) -> anyhow::Result<Times> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    parse_times(&text).with_context(|| format!("{}: {text}", path.display()))
}

/// The name stands in brackets and may hold anything; the parent is the second after it, user and system time are the 12th
/// and 13th, and its children's the two after those.
fn parse_times(text: &str) -> Option<Times> {
    let (head, rest) = text.rsplit_once(") ")?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.trim_end().split(' ').collect();
    let us = |index: usize| Some(fields.get(index)?.parse::<u64>().ok()? * TICK_US);
    Some(Times {
        name: name.to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        own_us: us(11)? + us(12)?,
        children_us: us(13)? + us(14)?,
    })
}

/// Resident memory of a process, bytes.
pub(in super::super) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).context(path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context(path)?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// How many files this process may have open.
pub(in super::super) fn open_files_limit() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/limits")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).context("/proc/self/limits")?;
    Ok(line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let text = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 120 30 4 5 20 0\n";
        let times = Times { name: "a) b (c)".to_owned(), parent: 1, own_us: 1_500_000, children_us: 90_000 };
        assert_eq!(parse_times(text), Some(times));
        assert_eq!(parse_times("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_in_the_books() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 100_000);
        // What is read later can only be more.
        let own_us = cpu_us(pid).unwrap();
        assert!(family_cpu_us(pid).unwrap() >= own_us && postgres_parent(pid).is_none());
        assert!(cpu_us_by_thread(pid).unwrap().values().sum::<u64>() <= cpu_us(pid).unwrap() + 1_000_000);
        assert!(open_files_limit().unwrap() > 0);
    }
}
