-- PostgreSQL, schema 1: what SQLite's schema is after its step 8, under the same names, so that one text of SQL serves
-- both. Migrations only go forward: a change is a new file beside this one, and one beside the files of SQLite.
-- Times are milliseconds since the Unix epoch, on the server's clock; days are days in China as text, YYYY-MM-DD.
-- Identifiers are UUID version 7 as text. Whole numbers are BIGINT, truth values too (0, 1): the code binds both alike.
--
-- Every text has COLLATE "C": it sorts and is paged by its bytes, as in SQLite, whatever language the database was made
-- for, and an upgrade of the system's language data breaks no index.

-- The month in which a time lies, in UTC, as yyyymm. Without time zones, so that it is immutable.
CREATE FUNCTION month_of(ms BIGINT) RETURNS BIGINT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (extract(year FROM TIMESTAMP '1970-01-01' + ms * INTERVAL '1 millisecond') * 100
    + extract(month FROM TIMESTAMP '1970-01-01' + ms * INTERVAL '1 millisecond'))::BIGINT;

CREATE FUNCTION rows_are_only_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows are only added';
END $$;

CREATE TABLE platform (
    id               TEXT COLLATE "C" PRIMARY KEY,
    name             TEXT COLLATE "C" NOT NULL,
    -- active | suspended | unregistered | banned: set by the operator, never by the platform itself
    status           TEXT COLLATE "C" NOT NULL,
    webhook_url      TEXT COLLATE "C",
    -- the key of Standard Webhooks, sealed with the master key
    webhook_secret   BYTEA,
    -- why deliveries stopped (the receiver answered 410), or null
    webhook_disabled TEXT COLLATE "C",
    created_at       BIGINT NOT NULL,
    -- Why it has its status. A ban lasts from the day of the violation until `banned_until` (that day excluded), and is
    -- lifted by the clock alone.
    status_reason    TEXT COLLATE "C",
    status_document  TEXT COLLATE "C",
    banned_from      TEXT COLLATE "C",
    banned_until     TEXT COLLATE "C",
    -- the status in force once a ban has ended: active, or unregistered for who was not registered before it
    after_ban        TEXT COLLATE "C" NOT NULL DEFAULT 'active',
    -- web origins whose pages may call this server for the platform: JSON ["https://a.example", …]
    origins          TEXT COLLATE "C" NOT NULL DEFAULT '[]'
);

-- Every status that a platform ever had; rows are only added.
CREATE TABLE platform_status (
    id           TEXT COLLATE "C" PRIMARY KEY,
    platform     TEXT COLLATE "C" NOT NULL REFERENCES platform (id),
    status       TEXT COLLATE "C" NOT NULL,
    reason       TEXT COLLATE "C",
    document     TEXT COLLATE "C",
    banned_from  TEXT COLLATE "C",
    banned_until TEXT COLLATE "C",
    -- identifier of the API key that decided; empty: decided before there was a history
    decided_by   TEXT COLLATE "C" NOT NULL,
    decided_at   BIGINT NOT NULL
);
CREATE INDEX platform_status_of ON platform_status (platform, id);
CREATE TRIGGER platform_status_kept BEFORE DELETE ON platform_status
    FOR EACH ROW EXECUTE FUNCTION rows_are_only_added();
CREATE TRIGGER platform_status_unchanged BEFORE UPDATE ON platform_status
    FOR EACH ROW EXECUTE FUNCTION rows_are_only_added();
CREATE TRIGGER platform_status_not_emptied BEFORE TRUNCATE ON platform_status
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_only_added();

-- Only the SHA-256 of a key is kept. A null platform: a key of the office.
CREATE TABLE api_key (
    hash       BYTEA PRIMARY KEY,
    id         TEXT COLLATE "C" NOT NULL UNIQUE,
    platform   TEXT COLLATE "C" REFERENCES platform (id),
    label      TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    -- operator | supervisor | auditor | platform. A supervisor decides and sees names; an auditor reads and decides
    -- nothing.
    role       TEXT COLLATE "C" NOT NULL DEFAULT 'platform'
);
CREATE INDEX api_key_of_platform ON api_key (platform, id);

