//! Reporting to a provincial platform, where it is configured.

use std::sync::Arc;

use super::StartError;
use crate::actor::Services;
use crate::cluster::Turns;
use crate::config::Config;
use crate::report::https::HttpsConnector;
use crate::report::mapping::Mapping;
use crate::report::people::SealedPeople;
use crate::report::{Parts, Reporting};

/// Starts reporting; or makes sure that nothing is queued for nobody.
pub(super) async fn start(
    config: &Config,
    services: &Arc<Services>,
    turns: Turns,
) -> Result<Option<Reporting>, StartError> {
    let (report, clock, entropy) = (&config.report, &services.wall, &services.entropy);
    if !report.is_on() {
        let off = services.store.set_reporting(false, clock.now_ms()).await;
        return off.map(|_| None).map_err(StartError::of("reports"));
    }
    let what = || format!("report.mapping {}", report.mapping.display());
    let text = std::fs::read_to_string(&report.mapping).map_err(StartError::of(what()))?;
    let mapping = Mapping::from_toml(&text).map_err(StartError::of(what()))?;
    let connector = HttpsConnector::new(report, mapping.answer(), clock.clone(), entropy.clone());
    let parts = Parts {
        store: services.store.clone(),
        keys: services.keys.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        connector: Arc::new(connector.map_err(StartError::of("reports"))?),
        mapping: Arc::new(mapping),
        people: Arc::new(SealedPeople { store: services.store.clone(), keys: services.keys.clone() }),
        turns,
        batch_size: report.batch_size,
        interval_ms: report.interval_ms,
    };
    Reporting::start(parts).await.map(Some).map_err(StartError::of("reports"))
}
