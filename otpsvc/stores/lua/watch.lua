-- Notes up to which state a feeder was told of messages; the oldest go when there are too many.
-- KEYS: watches, when each began
-- ARGV: new ones too (0 or 1), most, life (ms), then pairs (n, sealed note; '' to forget it)
local fresh, most, life = ARGV[1] == '1', num(ARGV[2]), num(ARGV[3])
local t = redis.call('TIME')
local now = num(t[1]) * 1000 + math.floor(num(t[2]) / 1000)

local function forget(ids)
  for _, n in ipairs(ids) do
    redis.call('HDEL', KEYS[1], n)
    redis.call('ZREM', KEYS[2], n)
  end
end

for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    forget({ ARGV[i] })
  elseif fresh or redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
    redis.call('ZADD', KEYS[2], 'NX', now, ARGV[i])
  end
end
if fresh then
  forget(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - life))
  forget(redis.call('ZRANGE', KEYS[2], 0, -most - 1))
  for k = 1, 2 do redis.call('PEXPIRE', KEYS[k], life) end
end
return 1
