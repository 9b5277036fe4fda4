-- Schema 10: by what a photo is known again when it is sent once more, altered.

-- The newest of each learner, sealed with the learner's key.
CREATE TABLE descriptor (
    learner    TEXT NOT NULL REFERENCES learner (id),
    -- capture SESSION CAPTURE | enrolled VERSION (src/store/descriptors.rs)
    photo      TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (learner, photo)
) STRICT, WITHOUT ROWID;
