-- Evaluates one guess: counts it, compares, closes. Exactly one caller can win.
-- KEYS: challenge, clock
-- ARGV: run, est, seen, T, n, op, client, wrong per client, wrong in all, wrong trusted,
--       window ms (three), salt of the slow offers, generation of the caller's page,
--       most attempts of a client without a token (0: has one), then pairs (scheme and key id, digest)
-- Answer: {outcome, now, epoch, record, ms to wait}
local T, n, op, client = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local now, epoch = clock(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local r = load_challenge(KEYS[1])
if not r or r.epoch ~= epoch then return { 'unknown', now, epoch, '', 0 } end
if now >= r.deadline or has(r.flags, CONSUMED) then return { 'unknown', now, epoch, '', 0 } end

if ARGV[15] ~= '' and ARGV[15] ~= r.gen then return { 'unknown', now, epoch, '', 0 } end

local OUTCOME = { 'created', 'wrong', 'verified', 'closed' }
local done, at = first_answer(r, op)
if done then return { OUTCOME[done] or 'wrong', now, epoch, r.raw, 0 } end

if r.state == LOCKED or r.attempts >= r.max_attempts and r.state ~= VERIFIED then
  return { 'locked', now, epoch, r.raw, r.deadline - now }
end
if r.state ~= OPEN and r.state ~= FAILED then return { 'closed', now, epoch, r.raw, 0 } end
if r.sends == 0 or r.route == '' then return { 'unsent', now, epoch, r.raw, 0 } end

local wanted, d = (has(r.flags, SLOW_HASH) and 'a' or 'h') .. r.kid, nil
for i = 17, #ARGV, 2 do
  if ARGV[i] == wanted then d = ARGV[i + 1] end
end
-- Nothing is counted for a key or scheme that the caller did not offer.
if not d or (ARGV[14] ~= '' and ARGV[14] ~= r.salt) then return { 'offer', now, epoch, r.raw, 0 } end

local trusted = has(r.flags, TRUSTED)
local budget = 'budget:' .. T .. ':' .. r.dest .. string.char(r.purpose) .. (trusted and 't' or '')
local per_client, in_all, window = num(ARGV[8]), num(ARGV[9]), num(ARGV[11])
if trusted then per_client, in_all, window = 0, num(ARGV[10]), num(ARGV[13]) end
local guarded = in_all > 0
if guarded then
  local spent = redis.call('HMGET', budget, 'c' .. client, 'all')
  if (per_client > 0 and num(spent[1] or 0) >= per_client) or num(spent[2] or 0) >= in_all then
    return { 'budget', now, epoch, r.raw, math.max(redis.call('PTTL', budget), 1000) }
  end
end

-- Who came without a token must not use up the attempts of who has one.
local open_most = num(ARGV[16])
if open_most > 0 then
  local open = 'open:' .. T .. ':' .. n
  if num(redis.call('HGET', open, client) or 0) >= open_most then
    return { 'budget', now, epoch, r.raw, r.deadline - now }
  end
  redis.call('HINCRBY', open, client, 1)
  redis.call('PEXPIRE', open, string.format('%.0f', r.deadline - now + GRACE))
end

r.attempts = r.attempts + 1
local outcome
if mix(r, d) == r.digest then
  outcome = 'verified'
  unqueue(T, n, r)
  if r.mstate == QUEUED then r.mstate = NONE end
  r.state, r.body, r.wait = VERIFIED, '', now
  -- The answer to a status must stay for a while after a code typed in the last second.
  r.deadline = math.max(r.deadline, now + 300000)
  remember(r, op, 3, r.attempts)
  if guarded then
    local own = num(redis.call('HGET', budget, 'c' .. client) or 0)
    if own > 0 then
      redis.call('HDEL', budget, 'c' .. client)
      redis.call('HINCRBY', budget, 'all', -own)
    end
  end
  event(T, n, r, 'v', now)
else
  outcome = 'wrong'
  remember(r, op, 2, r.attempts)
  if guarded then
    redis.call('HINCRBY', budget, 'c' .. client, 1)
    if redis.call('HINCRBY', budget, 'all', 1) == 1 then redis.call('PEXPIRE', budget, window) end
    if redis.call('PTTL', budget) < 0 then redis.call('PEXPIRE', budget, window) end
  end
  if r.attempts >= r.max_attempts then
    unqueue(T, n, r)
    if r.mstate == QUEUED then r.mstate = NONE end
    r.state, r.body = LOCKED, ''
    event(T, n, r, 'l', now)
  end
end
save_challenge(KEYS[1], r, now)
return { outcome, now, epoch, r.raw, 0 }
