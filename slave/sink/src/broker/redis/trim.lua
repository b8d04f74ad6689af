-- Removes what every group has acknowledged, and what is too old.
--
-- KEYS: the stream. ARGV: the time in milliseconds below which an event is too old.
-- Answers with how many were removed. Without a group only old ones are.
local stream, oldest = KEYS[1], tonumber(ARGV[1])
if redis.call('EXISTS', stream) == 0 then
    return 0
end

local function parts(id)
    local first, second = string.match(id, '^(%d+)-(%d+)$')
    return {tonumber(first), tonumber(second)}
end

local function is_below(one, other)
    return one[1] < other[1] or (one[1] == other[1] and one[2] < other[2])
end

-- The first event that a group needs.
local needed
for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local about = {}
    for index = 1, #group, 2 do
        about[group[index]] = group[index + 1]
    end
    local first
    if about.pending > 0 then
        first = parts(redis.call('XPENDING', stream, about.name)[2])
    else
        first = parts(about['last-delivered-id'])
        first[2] = first[2] + 1
    end
    if not needed or is_below(first, needed) then
        needed = first
    end
end

local removed = 0
for _ = 1, 20 do
    local keep
    local events = redis.call('XRANGE', stream, '-', '+', 'COUNT', 100)
    for _, event in ipairs(events) do
        local created
        for index = 1, #event[2], 2 do
            if event[2][index] == 'baton-created' then
                created = tonumber(event[2][index + 1])
            end
        end
        local is_old = created and created < oldest
        local is_done = needed and is_below(parts(event[1]), needed)
        if not (is_old or is_done) then
            keep = event[1]
            break
        end
    end
    if #events == 0 then
        break
    end
    if not keep then
        local newest = parts(events[#events][1])
        keep = string.format('%.0f-%.0f', newest[1], newest[2] + 1)
    end
    local gone = redis.call('XTRIM', stream, 'MINID', keep)
    removed = removed + gone
    if gone < 100 then
        break
    end
end
return removed
