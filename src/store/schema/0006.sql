-- Schema 6: the policy packs under which sessions were opened.

-- A pack that is no longer configured judges the sessions that were opened under it, and their verdicts can be derived
-- again. The label is what logs and verdicts say; the text is the whole pack, TOML.
CREATE TABLE policy_text (
    label TEXT PRIMARY KEY,
    text  TEXT NOT NULL
) STRICT;
