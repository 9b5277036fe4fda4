-- Schema 4: warnings for supervisors (docs/risk.md).

-- What the detectors must remember over a restart: once a day (in China, counted from the Unix epoch) for a learner and
-- a value. Rows older than 30 days are deleted.
CREATE TABLE risk_sighting (
    day     INTEGER NOT NULL,
    -- device | address | start | verdict
    kind    TEXT NOT NULL,
    -- keyed digest of a device or address (16 hex digits), or the platform
    value   TEXT NOT NULL,
    learner TEXT NOT NULL,
    -- server time of the first that day
    at      INTEGER NOT NULL,
    -- of a verdict: whether one of that day was invalid for what was done in the session
    faulty  INTEGER NOT NULL,
    PRIMARY KEY (day, kind, value, learner)
) STRICT, WITHOUT ROWID;

-- One row for what was found (code) about whom (subject), however often.
CREATE TABLE finding (
    id                 TEXT PRIMARY KEY,
    kind               TEXT NOT NULL,
    code               TEXT NOT NULL,
    subject            TEXT NOT NULL,
    -- low | medium | high
    severity           TEXT NOT NULL,
    -- open | acknowledged | dismissed | confirmed
    state              TEXT NOT NULL,
    -- how much evidence there is, and how much there was when it was dismissed last
    strength           INTEGER NOT NULL,
    dismissed_strength INTEGER,
    dismissed_severity TEXT,
    -- JSON: numbers, thresholds and pack of the newest
    evidence           TEXT NOT NULL,
    -- JSON arrays of identifiers, the newest last
    platforms          TEXT NOT NULL,
    learners           TEXT NOT NULL,
    sessions           TEXT NOT NULL,
    first_at           INTEGER NOT NULL,
    last_at            INTEGER NOT NULL,
    count              INTEGER NOT NULL,
    UNIQUE (code, subject)
) STRICT;
CREATE INDEX finding_of_state ON finding (state, id);

CREATE TABLE finding_platform (
    platform TEXT NOT NULL,
    finding  TEXT NOT NULL REFERENCES finding (id),
    PRIMARY KEY (platform, finding)
) STRICT, WITHOUT ROWID;

-- Every state that a finding ever had; rows are only added.
CREATE TABLE finding_state (
    finding    TEXT NOT NULL REFERENCES finding (id),
    number     INTEGER NOT NULL,
    state      TEXT NOT NULL,
    -- who decided; `engine`: new evidence opened it again
    decided_by TEXT NOT NULL,
    note       TEXT,
    at         INTEGER NOT NULL,
    PRIMARY KEY (finding, number)
) STRICT, WITHOUT ROWID;
