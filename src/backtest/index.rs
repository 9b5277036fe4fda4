//! Which sessions there are, where they lie, and how they hang together.
//!
//! A few dozen bytes a session, and no log: a million sessions take some 60 MB.

use std::collections::HashMap;
use std::ops::Range;

use crate::log::SessionOpened;
use crate::store::SessionKey;
use crate::store::archive::ClosedSession;

/// Where a session's log lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// In a file.
    Log {
        /// by its number in the source
        file: u32,
        /// where its first byte is
        offset: u64,
        /// bytes
        length: u64,
        /// of the file, from 1, at which it begins
        line: u64,
    },
    /// In a data folder.
    Stored(SessionKey),
}

/// A session, found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// of the learner and project
    chain: u32,
    pub(super) lesson: u32,
    /// ms since the epoch; 0 where the order is known already
    opened_at: i64,
    /// recorded at its opening: the lessons before it were complete
    in_order: bool,
}

/// The sessions of one learner in one project.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// in the order of opening
    pub(super) sessions: Range<usize>,
    /// credited before invigil, ms; `None`: the facts of the first session say what was before it
    pub(super) prior_online_ms: Option<i64>,
}

/// Which lessons come before one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Prior {
    /// As the project has it.
    Known(Vec<String>),
    /// As far as the openings tell: all that came before it in every chain where the order was kept.
    Derived(Vec<String>),
    /// Nobody ever came to it in order.
    Unknown,
}

/// The index of a source.
#[derive(Debug)]
pub struct Index {
    pub(super) entries: Vec<Entry>,
    pub(super) chains: Vec<Chain>,
    /// by the number of the lesson
    pub(super) prior: Vec<Prior>,
    pub(super) learners: u64,
    pub(super) projects: u64,
}

impl Index {
    /// How many sessions were found.
    pub fn sessions(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Chains in parts of about `sessions` each, for sharing out.
    pub(super) fn parts(&self, sessions: usize) -> Vec<Range<usize>> {
        let (mut parts, mut start, mut count) = (Vec::new(), 0, 0);
        for (number, chain) in self.chains.iter().enumerate() {
            count += chain.sessions.len();
            if count >= sessions || number + 1 == self.chains.len() {
                parts.push(start..number + 1);
                (start, count) = (number + 1, 0);
            }
        }
        parts
    }
}

/// Numbers for names.
#[derive(Debug)]
struct Numbers<K>(HashMap<K, u32>);

impl<K: std::hash::Hash + Eq> Numbers<K> {
    fn new() -> Self {
        Self(HashMap::new())
    }

    fn of(&mut self, name: K) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(name).or_insert(next)
    }
}

