-- Rows of the tables that the third schema had, as entries. Numbers of 64 bits stood
-- there as signed ones. Commands are brought over apart: their keys need more than SQL.
UPDATE batches SET last = 1;

INSERT INTO entries
SELECT 'term', CAST(json_object('v', 1, 'fleet', fleet.value,
    'counter', CAST(coalesce(term.value, '0') AS INTEGER)) AS BLOB), 1
FROM meta AS fleet LEFT JOIN meta AS term ON term.key = 'term' WHERE fleet.key = 'fleet';

INSERT INTO entries
SELECT 'shard-count', CAST(json_object('v', 1, 'shard_count', CAST(value AS INTEGER)) AS BLOB), 1
FROM meta WHERE key = 'shard_count';

INSERT INTO entries
SELECT 'deploy', CAST(json_object('v', 1, 'last', CAST(value AS INTEGER)) AS BLOB), 1
FROM meta WHERE key = 'last_deploy';

INSERT INTO entries
SELECT 'seen', CAST(json_object('v', 1, 'unix_ms', CAST(value AS INTEGER)) AS BLOB), 1
FROM meta WHERE key = 'seen_ms';

INSERT INTO entries
SELECT 'boot', CAST(json_object('v', 1, 'clocks', value) AS BLOB), 1
FROM meta WHERE key = 'booted_ms';

INSERT INTO entries
SELECT 'lost', CAST(json_object('v', 1, 'floor', CAST(value AS INTEGER)) AS BLOB), 1
FROM meta WHERE key = 'lost';

INSERT INTO entries
SELECT 'late-seal-refused', CAST(json_object('v', 1, 'refused', json(iif(value = '1', 'true', 'false'))) AS BLOB), 1
FROM meta WHERE key = 'late_seal_refused';

INSERT INTO entries
SELECT 'given-up.' || value, CAST(json_object('v', 1) AS BLOB), 1
FROM meta WHERE key = 'given up ' || value AND value NOT GLOB '*[^0-9]*' AND value <> '';

INSERT INTO entries
SELECT 'slave.' || substr(key, 8), CAST(json_object('v', 1, 'fenced_ms', CAST(value AS INTEGER)) AS BLOB), 1
FROM meta WHERE key LIKE 'fenced %';

INSERT INTO entries
SELECT 'pinned', CAST(json_object('v', 1, 'intents', json(printf('%u', intents)),
    'shard_count', shard_count, 'api_version', api_version, 'encoding', encoding,
    'compression', compression, 'large_threshold', large_threshold) AS BLOB), 1
FROM pinned;

INSERT INTO entries
SELECT 'owner.' || shard, CAST(json_object('v', 1, 'epoch', json(printf('%u', epoch)),
    'owner', owner, 'hold', hold, 'basis', basis) AS BLOB), 1
FROM shards;

INSERT INTO entries
SELECT 'ticket.' || shard, CAST(json_object('v', 1, 'epoch', json(printf('%u', epoch)),
    'after', after, 'written_ms', json(printf('%u', written_ms)),
    'ticket', json(iif(json_valid(ticket), ticket, json_quote(ticket)))) AS BLOB), 1
FROM tickets;

INSERT INTO entries
SELECT 'work', CAST(json_object('v', 1, 'epoch', json(printf('%u', epoch)), 'owner', owner) AS BLOB), 1
FROM work;

INSERT OR REPLACE INTO entries
SELECT 'slave.' || slave, CAST(json_object('v', 1, 'hello', json_object(
    'slave', slave, 'slot', slot, 'build', build, 'role', role, 'version', version,
    'lowest', lowest, 'process', json_object('pid', pid,
        'start_time', json(printf('%u', start_time)), 'boot_id', boot_id,
        'pid_namespace', json(printf('%u', pid_namespace))),
    'parameters', json_object('intents', json(printf('%u', intents)),
        'shard_count', shard_count, 'api_version', api_version, 'encoding', encoding,
        'compression', compression, 'large_threshold', large_threshold))) AS BLOB), 1
FROM slaves;

DROP TABLE pinned;
DROP TABLE shards;
DROP TABLE tickets;
DROP TABLE work;
DROP TABLE slaves;
DELETE FROM meta;
