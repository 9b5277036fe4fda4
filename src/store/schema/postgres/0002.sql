-- Schema 9 of the embedded engine: enrolled faces are searched (docs/risk.md, one face under many names).

-- Searches that are due: whose face, in which set.
CREATE TABLE face_search_due (
    -- platform:… | class:… | device:… | address:… | versions:… (src/store/face_scope.rs)
    scope   TEXT COLLATE "C" NOT NULL,
    learner TEXT COLLATE "C" NOT NULL,
    -- when it was asked for last
    at      BIGINT NOT NULL,
    PRIMARY KEY (scope, learner)
);

-- Searches that were made: by them a day's expected false hits are known, and who asked. Those that nobody asked for are
-- deleted after 30 days.
CREATE TABLE face_search (
    id            TEXT COLLATE "C" PRIMARY KEY,
    -- class | platform | device | address | chosen
    kind          TEXT COLLATE "C" NOT NULL,
    scope         TEXT COLLATE "C" NOT NULL,
    -- whose face; null: a photo that was given, or every face of the set
    learner       TEXT COLLATE "C",
    -- identifier of the API key; null: the engine
    asked_by      TEXT COLLATE "C",
    -- comparisons
    compared      BIGINT NOT NULL,
    -- thousandths of a millionth of a false hit
    expected_nano BIGINT NOT NULL,
    -- thousandths
    threshold_milli BIGINT NOT NULL,
    hits          BIGINT NOT NULL,
    at            BIGINT NOT NULL
);
CREATE INDEX face_search_of_day ON face_search (kind, at, expected_nano);
CREATE INDEX face_search_asked ON face_search (id) WHERE asked_by IS NOT NULL;

-- Who was seen on a device, or behind an address.
CREATE INDEX risk_sighting_of_value ON risk_sighting (kind, value, learner);
