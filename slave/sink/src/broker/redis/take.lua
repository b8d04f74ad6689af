-- The commands of a shard behind the last one that its owner has, for its newest owner.
--
-- KEYS: the stream, the epoch of its owner. ARGV: the epoch of who asks, the last id, how many.
-- Answers with ok or fenced, the time in milliseconds, and the entries.
local newest = tonumber(redis.call('GET', KEYS[2])) or 0
local epoch = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if epoch < newest then
    return {'fenced', now, {}}
end
if epoch > newest then
    redis.call('SET', KEYS[2], ARGV[1])
end
return {'ok', now, redis.call('XRANGE', KEYS[1], '(' .. ARGV[2], '+', 'COUNT', ARGV[3])}
