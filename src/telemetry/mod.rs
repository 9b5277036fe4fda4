//! What the server measures of itself, for Prometheus: names `invigil_*`, base units, nothing that names a person, a
//! session or a platform.
//!
//! [`Telemetry`] holds what sessions, gateway and API count; the store, the vision workers and the deliveries hold
//! instruments of their own. [`Exporter`] gives them all their names and writes them out. Nothing here decides anything.

pub mod instruments;
pub mod process;

use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::delivery::DeliveryMeters;
use crate::gateway::wire::ErrorCode;
use crate::log::{CloseReason, FaceOutcome};
use crate::rules::Rule;
use crate::store::StoreMeters;
use crate::verdict::Status;
use crate::vision::VisionMeters;
use instruments::{Counter, FloatGauge, Gauge, Histogram, Requests, Words};
use process::Usage;

/// What the metrics are called at the front of their answer.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The limits that a request can run into: the words of `invigil_rate_limited_total`.
pub const RATE_LIMITS: [&str; 5] = ["address", "authentication", "key", "learner", "handshake"];

/// What sessions, gateway and API count.
#[derive(Debug)]
pub struct Telemetry {
    /// events of clients that entered a log
    pub events: Counter,
    /// lines that a session writes at once
    pub batch_lines: Histogram,
    /// from the arrival of events to the acknowledgement on the socket
    pub acknowledgement: Histogram,
    /// what clients were told is wrong, by its code
    pub stream_errors: Words,
    /// sessions that were opened
    pub sessions_opened: Counter,
    /// sessions that ended, by the reason
    pub sessions_closed: Words,
    /// verdicts, by their status
    pub verdicts: Words,
    /// violations, by their rule
    pub violations: Words,
    /// photos that were checked, by the outcome
    pub photo_checks: Words,
    /// requests to the REST API
    pub requests: Requests,
    /// requests, openings and handshakes that were too many, by the limit
    pub rate_limited: Words,
    /// certificates that were read again, by whether they could be used
    pub tls_reloads: Words,
    /// until when the certificate is good, s since the Unix epoch; 0 without one
    pub tls_expiry: FloatGauge,
}

impl Telemetry {
    /// Nothing counted yet. `operations`: methods and routes of the REST API.
    pub fn new(operations: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            events: Counter::default(),
            batch_lines: Histogram::of_sizes(),
            acknowledgement: Histogram::of_seconds(),
            stream_errors: Words::new("code", ErrorCode::ALL.iter().map(ToString::to_string)),
            sessions_opened: Counter::default(),
            sessions_closed: Words::new("reason", CloseReason::ALL.iter().map(|reason| reason.as_str())),
            verdicts: Words::new("status", Status::ALL.iter().map(|status| status.as_str())),
            violations: Words::new("rule", Rule::ALL.iter().map(|rule| rule.as_str())),
            photo_checks: Words::new("outcome", FaceOutcome::ALL.iter().map(|outcome| outcome.as_str())),
            requests: Requests::new(operations),
            rate_limited: Words::new("limit", RATE_LIMITS),
            tls_reloads: Words::new("result", ["loaded", "refused"]),
            tls_expiry: FloatGauge::default(),
        }
    }
}

/// What is looked up at the time of asking, because it is known elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Snapshot {
    /// WebSocket connections
    pub connections: usize,
    /// live sessions
    pub sessions: usize,
    /// deliveries that wait
    pub deliveries_pending: i64,
    /// roles that no node takes on
    pub roles_missing: usize,
    /// whether the server would take new sessions
    pub ready: bool,
    /// by how much the session clock is ahead of the machine's, ms
    pub clock_offset_ms: i64,
}

/// Everything that is measured, with its names.
pub struct Exporter {
    registry: Registry,
    connections: Gauge,
    sessions: Gauge,
    deliveries_pending: Gauge,
    roles_missing: Gauge,
    ready: Gauge,
    clock_offset: FloatGauge,
    cpu: prometheus_client::metrics::counter::Counter<f64, std::sync::atomic::AtomicU64>,
    resident: Gauge,
    open_files: Gauge,
    files_limit: Gauge,
}

impl Exporter {
    /// Names what these parts measure. `connections_limit`: as configured; `started_at_ms`: on the wall clock.
    pub fn new(
        telemetry: &Telemetry,
        store: &StoreMeters,
        vision: &VisionMeters,
        delivery: &DeliveryMeters,
        connections_limit: usize,
        started_at_ms: i64,
    ) -> Self {
        let mut names = Names(Registry::default());
        names.build_info();
        let this = Self {
            connections: names.gauge("invigil_connections", "WebSocket connections that are open"),
            sessions: names.gauge("invigil_sessions_live", "Sessions that are live in this process"),
            deliveries_pending: names.gauge("invigil_webhooks_pending", "Deliveries that wait in the outbox"),
            roles_missing: {
                let help = "Roles that no node of the installation takes on; /readyz names them";
                names.gauge("invigil_roles_missing", help)
            },
            ready: names.gauge("invigil_ready", "1 while the server takes new sessions, as /readyz says"),
            clock_offset: {
                let offset = FloatGauge::default();
                let help = "By how much the clock of sessions is ahead of the machine's: it never jumps, that one may";
                names.seconds("invigil_clock_offset", help, &offset);
                offset
            },
            cpu: {
                let cpu = prometheus_client::metrics::counter::Counter::default();
                names.seconds("process_cpu", "Processor time of the process", &cpu);
                cpu
            },
            resident: {
                let resident = Gauge::default();
                let help = "Memory of the process that is in RAM";
                names.0.register_with_unit("process_resident_memory", help, Unit::Bytes, resident.clone());
                resident
            },
            open_files: names.gauge("process_open_fds", "Open files and sockets"),
            files_limit: names.gauge("process_max_fds", "Open files and sockets that the process may have"),
            registry: Registry::default(),
        };
        names
            .gauge("invigil_connections_limit", "WebSocket connections in all, as configured")
            .set(connections_limit as i64);
        let started = FloatGauge::default();
        started.set(started_at_ms as f64 / 1000.0);
        names.seconds("process_start_time", "When the server started, since the Unix epoch", &started);
        names.telemetry(telemetry);
        names.store(store);
        names.vision(vision);
        names.delivery(delivery);
        Self { registry: names.0, ..this }
    }

