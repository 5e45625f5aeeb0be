-- Opens an Idempotency-Key before its effect: a lease of 10 s, bound to the operation.
-- KEYS: once; ARGV: fingerprint (16 bytes), op
-- Answer: {new | mine | running | mismatch | done, stored}
local o = redis.call('GET', KEYS[1])
if not o then
  redis.call('SET', KEYS[1], 'R' .. ARGV[1] .. ARGV[2], 'PX', 10000)
  return { 'new', '' }
end
if string.sub(o, 2, 17) ~= ARGV[1] then return { 'mismatch', '' } end
if string.sub(o, 1, 1) == 'D' then return { 'done', string.sub(o, 18) } end
if string.sub(o, 18) == ARGV[2] then return { 'mine', '' } end
return { 'running', '' }
