-- Changes the copy of one guild, if nobody newer owns its shard.
--
-- KEYS: the shard's state, then those of the guild's documents that are changed.
-- ARGV: the owner's epoch, the guild, what is done, then its words:
--   documents  for each key: how many are set, how many are removed, the ids and documents
--              of the former, the ids of the latter
--   begin      nothing: what the keys hold is put together anew
--   end        nothing: what was put together takes the place of what is there
--   gone       nothing: the guild has no documents any more
--
-- Answers 0 if a newer owner writes, 1 if it was done, and 2 if nothing was known of the shard
-- before.
local state, epoch, guild, what = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3]

local known = redis.call('HGET', state, 'epoch')
local newest = tonumber(known) or 0
local done = known and 1 or 2
--FENCE
if epoch < newest then
    return 0
end
if epoch > newest then
    redis.call('HSET', state, 'epoch', ARGV[1])
end

if what == 'gone' then
    for key = 2, #KEYS do
        redis.call('UNLINK', KEYS[key], KEYS[key] .. ':new')
    end
    redis.call('HDEL', state, guild)
    return done
end
if what == 'begin' then
    for key = 2, #KEYS do
        redis.call('UNLINK', KEYS[key] .. ':new')
    end
    return done
end
if what == 'end' then
    for key = 2, #KEYS do
        if redis.call('EXISTS', KEYS[key] .. ':new') == 1 then
            redis.call('RENAME', KEYS[key] .. ':new', KEYS[key])
        else
            redis.call('UNLINK', KEYS[key])
        end
    end
    redis.call('HSET', state, guild, ARGV[1])
    return done
end

local at = 4
local behind = what == 'new' and ':new' or ''
for key = 2, #KEYS do
    local sets, removes = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    at = at + 2
    for _ = 1, sets do
        redis.call('HSET', KEYS[key] .. behind, ARGV[at], ARGV[at + 1])
        at = at + 2
    end
    for _ = 1, removes do
        redis.call('HDEL', KEYS[key] .. behind, ARGV[at])
        at = at + 1
    end
end
return done