-- A person, across platforms, under a random identifier: the only one that logs carry.
CREATE TABLE learner (
    id            TEXT COLLATE "C" PRIMARY KEY,
    -- version of the enrolment photo in force; 0: none yet
    photo_version BIGINT NOT NULL DEFAULT 0,
    -- the learner's data key sealed with the master key; null once the learner is forgotten
    data_key      BYTEA,
    created_at    BIGINT NOT NULL,
    -- name and ID number, sealed with the learner's data key (so that forgetting the key forgets them)
    sealed_person BYTEA,
    forgotten_at  BIGINT
);

-- The link between a person and the random identifier. Deleting the row forgets the person.
CREATE TABLE learner_identity (
    -- HMAC-SHA-256 of the ID number under the pepper
    identity BYTEA PRIMARY KEY,
    learner  TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES learner (id)
);

-- Which platforms have named this person: a platform sees no other learners.
CREATE TABLE platform_learner (
    platform           TEXT COLLATE "C" NOT NULL REFERENCES platform (id),
    learner            TEXT COLLATE "C" NOT NULL REFERENCES learner (id),
    -- the platform's own reference to the person
    external_reference TEXT COLLATE "C",
    created_at         BIGINT NOT NULL,
    PRIMARY KEY (platform, learner)
);

-- Who was shown a person's name and ID number; rows are only added.
CREATE TABLE person_access (
    id       TEXT COLLATE "C" PRIMARY KEY,
    learner  TEXT COLLATE "C" NOT NULL REFERENCES learner (id),
    -- identifier of the API key, and its role
    shown_to TEXT COLLATE "C" NOT NULL,
    role     TEXT COLLATE "C" NOT NULL,
    -- full | masked
    form     TEXT COLLATE "C" NOT NULL,
    at       BIGINT NOT NULL
);
CREATE INDEX person_access_of ON person_access (learner, id);
CREATE TRIGGER person_access_kept BEFORE DELETE ON person_access
    FOR EACH ROW EXECUTE FUNCTION rows_are_only_added();
CREATE TRIGGER person_access_unchanged BEFORE UPDATE ON person_access
    FOR EACH ROW EXECUTE FUNCTION rows_are_only_added();
CREATE TRIGGER person_access_not_emptied BEFORE TRUNCATE ON person_access
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_only_added();

-- Learners whose data key was destroyed. The same is in the file forgotten.jsonl, which outlives a restored backup.
CREATE TABLE forgotten (
    learner   TEXT COLLATE "C" PRIMARY KEY REFERENCES learner (id),
    at        BIGINT NOT NULL,
    -- when the key's last traces were gone from the database's files; null: still to be removed
    purged_at BIGINT
);

