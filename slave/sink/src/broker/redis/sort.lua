-- Moves the first command that names no shard to those that it is for, with the time at which it
-- came.
--
-- KEYS: the stream of these commands, the streams of the shards. ARGV: the id of the command.
-- Answers with how many were moved: none, if somebody else did it.
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not first or first[1] ~= ARGV[1] then
    return 0
end
for shard = 2, #KEYS do
    local entry = {'XADD', KEYS[shard], '*', 'baton-sent', string.match(ARGV[1], '^%d+')}
    for _, word in ipairs(first[2]) do
        entry[#entry + 1] = word
    end
    redis.call(unpack(entry))
end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
