-- Puts a raw message into the outbox.
-- KEYS: message, clock, due
-- ARGV: run, est, seen, T, n, route, lane, ttl (ms), meta, body
-- Answer: {outcome, now, epoch}
local T, n, route, lane = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local now, epoch = clock(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if redis.call('EXISTS', KEYS[1]) == 1 then return { 'known', now, epoch } end
save_message(KEYS[1], { v = 1, kind = RAW, mstate = QUEUED, tries = 0, uncertain = 0, way = 0,
  fence = 0, created = now, deadline = now + num(ARGV[8]), due = now, route = route, lane = lane,
  reason = '', meta = ARGV[9], body = ARGV[10] }, now, 86400000)
redis.call('ZADD', KEYS[3], now, 'm' .. n)
wake(T, route, lane)
return { 'queued', now, epoch }
