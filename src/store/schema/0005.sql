-- Schema 5: what is stored says whether it is still what was written, and who was forgotten.
-- A checksum is the CRC-32 of a row's content (src/store/checksum.rs); null in rows that are older than this schema.

-- over session, first_n, count and lines
ALTER TABLE journal ADD COLUMN checksum INTEGER;
-- over session, version and body
ALTER TABLE verdict ADD COLUMN checksum INTEGER;
-- over event and body
ALTER TABLE outbox ADD COLUMN checksum INTEGER;

-- Learners whose data key was destroyed. The same is in the file forgotten.jsonl, which outlives a restored backup.
CREATE TABLE forgotten (
    learner   TEXT PRIMARY KEY REFERENCES learner (id),
    at        INTEGER NOT NULL,
    -- when the key's last traces were gone from the database's files; null: still to be removed
    purged_at INTEGER
) STRICT, WITHOUT ROWID;
