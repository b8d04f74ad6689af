-- Adds events to a shard's stream, all or up to the first that cannot be.
--
-- KEYS: the stream, its state, the numbers that are missing in it.
-- ARGV: the owner's epoch, the session, the limit in bytes, the sequence that the owner
-- added before (0: none), then of each event its sequence, how many words, and these.
--
-- Answers with why it ended (ok, full, hole, fenced), how many events are in the stream
-- now, how many of these were there before, and the last sequence of the session.
local stream, state, missing = KEYS[1], KEYS[2], KEYS[3]
local epoch, session, limit = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local before = tonumber(ARGV[4])

-- A sequence has room behind it for events that come late.
local ROOM = 16384

local known = redis.call('HMGET', state, 'epoch', 'session', 'began', 'last', 'late')
local newest, began = tonumber(known[1]) or 0, tonumber(known[3]) or 0
local last, late = tonumber(known[4]), tonumber(known[5]) or 0
if known[2] ~= session then
    last = nil
end

local function number(value)
    return string.format('%.0f', value)
end

-- Measured once: the limit may be passed by one call's events.
local used
local function is_full()
    used = used or redis.call('MEMORY', 'USAGE', stream) or 0
    return used >= limit
end

local why, taken, repeats = 'ok', 0, 0
local at = 5
while at <= #ARGV do
    local sequence, words = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    local is_late = false
    local is_there = false
    if last and sequence <= last then
        is_late = redis.call('ZSCORE', missing, ARGV[at]) ~= false
        is_there = not is_late
    elseif epoch < newest then
        why = 'fenced'
        break
    elseif before > 0 and before > (last or 0) then
        why = 'hole'
        break
    end
    if is_there then
        repeats = repeats + 1
    else
        if is_full() then
            why = 'full'
            break
        end
        local place
        if is_late then
            late = late + 1
            place = last * ROOM + late
            redis.call('ZREM', missing, ARGV[at])
        else
            if not last then
                -- A session begins here.
                local time = redis.call('TIME')
                local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
                began = math.max(now, began + 1)
                redis.call('DEL', missing)
            elseif sequence > last + 1 then
                -- Another owner may have these in hand, and add them later.
                for number_of_one = math.max(last + 1, sequence - ROOM + 1), sequence - 1 do
                    redis.call('ZADD', missing, number_of_one, number(number_of_one))
                end
                redis.call('ZREMRANGEBYRANK', missing, 0, -ROOM)
            end
            last, late = sequence, 0
            newest = math.max(newest, epoch)
            place = sequence * ROOM
        end
        local entry = {'XADD', stream}
        --MAXLEN
        entry[#entry + 1] = number(began) .. '-' .. number(place)
        for word = 1, words do
            entry[#entry + 1] = ARGV[at + 1 + word]
        end
        redis.call(unpack(entry))
        redis.call('HSET', state, 'epoch', number(newest), 'session', session,
            'began', number(began), 'last', number(last), 'late', number(late))
    end
    if before > 0 then
        before = math.max(before, sequence)
    end
    taken = taken + 1
    at = at + 2 + words
end
return {why, taken, repeats, number(last or 0)}
