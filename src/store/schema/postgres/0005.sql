-- Schema 12 of SQLite (src/store/schema/0012.sql): the second look.

CREATE TABLE review (
    session    BIGINT PRIMARY KEY REFERENCES session (key),
    tab        TEXT COLLATE "C" NOT NULL,
    due_at     BIGINT NOT NULL,
    severity   BIGINT NOT NULL,
    opened_at  BIGINT NOT NULL,
    rules      TEXT COLLATE "C" NOT NULL,
    platform   TEXT COLLATE "C" NOT NULL,
    project    TEXT COLLATE "C" NOT NULL,
    region     TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX review_queue ON review (tab, due_at, severity, opened_at, session)
    INCLUDE (platform, project, region);
CREATE INDEX review_changed ON review (changed_at);

CREATE TABLE decision (
    id           TEXT COLLATE "C" PRIMARY KEY,
    session      BIGINT NOT NULL REFERENCES session (key),
    version      BIGINT NOT NULL,
    decision     TEXT COLLATE "C" NOT NULL,
    reason       TEXT COLLATE "C" NOT NULL,
    note         BYTEA,
    decided_by   TEXT COLLATE "C" NOT NULL,
    decided_name TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL,
    confirms     TEXT COLLATE "C",
    made_version BIGINT,
    at           BIGINT NOT NULL
);
CREATE INDEX decision_of_session ON decision (session, at, id);
CREATE TRIGGER decision_kept BEFORE DELETE ON decision
    FOR EACH ROW EXECUTE FUNCTION rows_are_only_added();
CREATE TRIGGER decision_unchanged BEFORE UPDATE ON decision
    FOR EACH ROW EXECUTE FUNCTION rows_are_only_added();
CREATE TRIGGER decision_not_emptied BEFORE TRUNCATE ON decision
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_only_added();

CREATE TABLE appeal (
    id         TEXT COLLATE "C" PRIMARY KEY,
    session    BIGINT NOT NULL REFERENCES session (key),
    statement  BYTEA,
    state      TEXT COLLATE "C" NOT NULL,
    due_at     BIGINT NOT NULL,
    at         BIGINT NOT NULL
);
CREATE INDEX appeal_of_session ON appeal (session, id);
CREATE UNIQUE INDEX appeal_open ON appeal (session) WHERE state = 'open';

CREATE TABLE appeal_attachment (
    id     TEXT COLLATE "C" PRIMARY KEY,
    appeal TEXT COLLATE "C" NOT NULL REFERENCES appeal (id),
    type   TEXT COLLATE "C" NOT NULL,
    size   BIGINT NOT NULL,
    name   BYTEA NOT NULL,
    bytes  BYTEA NOT NULL
);
CREATE INDEX appeal_attachment_of ON appeal_attachment (appeal, id);

ALTER TABLE session ADD COLUMN prompts_asked BIGINT;
ALTER TABLE session ADD COLUMN prompts_passed BIGINT;

INSERT INTO review (session, tab, due_at, severity, opened_at, rules, platform, project, region)
SELECT session.key, 'review', verdict.created_at + 864000000, 1, session.opened_at,
    coalesce(',' || (SELECT string_agg(rule, ',') FROM
        (SELECT DISTINCT one.value ->> 'rule' AS rule FROM json_array_elements(verdict.body::json -> 'violations') AS one) AS broken) || ',', ','),
    session.platform, session.project, project.region
FROM session JOIN verdict ON verdict.session = session.key JOIN project ON project.id = session.project
WHERE verdict.status = 'review'
    AND verdict.version = (SELECT max(version) FROM verdict AS later WHERE later.session = session.key);
