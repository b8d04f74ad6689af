-- Which command each slot has, and which it had before: what a rollback goes back
-- to. Both are JSON lists; an empty one: none.
CREATE TABLE fillings (
    slot    TEXT PRIMARY KEY,
    command TEXT NOT NULL,
    before  TEXT NOT NULL DEFAULT '[]'
) STRICT;
