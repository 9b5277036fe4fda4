-- Schema 3: the ledger (台账), and reports to a provincial platform.

-- The ledger is the latest version of each verdict, and nothing is copied out of it: what is summed up and listed are
-- columns that are computed from the verdict's own text, and an index that holds them, so that no text is parsed again.
-- For that the table must have row ids: without them SQLite reads the whole row beside the index.
CREATE TABLE verdict_with_columns (
    session    INTEGER NOT NULL REFERENCES session (key),
    version    INTEGER NOT NULL,
    status     TEXT NOT NULL,
    -- the verdict as JSON, byte for byte
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- who decided this version of the verdict; null: the engine
    reviewer   TEXT,
    policy              TEXT AS (json_extract(body, '$.policy')),
    watched_ms          INTEGER AS (json_extract(body, '$.watched_ms')),
    watch_ms            INTEGER AS (json_extract(body, '$.watch_ms')),
    creditable_ms       INTEGER AS (json_extract(body, '$.creditable_ms')),
    credited_ms         INTEGER AS (json_extract(body, '$.credited_ms')),
    -- hundredths of class hours: verdicts cut hours to two decimals, and whole numbers add up exactly
    credited_hundredths INTEGER AS (CAST(round(json_extract(body, '$.credited_hours') * 100) AS INTEGER)),
    completed           INTEGER AS (json_extract(body, '$.completed')),
    violations_total    INTEGER AS (json_extract(body, '$.violations_total')),
    log_digest          TEXT AS (json_extract(body, '$.log_digest')),
    PRIMARY KEY (session, version)
) STRICT;
INSERT INTO verdict_with_columns (session, version, status, body, created_at, reviewer)
    SELECT session, version, status, body, created_at, reviewer FROM verdict ORDER BY session, version;
DROP TABLE verdict;
ALTER TABLE verdict_with_columns RENAME TO verdict;
CREATE INDEX verdict_ledger ON verdict (session, version, status, policy, watched_ms, watch_ms, creditable_ms,
    credited_ms, credited_hundredths, completed, violations_total, log_digest, reviewer, created_at);

-- Every closed session with its latest verdict. CROSS JOIN: sessions come first, in the order of an index of theirs.
CREATE VIEW ledger AS
SELECT session.key, session.id AS session, session.platform, session.learner, session.project, session.lesson,
    session.opened_at, session.closed_at, session.makeup, project.region, verdict.version, verdict.status,
    verdict.policy, verdict.watched_ms, verdict.watch_ms, verdict.creditable_ms, verdict.credited_ms,
    verdict.credited_hundredths, verdict.completed, verdict.violations_total, verdict.log_digest, verdict.reviewer,
    verdict.created_at AS decided_at
FROM session
CROSS JOIN verdict INDEXED BY verdict_ledger ON verdict.session = session.key
    AND verdict.version = (SELECT max(latest.version) FROM verdict AS latest WHERE latest.session = session.key)
CROSS JOIN project ON project.id = session.project;

-- Lists of the ledger are in the order of opening (each index ends in the session's key).
CREATE INDEX session_by_opening ON session (opened_at);
CREATE INDEX session_of_platform_by_opening ON session (platform, opened_at);
CREATE INDEX session_of_project_by_opening ON session (project, opened_at);
CREATE INDEX session_of_learner_by_opening ON session (learner, opened_at);
CREATE INDEX project_of_region ON project (region);

-- Whether anything is reported to a provincial platform: a row while it is.
CREATE TABLE report_target (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    since INTEGER NOT NULL
) STRICT;

-- Enrolments and versions of verdicts that the provincial platform must be told, in the order of their happening.
CREATE TABLE report_item (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    -- enrolment | verdict
    kind        TEXT NOT NULL,
    -- the enrolment, or the session
    subject     TEXT NOT NULL,
    -- version of the verdict; 1 for an enrolment
    version     INTEGER NOT NULL,
    -- pending | acknowledged | refused
    state       TEXT NOT NULL DEFAULT 'pending',
    -- the batch that it is in, or was in last
    batch       INTEGER REFERENCES report_batch (id),
    -- why it was refused
    reason      TEXT,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER,
    UNIQUE (kind, subject, version)
) STRICT;
CREATE INDEX report_item_by_state ON report_item (state, id);
CREATE INDEX report_item_of_batch ON report_item (batch, id);

-- Batches: at most one is open, so that what happened first arrives first.
CREATE TABLE report_batch (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    -- by which the receiver knows it again
    number           TEXT NOT NULL UNIQUE,
    -- the body, byte for byte, sealed with the master key: it may hold ID numbers; null once the batch is over
    body             BLOB,
    -- open | closed
    state            TEXT NOT NULL DEFAULT 'open',
    attempts         INTEGER NOT NULL DEFAULT 0,
    next_attempt_at  INTEGER NOT NULL,
    last_error       TEXT,
    created_at       INTEGER NOT NULL,
    finished_at      INTEGER
) STRICT;
CREATE UNIQUE INDEX report_batch_open ON report_batch (state) WHERE state = 'open';

-- Triggers, because whoever writes an enrolment or a verdict, a review as well, must not be able to forget the report.
CREATE TRIGGER report_enrolment AFTER INSERT ON enrolment WHEN EXISTS (SELECT 1 FROM report_target) BEGIN
    INSERT INTO report_item (kind, subject, version, created_at) VALUES ('enrolment', NEW.id, 1, NEW.created_at);
END;
CREATE TRIGGER report_verdict AFTER INSERT ON verdict WHEN EXISTS (SELECT 1 FROM report_target) BEGIN
    INSERT INTO report_item (kind, subject, version, created_at)
    SELECT 'verdict', session.id, NEW.version, NEW.created_at FROM session WHERE session.key = NEW.session;
END;
