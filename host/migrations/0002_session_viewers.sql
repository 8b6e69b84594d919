-- Who watched a session over LiveKit: the most at once, and all that came.
ALTER TABLE sessions ADD COLUMN viewers_peak INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN viewers_total INTEGER NOT NULL DEFAULT 0;