CREATE TABLE enrolled_photo (
    learner    TEXT COLLATE "C" NOT NULL REFERENCES learner (id),
    version    BIGINT NOT NULL,
    -- SHA-256 hex of the photo
    digest     TEXT COLLATE "C" NOT NULL,
    -- where the encrypted photo lies
    evidence   TEXT COLLATE "C" NOT NULL,
    -- the face template, sealed with the learner's data key
    template   BYTEA NOT NULL,
    platform   TEXT COLLATE "C" NOT NULL REFERENCES platform (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (learner, version)
);

-- What a project is, as its application says (开班申请), and what was decided about it.
CREATE TABLE project (
    id                TEXT COLLATE "C" PRIMARY KEY,
    platform          TEXT COLLATE "C" NOT NULL REFERENCES platform (id),
    name              TEXT COLLATE "C" NOT NULL,
    -- class hours of the whole project, online and offline
    total_hours       BIGINT NOT NULL,
    -- blended | online_only
    delivery          TEXT COLLATE "C" NOT NULL,
    -- identifier of the policy pack
    policy            TEXT COLLATE "C" NOT NULL,
    approved          BIGINT NOT NULL DEFAULT 0,
    created_at        BIGINT NOT NULL,
    -- GB/T 2260 code of the county, city or province: 6 digits; empty: not said
    region            TEXT COLLATE "C" NOT NULL DEFAULT '',
    -- occupation (职业/工种) by its code or name, and level: 1 (senior technician) to 5 (beginner), 0: none
    occupation        TEXT COLLATE "C" NOT NULL DEFAULT '',
    level             BIGINT NOT NULL DEFAULT 0,
    -- qualification | skill_level | special_ability | completion: the certificate at its end
    certificate       TEXT COLLATE "C" NOT NULL DEFAULT 'skill_level',
    -- whether it is paid for by the state
    subsidised        BIGINT NOT NULL DEFAULT 1,
    -- planned class hours, of total_hours; the rest is theory in a class room; null: not said
    online_hours      BIGINT,
    practice_hours    BIGINT,
    -- length of one class hour, ms; null: not said
    class_hour_ms     BIGINT,
    -- learners of each class (null: as many as the pack allows), and its teachers and benches; null: not said
    class_size        BIGINT,
    teachers          BIGINT,
    benches           BIGINT,
    -- the document, the key and the time of the last decision, whether it gave the approval or took it back
    approval_document TEXT COLLATE "C",
    approved_by       TEXT COLLATE "C",
    approved_at       BIGINT,
    -- the day its learners were assessed (考核结束); null: not yet
    assessed_on       TEXT COLLATE "C"
);
CREATE INDEX project_of_platform ON project (platform, id);
CREATE INDEX project_of_region ON project (region);

CREATE TABLE lesson (
    id               TEXT COLLATE "C" PRIMARY KEY,
    project          TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    -- 1, 2, 3 …: the order in which lessons are taken
    position         BIGINT NOT NULL,
    title            TEXT COLLATE "C" NOT NULL,
    duration_ms      BIGINT NOT NULL,
    -- theory | practice
    kind             TEXT COLLATE "C" NOT NULL,
    content_approved BIGINT NOT NULL DEFAULT 0,
    -- questions for prompts: JSON [{"text", "options": [..4], "right": 0..3}, …], perhaps empty
    questions        TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    -- the approval of its video: number, day and office
    approval_number  TEXT COLLATE "C",
    approval_date    TEXT COLLATE "C",
    approval_office  TEXT COLLATE "C",
    UNIQUE (project, position)
);

CREATE TABLE enrolment (
    id              TEXT COLLATE "C" PRIMARY KEY,
    project         TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    learner         TEXT COLLATE "C" NOT NULL REFERENCES learner (id),
    -- online time already credited in this project before it came to invigil
    prior_online_ms BIGINT NOT NULL DEFAULT 0,
    created_at      BIGINT NOT NULL,
    -- the class (班) within the project; empty: its only one
    class           TEXT COLLATE "C" NOT NULL DEFAULT '',
    -- when it was withdrawn (退班); null: it stands
    withdrawn_at    BIGINT,
    -- how often the learner was enrolled in the project: 1, and one more for each time after a withdrawal
    version         BIGINT NOT NULL DEFAULT 1,
    UNIQUE (project, learner)
);
CREATE INDEX enrolment_of_project ON enrolment (project, id);
CREATE INDEX enrolment_of_learner ON enrolment (learner, id);
CREATE INDEX enrolment_of_class ON enrolment (project, class);
CREATE INDEX enrolment_withdrawn ON enrolment (project, learner) WHERE withdrawn_at IS NOT NULL;

-- Every withdrawal; rows are only added.
CREATE TABLE withdrawal (
    id          TEXT COLLATE "C" PRIMARY KEY,
    enrolment   TEXT COLLATE "C" NOT NULL REFERENCES enrolment (id),
    -- the version of the enrolment that it ended, with its class and time
    version     BIGINT NOT NULL,
    class       TEXT COLLATE "C" NOT NULL,
    enrolled_at BIGINT NOT NULL,
    reason      TEXT COLLATE "C" NOT NULL,
    -- the office's document, if there is one
    document    TEXT COLLATE "C",
    -- operator | supervisor | platform, and identifier of the API key
    decided_as  TEXT COLLATE "C" NOT NULL,
    decided_by  TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    UNIQUE (enrolment, version)
);
CREATE TRIGGER withdrawal_kept BEFORE DELETE ON withdrawal
    FOR EACH ROW EXECUTE FUNCTION rows_are_only_added();
CREATE TRIGGER withdrawal_unchanged BEFORE UPDATE ON withdrawal
    FOR EACH ROW EXECUTE FUNCTION rows_are_only_added();
CREATE TRIGGER withdrawal_not_emptied BEFORE TRUNCATE ON withdrawal
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_only_added();

-- A make-up lesson (补课) that the office allowed before the final assessment.
CREATE TABLE makeup (
    id         TEXT COLLATE "C" PRIMARY KEY,
    enrolment  TEXT COLLATE "C" NOT NULL REFERENCES enrolment (id),
    lesson     TEXT COLLATE "C" NOT NULL REFERENCES lesson (id),
    -- the approval's reference, the office that gave it, and why
    reference  TEXT COLLATE "C" NOT NULL,
    office     TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (enrolment, lesson, reference)
);

CREATE TABLE session (
    -- short key for the journal
    key        BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    id         TEXT COLLATE "C" NOT NULL UNIQUE,
    platform   TEXT COLLATE "C" NOT NULL REFERENCES platform (id),
    learner    TEXT COLLATE "C" NOT NULL REFERENCES learner (id),
    project    TEXT COLLATE "C" NOT NULL REFERENCES project (id),
    lesson     TEXT COLLATE "C" NOT NULL REFERENCES lesson (id),
    -- grows with every new owner; the journal refuses an append with an older one
    epoch      BIGINT NOT NULL DEFAULT 0,
    -- seeds the schedule of prompts and captures, sealed with the master key
    seed       BYTEA NOT NULL,
    -- the public key that the client made at its first hello (P-256, uncompressed point)
    client_key BYTEA,
    opened_at  BIGINT NOT NULL,
    closed_at  BIGINT,
    -- the make-up approval under which it is held
    makeup     TEXT COLLATE "C" REFERENCES makeup (id),
    -- the journal's partition: the month of the opening, however long the session lasts
    month      BIGINT NOT NULL GENERATED ALWAYS AS (month_of(opened_at)) STORED
)
-- A row is written when its session is opened, taken by an owner, bound to a client's key, and closed: with room left
-- in the page the first three touch no index.
WITH (fillfactor = 80);
CREATE INDEX session_of_platform ON session (platform, id);
CREATE INDEX session_of_learner ON session (learner, project, opened_at);
CREATE UNIQUE INDEX session_open ON session (learner, project) WHERE closed_at IS NULL;
-- Lists of the ledger are in the order of opening, and then of the key. (SQLite's indexes end in the key by themselves.)
CREATE INDEX session_by_opening ON session (opened_at, key);
CREATE INDEX session_of_platform_by_opening ON session (platform, opened_at, key);
CREATE INDEX session_of_project_by_opening ON session (project, opened_at, key);
CREATE INDEX session_of_learner_by_opening ON session (learner, opened_at, key);

-- Learner tokens; only the SHA-256 is kept.
CREATE TABLE token (
    hash       BYTEA PRIMARY KEY,
    session    BIGINT NOT NULL REFERENCES session (key),
    expires_at BIGINT NOT NULL
);
CREATE INDEX token_of_session ON token (session);
-- For the deletion of those that are long over, the oldest first; so is outbox_finished.
CREATE INDEX token_by_expiry ON token (expires_at);

-- The live journal, one row a batch. The key does two things that SQLite's single writer has in memory: two owners
-- cannot both append at one number, and an append that is sent again finds the row that it has made already.
-- No reference to the session: it would cost as much again, and every append looks at its session anyway.
CREATE TABLE journal (
    month    BIGINT NOT NULL,
    session  BIGINT NOT NULL,
    first_n  BIGINT NOT NULL,
    count    BIGINT NOT NULL,
    -- log lines as they stand, each followed by a line feed
    lines    BYTEA NOT NULL,
    -- CRC-32 over session, first_n, count and lines (src/store/checksum.rs)
    checksum BIGINT NOT NULL,
    PRIMARY KEY (month, session, first_n)
) PARTITION BY RANGE (month);
-- Lines live until their session is closed: to compress them twice, here and in the segment, is wasted.
ALTER TABLE journal ALTER COLUMN lines SET STORAGE EXTERNAL;

-- What falls into a month that nobody made a partition for. It is empty as long as servers start with a clock that is
-- right; what is in it is read and sealed like any other row.
CREATE TABLE journal_other PARTITION OF journal DEFAULT;

-- Appends batches, all of them or none. The rows first, and then, with the eyes of a statement that begins after they are
-- there, whether the sessions still belong to the sender: whoever takes a session changes its epoch first, and then writes
-- at the number that is taken here. Must run in READ COMMITTED, where each statement sees what is committed by then.
CREATE FUNCTION append_to_journal(
    months BIGINT[], sessions BIGINT[], epochs BIGINT[], first_ns BIGINT[], counts BIGINT[], checksums BIGINT[],
    lines BYTEA[]
) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO journal (month, session, first_n, count, checksum, lines)
    SELECT * FROM unnest(months, sessions, first_ns, counts, checksums, lines);
    PERFORM FROM unnest(sessions, epochs) AS batch (session, epoch)
    WHERE NOT EXISTS (
        SELECT FROM session
        WHERE session.key = batch.session AND session.epoch = batch.epoch AND session.closed_at IS NULL
    );
    IF FOUND THEN
        RAISE serialization_failure USING MESSAGE = 'a session of these batches is not the sender''s any more';
    END IF;
END $$;

-- Makes the partitions of `months` months from the one of `from_ms` on. Safe to call again, and from several nodes at
-- once. Appends go on meanwhile: ATTACH, unlike CREATE … PARTITION OF, does not lock the whole journal. Returns how
-- many of these months are still without: rows of theirs are in journal_other until their sessions are closed, or
-- somebody held that for longer than the timeout. Nothing is lost by it, and the next call tries again.
CREATE FUNCTION make_journal_partitions(from_ms BIGINT, months BIGINT) RETURNS BIGINT LANGUAGE plpgsql
SET lock_timeout = '5s' AS $$
DECLARE
    first   CONSTANT TIMESTAMP := date_trunc('month', TIMESTAMP '1970-01-01' + from_ms * INTERVAL '1 millisecond');
    month   BIGINT;
    beyond  BIGINT;
    missing BIGINT := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('invigil journal partitions', 0));
    FOR ahead IN 0 .. months - 1 LOOP
        month := to_char(first + ahead * INTERVAL '1 month', 'YYYYMM')::BIGINT;
        beyond := to_char(first + (ahead + 1) * INTERVAL '1 month', 'YYYYMM')::BIGINT;
        CONTINUE WHEN to_regclass('journal_' || month) IS NOT NULL;
        BEGIN
            -- Every row of a partition is deleted when its session is closed, an hour or so after it was written, so
            -- the partition stays as small as what is live only if it is vacuumed early (for every 5 % that died) and
            -- without pauses. To vacuum rows because they were inserted is no use: they are not there for long.
            -- Up to 8 kB of lines stay in the row; beside it they would cost a second table and its index.
            EXECUTE format(
                'CREATE TABLE %I (LIKE journal INCLUDING ALL) WITH (toast_tuple_target = 8160,
                    autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000,
                    autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_threshold = -1)',
                'journal_' || month);
            EXECUTE format('ALTER TABLE journal ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                'journal_' || month, month, beyond);
        EXCEPTION WHEN check_violation OR lock_not_available THEN
            missing := missing + 1;
        END;
    END LOOP;
    RETURN missing;
END $$;

-- Drops the partitions of months before the one of `before_ms` in which nothing is left. Safe to call again, and from
-- several nodes at once. Appends wait while one is dropped, so it is looked at first without a lock; if the journal is
-- not free within the timeout, the next call tries again. Returns how many were dropped.
CREATE FUNCTION drop_journal_partitions(before_ms BIGINT) RETURNS BIGINT LANGUAGE plpgsql
SET lock_timeout = '1s' AS $$
DECLARE
    partition TEXT;
    filled    BOOLEAN;
    dropped   BIGINT := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('invigil journal partitions', 0));
    FOR partition IN
        SELECT pg_class.relname FROM pg_inherits JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'journal'::regclass AND pg_class.relname ~ '^journal_[0-9]{6}$'
            AND substr(pg_class.relname, 9)::BIGINT < month_of(before_ms)
        ORDER BY pg_class.relname
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', partition) INTO filled;
        CONTINUE WHEN filled;
        BEGIN
            -- The journal before its partition, as every statement locks them: otherwise two would wait for each other.
            LOCK TABLE ONLY journal IN ACCESS EXCLUSIVE MODE;
            EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', partition);
            EXECUTE format('SELECT EXISTS (SELECT FROM %I)', partition) INTO filled;
            IF NOT filled THEN
                EXECUTE format('DROP TABLE %I', partition);
                dropped := dropped + 1;
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            RETURN dropped;
        END;
    END LOOP;
    RETURN dropped;
