-- What the host remembers. Identities are UUIDv7 as text, times microseconds since the Unix epoch, JSON is text, and no row id leaves
-- the database, so that the same tables can stand in PostgreSQL. A room is named by people and referred to by its id: a room made
-- again under an old name is another room. Everything that hangs on a room goes with it.

CREATE TABLE rooms (
    id          TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL UNIQUE,
    settings    TEXT    NOT NULL,
    revision    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    -- The sequence number of the room's last event; it stands when the event itself is pruned.
    last_event  INTEGER NOT NULL DEFAULT 0,
    -- For several hosts over one database, not used by one: which host drives the room, until when it may, and a number that grows with
    -- every change of owner, so that a host which lost the room without noticing is refused its late writes.
    owner       TEXT,
    lease_until INTEGER,
    fence       INTEGER
) STRICT;

-- A cleared policy leaves its row without plugin and configuration, so that its revisions go on growing.
CREATE TABLE policies (
    -- `global`, or the room's id.
    scope      TEXT    NOT NULL,
    room       TEXT    REFERENCES rooms (id) ON DELETE CASCADE,
    slot       TEXT    NOT NULL,
    plugin     TEXT,
    config     TEXT,
    revision   INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (scope, slot),
    CHECK (scope = COALESCE(room, 'global')),
    CHECK ((plugin IS NULL) = (config IS NULL))
) STRICT;
CREATE INDEX policies_of_room ON policies (room);

CREATE TABLE snapshots (
    room          TEXT    NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    slot          TEXT    NOT NULL,
    generation    INTEGER NOT NULL,
    plugin        TEXT    NOT NULL,
    version       TEXT    NOT NULL,
    state         BLOB    NOT NULL,
    last_feedback TEXT,
    taken_at      INTEGER NOT NULL,
    -- Grows with every snapshot of the room and slot. Generations start anew with the process and clocks go back, this does not.
    saved         INTEGER NOT NULL,
    PRIMARY KEY (room, slot, generation, plugin),
    UNIQUE (room, slot, saved)
) STRICT;

CREATE TABLE feedback (
    room       TEXT    NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    event_id   TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    plugin     TEXT,
    reporter   TEXT    NOT NULL,
    detector   TEXT    NOT NULL,
    label      TEXT    NOT NULL,
    confidence REAL    NOT NULL,
    area       TEXT,
    correct    INTEGER NOT NULL CHECK (correct IN (0, 1)),
    at         INTEGER NOT NULL,
    PRIMARY KEY (room, event_id),
    UNIQUE (room, seq)
) STRICT;
CREATE INDEX feedback_by_plugin ON feedback (room, plugin, seq);

CREATE TABLE thresholds (
    room       TEXT    NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    detector   TEXT    NOT NULL,
    label      TEXT    NOT NULL,
    threshold  REAL    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (room, detector, label)
) STRICT;

CREATE TABLE events (
    room TEXT    NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq  INTEGER NOT NULL,
    id   TEXT    NOT NULL,
    at   INTEGER NOT NULL,
    kind TEXT    NOT NULL,
    body TEXT    NOT NULL,
    PRIMARY KEY (room, seq),
    UNIQUE (room, id)
) STRICT;

CREATE TABLE sessions (
    id         TEXT    NOT NULL PRIMARY KEY,
    room       TEXT    NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    source     TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,
    frames     INTEGER NOT NULL DEFAULT 0,
    covered    INTEGER NOT NULL DEFAULT 0,
    exposed    INTEGER NOT NULL DEFAULT 0,
    ended_why  TEXT,
    CHECK ((ended_at IS NULL) = (ended_why IS NULL))
) STRICT;
CREATE INDEX sessions_of_room ON sessions (room, started_at);

CREATE TABLE plugins (
    plugin   TEXT    NOT NULL PRIMARY KEY,
    slot     TEXT    NOT NULL,
    digest   TEXT    NOT NULL,
    size     INTEGER NOT NULL,
    added_at INTEGER NOT NULL
) STRICT;

-- One row that `Store::check` writes.
CREATE TABLE heartbeat (
    id    INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    beats INTEGER NOT NULL
) STRICT;
