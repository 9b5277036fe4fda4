//! Names and ID numbers, which go out only where a mapping asks for them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::auth::keys::Keys;
use crate::store::{Store, StoreError};

/// Who a learner is. Its `Debug` form does not show it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Person {
    /// the name
    pub name: Option<String>,
    /// the ID number
    pub id_number: Option<String>,
}

/// Why a person could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// What is sealed cannot be opened or read.
    #[error("the learner's name and ID number cannot be opened")]
    Sealed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who knows names and ID numbers.
pub trait People: Send + Sync {
    /// The person behind a learner's identifier; `None` for who was forgotten, or never named in full.
    fn person<'a>(&'a self, learner: &'a str) -> BoxFuture<'a, Result<Option<Person>, PeopleError>>;
}

/// What the records have, sealed with each learner's own key.
pub struct SealedPeople {
    /// the records
    pub store: Store,
    /// the installation's keys
    pub keys: Arc<Keys>,
}

impl People for SealedPeople {
    fn person<'a>(&'a self, learner: &'a str) -> BoxFuture<'a, Result<Option<Person>, PeopleError>> {
        Box::pin(async move {
            let Some((sealed, wrapped_key)) = self.store.sealed_person(learner).await? else { return Ok(None) };
            let open = || {
                let key = self.keys.unwrap(learner, &wrapped_key).ok()?;
                serde_json::from_slice(&key.open(&context(learner), &sealed).ok()?).ok()
            };
            open().map(Some).ok_or(PeopleError::Sealed)
        })
    }
}

/// What names and ID numbers are sealed for: JSON `{"name", "id_number"}`.
pub fn context(learner: &str) -> String {
    format!("person {learner}")
}

impl std::fmt::Debug for Person {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("Person(…)")
    }
}
