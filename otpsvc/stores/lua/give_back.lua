-- Takes back what quota.lua counted: from the windows of now, those that ended need nothing.
-- KEYS: counters of the minute, hour, day and month; this operation; ARGV: parts
if not redis.call('SET', KEYS[5], '1', 'NX', 'PX', 10000) then return 0 end
for i = 1, 4 do
  local used = redis.call('GET', KEYS[i])
  if used then redis.call('SET', KEYS[i], math.max(0, tonumber(used) - tonumber(ARGV[1])), 'KEEPTTL') end
end
return 1
