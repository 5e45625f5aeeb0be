-- Tells whose report this is; a final one ends the wait for its part, once.
-- KEYS: part, this operation; ARGV: final (0 or 1)
-- Answer: {job, parts still open}, or nil
local done = redis.call('GET', KEYS[2])
if done then return cmsgpack.unpack(done) end
local said = redis.call('GET', KEYS[1])
if not said then return nil end
local open, job = string.match(said, '^(%S+) (.*)$')
if ARGV[1] ~= '1' then return { job, redis.call('SCARD', open) } end
redis.call('DEL', KEYS[1])
redis.call('SREM', open, KEYS[1])
local answer = { job, redis.call('SCARD', open) }
redis.call('SET', KEYS[2], cmsgpack.pack(answer), 'PX', 10000)
return answer
