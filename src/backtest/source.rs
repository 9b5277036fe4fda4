//! Where recorded sessions come from: files of logs, or a server's records.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::index::{Builder, Index, Place};
use super::{BacktestError, BadLog, Progress, logs};
use crate::log::LineError;
use crate::store::archive::Archive;
use crate::store::reading::Records;

/// The longest log that is judged, bytes. A day and night of an event a second takes a twentieth of it.
const MAX_LOG_BYTES: u64 = 256 << 20;
/// A buffer that grew beyond this for one long log is given back.
const KEPT_BUFFER_BYTES: usize = 4 << 20;
/// Files that one reader keeps open.
const OPEN_FILES: usize = 16;

/// Recorded sessions.
#[derive(Clone, Debug)]
pub enum Source {
    /// Files with one log or many.
    Logs(Vec<PathBuf>),
    /// The records of a server, running or not.
    Data(Records),
}

/// A session as it was recorded.
pub(super) struct Recorded<'a> {
    pub(super) log: &'a [u8],
    /// what the engine said then, as JSON, where it is known
    pub(super) verdict: Option<String>,
    pub(super) decided_by_person: bool,
}

impl Source {
    /// Finds the sessions; also tells which logs do not even begin as they must.
    ///
    /// # Errors
    /// When files or folder cannot be read.
    pub fn index(&self, threads: usize, progress: &dyn Progress) -> Result<(Index, Vec<BadLog>), BacktestError> {
        match self {
            Self::Logs(files) => logs::index(files, threads, progress),
            Self::Data(records) => Ok((index_data(records)?, Vec::new())),
        }
    }

    /// The size of what an index must read, bytes; 0 when it is not worth saying.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Logs(files) => files.iter().filter_map(|path| path.metadata().ok()).map(|data| data.len()).sum(),
            Self::Data(_) => 0,
        }
    }

    /// Somebody who reads sessions; each thread has its own.
    pub(super) fn reader(&self) -> Result<Reader<'_>, BacktestError> {
        let how = match self {
            Self::Logs(files) => How::Logs { files, open: Vec::new() },
            Self::Data(records) => How::Data { archive: open(records)?, records },
        };
        Ok(Reader { how, buffer: Vec::new() })
    }
}

fn open(records: &Records) -> Result<Archive, BacktestError> {
    Archive::open(records).map_err(|error| BacktestError::Store { records: records.clone(), error })
}

fn index_data(records: &Records) -> Result<Index, BacktestError> {
    let archive = open(records)?;
    let failed = |error| BacktestError::Store { records: records.clone(), error };
    let mut projects: HashMap<String, Vec<String>> = HashMap::new();
    archive.lessons(|project, lesson| projects.entry(project).or_default().push(lesson)).map_err(failed)?;
    let mut builder = Builder::new();
    archive.closed_sessions(|session| builder.add_stored(session)).map_err(failed)?;
    Ok(builder.of_data(&projects))
}

/// Reads sessions one after the other, into a buffer that is used again.
pub(super) struct Reader<'a> {
    how: How<'a>,
    buffer: Vec<u8>,
}

enum How<'a> {
    Logs { files: &'a [PathBuf], open: Vec<(u32, File)> },
    Data { archive: Archive, records: &'a Records },
}

impl Reader<'_> {
    /// What a bad line of the session at `place` is reported as: where, and how many lines of the file stand before it.
    pub(super) fn name(&self, place: Place) -> (String, u64) {
        match (&self.how, place) {
            (How::Logs { files, .. }, Place::Log { file, line, .. }) => {
                (files[file as usize].display().to_string(), line - 1)
            }
            (How::Data { records, .. }, Place::Stored(key)) => (format!("{records}: session with key {}", key.0), 0),
            _ => (String::new(), 0),
        }
    }

    /// The session at `place`.
    ///
    /// # Errors
    /// When it is not there any more, or cannot be read.
    pub(super) fn read(&mut self, place: Place) -> Result<Recorded<'_>, LineError> {
        let wrong = |error: &dyn std::fmt::Display| LineError::new("line", error.to_string());
        match (&mut self.how, place) {
            (How::Logs { files, open }, Place::Log { file, offset, length, .. }) => {
                if length > MAX_LOG_BYTES {
                    return Err(wrong(&format!("the log is longer than {MAX_LOG_BYTES} bytes")));
                }
                let length = length as usize;
                if self.buffer.len() < length || self.buffer.len() > KEPT_BUFFER_BYTES {
                    self.buffer = vec![0; length.max(64 << 10)];
                }
                let log = &mut self.buffer[..length];
                let file = opened(open, files, file).map_err(|error| wrong(&error))?;
                file.read_exact_at(log, offset).map_err(|error| wrong(&error))?;
                Ok(Recorded { log, verdict: None, decided_by_person: false })
            }
            (How::Data { archive, .. }, Place::Stored(key)) => {
                let session = archive.session(key).map_err(|error| wrong(&error))?;
                let session = session.ok_or_else(|| wrong(&"the log of this session is not kept"))?;
                self.buffer = session.log;
                let log = &self.buffer[..];
                Ok(Recorded { log, verdict: session.verdict, decided_by_person: session.decided_by_person })
            }
            _ => Err(wrong(&"this session is of another source")),
        }
    }
}

/// The file of this number, opened if need be; the one that was opened first gives way.
fn opened<'f>(open: &'f mut Vec<(u32, File)>, files: &[PathBuf], number: u32) -> std::io::Result<&'f File> {
    let at = match open.iter().position(|(known, _)| *known == number) {
        Some(at) => at,
        None => {
            let file = File::open(&files[number as usize])?;
            if open.len() == OPEN_FILES {
                open.remove(0);
            }
            open.push((number, file));
            open.len() - 1
        }
    };
    Ok(&open[at].1)
}
