-- Schema 10 of SQLite (src/store/schema/0010.sql): by what a photo is known again when it is sent once more, altered.

CREATE TABLE descriptor (
    learner    TEXT NOT NULL REFERENCES learner (id),
    photo      TEXT NOT NULL,
    sealed     BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (learner, photo)
);
