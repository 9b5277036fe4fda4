-- Schema 2: the registries that a province keeps, enrolment rules, and who may see what.
-- Dates are days in China as text, YYYY-MM-DD: documents count in days.

-- Why a platform has its status. A ban lasts from the day of the violation until `banned_until` (that day excluded),
-- and is lifted by the clock alone.
ALTER TABLE platform ADD COLUMN status_reason TEXT;
ALTER TABLE platform ADD COLUMN status_document TEXT;
ALTER TABLE platform ADD COLUMN banned_from TEXT;
ALTER TABLE platform ADD COLUMN banned_until TEXT;
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

-- operator | supervisor | auditor | platform. A supervisor decides and sees names; an auditor reads and decides nothing.
ALTER TABLE api_key ADD COLUMN role TEXT NOT NULL DEFAULT 'platform';
UPDATE api_key SET role = 'operator' WHERE platform IS NULL;

-- Name and ID number, sealed with the learner's data key (so that forgetting the key forgets them).
ALTER TABLE learner ADD COLUMN sealed_person BLOB;
ALTER TABLE learner ADD COLUMN forgotten_at INTEGER;

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
-- planned class hours, of total_hours; the rest is theory in a class room
ALTER TABLE project ADD COLUMN online_hours INTEGER NOT NULL DEFAULT 0;
ALTER TABLE project ADD COLUMN practice_hours INTEGER NOT NULL DEFAULT 0;
-- length of one class hour, ms
ALTER TABLE project ADD COLUMN class_hour_ms INTEGER NOT NULL DEFAULT 2400000;
-- teachers and benches for each class; null: not said
ALTER TABLE project ADD COLUMN teachers INTEGER;
ALTER TABLE project ADD COLUMN benches INTEGER;
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
