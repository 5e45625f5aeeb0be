-- The texts that came in, the newest first; those whose time is over are forgotten.
-- KEYS: inbox; ARGV: T, before (ms; 0: all), limit
-- Answer: {id, ms, sealed text}...
local T, limit, found = ARGV[1], num(ARGV[3]), {}
local below = num(ARGV[2]) > 0 and '(' .. ARGV[2] or '+inf'
while #found < limit do
  local rows = redis.call('ZREVRANGEBYSCORE', KEYS[1], below, '-inf', 'WITHSCORES', 'LIMIT', 0, limit - #found)
  if #rows == 0 then break end
  for i = 1, #rows, 2 do
    local text = redis.call('GET', 'text:' .. T .. ':' .. rows[i])
    if text then
      found[#found + 1] = { rows[i], rows[i + 1], string.sub(text, 9) }
    else
      redis.call('ZREM', KEYS[1], rows[i])
    end
    below = '(' .. rows[i + 1]
  end
end
return found
