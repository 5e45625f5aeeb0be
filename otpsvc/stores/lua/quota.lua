-- Counts the parts of a text in every window of its SIM if no quota is exceeded, or in none.
-- KEYS: counters of the minute, hour, day and month; reference; this operation
-- ARGV: parts, lives of the counters and of the reference (ms), then pairs (which counter, most parts)
-- Answer: {which pair refused or 0, reference, parts counted in each window}
local parts, used = tonumber(ARGV[1]), {}
local done = redis.call('GET', KEYS[6])
if done then return cmsgpack.unpack(done) end
for i = 1, 4 do used[i] = tonumber(redis.call('GET', KEYS[i]) or 0) end
for i = 7, #ARGV, 2 do
  if used[tonumber(ARGV[i])] + parts > tonumber(ARGV[i + 1]) then return { (i - 5) / 2, 0, used } end
end
for i = 1, 4 do
  used[i] = redis.call('INCRBY', KEYS[i], parts)
  redis.call('PEXPIRE', KEYS[i], ARGV[1 + i])
end
local reference = (redis.call('INCR', KEYS[5]) - 1) % 65536
redis.call('PEXPIRE', KEYS[5], ARGV[6])
local answer = { 0, reference, used }
redis.call('SET', KEYS[6], cmsgpack.pack(answer), 'PX', 10000)
return answer
