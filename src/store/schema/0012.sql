-- Schema 12: the second look: what waits for a person, what people decided, and appeals of learners (docs/console.md).

-- Sessions that wait for somebody's decision, or had one; those that need nobody have no row.
CREATE TABLE review (
    session    INTEGER PRIMARY KEY REFERENCES session (key),
    -- review | appeals | decided
    tab        TEXT NOT NULL,
    -- by when it should be decided
    due_at     INTEGER NOT NULL,
    -- 0 high, 1 medium, 2 low
    severity   INTEGER NOT NULL,
    opened_at  INTEGER NOT NULL,
    -- the rules that were broken, each between commas: ,fast_forward,multi_window,
    rules      TEXT NOT NULL,
    -- of the session, so that one index finds the first page
    platform   TEXT NOT NULL,
    project    TEXT NOT NULL,
    region     TEXT NOT NULL,
    -- when it came into its list, ms since the Unix epoch: by it those who watch are told
    changed_at INTEGER NOT NULL DEFAULT 0
) STRICT;
-- In the order of the queue, with what it is asked for by; what is counted needs no more.
CREATE INDEX review_queue ON review (tab, due_at, severity, opened_at, session, platform, project, region, rules);
CREATE INDEX review_changed ON review (changed_at);

-- Decisions about sessions; rows are only added.
CREATE TABLE decision (
    id           TEXT PRIMARY KEY,
    session      INTEGER NOT NULL REFERENCES session (key),
    -- the version of the verdict that was decided about
    version      INTEGER NOT NULL,
    -- uphold | overturn | need_more
    decision     TEXT NOT NULL,
    reason       TEXT NOT NULL,
    -- sealed with the learner's key, because it may say who they are
    note         BLOB,
    -- identifier of the account or API key, and the account's name
    decided_by   TEXT NOT NULL,
    decided_name TEXT NOT NULL,
    -- proposed | final
    state        TEXT NOT NULL,
    -- the proposal that it confirms
    confirms     TEXT,
    -- the version that it made
    made_version INTEGER,
    at           INTEGER NOT NULL
) STRICT;
CREATE INDEX decision_of_session ON decision (session, at, id);
CREATE TRIGGER decision_kept BEFORE DELETE ON decision
    BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;
CREATE TRIGGER decision_unchanged BEFORE UPDATE ON decision
    BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;

-- What learners said to their sessions.
CREATE TABLE appeal (
    id         TEXT PRIMARY KEY,
    session    INTEGER NOT NULL REFERENCES session (key),
    -- sealed with the learner's key; null once the learner is forgotten
    statement  BLOB,
    -- open | decided
    state      TEXT NOT NULL,
    due_at     INTEGER NOT NULL,
    at         INTEGER NOT NULL
) STRICT;
CREATE INDEX appeal_of_session ON appeal (session, id);
CREATE UNIQUE INDEX appeal_open ON appeal (session) WHERE state = 'open';

CREATE TABLE appeal_attachment (
    id     TEXT PRIMARY KEY,
    appeal TEXT NOT NULL REFERENCES appeal (id),
    -- image/jpeg | image/png | application/pdf
    type   TEXT NOT NULL,
    size   INTEGER NOT NULL,
    -- name and bytes, each sealed with the learner's key
    name   BLOB NOT NULL,
    bytes  BLOB NOT NULL
) STRICT;
CREATE INDEX appeal_attachment_of ON appeal_attachment (appeal, id);

-- How often the learner was asked, and how often they passed; null: the session is open, or was closed before this was counted.
ALTER TABLE session ADD COLUMN prompts_asked INTEGER;
ALTER TABLE session ADD COLUMN prompts_passed INTEGER;

-- What waits since before there was a queue.
INSERT INTO review (session, tab, due_at, severity, opened_at, rules, platform, project, region)
SELECT session.key, 'review', verdict.created_at + 864000000, 1, session.opened_at,
    coalesce(',' || (SELECT group_concat(rule) FROM
        (SELECT DISTINCT json_extract(value, '$.rule') AS rule FROM json_each(verdict.body, '$.violations'))) || ',', ','),
    session.platform, session.project, project.region
FROM session JOIN verdict ON verdict.session = session.key JOIN project ON project.id = session.project
WHERE verdict.status = 'review'
    AND verdict.version = (SELECT max(version) FROM verdict AS later WHERE later.session = session.key);
