//! A server process that ends with its holder: when that is dropped, when the test panics, and when the whole test
//! process is killed.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, geteuid, kill_process};

/// Starts the server, says its process id, and waits for the end of its input, which is the holder's end. The output
/// of the server is all that keeps the error stream open. What a shell starts in the background ignores QUIT if it does
/// not know better; for those who do, it is the quicker end.
const HOLD: &str = r#""$@" >&2 & exec 2>&-; echo $!; read -r _; kill -CONT $!; kill -QUIT $!; kill -TERM $!; wait"#;

/// A server and its children.
pub struct Daemon {
    shell: Child,
    id: Pid,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

/// What the server has said so far.
#[derive(Default)]
struct Log {
    said: Mutex<Said>,
    grown: Condvar,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    /// the server and all its children are gone
    ended: bool,
}

/// Whom servers run as that refuse to run as root.
#[derive(Clone, Copy)]
pub struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// `nobody`, where the test runs as root; whoever runs the test needs no other user.
    pub fn instead_of_root() -> Option<Self> {
        if !geteuid().is_root() {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
        let nobody = users.lines().find(|line| line.starts_with("nobody:")).expect("no user `nobody`");
        let mut ids = nobody.split(':').skip(2).map(|id| id.parse().expect("an id in /etc/passwd"));
        Some(Self { user: ids.next().unwrap(), group: ids.next().unwrap() })
    }

    /// Gives a file or folder to this user.
    pub fn take(self, path: &Path) {
        std::os::unix::fs::chown(path, Some(self.user), Some(self.group)).unwrap();
    }

    /// Makes this user run a command.
    pub fn run(self, command: &mut Command) {
        command.uid(self.user).gid(self.group);
    }
}

/// A free port on an address that belongs to this test process alone, so that nobody takes it while its server is down.
pub fn free_address() -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let own = Ipv4Addr::new(127, 64 + (high & 63), middle, low);
    TcpListener::bind((own, 0)).unwrap().local_addr().unwrap()
}

impl Daemon {
    /// Starts `line` (program and arguments); returns once it has said `ready`, or everything it said instead.
    pub fn start(line: &[String], owner: Option<Owner>, ready: &str) -> Result<Self, String> {
        let mut command = Command::new("sh");
        command.args(["-c", HOLD, "sh"]).args(line).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(owner) = owner {
            owner.run(&mut command);
        }
        let mut shell = command.spawn().map_err(|error| format!("sh: {error}"))?;
        let mut id = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut id).unwrap();
        let id = id.trim().parse().ok().and_then(Pid::from_raw).expect("the shell says the process id");
        let log = Arc::new(Log::default());
        let reader = std::thread::spawn({
            let (log, output) = (log.clone(), shell.stderr.take().unwrap());
            move || log.read(output)
        });
        let daemon = Self { shell, id, log, reader: Some(reader) };
        if daemon.log.wait(|said| said.ended || said.has(ready)).has(ready) { Ok(daemon) } else { Err(daemon.log()) }
    }

    /// Everything that it has said.
    pub fn log(&self) -> String {
        self.log.wait(|_| true).lines.join("\n")
    }

    /// Asks it to end, and returns when it has, with all its children.
    pub fn stop(mut self, how: Signal) {
        let _ = kill_process(self.id, how);
        self.await_end();
    }

    /// Kills it with all its children at one moment.
    pub fn kill(mut self) {
        self.pause();
        for process in family(self.id) {
            let _ = kill_process(process, Signal::KILL);
        }
        self.await_end();
    }

    /// Freezes it with all its children: connections stay, and nothing answers.
    pub fn pause(&self) {
        let mut frozen = Vec::new();
        // A parent that stands still makes no more children.
        while let Some(process) = family(self.id).into_iter().find(|process| !frozen.contains(process)) {
            if kill_process(process, Signal::STOP).is_ok() {
                while is_running(process) {
                    std::thread::yield_now();
                }
            }
            frozen.push(process);
        }
    }

    /// Lets it go on.
    pub fn resume(&self) {
        for process in family(self.id) {
            let _ = kill_process(process, Signal::CONT);
        }
    }

    fn await_end(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.resume();
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

impl Said {
    fn has(&self, words: &str) -> bool {
        self.lines.iter().any(|line| line.contains(words))
    }
}

impl Log {
    fn read(&self, output: impl Read) {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            self.said.lock().unwrap().lines.push(line);
            self.grown.notify_all();
        }
        self.said.lock().unwrap().ended = true;
        self.grown.notify_all();
    }

    fn wait(&self, until: impl Fn(&Said) -> bool) -> std::sync::MutexGuard<'_, Said> {
        self.grown.wait_while(self.said.lock().unwrap(), |said| !until(said)).unwrap()
    }
}

/// A process, its children, and theirs: parents before children.
fn family(parent: Pid) -> Vec<Pid> {
    let mut found = vec![parent];
    let mut next = 0;
    while let Some(process) = found.get(next) {
        let id = process.as_raw_nonzero();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|id| id.parse().ok().and_then(Pid::from_raw)));
        next += 1;
    }
    found
}

/// Whether it can still do something: it is there, and neither stopped nor ended.
fn is_running(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    // The state follows the name, which stands in brackets.
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['T', 't', 'Z', 'X']))
}
