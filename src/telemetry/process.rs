//! What the process itself uses up, read from `/proc`; nothing where there is none.

use std::fs;

/// Clock ticks a second in `/proc`: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What was used up, as far as the system says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// processor time, s
    pub cpu_seconds: f64,
    /// memory in RAM, bytes
    pub resident_bytes: i64,
    /// open files and sockets
    pub open_files: i64,
    /// open files and sockets that the process may have
    pub files_limit: i64,
}

impl Usage {
    /// Of this process, now.
    pub fn now() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        Self {
            cpu_seconds: cpu_seconds(&read("stat")),
            resident_bytes: resident_bytes(&read("status")),
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as i64),
            files_limit: files_limit(&read("limits")),
        }
    }
}

fn cpu_seconds(stat: &str) -> f64 {
    // The name in brackets may hold anything; what follows it is counted from the state, the third field.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    ticks.sum::<u64>() as f64 / TICKS_PER_SECOND
}

fn resident_bytes(status: &str) -> i64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok()).map_or(0, |kib| kib * 1024)
}

fn files_limit(limits: &str) -> i64 {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read() {
        assert_eq!(cpu_seconds("7 (a ) b) S 1 1 1 0 -1 4194304 900 0 0 0 150 50 0 0 20 0 4 0 100 1 2"), 2.0);
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    1234 kB\n"), 1_263_616);
        assert_eq!(files_limit("Max open files            1024                 4096                 files\n"), 1024);
        let usage = Usage::now();
        assert!(usage.resident_bytes > 1 << 20 && usage.open_files > 2 && usage.files_limit > 2, "{usage:?}");
    }
}
