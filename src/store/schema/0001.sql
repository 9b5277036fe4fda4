-- Schema 1. Migrations only go forward: a change is a new file beside this one.
-- Times are milliseconds since the Unix epoch, on the server's clock. Identifiers are UUID version 7 as text.

CREATE TABLE platform (
    id               TEXT PRIMARY KEY,
    name             TEXT NOT NULL,
    -- active | suspended | unregistered | banned: set by the operator, never by the platform itself
    status           TEXT NOT NULL,
    webhook_url      TEXT,
    -- the key of Standard Webhooks, sealed with the master key
    webhook_secret   BLOB,
    -- why deliveries stopped (the receiver answered 410), or null
    webhook_disabled TEXT,
    created_at       INTEGER NOT NULL
) STRICT;

-- Only the SHA-256 of a key is kept. A null platform marks the operator's key.
CREATE TABLE api_key (
    hash       BLOB PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    platform   TEXT REFERENCES platform (id),
    label      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX api_key_of_platform ON api_key (platform, id);

-- A person, across platforms, under a random identifier: the only one that logs carry.
CREATE TABLE learner (
    id            TEXT PRIMARY KEY,
    -- version of the enrolment photo in force; 0: none yet
    photo_version INTEGER NOT NULL DEFAULT 0,
    -- the learner's data key sealed with the master key; null once the learner is forgotten
    data_key      BLOB,
    created_at    INTEGER NOT NULL
) STRICT;

-- The link between a person and the random identifier. Deleting the row forgets the person.
CREATE TABLE learner_identity (
    -- HMAC-SHA-256 of the ID number under the pepper
    identity BLOB PRIMARY KEY,
    learner  TEXT NOT NULL UNIQUE REFERENCES learner (id)
) STRICT, WITHOUT ROWID;

-- Which platforms have named this person: a platform sees no other learners.
CREATE TABLE platform_learner (
    platform           TEXT NOT NULL REFERENCES platform (id),
    learner            TEXT NOT NULL REFERENCES learner (id),
    -- the platform's own reference to the person
    external_reference TEXT,
    created_at         INTEGER NOT NULL,
    PRIMARY KEY (platform, learner)
) STRICT, WITHOUT ROWID;

CREATE TABLE enrolled_photo (
    learner    TEXT NOT NULL REFERENCES learner (id),
    version    INTEGER NOT NULL,
    -- SHA-256 hex of the photo
    digest     TEXT NOT NULL,
    -- where the encrypted photo lies
    evidence   TEXT NOT NULL,
    -- the face template, sealed with the learner's data key
    template   BLOB NOT NULL,
    platform   TEXT NOT NULL REFERENCES platform (id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (learner, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE project (
    id          TEXT PRIMARY KEY,
    platform    TEXT NOT NULL REFERENCES platform (id),
    name        TEXT NOT NULL,
    -- class hours of the whole project, online and offline
    total_hours INTEGER NOT NULL,
    -- blended | online_only
    delivery    TEXT NOT NULL,
    -- identifier of the policy pack
    policy      TEXT NOT NULL,
    approved    INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX project_of_platform ON project (platform, id);

CREATE TABLE lesson (
    id               TEXT PRIMARY KEY,
    project          TEXT NOT NULL REFERENCES project (id),
    -- 1, 2, 3 …: the order in which lessons are taken
    position         INTEGER NOT NULL,
    title            TEXT NOT NULL,
    duration_ms      INTEGER NOT NULL,
    -- theory | practice
    kind             TEXT NOT NULL,
    content_approved INTEGER NOT NULL DEFAULT 0,
    -- questions for prompts: JSON [{"text", "options": [..4], "right": 0..3}, …], perhaps empty
    questions        TEXT NOT NULL DEFAULT '[]',
    UNIQUE (project, position)
) STRICT;

CREATE TABLE enrolment (
    id              TEXT PRIMARY KEY,
    project         TEXT NOT NULL REFERENCES project (id),
    learner         TEXT NOT NULL REFERENCES learner (id),
    -- online time already credited in this project before it came to invigil
    prior_online_ms INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    UNIQUE (project, learner)
) STRICT;
CREATE INDEX enrolment_of_project ON enrolment (project, id);

CREATE TABLE session (
    -- short key for the journal
    key        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    platform   TEXT NOT NULL REFERENCES platform (id),
    learner    TEXT NOT NULL REFERENCES learner (id),
    project    TEXT NOT NULL REFERENCES project (id),
    lesson     TEXT NOT NULL REFERENCES lesson (id),
    -- grows with every new owner; the journal refuses an append with an older one
    epoch      INTEGER NOT NULL DEFAULT 0,
    -- seeds the schedule of prompts and captures, sealed with the master key
    seed       BLOB NOT NULL,
    -- the public key that the client made at its first hello (P-256, uncompressed point)
    client_key BLOB,
    opened_at  INTEGER NOT NULL,
    closed_at  INTEGER
) STRICT;
CREATE INDEX session_of_platform ON session (platform, id);
CREATE INDEX session_of_learner ON session (learner, project, opened_at);
CREATE UNIQUE INDEX session_open ON session (learner, project) WHERE closed_at IS NULL;

-- Learner tokens; only the SHA-256 is kept.
CREATE TABLE token (
    hash       BLOB PRIMARY KEY,
    session    INTEGER NOT NULL REFERENCES session (key),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX token_of_session ON token (session);

-- The live journal: append-only by row id, one row a batch, no other key on the hot path.
CREATE TABLE journal (
    id      INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    first_n INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    -- log lines as they stand, each followed by a line feed
    lines   BLOB NOT NULL
) STRICT;

-- A closed session's whole log, compressed (gzip); its live rows are gone.
CREATE TABLE segment (
    session INTEGER PRIMARY KEY REFERENCES session (key),
    count   INTEGER NOT NULL,
    -- SHA-256 hex of the lines: the verdict's log_digest
    digest  TEXT NOT NULL,
    lines   BLOB NOT NULL
) STRICT;

CREATE TABLE verdict (
    session    INTEGER NOT NULL REFERENCES session (key),
    version    INTEGER NOT NULL,
    status     TEXT NOT NULL,
    -- the verdict as JSON, byte for byte
    body       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (session, version)
) STRICT, WITHOUT ROWID;

-- Photos of captures: which encrypted file holds the bytes with that digest.
CREATE TABLE photo (
    session    INTEGER NOT NULL REFERENCES session (key),
    capture    TEXT NOT NULL,
    digest     TEXT NOT NULL,
    evidence   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (session, capture)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    id               INTEGER PRIMARY KEY,
    -- the webhook-id: the same at every attempt
    event            TEXT NOT NULL UNIQUE,
    platform         TEXT NOT NULL REFERENCES platform (id),
    -- deliveries with the same key (the session's id) go out one after the other
    ordering         TEXT NOT NULL,
    -- the body as it is sent, byte for byte
    body             TEXT NOT NULL,
    -- pending | delivered | failed
    state            TEXT NOT NULL DEFAULT 'pending',
    attempts         INTEGER NOT NULL DEFAULT 0,
    -- the day of retries counts from here, not from the making: a server that was down may still try for a day
    first_attempt_at INTEGER,
    next_attempt_at  INTEGER NOT NULL,
    last_error       TEXT,
    created_at       INTEGER NOT NULL,
    finished_at      INTEGER
) STRICT;
CREATE INDEX outbox_due ON outbox (platform, next_attempt_at) WHERE state = 'pending';
CREATE INDEX outbox_order ON outbox (ordering, id) WHERE state = 'pending';
