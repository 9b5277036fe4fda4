-- Schema 2: the registries that a province keeps, enrolment rules, and who may see what.
-- Dates are days in China as text, YYYY-MM-DD: documents count in days.

-- Why a platform has its status. A ban lasts from the day of the violation until `banned_until` (that day excluded),
-- and is lifted by the clock alone.
ALTER TABLE platform ADD COLUMN status_reason TEXT;
ALTER TABLE platform ADD COLUMN status_document TEXT;
ALTER TABLE platform ADD COLUMN banned_from TEXT;
ALTER TABLE platform ADD COLUMN banned_until TEXT;
-- the status in force once a ban has ended: active, or unregistered for who was not registered before it
ALTER TABLE platform ADD COLUMN after_ban TEXT NOT NULL DEFAULT 'active';
-- Web origins whose pages may call this server for the platform: JSON ["https://a.example", …]
ALTER TABLE platform ADD COLUMN origins TEXT NOT NULL DEFAULT '[]';

-- Every status that a platform ever had; rows are only added.
CREATE TABLE platform_status (
    id           TEXT PRIMARY KEY,
    platform     TEXT NOT NULL REFERENCES platform (id),
    status       TEXT NOT NULL,
    reason       TEXT,
    document     TEXT,
    banned_from  TEXT,
    banned_until TEXT,
    -- identifier of the API key that decided
    decided_by   TEXT NOT NULL,
    decided_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX platform_status_of ON platform_status (platform, id);
CREATE TRIGGER platform_status_kept BEFORE DELETE ON platform_status
    BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;
CREATE TRIGGER platform_status_unchanged BEFORE UPDATE ON platform_status
    BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;
-- What was so before there was a history; the operator's key that decided it is not known.
INSERT INTO platform_status (id, platform, status, decided_by, decided_at)
    SELECT id, id, status, '', created_at FROM platform;

-- operator | supervisor | auditor | platform. A supervisor decides and sees names; an auditor reads and decides nothing.
ALTER TABLE api_key ADD COLUMN role TEXT NOT NULL DEFAULT 'platform';
UPDATE api_key SET role = 'operator' WHERE platform IS NULL;

-- Name and ID number, sealed with the learner's data key (so that forgetting the key forgets them).
ALTER TABLE learner ADD COLUMN sealed_person BLOB;
ALTER TABLE learner ADD COLUMN forgotten_at INTEGER;

-- Who was shown a person's name and ID number; rows are only added.
CREATE TABLE person_access (
    id      TEXT PRIMARY KEY,
    learner TEXT NOT NULL REFERENCES learner (id),
    -- identifier of the API key, and its role
    shown_to TEXT NOT NULL,
    role    TEXT NOT NULL,
    -- full | masked
    form    TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX person_access_of ON person_access (learner, id);
CREATE TRIGGER person_access_kept BEFORE DELETE ON person_access
    BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;
CREATE TRIGGER person_access_unchanged BEFORE UPDATE ON person_access
    BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;

-- What a project is, as its application says (开班申请), and what was decided about it.
-- GB/T 2260 code of the county, city or province: 6 digits; empty: not said
ALTER TABLE project ADD COLUMN region TEXT NOT NULL DEFAULT '';
-- occupation (职业/工种) by its code or name, and level: 1 (senior technician) to 5 (beginner), 0: none
ALTER TABLE project ADD COLUMN occupation TEXT NOT NULL DEFAULT '';
ALTER TABLE project ADD COLUMN level INTEGER NOT NULL DEFAULT 0;
-- qualification | skill_level | special_ability | completion: the certificate at its end
ALTER TABLE project ADD COLUMN certificate TEXT NOT NULL DEFAULT 'skill_level';
-- whether it is paid for by the state
ALTER TABLE project ADD COLUMN subsidised INTEGER NOT NULL DEFAULT 1;
-- planned class hours, of total_hours; the rest is theory in a class room; null: not said
ALTER TABLE project ADD COLUMN online_hours INTEGER;
ALTER TABLE project ADD COLUMN practice_hours INTEGER;
-- length of one class hour, ms; null: not said
ALTER TABLE project ADD COLUMN class_hour_ms INTEGER;
-- learners of each class (null: as many as the pack allows), and its teachers and benches; null: not said
ALTER TABLE project ADD COLUMN class_size INTEGER;
ALTER TABLE project ADD COLUMN teachers INTEGER;
ALTER TABLE project ADD COLUMN benches INTEGER;
-- the document, the key and the time of the last decision, whether it gave the approval or took it back
ALTER TABLE project ADD COLUMN approval_document TEXT;
ALTER TABLE project ADD COLUMN approved_by TEXT;
ALTER TABLE project ADD COLUMN approved_at INTEGER;
-- the day its learners were assessed (考核结束); null: not yet
ALTER TABLE project ADD COLUMN assessed_on TEXT;

-- The approval of a lesson's video: number, day and office.
ALTER TABLE lesson ADD COLUMN approval_number TEXT;
ALTER TABLE lesson ADD COLUMN approval_date TEXT;
ALTER TABLE lesson ADD COLUMN approval_office TEXT;

-- The class (班) within the project; empty: its only one.
ALTER TABLE enrolment ADD COLUMN class TEXT NOT NULL DEFAULT '';
CREATE INDEX enrolment_of_learner ON enrolment (learner, id);
CREATE INDEX enrolment_of_class ON enrolment (project, class);

-- A make-up lesson (补课) that the office allowed before the final assessment.
CREATE TABLE makeup (
    id         TEXT PRIMARY KEY,
    enrolment  TEXT NOT NULL REFERENCES enrolment (id),
    lesson     TEXT NOT NULL REFERENCES lesson (id),
    -- the approval's reference, the office that gave it, and why
    reference  TEXT NOT NULL,
    office     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (enrolment, lesson, reference)
) STRICT;

-- The make-up approval under which a session was held.
ALTER TABLE session ADD COLUMN makeup TEXT REFERENCES makeup (id);

-- Who decided this version of the verdict; null: the engine.
ALTER TABLE verdict ADD COLUMN reviewer TEXT;
