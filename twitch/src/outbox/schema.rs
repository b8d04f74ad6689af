//! The tables of an outbox.

use crate::channels::file::Kind;

pub(super) const KIND: Kind = Kind {
    name: "outbox",
    application: 0x4254_6f75,
    schemas: &[
        "
        -- state: 0 waits, 1 is leased, 2 ended. Times are in milliseconds.
        CREATE TABLE messages (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            account TEXT NOT NULL,
            channel TEXT NOT NULL,
            text TEXT NOT NULL,
            reply_to TEXT,
            put_at INTEGER NOT NULL,
            ttl INTEGER NOT NULL,
            state INTEGER NOT NULL DEFAULT 0,
            is_unknown INTEGER NOT NULL DEFAULT FALSE,
            lease INTEGER UNIQUE,
            leased_by TEXT,
            leased_at INTEGER
        ) STRICT;
        CREATE INDEX messages_live ON messages (channel) WHERE state < 2;
        CREATE INDEX messages_waiting ON messages (number) WHERE state = 0;
        CREATE INDEX messages_expiring ON messages (put_at + ttl) WHERE state = 0;
        CREATE INDEX messages_leased ON messages (leased_at) WHERE state = 1;
        -- One row for each lease that counts: its number is never used again.
        CREATE TABLE spent (
            lease INTEGER PRIMARY KEY AUTOINCREMENT,
            account TEXT NOT NULL,
            at INTEGER NOT NULL,
            is_open INTEGER NOT NULL,
            is_plain INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX spent_by_account ON spent (account, at);
        CREATE TABLE outcomes (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL,
            account TEXT NOT NULL,
            channel TEXT NOT NULL,
            at INTEGER NOT NULL,
            outcome TEXT NOT NULL
        ) STRICT;",
        "CREATE INDEX outcomes_by_id ON outcomes (id);
         ALTER TABLE messages ADD COLUMN by_irc INTEGER NOT NULL DEFAULT FALSE;",
    ],
};
