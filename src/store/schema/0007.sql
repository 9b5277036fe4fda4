-- Schema 7: photos do not stay for ever.

-- When the photo itself was deleted because it was past its retention; null: it is there. The row stays, and with it the
-- digest that the log names.
ALTER TABLE photo ADD COLUMN deleted_at INTEGER;
-- The oldest first, for the deletion; the newest first, for whoever looks whether they are there.
CREATE INDEX photo_by_age ON photo (created_at, session, capture) WHERE deleted_at IS NULL;
