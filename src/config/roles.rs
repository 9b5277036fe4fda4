//! Which parts of the service a node takes on.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// One part of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// the stream of learners' pages
    Gateway,
    /// the REST API
    Api,
    /// looking at photos
    Vision,
    /// webhooks, reports, risk detectors, retention
    Delivery,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Gateway, Self::Api, Self::Vision, Self::Delivery];

    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Api => "api",
            Self::Vision => "vision",
            Self::Delivery => "delivery",
        }
    }
}

/// The parts that one node takes on: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Everything, as a node that is alone must.
    pub fn all() -> Self {
        Self(Role::ALL.into())
    }

    /// Whether this part is among them.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Whether the node only looks at photos, and needs no database.
    pub fn only_vision(&self) -> bool {
        self.0.len() == 1 && self.has(Role::Vision)
    }

    /// Whether sessions may live on the node.
    pub fn own_sessions(&self) -> bool {
        self.has(Role::Gateway) || self.has(Role::Api)
    }

    /// Those that it leaves to other nodes.
    pub fn left_out(&self) -> Option<Self> {
        let left_out: BTreeSet<Role> = Role::ALL.into_iter().filter(|role| !self.has(*role)).collect();
        (!left_out.is_empty()).then_some(Self(left_out))
    }

    fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let role = |word: &str| Role::ALL.into_iter().find(|role| role.as_str() == word);
        let known = Self::all();
        let roles =
            words.into_iter().map(|word| role(word).ok_or_else(|| format!("{word:?} is no role; there are {known}")));
        let roles = roles.collect::<Result<BTreeSet<Role>, String>>()?;
        if roles.is_empty() { Err(format!("names no role; there are {known}")) } else { Ok(Self(roles)) }
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(|role| role.as_str()).collect();
        formatter.write_str(&words.join(", "))
    }
}

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words)
    }
}

/// A list, or a text with commas, as flags and the environment have it.
struct Words;

impl<'de> Visitor<'de> for Words {
    type Value = Roles;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of roles")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Roles, E> {
        Roles::of_words(text.split(',').map(str::trim).filter(|word| !word.is_empty())).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Roles, A::Error> {
        let mut words: Vec<String> = Vec::new();
        while let Some(word) = list.next_element()? {
            words.push(word);
        }
        Roles::of_words(words.iter().map(String::as_str)).map_err(A::Error::custom)
    }
}
