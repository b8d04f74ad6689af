-- What a master must know after it was killed. Readable with the sqlite3 shell:
-- SELECT key, CAST(value AS TEXT) FROM entries;

-- One row for each key: `term`, `boot`, `lost`, `shard-count`, and what entries of the
-- core are called (owner.SHARD, ticket.SHARD, slave.ID, ...). Values are JSON objects;
-- `v` is the lowest version that a master has to know to read one. Tickets hold session
-- ids: a secret. `revision` says in which batch a row was written.
CREATE TABLE entries (
    key      TEXT PRIMARY KEY,
    value    BLOB NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How many batches were written; one row.
CREATE TABLE batches (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO batches VALUES (1, 0);

-- oldest_reader: the lowest schema that a master has to know to use this journal.
CREATE TABLE IF NOT EXISTS meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
