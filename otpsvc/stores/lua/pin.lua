-- Notes for ever that a PIN is about to be tried.
-- KEYS: the PIN of one SIM; ARGV: operation
-- Answer: 1; 0 when another operation has noted it
local known = redis.call('GET', KEYS[1])
if known then return known == ARGV[1] and 1 or 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