/// An index in the making.
#[derive(Debug)]
pub(super) struct Builder {
    entries: Vec<Entry>,
    learners: Numbers<String>,
    projects: Numbers<String>,
    chains: Numbers<(u32, u32)>,
    lessons: Numbers<(u32, String)>,
    /// by the number of the chain, where it is known
    prior_online_ms: HashMap<u32, i64>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            learners: Numbers::new(),
            projects: Numbers::new(),
            chains: Numbers::new(),
            lessons: Numbers::new(),
            prior_online_ms: HashMap::new(),
        }
    }

    /// Adds a session whose log begins so. Its length may be said later.
    pub(super) fn add_log(&mut self, place: Place, opened_at: i64, opened: SessionOpened) -> usize {
        let in_order = opened.facts.prior_lessons_complete;
        let (chain, lesson) = self.numbers(opened.learner, opened.project, opened.lesson);
        self.entries.push(Entry { place, chain, lesson, opened_at, in_order });
        self.entries.len() - 1
    }

    /// Says how long the log of an entry is.
    pub(super) fn set_length(&mut self, entry: usize, bytes: u64) {
        if let Place::Log { length, .. } = &mut self.entries[entry].place {
            *length = bytes;
        }
    }

    /// Adds a session of a data folder; those of a chain come in the order of opening.
    pub(super) fn add_stored(&mut self, session: ClosedSession) {
        let (chain, lesson) = self.numbers(session.learner, session.project, session.lesson);
        self.prior_online_ms.insert(chain, session.prior_online_ms);
        let place = Place::Stored(session.key);
        self.entries.push(Entry { place, chain, lesson, opened_at: 0, in_order: false });
    }

    fn numbers(&mut self, learner: String, project: String, lesson: String) -> (u32, u32) {
        let project = self.projects.of(project);
        let learner = self.learners.of(learner);
        (self.chains.of((learner, project)), self.lessons.of((project, lesson)))
    }

    /// The index of logs: what comes before a lesson is derived from the openings.
    pub(super) fn of_logs(self) -> Index {
        self.finish(derive_order)
    }

    /// The index of a data folder, whose projects say in which order their lessons are taken.
    pub(super) fn of_data(mut self, projects: &HashMap<String, Vec<String>>) -> Index {
        let numbers = std::mem::replace(&mut self.projects, Numbers::new());
        let count = numbers.0.len() as u64;
        let names: HashMap<u32, String> = numbers.0.into_iter().map(|(name, number)| (number, name)).collect();
        let prior = |&(project, ref lesson): &(u32, String)| {
            let all = names.get(&project).and_then(|name| projects.get(name)).map_or(&[][..], Vec::as_slice);
            Prior::Known(all.iter().take_while(|other| *other != lesson).cloned().collect())
        };
        let index = self.finish(|lessons, _, _| lessons.iter().map(prior).collect());
        Index { projects: count, ..index }
    }

    fn finish(self, prior: impl FnOnce(&[(u32, String)], &[Entry], &[Chain]) -> Vec<Prior>) -> Index {
        let Self { mut entries, learners, projects, chains: _, lessons, prior_online_ms } = self;
        // Stored ones have their order in the key, and those of a file that were opened in one millisecond in the file.
        entries.sort_by_key(|entry| (entry.chain, entry.opened_at, entry.place));
        let mut chains: Vec<Chain> = entries
            .chunk_by(|a, b| a.chain == b.chain)
            .scan(0, |start, chunk| {
                let sessions = *start..*start + chunk.len();
                *start = sessions.end;
                Some(Chain { sessions, prior_online_ms: prior_online_ms.get(&chunk[0].chain).copied() })
            })
            .collect();
        let mut names: Vec<(u32, (u32, String))> = lessons.0.into_iter().map(|(name, number)| (number, name)).collect();
        names.sort_unstable();
        let names: Vec<(u32, String)> = names.into_iter().map(|(_, name)| name).collect();
        let prior = prior(&names, &entries, &chains);
        // The numbers hang on which thread came first; where the first log lies does not. And so files are read forwards.
        chains.sort_by_key(|chain| entries[chain.sessions.start].place);
        let (learners, projects) = (learners.0.len() as u64, projects.0.len() as u64);
        Index { entries, chains, prior, learners, projects }
    }
}

/// What comes before a lesson came before it whenever the order was kept; so it is among the lessons that stand before
/// it in every such chain.
fn derive_order(lessons: &[(u32, String)], entries: &[Entry], chains: &[Chain]) -> Vec<Prior> {
    let mut before: Vec<Option<Vec<u32>>> = vec![None; lessons.len()];
    for chain in chains {
        let mut seen: Vec<u32> = Vec::new();
        for entry in &entries[chain.sessions.clone()] {
            if entry.in_order {
                match &mut before[entry.lesson as usize] {
                    Some(before) => before.retain(|lesson| seen.contains(lesson)),
                    none => *none = Some(seen.iter().copied().filter(|lesson| *lesson != entry.lesson).collect()),
                }
            }
            if !seen.contains(&entry.lesson) {
                seen.push(entry.lesson);
            }
        }
    }
    let name = |lesson: u32| lessons[lesson as usize].1.clone();
    let prior = |before: Option<Vec<u32>>| {
        before.map_or(Prior::Unknown, |mut before| {
            before.sort_by_key(|lesson| &lessons[*lesson as usize].1);
            Prior::Derived(before.into_iter().map(name).collect())
        })
    };
    before.into_iter().map(prior).collect()
}
