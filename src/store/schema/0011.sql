-- Schema 11: accounts of people at the console, and what they were shown and did (docs/console.md).

CREATE TABLE account (
    id           TEXT PRIMARY KEY,
    -- by which its holder signs in
    name         TEXT NOT NULL UNIQUE,
    -- supervisor | auditor | administrator | staff
    role         TEXT NOT NULL,
    -- of a supervisor: what the region of their projects begins with; empty: everywhere
    region       TEXT NOT NULL DEFAULT '',
    -- of staff: where they work
    platform     TEXT REFERENCES platform (id),
    -- argon2id, as text (PHC)
    password     TEXT NOT NULL,
    -- the secret of one-time codes, sealed with the master key, and one that was not confirmed yet
    totp         BLOB,
    totp_pending BLOB,
    -- the step of the last code that was taken
    totp_step    INTEGER,
    -- null: it may sign in
    disabled_at  INTEGER,
    -- identifier of the key or account that made it; empty: the command line
    created_by   TEXT NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who is signed in. Only the SHA-256 of what the browser holds is kept.
CREATE TABLE console_session (
    hash       BLOB PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES account (id),
    created_at INTEGER NOT NULL,
    -- when it was used last, to the minute
    seen_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX console_session_of ON console_session (account);
CREATE INDEX console_session_by_age ON console_session (created_at);

-- Failures in a row to sign in, by keyed digests of names that were tried, whether anybody has them or not, and of addresses.
CREATE TABLE login_failure (
    subject      TEXT PRIMARY KEY,
    failures     INTEGER NOT NULL,
    locked_until INTEGER NOT NULL,
    at           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX login_failure_by_age ON login_failure (at);

-- Who signed in, was shown a photo or a name, exported or decided something; rows are only added.
CREATE TABLE access_log (
    id      TEXT PRIMARY KEY,
    at      INTEGER NOT NULL,
    -- identifier of the account or API key; empty: nobody who is known
    account TEXT NOT NULL,
    -- the account's name at that time; empty for keys
    name    TEXT NOT NULL,
    -- its role
    role    TEXT NOT NULL,
    -- login | login_failed | photo | enrolled_photo | person | export | decision | appeal
    kind    TEXT NOT NULL,
    -- the session, learner or list that it is about
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX access_log_of_account ON access_log (account, id);
CREATE INDEX access_log_of_kind ON access_log (kind, id);
CREATE TRIGGER access_log_kept BEFORE DELETE ON access_log
    BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;
CREATE TRIGGER access_log_unchanged BEFORE UPDATE ON access_log
    BEGIN SELECT RAISE(ABORT, 'rows are only added'); END;
