-- Whose something is that several may get, or one several times: the first asker's.
-- KEYS: name; ARGV: token, life (ms), for how many ms of it the first one counts
-- Answer: the first one's token, for it the same when it asks again
local life, within = num(ARGV[2]), num(ARGV[3])
local known = redis.call('GET', KEYS[1])
if known and redis.call('PTTL', KEYS[1]) > life - within then return known end
redis.call('SET', KEYS[1], ARGV[1], 'PX', life)
return ARGV[1]