    /// All of it, as OpenMetrics text.
    pub fn text(&self, now: Snapshot) -> String {
        self.connections.set(now.connections as i64);
        self.sessions.set(now.sessions as i64);
        self.deliveries_pending.set(now.deliveries_pending);
        self.roles_missing.set(now.roles_missing as i64);
        self.ready.set(now.ready.into());
        self.clock_offset.set(now.clock_offset_ms as f64 / 1000.0);
        let usage = Usage::now();
        let used_before = self.cpu.get();
        self.cpu.inc_by((usage.cpu_seconds - used_before).max(0.0));
        self.resident.set(usage.resident_bytes);
        self.open_files.set(usage.open_files);
        self.files_limit.set(usage.files_limit);
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("a String takes whatever is written to it");
        text
    }
}

/// A registry that is being filled.
struct Names(Registry);

impl Names {
    fn add(&mut self, name: &str, help: &str, metric: &(impl Metric + Clone)) {
        self.0.register(name, help, metric.clone());
    }

    fn seconds(&mut self, name: &str, help: &str, metric: &(impl Metric + Clone)) {
        self.0.register_with_unit(name, help, Unit::Seconds, metric.clone());
    }

    fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.add(name, help, &gauge);
        gauge
    }

    fn build_info(&mut self) {
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        self.0.register("invigil_build", "The version that runs", info);
    }

    fn telemetry(&mut self, of: &Telemetry) {
        self.add("invigil_events", "Events of clients that entered a log", &of.events);
        self.add("invigil_batch_lines", "Lines that a session writes at once", &of.batch_lines);
        let help = "From the arrival of events to their acknowledgement on the socket";
        self.seconds("invigil_acknowledgement", help, &of.acknowledgement);
        self.add("invigil_stream_errors", "What clients were told is wrong, by its code", &of.stream_errors);
        self.add("invigil_sessions_opened", "Sessions that were opened", &of.sessions_opened);
        self.add("invigil_sessions_closed", "Sessions that ended, by the reason", &of.sessions_closed);
        self.add("invigil_verdicts", "Verdicts, by their status", &of.verdicts);
        self.add("invigil_violations", "Violations, by their rule", &of.violations);
        self.add("invigil_photo_checks", "Photos that were checked, by the outcome", &of.photo_checks);
        self.add("invigil_http_requests", "Requests to the REST API", &of.requests);
        let help = "From a request's head to its answer's head";
        self.seconds("invigil_http_request", help, &of.requests.seconds());
        self.add("invigil_rate_limited", "Refused because there were too many, by the limit", &of.rate_limited);
        self.add("invigil_tls_reloads", "Certificates that were read again, by what came of it", &of.tls_reloads);
        let help = "Until when the certificate in force is good, since the Unix epoch; 0 without TLS";
        self.seconds("invigil_tls_certificate_expiry_timestamp", help, &of.tls_expiry);
    }

    fn store(&mut self, of: &StoreMeters) {
        self.add("invigil_journal_queue_depth", "Writes that wait for the writer", &of.queue_depth);
        self.add("invigil_journal_group_writes", "Writes that shared a transaction", &of.group_writes);
        self.seconds("invigil_journal_commit", "How long a transaction's commit took", &of.commit);
        self.add("invigil_journal_failures", "Transactions that could not be made durable", &of.failures);
    }

    fn vision(&mut self, of: &VisionMeters) {
        self.add("invigil_photo_queue_depth", "Photos that wait for a worker", &of.queue_depth);
        self.seconds("invigil_photo_check", "From a photo's arrival in the queue to its answer", &of.check);
        self.add("invigil_photo_refused", "Photos for which there was no room in the queue", &of.refused);
        self.add(
            "invigil_photo_late",
            "Photos that were given up because their deadline was over before a look",
            &of.late,
        );
        self.add("invigil_photo_workers_failed", "Workers without models, after a failure", &of.failed_workers);
    }

    fn delivery(&mut self, of: &DeliveryMeters) {
        self.add("invigil_webhooks", "Attempts at webhooks, by what came of them", &of.attempts);
        self.seconds("invigil_webhook", "How long an attempt took", &of.attempt);
    }
}