END $$;

-- A closed session's whole log, compressed (gzip); its live rows are gone.
CREATE TABLE segment (
    session BIGINT PRIMARY KEY REFERENCES session (key),
    count   BIGINT NOT NULL,
    -- SHA-256 hex of the lines: the verdict's log_digest
    digest  TEXT COLLATE "C" NOT NULL,
    lines   BYTEA NOT NULL
);
-- They are compressed already.
ALTER TABLE segment ALTER COLUMN lines SET STORAGE EXTERNAL;

-- The ledger is the latest version of each verdict, and nothing is copied out of it: what is summed up and listed are
-- columns that are computed from the verdict's own text. As json and not jsonb: each column looks for one name, and to
-- build the whole tree for it would be wasted.
CREATE TABLE verdict (
    session    BIGINT NOT NULL REFERENCES session (key),
    version    BIGINT NOT NULL,
    status     TEXT COLLATE "C" NOT NULL,
    -- the verdict as JSON, byte for byte
    body       TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    -- who decided this version of the verdict; null: the engine
    reviewer   TEXT COLLATE "C",
    policy              TEXT COLLATE "C" GENERATED ALWAYS AS (body::json ->> 'policy') STORED,
    watched_ms          BIGINT GENERATED ALWAYS AS ((body::json ->> 'watched_ms')::BIGINT) STORED,
    watch_ms            BIGINT GENERATED ALWAYS AS ((body::json ->> 'watch_ms')::BIGINT) STORED,
    creditable_ms       BIGINT GENERATED ALWAYS AS ((body::json ->> 'creditable_ms')::BIGINT) STORED,
    credited_ms         BIGINT GENERATED ALWAYS AS ((body::json ->> 'credited_ms')::BIGINT) STORED,
    -- hundredths of class hours: verdicts cut hours to two decimals, and whole numbers add up exactly
    credited_hundredths BIGINT GENERATED ALWAYS AS
        (round((body::json ->> 'credited_hours')::NUMERIC * 100)::BIGINT) STORED,
    completed           BIGINT GENERATED ALWAYS AS ((body::json ->> 'completed')::BOOLEAN::INT::BIGINT) STORED,
    violations_total    BIGINT GENERATED ALWAYS AS ((body::json ->> 'violations_total')::BIGINT) STORED,
    log_digest          TEXT COLLATE "C" GENERATED ALWAYS AS (body::json ->> 'log_digest') STORED,
    -- CRC-32 over session, version and body
    checksum            BIGINT,
    PRIMARY KEY (session, version)
);
CREATE INDEX verdict_ledger ON verdict (session, version) INCLUDE (status, policy, watched_ms, watch_ms, creditable_ms,
    credited_ms, credited_hundredths, completed, violations_total, log_digest, reviewer, created_at);

