-- The words that an event is about, where its room keeps them, and until when.
ALTER TABLE events ADD COLUMN text TEXT;
ALTER TABLE events ADD COLUMN text_until INTEGER;
CREATE INDEX events_with_text ON events (text_until) WHERE text_until IS NOT NULL;
