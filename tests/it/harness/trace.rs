//! A trace of system calls as `strace -f -y` writes it, and what must have happened in it before a message left.

use std::collections::HashMap;

/// The calls that a trace must hold.
pub const CALLS: &str = "write,writev,pwrite64,sendto,sendmsg,fsync,fdatasync,rename,renameat,renameat2";

/// One system call.
#[derive(Debug)]
struct Call<'a> {
    /// the line at which it began
    began: usize,
    /// the line at which it had returned; none when it never did
    returned: Option<usize>,
    name: &'a str,
    /// arguments and result, as strace writes them
    text: String,
}

/// All calls, in the order in which they began.
#[derive(Debug)]
pub struct Trace<'a>(Vec<Call<'a>>);

impl<'a> Trace<'a> {
    /// Reads a trace. A call that another thread's interrupted is put together again.
    pub fn parse(text: &'a str) -> Self {
        let mut calls: Vec<Call> = Vec::new();
        let mut unfinished: HashMap<&str, usize> = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let Some((thread, said)) = line.split_once(' ') else { continue };
            let said = said.trim_start();
            if let Some(rest) = said.strip_prefix("<... ") {
                let Some((_, rest)) = rest.split_once(" resumed>") else { continue };
                let Some(index) = unfinished.remove(thread) else { continue };
                calls[index].text.push_str(rest);
                calls[index].returned = Some(number);
                continue;
            }
            // Signals and exits are no calls.
            let Some((name, rest)) = said.split_once('(').filter(|(name, _)| is_name(name)) else { continue };
            let begun = rest.strip_suffix("<unfinished ...>");
            if begun.is_some() {
                unfinished.insert(thread, calls.len());
            }
            let returned = begun.is_none().then_some(number);
            calls.push(Call { began: number, returned, name, text: begun.unwrap_or(rest).to_owned() });
        }
        Self(calls)
    }

    /// The lines at which something was sent to a socket in which `holds` finds something, and what it found.
    pub fn sent<T>(&self, holds: impl Fn(&str) -> Vec<T>) -> Vec<(usize, T)> {
        let sends = self.0.iter().filter(|call| call.is_write() && call.file().starts_with("socket:"));
        sends.flat_map(|call| holds(&call.text.replace("\\\"", "\"")).into_iter().map(|it| (call.began, it))).collect()
    }

    /// Whether `bytes` were written to a file whose path ends in `file`, and that file was synced after that, all
    /// before line `before`.
    ///
    /// # Errors
    /// Says what had not happened.
    pub fn on_disk(&self, bytes: &str, file: &str, before: usize) -> Result<(), String> {
        let written = self.0.iter().find(|call| {
            call.is_write() && call.succeeded() && call.file().ends_with(file) && call.text.contains(bytes)
        });
        let written = written.and_then(|call| Some((call, call.returned?)));
        let Some((write, written)) = written.filter(|(_, written)| *written < before) else {
            return Err(format!("{bytes} left in line {before} and was not in {file} then"));
        };
        self.synced(&write.file(), written, before).map_err(|error| format!("{bytes}: {error}"))
    }

    /// Whether the file at `path` was synced between two lines.
    fn synced(&self, path: &str, after: usize, before: usize) -> Result<(), String> {
        let is_sync = |call: &&Call| matches!(call.name, "fsync" | "fdatasync") && call.file() == path;
        let between = |call: &Call| call.began > after && call.returned.is_some_and(|returned| returned < before);
        let found = self.0.iter().filter(is_sync).any(|call| call.succeeded() && between(call));
        found.then_some(()).ok_or_else(|| format!("{path} was not synced between lines {after} and {before}"))
    }

    /// Whether the last file that was brought under a name below `folder` before line `before` was written and synced
    /// before it got the name, and the name's folder synced after. Returns the name.
    ///
    /// # Errors
    /// Says what had not happened.
    pub fn file_on_disk(&self, folder: &str, before: usize) -> Result<String, String> {
        let renames = self.0.iter().filter(|call| call.name.starts_with("rename") && call.succeeded());
        let mut named = renames.filter_map(|call| match &call.quoted()[..] {
            [from, to] if to.starts_with(folder) => Some((call, call.returned?, from.clone(), to.clone())),
            _ => None,
        });
        let last = named.rfind(|(_, returned, ..)| *returned < before);
        let (rename, returned, from, to) = last.ok_or_else(|| format!("no file came into {folder}"))?;
        let writes = self.0.iter().filter(|call| call.is_write() && call.file() == from && call.succeeded());
        let written = writes.filter_map(|call| call.returned).max().ok_or_else(|| format!("{from} is empty"))?;
        self.synced(&from, written, rename.began)?;
        let (parent, name) = to.rsplit_once('/').ok_or("a name without a folder")?;
        self.synced(parent, returned, before)?;
        Ok(name.to_owned())
    }
}

impl Call<'_> {
    fn is_write(&self) -> bool {
        matches!(self.name, "write" | "writev" | "pwrite64" | "sendto" | "sendmsg")
    }

    /// What the first argument's descriptor stands for.
    fn file(&self) -> String {
        let inside = self.text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        inside.map_or("", |(path, _)| path).to_owned()
    }

    fn succeeded(&self) -> bool {
        let result = self.text.rsplit_once(" = ").map_or("", |(_, result)| result);
        result.starts_with(|c: char| c.is_ascii_digit())
    }

    /// The string arguments of a call that has no other bytes in it than paths.
    fn quoted(&self) -> Vec<String> {
        self.text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
