-- Keeps a text that came in, of its scope the newest; the others go.
-- KEYS: text, inbox, places (up to which text each feeder was told; how many texts came in)
-- ARGV: T, id, op (8 bytes), sealed text, life (ms), most
-- Answer: 1, or 0 when it was known
local T, id, op, life, most = ARGV[1], ARGV[2], ARGV[3], num(ARGV[5]), num(ARGV[6])
local known = redis.call('GET', KEYS[1])
-- Known to this very call, whose answer was lost: still its first.
if known then return string.sub(known, 1, 8) == op and 1 or 0 end

local function drop(ids)
  for _, old in ipairs(ids) do
    redis.call('ZREM', KEYS[2], old)
    redis.call('DEL', 'text:' .. T .. ':' .. old)
  end
end

local function ms(number) return string.format('%.0f', number) end

local t = redis.call('TIME')
local at = num(t[1]) * 1000 + math.floor(num(t[2]) / 1000)
drop(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', at - life))
redis.call('HINCRBY', KEYS[3], '#', 1)
-- No two have one time, and what comes later is newer: a list can be read on from any of them,
-- and from the place of any feeder, whose text may be gone.
local horizon, early, far = at + 2000, 0, {}
local places = redis.call('HGETALL', KEYS[3])
for i = 1, #places, 2 do
  local place = num(places[i + 1])
  if places[i] ~= '#' then
    if place > horizon then far[places[i]] = place else early = math.max(early, place) end
  end
end
local last = redis.call('ZREVRANGEBYSCORE', KEYS[2], horizon, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
at = math.max(at, num(last[2] or 0) + 1, early + 1)
-- A clock that was set back would say otherwise; what was kept by it follows, and the places along.
local moved = {}
for feeder in pairs(far) do moved[feeder] = at - 1 end
local ahead = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ms(horizon), '+inf', 'WITHSCORES')
for i = 1, #ahead, 2 do
  redis.call('ZADD', KEYS[2], at, ahead[i])
  for feeder, place in pairs(far) do
    if num(ahead[i + 1]) <= place then moved[feeder] = at end
  end
  at = at + 1
end
for feeder, place in pairs(moved) do redis.call('HSET', KEYS[3], feeder, ms(place)) end
redis.call('SET', KEYS[1], op .. ARGV[4], 'PX', life)
redis.call('ZADD', KEYS[2], at, id)
drop(redis.call('ZRANGE', KEYS[2], 0, -most - 1))
for k = 2, 3 do redis.call('PEXPIRE', KEYS[k], math.max(life, redis.call('PTTL', KEYS[k]))) end
return 1
