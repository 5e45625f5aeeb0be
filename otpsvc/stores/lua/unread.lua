-- The texts that came in after the last one that a feeder was told, the oldest first.
-- Who asks for the first time begins after the newest: nobody wants a flood of old ones.
-- KEYS: inbox, places; ARGV: T, feeder, limit, life of a place (ms)
-- Answer: {id, ms, sealed text}...
local T, feeder, limit, life, found = ARGV[1], ARGV[2], num(ARGV[3]), num(ARGV[4]), {}
local place = redis.call('HGET', KEYS[2], feeder)
if not place then
  place = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2] or '0'
  redis.call('HSET', KEYS[2], feeder, place)
end
-- It is asked every second: not each time a write.
if redis.call('PTTL', KEYS[2]) < life / 2 then redis.call('PEXPIRE', KEYS[2], life) end
while #found < limit do
  local rows = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. place, '+inf', 'WITHSCORES',
    'LIMIT', 0, limit - #found)
  if #rows == 0 then break end
  for i = 1, #rows, 2 do
    local text = redis.call('GET', 'text:' .. T .. ':' .. rows[i])
    if text then
      found[#found + 1] = { rows[i], rows[i + 1], string.sub(text, 9) }
    else
      redis.call('ZREM', KEYS[1], rows[i])
    end
    place = rows[i + 1]
  end
end
return found
