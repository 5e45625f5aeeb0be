-- Gives a lease up, where it is still this holder's.
-- KEYS: lease; ARGV: token
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