-- Every closed session with its latest verdict.
CREATE VIEW ledger AS
SELECT session.key, session.id AS session, session.platform, session.learner, session.project, session.lesson,
    session.opened_at, session.closed_at, session.makeup, project.region, verdict.version, verdict.status,
    verdict.policy, verdict.watched_ms, verdict.watch_ms, verdict.creditable_ms, verdict.credited_ms,
    verdict.credited_hundredths, verdict.completed, verdict.violations_total, verdict.log_digest, verdict.reviewer,
    verdict.created_at AS decided_at
FROM session
JOIN verdict ON verdict.session = session.key
    AND verdict.version = (SELECT max(latest.version) FROM verdict AS latest WHERE latest.session = session.key)
JOIN project ON project.id = session.project;

-- Photos of captures: which encrypted file holds the bytes with that digest.
CREATE TABLE photo (
    session    BIGINT NOT NULL REFERENCES session (key),
    capture    TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    evidence   TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    -- when the photo itself was deleted because it was past its retention; null: it is there
    deleted_at BIGINT,
    PRIMARY KEY (session, capture)
);
-- The oldest first, for the deletion; the newest first, for whoever looks whether they are there.
CREATE INDEX photo_by_age ON photo (created_at, session, capture) WHERE deleted_at IS NULL;

