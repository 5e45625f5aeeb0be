-- Sends the code of an open challenge once more: the same code, or with a slow hash a
-- new one (then key id, digest, salt and body come with the call).
-- KEYS: challenge, clock, sends budget
-- ARGV: run, est, seen, T, n, op, waits, send count, send window, lease,
--       known generation, key id, digest, salt, body
-- Answer: {outcome, now, epoch, record, ms to wait}
local T, n, op, waits = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local send_count, send_window, lease = num(ARGV[8]), num(ARGV[9]), num(ARGV[10])
local now, epoch = clock(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local r = load_challenge(KEYS[1])
if not r or r.epoch ~= epoch or now >= r.deadline or has(r.flags, CONSUMED) then
  return { 'unknown', now, epoch, '', 0 }
end
if first_answer(r, op) then return { 'created', now, epoch, r.raw, 0 } end
if r.attempts >= r.max_attempts then return { 'locked', now, epoch, r.raw, r.deadline - now } end
if r.state ~= OPEN and r.state ~= FAILED then return { 'closed', now, epoch, r.raw, 0 } end
if r.sends == 0 or r.route == '' then return { 'unsent', now, epoch, r.raw, 0 } end
if redis.call('HEXISTS', 'block:' .. T, r.dest) == 1 then return { 'blocked', now, epoch, r.raw, 0 } end
if r.sends >= r.max_sends then return { 'sends', now, epoch, r.raw, r.deadline - now } end
if now < r.wait then return { 'wait', now, epoch, r.raw, r.wait - now } end
-- Only the tenant knows a code that it supplied: it must come again, by a PUT.
if has(r.flags, SUPPLIED) then return { 'supplied', now, epoch, r.raw, 0 } end
if r.gen ~= ARGV[11] or (has(r.flags, SLOW_HASH) and ARGV[13] == '') then
  return { 'offer', now, epoch, r.raw, 0 }
end
if send_count > 0 then
  local sent = redis.call('INCR', KEYS[3])
  if sent == 1 then redis.call('PEXPIRE', KEYS[3], send_window) end
  if sent > send_count then
    redis.call('DECR', KEYS[3])
    return { 'budget', now, epoch, r.raw, redis.call('PTTL', KEYS[3]) }
  end
end
unqueue(T, n, r)
if has(r.flags, SLOW_HASH) then
  r.kid, r.salt, r.body = ARGV[12], ARGV[14], ARGV[15]
  r.digest, r.gen_at, r.uncertain = mix(r, ARGV[13]), now, 0
end
r.state, r.sends, r.mstate, r.tries, r.way, r.reason = OPEN, r.sends + 1, QUEUED, 0, 0, ''
r.fence = r.fence % 65535 + 1
local steps = {}
for w in string.gmatch(waits, '%d+') do steps[#steps + 1] = num(w) end
r.wait = now
if #steps > 0 then r.wait = now + steps[math.min(r.sends, #steps)] end
r.due = now
if lease > 0 then r.mstate, r.due, r.tries = SENDING, now + lease, 1 end
redis.call('ZADD', due_key(T, r.route, 'otp'), r.due, 'c' .. n)
if lease == 0 then wake(T, r.route, 'otp') end
if has(r.flags, CALLBACK) then
  redis.call('ZADD', due_key(T, 'callback', 'event'), r.deadline, 'x' .. n)
end
remember(r, op, 1, r.sends)
save_challenge(KEYS[1], r, now)
return { 'created', now, epoch, r.raw, 0 }
