-- What a master must know after it was killed. Readable with the sqlite3 shell.

-- fleet (32 hex digits), term (starts of the master), shard_count (pinned at the
-- first start), last_deploy, seen_ms (a master ran then, by the wall clock),
-- booted_ms (the host's boot, and when it was by the wall clock of that moment:
-- what the clock is set by afterwards is no age), lost (there while not every
-- shard has a row again after a journal was lost: epochs up to this one may have
-- been used), oldest_reader (the lowest schema that a master has to know to use
-- this journal), `fenced SLAVE` (dead by the operator's word, since when in ms).
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- What the fleet's sessions are identified with; one row.
CREATE TABLE pinned (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    intents         INTEGER NOT NULL,
    shard_count     INTEGER NOT NULL,
    api_version     INTEGER NOT NULL,
    encoding        TEXT NOT NULL,
    compression     TEXT NOT NULL,
    large_threshold INTEGER NOT NULL
) STRICT;

-- The highest epoch of each shard, and the slave that it belongs to ('owned') or
-- is used up for ('reserved'); what that slave goes on from: 'cold', 'death', or
-- 'seal N', the ticket of the owner at epoch N.
CREATE TABLE shards (
    shard INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    hold  TEXT NOT NULL CHECK (hold IN ('reserved', 'owned')),
    basis TEXT NOT NULL DEFAULT 'death'
) STRICT;

-- Where each shard stands: its last checkpoint ('death') or its ticket of a seal
-- ('seal'), as JSON. Holds session ids: a secret.
CREATE TABLE tickets (
    shard      INTEGER PRIMARY KEY,
    epoch      INTEGER NOT NULL,
    after      TEXT NOT NULL CHECK (after IN ('seal', 'death')),
    handled    INTEGER NOT NULL,
    written_ms INTEGER NOT NULL,
    ticket     TEXT NOT NULL
) STRICT;

-- The once-per-bot work; one row.
CREATE TABLE work (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL
) STRICT;

-- Slaves that are not known to be gone. pid, start_time, boot_id and
-- pid_namespace together name a process for ever.
CREATE TABLE slaves (
    slave           TEXT PRIMARY KEY,
    slot            TEXT NOT NULL,
    build           TEXT NOT NULL,
    role            TEXT NOT NULL CHECK (role IN ('candidate', 'standby', 'relaunch')),
    version         INTEGER NOT NULL,
    lowest          INTEGER NOT NULL,
    pid             INTEGER NOT NULL,
    start_time      INTEGER NOT NULL,
    boot_id         TEXT NOT NULL,
    pid_namespace   INTEGER NOT NULL,
    intents         INTEGER NOT NULL,
    shard_count     INTEGER NOT NULL,
    api_version     INTEGER NOT NULL,
    encoding        TEXT NOT NULL,
    compression     TEXT NOT NULL,
    large_threshold INTEGER NOT NULL
) STRICT;

-- The command that a deploy brought into a slot, and the one that was configured
-- then: a configuration changed since wins. Both are JSON lists.
CREATE TABLE commands (
    slot       TEXT PRIMARY KEY,
    command    TEXT NOT NULL,
    configured TEXT NOT NULL
) STRICT;