CREATE TABLE outbox (
    id               BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    -- the webhook-id: the same at every attempt
    event            TEXT COLLATE "C" NOT NULL UNIQUE,
    platform         TEXT COLLATE "C" NOT NULL REFERENCES platform (id),
    -- deliveries with the same key (the session's id) go out one after the other
    ordering         TEXT COLLATE "C" NOT NULL,
    -- the body as it is sent, byte for byte
    body             TEXT COLLATE "C" NOT NULL,
    -- pending | delivered | failed
    state            TEXT COLLATE "C" NOT NULL DEFAULT 'pending',
    attempts         BIGINT NOT NULL DEFAULT 0,
    -- the day of retries counts from here, not from the making: a server that was down may still try for a day
    first_attempt_at BIGINT,
    next_attempt_at  BIGINT NOT NULL,
    last_error       TEXT COLLATE "C",
    created_at       BIGINT NOT NULL,
    finished_at      BIGINT,
    -- CRC-32 over event and body
    checksum         BIGINT
);
CREATE INDEX outbox_due ON outbox (platform, next_attempt_at) WHERE state = 'pending';
CREATE INDEX outbox_order ON outbox (ordering, id) WHERE state = 'pending';
CREATE INDEX outbox_finished ON outbox (finished_at) WHERE finished_at IS NOT NULL;

-- Whether anything is reported to a provincial platform: a row while it is.
CREATE TABLE report_target (
    id    BIGINT PRIMARY KEY CHECK (id = 1),
    since BIGINT NOT NULL
);

-- Batches: at most one is open, so that what happened first arrives first.
CREATE TABLE report_batch (
    id               BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    -- by which the receiver knows it again
    number           TEXT COLLATE "C" NOT NULL UNIQUE,
    -- the body, byte for byte, sealed with the master key: it may hold ID numbers; null once the batch is over
    body             BYTEA,
    -- open | closed
    state            TEXT COLLATE "C" NOT NULL DEFAULT 'open',
    attempts         BIGINT NOT NULL DEFAULT 0,
    next_attempt_at  BIGINT NOT NULL,
    last_error       TEXT COLLATE "C",
    created_at       BIGINT NOT NULL,
    finished_at      BIGINT
);
CREATE UNIQUE INDEX report_batch_open ON report_batch (state) WHERE state = 'open';

-- Enrolments, withdrawals and versions of verdicts that the provincial platform must be told, in the order of their happening.
CREATE TABLE report_item (
    id          BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    -- enrolment | withdrawal | verdict
    kind        TEXT COLLATE "C" NOT NULL,
    -- the enrolment, the withdrawal, or the session
    subject     TEXT COLLATE "C" NOT NULL,
    -- version of the enrolment or verdict; 1 for a withdrawal
    version     BIGINT NOT NULL,
    -- pending | acknowledged | refused
    state       TEXT COLLATE "C" NOT NULL DEFAULT 'pending',
    -- the batch that it is in, or was in last
    batch       BIGINT REFERENCES report_batch (id),
    -- why it was refused
    reason      TEXT COLLATE "C",
    created_at  BIGINT NOT NULL,
    finished_at BIGINT,
    UNIQUE (kind, subject, version)
);
CREATE INDEX report_item_by_state ON report_item (state, id);
CREATE INDEX report_item_of_batch ON report_item (batch, id);

-- Triggers, because whoever writes an enrolment, a withdrawal or a verdict, a review as well, must not be able to forget the report.
CREATE FUNCTION report_enrolment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO report_item (kind, subject, version, created_at)
    SELECT 'enrolment', NEW.id, NEW.version, NEW.created_at FROM report_target;
    RETURN NULL;
END $$;
CREATE TRIGGER report_enrolment AFTER INSERT ON enrolment FOR EACH ROW EXECUTE FUNCTION report_enrolment();
CREATE TRIGGER report_enrolment_again AFTER UPDATE OF version ON enrolment FOR EACH ROW
    WHEN (NEW.version > OLD.version) EXECUTE FUNCTION report_enrolment();
CREATE FUNCTION report_withdrawal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO report_item (kind, subject, version, created_at)
    SELECT 'withdrawal', NEW.id, 1, NEW.created_at FROM report_target;
    RETURN NULL;
END $$;
CREATE TRIGGER report_withdrawal AFTER INSERT ON withdrawal FOR EACH ROW EXECUTE FUNCTION report_withdrawal();
CREATE FUNCTION report_verdict() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO report_item (kind, subject, version, created_at)
    SELECT 'verdict', session.id, NEW.version, NEW.created_at FROM session, report_target
    WHERE session.key = NEW.session;
    RETURN NULL;
END $$;
CREATE TRIGGER report_verdict AFTER INSERT ON verdict FOR EACH ROW EXECUTE FUNCTION report_verdict();

-- What the detectors must remember over a restart: once a day (in China, counted from the Unix epoch) for a learner and
-- a value. Rows older than 30 days are deleted.
CREATE TABLE risk_sighting (
    day     BIGINT NOT NULL,
    -- device | address | start | verdict
    kind    TEXT COLLATE "C" NOT NULL,
    -- keyed digest of a device or address (16 hex digits), or the platform
    value   TEXT COLLATE "C" NOT NULL,
    learner TEXT COLLATE "C" NOT NULL,
    -- server time of the first that day
    at      BIGINT NOT NULL,
    -- of a verdict: whether one of that day was invalid for what was done in the session
    faulty  BIGINT NOT NULL,
    PRIMARY KEY (day, kind, value, learner)
);

-- One row for what was found (code) about whom (subject), however often.
CREATE TABLE finding (
    id                 TEXT COLLATE "C" PRIMARY KEY,
    kind               TEXT COLLATE "C" NOT NULL,
    code               TEXT COLLATE "C" NOT NULL,
    subject            TEXT COLLATE "C" NOT NULL,
    -- low | medium | high
    severity           TEXT COLLATE "C" NOT NULL,
    -- open | acknowledged | dismissed | confirmed
    state              TEXT COLLATE "C" NOT NULL,
    -- how much evidence there is, and how much there was when it was dismissed last
    strength           BIGINT NOT NULL,
    dismissed_strength BIGINT,
    dismissed_severity TEXT COLLATE "C",
    -- JSON: numbers, thresholds and pack of the newest
    evidence           TEXT COLLATE "C" NOT NULL,
    -- JSON arrays of identifiers, the newest last
    platforms          TEXT COLLATE "C" NOT NULL,
    learners           TEXT COLLATE "C" NOT NULL,
    sessions           TEXT COLLATE "C" NOT NULL,
    first_at           BIGINT NOT NULL,
    last_at            BIGINT NOT NULL,
    count              BIGINT NOT NULL,
    UNIQUE (code, subject)
);
CREATE INDEX finding_of_state ON finding (state, id);

CREATE TABLE finding_platform (
    platform TEXT COLLATE "C" NOT NULL,
    finding  TEXT COLLATE "C" NOT NULL REFERENCES finding (id),
    PRIMARY KEY (platform, finding)
);

-- Every state that a finding ever had; rows are only added.
CREATE TABLE finding_state (
    finding    TEXT COLLATE "C" NOT NULL REFERENCES finding (id),
    number     BIGINT NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    -- who decided; `engine`: new evidence opened it again
    decided_by TEXT COLLATE "C" NOT NULL,
    note       TEXT COLLATE "C",
    at         BIGINT NOT NULL,
    PRIMARY KEY (finding, number)
);

-- The policy packs under which sessions were opened. A pack that is no longer configured judges the sessions that were
-- opened under it, and their verdicts can be derived again. The label is what logs and verdicts say; the text is the
-- whole pack, TOML.
CREATE TABLE policy_text (
    label TEXT COLLATE "C" PRIMARY KEY,
    text  TEXT COLLATE "C" NOT NULL
);
