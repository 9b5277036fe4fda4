-- Schema 11 of SQLite (src/store/schema/0011.sql): accounts of people at the console, and what they were shown and did.

CREATE TABLE account (
    id           TEXT COLLATE "C" PRIMARY KEY,
    name         TEXT COLLATE "C" NOT NULL UNIQUE,
    role         TEXT COLLATE "C" NOT NULL,
    region       TEXT COLLATE "C" NOT NULL DEFAULT '',
    platform     TEXT COLLATE "C" REFERENCES platform (id),
    password     TEXT COLLATE "C" NOT NULL,
    totp         BYTEA,
    totp_pending BYTEA,
    totp_step    BIGINT,
    disabled_at  BIGINT,
    created_by   TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE TABLE console_session (
    hash       BYTEA PRIMARY KEY,
    account    TEXT COLLATE "C" NOT NULL REFERENCES account (id),
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL
);
CREATE INDEX console_session_of ON console_session (account);
CREATE INDEX console_session_by_age ON console_session (created_at);

CREATE TABLE login_failure (
    subject      TEXT COLLATE "C" PRIMARY KEY,
    failures     BIGINT NOT NULL,
    locked_until BIGINT NOT NULL,
    at           BIGINT NOT NULL
);
CREATE INDEX login_failure_by_age ON login_failure (at);

CREATE TABLE access_log (
    id      TEXT COLLATE "C" PRIMARY KEY,
    at      BIGINT NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    name    TEXT COLLATE "C" NOT NULL,
    role    TEXT COLLATE "C" NOT NULL,
    kind    TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    detail  TEXT COLLATE "C" NOT NULL
);
CREATE INDEX access_log_of_account ON access_log (account, id);
CREATE INDEX access_log_of_kind ON access_log (kind, id);
CREATE TRIGGER access_log_kept BEFORE DELETE ON access_log
    FOR EACH ROW EXECUTE FUNCTION rows_are_only_added();
CREATE TRIGGER access_log_unchanged BEFORE UPDATE ON access_log
    FOR EACH ROW EXECUTE FUNCTION rows_are_only_added();
CREATE TRIGGER access_log_not_emptied BEFORE TRUNCATE ON access_log
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_only_added();
