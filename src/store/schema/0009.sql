-- Schema 9: enrolled faces are searched (docs/risk.md, one face under many names).

-- Searches that are due: whose face, in which set.
CREATE TABLE face_search_due (
    -- platform:… | class:… | device:… | address:… | versions:… (src/store/face_scope.rs)
    scope   TEXT NOT NULL,
    learner TEXT NOT NULL,
    -- when it was asked for last
    at      INTEGER NOT NULL,
    PRIMARY KEY (scope, learner)
) STRICT, WITHOUT ROWID;

-- Searches that were made: by them a day's expected false hits are known, and who asked. Those that nobody asked for are
-- deleted after 30 days.
CREATE TABLE face_search (
    id            TEXT PRIMARY KEY,
    -- class | platform | device | address | chosen
    kind          TEXT NOT NULL,
    scope         TEXT NOT NULL,
    -- whose face; null: a photo that was given, or every face of the set
    learner       TEXT,
    -- identifier of the API key; null: the engine
    asked_by      TEXT,
    -- comparisons
    compared      INTEGER NOT NULL,
    -- thousandths of a millionth of a false hit
    expected_nano INTEGER NOT NULL,
    -- thousandths
    threshold_milli INTEGER NOT NULL,
    hits          INTEGER NOT NULL,
    at            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX face_search_of_day ON face_search (kind, at, expected_nano);
CREATE INDEX face_search_asked ON face_search (id) WHERE asked_by IS NOT NULL;

-- Who was seen on a device, or behind an address.
CREATE INDEX risk_sighting_of_value ON risk_sighting (kind, value, learner);
