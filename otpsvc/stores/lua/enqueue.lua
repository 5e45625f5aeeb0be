-- Puts a raw message into the outbox: earlier one of the same name, block list, budget, message, due entry.
-- KEYS: message, clock, due, sends budget, once (holds the n of the first one)
-- ARGV: run, est, seen, T, n, route, lane, ttl (ms), destination, meta, body, send count,
--       send window (ms), life of `once` (ms; 0: not asked)
-- Answer: {outcome, now, epoch, n, record, ms to wait}
local T, n, route, lane, ttl, dest = ARGV[4], ARGV[5], ARGV[6], ARGV[7], num(ARGV[8]), ARGV[9]
local once_life = num(ARGV[14])
local now, epoch = clock(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
-- This very call once more, whose answer was lost.
local m = load_message(KEYS[1])
if m then return { 'queued', now, epoch, n, m.raw, 0 } end
-- Also where it was blocked since: what was done is told, and is not done by telling it.
if once_life > 0 then
  local first = redis.call('GET', KEYS[5])
  m = first and load_message('msg:' .. T .. ':' .. first)
  if m then return { 'known', now, epoch, first, m.raw, 0 } end
end
if is_blocked(T, dest) then return { 'blocked', now, epoch, '', '', 0 } end
-- As in create.lua: codes and raw messages share it.
local send_count = num(ARGV[12])
if send_count > 0 then
  local sent = redis.call('INCR', KEYS[4])
  if sent == 1 then redis.call('PEXPIRE', KEYS[4], ARGV[13]) end
  if sent > send_count then
    redis.call('DECR', KEYS[4])
    return { 'budget', now, epoch, '', '', redis.call('PTTL', KEYS[4]) }
  end
end
m = { v = 1, kind = RAW, mstate = QUEUED, tries = 0, uncertain = 0, way = 0, fence = 0,
  created = now, deadline = now + ttl, due = now, route = route, lane = lane, reason = '',
  meta = ARGV[10], body = ARGV[11] }
save_message(KEYS[1], m, now, 86400000)
if once_life > 0 then redis.call('SET', KEYS[5], n, 'PX', once_life) end
redis.call('ZADD', KEYS[3], now, 'm' .. n)
wake(T, route, lane)
return { 'queued', now, epoch, n, m.raw, 0 }
