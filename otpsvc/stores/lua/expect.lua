-- Notes whose the reports of these parts will be.
-- KEYS: the job's open parts, then the parts; ARGV: job, life (ms)
local life = tonumber(ARGV[2])
for k = 2, #KEYS do
  -- The network counts references round: the newer part goes before the older.
  local other = string.match(redis.call('GET', KEYS[k]) or '', '^%S+')
  if other then redis.call('SREM', other, KEYS[k]) end
  redis.call('SET', KEYS[k], KEYS[1] .. ' ' .. ARGV[1], 'PX', life)
  redis.call('SADD', KEYS[1], KEYS[k])
end
redis.call('PEXPIRE', KEYS[1], math.max(life, redis.call('PTTL', KEYS[1])))
return 1
