-- Schema 8: an enrolment can be withdrawn (退班), and the learner enrolled again; what is over and read no more is deleted.

-- When it was withdrawn; null: it stands.
ALTER TABLE enrolment ADD COLUMN withdrawn_at INTEGER;
-- how often the learner was enrolled in the project: 1, and one more for each time after a withdrawal
ALTER TABLE enrolment ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
CREATE INDEX enrolment_withdrawn ON enrolment (project, learner) WHERE withdrawn_at IS NOT NULL;

-- Every withdrawal; rows are only added.
CREATE TABLE withdrawal (
    id          TEXT PRIMARY KEY,
    enrolment   TEXT NOT NULL REFERENCES enrolment (id),
    -- the version of the enrolment that it ended, with its class and time
    version     INTEGER NOT NULL,
    class       TEXT NOT NULL,
    enrolled_at INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    -- the office's document, if there is one
    document    TEXT,
    -- operator | supervisor | platform, and identifier of the API key
    decided_as  TEXT NOT NULL,
    decided_by  TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    UNIQUE (enrolment, version)
) STRICT;
CREATE TRIGGER withdrawal_kept BEFORE DELETE ON withdrawal
    BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;
CREATE TRIGGER withdrawal_unchanged BEFORE UPDATE ON withdrawal
    BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;

-- Reports: kind withdrawal, its subject a withdrawal; and an enrolment's further versions.
CREATE TRIGGER report_withdrawal AFTER INSERT ON withdrawal WHEN EXISTS (SELECT 1 FROM report_target) BEGIN
    INSERT INTO report_item (kind, subject, version, created_at) VALUES ('withdrawal', NEW.id, 1, NEW.created_at);
END;
CREATE TRIGGER report_enrolment_again AFTER UPDATE OF version ON enrolment
WHEN NEW.version > OLD.version AND EXISTS (SELECT 1 FROM report_target) BEGIN
    INSERT INTO report_item (kind, subject, version, created_at)
    VALUES ('enrolment', NEW.id, NEW.version, NEW.created_at);
END;

-- For the deletion of deliveries and tokens that are long over, the oldest first.
CREATE INDEX outbox_finished ON outbox (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX token_by_expiry ON token (expires_at);
