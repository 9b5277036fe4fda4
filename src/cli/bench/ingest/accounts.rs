//! What a process has used, as the kernel has counted it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

/// The unit of times in `/proc/PID/stat`: 100 a second on every Linux that there is (`getconf CLK_TCK`).
const TICK_US: u64 = 10_000;

/// Processor time of a process since its start, µs: all threads, those that have ended too, user and system.
pub(in super::super) fn cpu_us(pid: u32) -> anyhow::Result<u64> {
    times(Path::new(&format!("/proc/{pid}/stat"))).map(|(_, us)| us)
}

/// Processor time of each kind of thread since its start, µs, by name.
pub(super) fn cpu_us_by_thread(pid: u32) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut by_name = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the two looks.
        if let Ok((name, us)) = times(&task?.path().join("stat")) {
            *by_name.entry(name).or_default() += us;
        }
    }
    Ok(by_name)
}

fn times(path: &Path) -> anyhow::Result<(String, u64)> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    parse_times(&text).with_context(|| format!("{}: {text}", path.display()))
}

/// Name and time: the name stands in brackets and may hold anything; user and system time are the 12th and 13th after.
fn parse_times(text: &str) -> Option<(String, u64)> {
    let (head, rest) = text.rsplit_once(") ")?;
    let (_, name) = head.split_once('(')?;
    let mut fields = rest.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((name.to_owned(), (ticks()? + ticks()?) * TICK_US))
}

/// Resident memory of a process, bytes.
pub(super) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).context(path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context(path)?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// How many files this process may have open.
pub(super) fn open_files_limit() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/limits")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).context("/proc/self/limits")?;
    Ok(line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let text = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0";
        assert_eq!(parse_times(text), Some(("a) b (c)".to_owned(), 1_500_000)));
        assert_eq!(parse_times("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_in_the_books() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 100_000);
        assert!(cpu_us_by_thread(pid).unwrap().values().sum::<u64>() <= cpu_us(pid).unwrap() + 1_000_000);
        assert!(open_files_limit().unwrap() > 0);
    }
}
