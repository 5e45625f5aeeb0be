-- Creates a challenge or sends again under the same id, with its budgets, its
-- Idempotency-Key, its message and its due entry.
-- KEYS: challenge, clock, sends budget, once
-- Answer: {outcome, now, epoch, record, ms to wait}
local T, n, op = ARGV[4], ARGV[5], ARGV[6]
local now, epoch = clock(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local gen, kid, purpose, flags = ARGV[7], ARGV[8], num(ARGV[9]), num(ARGV[10])
local kind, dest, d, salt, route = num(ARGV[11]), ARGV[12], ARGV[13], ARGV[14], ARGV[15]
local ttl, cap, max_attempts, max_sends = num(ARGV[16]), num(ARGV[17]), num(ARGV[18]), num(ARGV[19])
local waits, blob, body = ARGV[20], ARGV[21], ARGV[22]
local send_count, send_window = num(ARGV[23]), num(ARGV[24])
local print_, lease, pin = ARGV[25], num(ARGV[26]), ARGV[27]
local sending = route ~= ''

local r = load_challenge(KEYS[1])
if r and has(r.flags, CONSUMED) then r = nil end
if r and (r.epoch ~= epoch or now >= r.deadline) then
  -- Too old, or void: written before a restart that may have lost writes. Its tenant is
  -- told; saved, because this create may still be refused and come again.
  if r.state == OPEN then
    local late = r.epoch == epoch
    event(T, n, r, late and 'x' or 'r', now)
    r.state = late and EXPIRED or VOID
    save_challenge(KEYS[1], r, now)
  end
  unqueue(T, n, r)
  r = nil
end
if r and first_answer(r, op) then return { 'created', now, epoch, r.raw, 0 } end
-- A page may name the address of a challenge that has none, or change one that it named
-- itself, or take another way to the same; the generation stays, for the code is derived
-- from the destination too.
if pin ~= '' and (not r or r.gen ~= pin or (r.state ~= OPEN and r.state ~= FAILED)
    or (r.sends > 0 and r.dest ~= dest and not has(r.flags, COLLECTED))) then
  return { 'changed', now, epoch, r and r.raw or '', 0 }
end

if print_ ~= '' then
  local o = redis.call('GET', KEYS[4])
  if o then
    local state, known = string.sub(o, 1, 1), string.sub(o, 2, 17)
    if known ~= print_ then return { 'mismatch', now, epoch, '', 0 } end
    if state == 'D' then return { 'done', struct.unpack('<d', o, 18), epoch, string.sub(o, 26), 0 } end
    if string.sub(o, 18) ~= op then return { 'running', now, epoch, '', 0 } end
  end
end

local function refuse(outcome, wait)
  if print_ ~= '' then redis.call('DEL', KEYS[4]) end
  return { outcome, now, epoch, r and r.raw or '', wait }
end

if sending and redis.call('HEXISTS', 'block:' .. T, dest) == 1 then return refuse('blocked', 0) end

local same = false
if r then
  if r.attempts >= r.max_attempts then return refuse('locked', r.deadline - now) end
  if sending and r.sends >= r.max_sends then return refuse('sends', r.deadline - now) end
  -- The wait guards a destination: a corrected address need not sit it out.
  if sending and now < r.wait and r.dest == dest then return refuse('wait', r.wait - now) end
  same = (r.state == OPEN or r.state == FAILED) and r.dest == dest and r.kind == kind
    and r.purpose == purpose and not has(bit.bor(r.flags, flags), SLOW_HASH)
    and has(r.flags, SUPPLIED) == has(flags, SUPPLIED) and sending and r.sends > 0
    and (not has(flags, SUPPLIED) or mix(r, d) == r.digest)
    -- A code too old to live half its time again is replaced.
    and r.gen_at + cap - now >= math.min(ttl, cap) / 2
end

if sending and send_count > 0 then
  local sent = redis.call('INCR', KEYS[3])
  if sent == 1 then redis.call('PEXPIRE', KEYS[3], send_window) end
  if sent > send_count then
    redis.call('DECR', KEYS[3])
    return refuse('budget', redis.call('PTTL', KEYS[3]))
  end
end

if not r then
  r = { v = 1, created = now, epoch = epoch, attempts = 0, sends = 0, fence = 0, ops = '',
    max_attempts = max_attempts, max_sends = max_sends, mstate = NONE, route = '' }
else
  -- A PUT never raises the limits of a live record.
  r.max_attempts = math.min(r.max_attempts, max_attempts)
  r.max_sends = math.min(r.max_sends, max_sends)
  unqueue(T, n, r)
end
if not same then
  r.gen, r.kid, r.salt, r.gen_at = gen, kid, salt, now
  r.purpose, r.kind, r.dest = purpose, kind, dest
  r.digest = d == '' and string.rep('\0', 16) or mix(r, d)
  r.uncertain = 0
  outdate(r)
end
r.state = OPEN
r.flags = flags
r.deadline = math.min(now + ttl, r.gen_at + cap)
r.blob, r.body, r.reason, r.tries, r.way = blob, body, '', 0, 0
r.mstate, r.due, r.wait, r.route = NONE, now, now, route
local due = now
if sending then
  r.sends = r.sends + 1
  r.mstate, r.fence = QUEUED, r.fence % 65535 + 1
  local steps = {}
  for w in string.gmatch(waits, '%d+') do steps[#steps + 1] = num(w) end
  if #steps > 0 then r.wait = now + steps[math.min(r.sends, #steps)] end
  -- The caller's own worker has it already: the entry only guards against its death.
  if lease > 0 then r.mstate, due, r.tries = SENDING, now + lease, 1 end
  r.due = due
  redis.call('ZADD', due_key(T, route, 'otp'), due, 'c' .. n)
  if lease == 0 then wake(T, route, 'otp') end
end
if has(r.flags, CALLBACK) then
  redis.call('ZADD', due_key(T, 'callback', 'event'), r.deadline, 'x' .. n)
end
remember(r, op, 1, r.sends)
save_challenge(KEYS[1], r, now)
local told = r.raw
if print_ ~= '' then
  -- The answer of this create: its record and its time. The personal part is sealed in it;
  -- the sealed code (a supplied one, or of a slow hash) is left out: it ends with its message.
  r.body = ''
  redis.call('SET', KEYS[4], 'D' .. print_ .. struct.pack('<d', now) .. pack_challenge(r), 'PX', 86400000)
end
return { 'created', now, epoch, told, 0 }
