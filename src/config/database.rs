//! Where records and journal are: in the data folder, or in PostgreSQL.

use std::path::PathBuf;

use serde::Deserialize;

use super::secret::{self, Secret};
use crate::store::postgres::{Address, CONNECTIONS_LEAST};

/// Most connections to PostgreSQL that one server may hold.
const CONNECTIONS_MOST: u64 = 1_000;

/// Where records and journal are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The URL of a PostgreSQL database, with the password; without it they are in the data folder.
    pub url: Option<Secret>,
    /// A file that holds it.
    pub url_file: Option<PathBuf>,
    /// Certificates (PEM) of whoever vouches for the server, in place of those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Connections to PostgreSQL, in all.
    pub connections_limit: usize,
}

impl Database {
    /// Whether records and journal are in PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        self.url.is_some() || self.url_file.is_some()
    }

    /// PostgreSQL's address, if it is to be used.
    ///
    /// # Errors
    /// The key of what cannot be used, and what is wrong with it, without repeating it.
    pub fn address(&self) -> Result<Option<Address>, (&'static str, String)> {
        let key = if self.url.is_some() { "database.url" } else { "database.url_file" };
        let url = secret::text(self.url.as_ref(), self.url_file.as_deref()).map_err(|why| (key, why))?;
        let Some(url) = url else { return Ok(None) };
        Address::parse(&url, self.ca_file.as_deref()).map(Some).map_err(|error| {
            let key = if error.is_of_certificates() { "database.ca_file" } else { key };
            (key, error.to_string())
        })
    }

    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if self.url.is_some() && self.url_file.is_some() {
            found.push(("database.url_file", "database.url is given too: give one of them".to_owned()));
        }
        let (least, limit) = (CONNECTIONS_LEAST as u64, self.connections_limit as u64);
        if !(least..=CONNECTIONS_MOST).contains(&limit) {
            let why = format!("{limit} is not within {least} and {CONNECTIONS_MOST}");
            found.push(("database.connections_limit", why));
        }
        found
    }
}
