-- A feeder was told this text: its place moves on, never back. By the text's own time of
-- now: it may be another than the feeder read, when the clock was set back meanwhile.
-- KEYS: inbox, places; ARGV: feeder, id
local at = redis.call('ZSCORE', KEYS[1], ARGV[2])
local place = redis.call('HGET', KEYS[2], ARGV[1])
-- A text that is gone is read by nobody any more; who never asked has no place.
if at and place and num(at) > num(place) then redis.call('HSET', KEYS[2], ARGV[1], at) end
return 1
