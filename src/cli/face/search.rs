//! `invigil face search`: whose enrolled face is like that of a photo, out of a data folder or a PostgreSQL database.
//!
//! It only reads, beside a running server or without one; so it is on no record, other than a search through the API.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;

use crate::auth::keys::Keys;
use crate::cli::ledger::{Place, open};
use crate::clock::Clock;
use crate::lifecycle::read_policies;
use crate::search::{Manner, Probe, SearchResult, Sweep, allowed_day};
use crate::store::face_scope::{Scope, SearchKind};
use crate::vision::Checker;

/// Templates that are read at once.
const PAGE: u32 = 4_096;

/// Look for a face among those enrolled.
#[derive(Debug, Args)]
pub struct Search {
    /// The photo; it must show one face, as an enrolment photo does.
    photo: PathBuf,
    #[command(flatten)]
    place: Place,
    /// The set: class:PROJECT, class:PROJECT/NAME, platform:ID, device:DIGEST, address:DIGEST, learners:ID,ID,… or everybody
    #[arg(long, value_name = "SET", default_value = "everybody")]
    scope: Scope,
    /// Searches like this one that are made in a day; more of them need a higher threshold
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    searches_day: u64,
    /// False hits a day that are allowed; by default those of the first policy pack
    #[arg(long, value_name = "NUMBER")]
    allowed: Option<f64>,
    /// Prints a table instead of JSON
    #[arg(long)]
    table: bool,
}

impl Search {
    /// Prints what was found; exits with 0 whether or not somebody was.
    ///
    /// # Errors
    /// When the photo shows no face that can be enrolled, or the records or their keys cannot be read.
    pub fn run(self, checker: &mut Checker) -> anyhow::Result<ExitCode> {
        if self.allowed.is_some_and(|allowed| !(allowed.is_finite() && allowed >= 0.0)) {
            bail!("--allowed: must be 0 or more");
        }
        let config = self.place.config()?;
        let template = match checker.enrol(&super::read(&self.photo)?) {
            Ok(template) => template,
            Err(error) => bail!("{}: {error}", self.photo.display()),
        };
        let keys = Keys::open_existing(&config.data_folder, &config.keys).context("the installation's keys")?;
        let archive = open(&config)?;
        let mut sweep = Sweep::new(Arc::new(keys), vec![Probe { face: None, template }], Manner::Each);
        archive.snapshot(|archive| -> anyhow::Result<()> {
            let mut after: Option<String> = None;
            loop {
                let page = archive.enrolled_faces(&self.scope, after.as_deref(), PAGE)?;
                sweep.take(&page);
                after = page.last().map(|photo| photo.learner.clone());
                if page.len() < PAGE as usize {
                    return Ok(());
                }
            }
        })?;
        let allowed = match self.allowed {
            Some(allowed) => allowed,
            None => {
                let policies = read_policies(&config)?;
                let names = policies.names();
                let first = policies.in_force(names.first().context("no policy pack")?, Clock::system().now_ms())?;
                allowed_day(&first.risk, SearchKind::Chosen)
            }
        };
        let result = sweep.of_probe(0, self.searches_day, allowed);
        if self.table {
            self.print_table(&result)?;
        } else {
            let answer =
                json!({"scope": self.scope.to_string(), "photo": sweep.probes()[0].template.photo(), "search": result});
            crate::cli::say(format_args!("{answer:#}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn print_table(&self, result: &SearchResult) -> anyhow::Result<()> {
        let say = |line: std::fmt::Arguments<'_>| crate::cli::say(line);
        say(format_args!("set                        {}", self.scope))?;
        say(format_args!("faces compared             {}", result.compared))?;
        if result.other_model + result.unreadable > 0 {
            let (other, unreadable) = (result.other_model, result.unreadable);
            say(format_args!("not compared               {other} of another model, {unreadable} unreadable"))?;
        }
        say(format_args!("threshold                  {:.3}", result.threshold))?;
        say(format_args!("expected false hits        {}", small(result.expected_false_hits)))?;
        say(format_args!(
            "expected false hits a day  {} in {} search(es) a day; allowed {}",
            small(result.expected_false_hits_day),
            result.searches_day,
            small(result.allowed_false_hits_day)
        ))?;
        say(format_args!("share found of one person  {:.0} %", result.found_share * 100.0))?;
        say(format_args!("hits                       {}", result.hits.len()))?;
        for hit in &result.hits {
            let face = &hit.face;
            say(format_args!(
                "  {:.3}  learner {}  photo {} ({})",
                hit.similarity, face.learner, face.version, face.photo
            ))?;
        }
        Ok(())
    }
}

/// With two digits that count.
fn small(number: f64) -> String {
    if number == 0.0 || number >= 0.1 { format!("{number:.1}") } else { format!("{number:.1e}") }
}
