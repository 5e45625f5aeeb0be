-- Shared by every script: the packed records, the clock, the due queues, events.
-- Loaded in front of each script. All keys of a tenant carry the tag {tenant}; `T` is
-- that tag with braces, so that key names built here stay in the slot of KEYS.
-- Python's twin of the two layouts is otpsvc/challenge.py; change them together.

local OPEN, VERIFIED, LOCKED, CANCELLED, FAILED, VOID, EXPIRED = 0, 1, 2, 3, 4, 5, 6
local NONE, QUEUED, SENDING, SENT, M_FAILED, M_EXPIRED = 0, 1, 2, 3, 5, 6
local DELIVERED = 4
local TRUSTED, SLOW_HASH, SUPPLIED, CALLBACK, RECEIPT_USED, CONSUMED, COLLECTED, LINGERS = 1, 2, 4, 8, 16, 32, 64, 128

local HEAD = '<BBBBBc4c16c16c16dI4I4I4I4HBBBBBBBBH'
local TAIL = '<Bc0Bc0Bc0Bc0Hc0Hc0'
local OPS_KEPT = 24

local function has(flags, flag) return bit.band(flags, flag) ~= 0 end

local function load_challenge(key)
  local s = redis.call('GET', key)
  if not s then return nil end
  local r, p = {}, nil
  r.v, r.state, r.purpose, r.flags, r.kind, r.kid, r.gen, r.dest, r.digest, r.created,
    r.gen_at, r.deadline, r.wait, r.due, r.epoch, r.attempts, r.max_attempts, r.sends,
    r.max_sends, r.mstate, r.tries, r.uncertain, r.way, r.fence, p = struct.unpack(HEAD, s)
  r.route, r.reason, r.salt, r.ops, r.blob, r.body = struct.unpack(TAIL, s, p)
  -- Times are kept as milliseconds after `created` (4 bytes instead of 8).
  r.gen_at, r.deadline = r.created + r.gen_at, r.created + r.deadline
  r.wait, r.due = r.created + r.wait, r.created + r.due
  r.raw = s
  return r
end

local function after(r, t)
  local d = t - r.created
  if d < 0 then return 0 end
  if d > 4294967295 then return 4294967295 end
  return d
end

local function pack_challenge(r)
  r.raw = struct.pack(HEAD, r.v, r.state, r.purpose, r.flags, r.kind, r.kid, r.gen, r.dest,
    r.digest, r.created, after(r, r.gen_at), after(r, r.deadline), after(r, r.wait),
    after(r, r.due), r.epoch, r.attempts, r.max_attempts, r.sends, r.max_sends, r.mstate,
    r.tries, r.uncertain, r.way, r.fence)
    .. struct.pack(TAIL, #r.route, r.route, #r.reason, r.reason, #r.salt, r.salt,
      #r.ops, r.ops, #r.blob, r.blob, #r.body, r.body)
  return r.raw
end

-- A challenge that owes its tenant an event outlives its deadline by a day, so that
-- the event can still be written when all workers were down at the deadline.
local GRACE, OWES, MINUTE = 2000, 86400000, 60000
local function save_challenge(key, r, now)
  local life = r.deadline - now + GRACE
  if has(r.flags, CALLBACK) and (r.state == OPEN or r.state == FAILED) then life = life + OWES end
  if has(r.flags, LINGERS) then life = life + MINUTE end
  if life < GRACE then life = GRACE end
  redis.call('SET', key, pack_challenge(r), 'PX', string.format('%.0f', life))
end

-- The tenant's clock: Redis TIME, held against the highest time seen (`high`) and the
-- caller's monotonic estimate. A step back of more than 2 s, or another run id of a
-- store that may have lost writes, opens a new epoch: challenges of older epochs are void.
-- `est` counts only while the caller has seen this epoch, else one step would open many.
local function clock(key, run, est, seen)
  local t = redis.call('TIME')
  local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
  local c = redis.call('GET', key)
  if not c then
    redis.call('SET', key, struct.pack('<dHBc0', now, 1, #run, run))
    return now, 1
  end
  local high, epoch, known = struct.unpack('<dHBc0', c)
  local highest = high
  if tonumber(seen) == epoch then highest = math.max(high, tonumber(est)) end
  if now < highest - 2000 or (run ~= '' and known ~= '' and run ~= known) then
    epoch = epoch % 65535 + 1
    redis.call('SET', key, struct.pack('<dHBc0', now, epoch, #run, run))
  elseif now > high + 1000 or (run ~= known and run ~= '') then
    if run == '' then run = known end
    redis.call('SET', key, struct.pack('<dHBc0', now, epoch, #run, run))
  end
  return math.max(now, highest > now + 2000 and now or highest), epoch
end

-- Operations already done on this record: op (8 bytes), outcome (1), number (1).
local function first_answer(r, op)
  for i = 1, #r.ops, 10 do
    if string.sub(r.ops, i, i + 7) == op then
      return string.byte(r.ops, i + 8), string.byte(r.ops, i + 9)
    end
  end
end

local function remember(r, op, outcome, number)
  r.ops = r.ops .. op .. string.char(outcome, number)
  if #r.ops > OPS_KEPT * 10 then r.ops = string.sub(r.ops, 11) end
end

-- For a new generation: what verified an older one says nothing about it (3 becomes 4).
local function outdate(r)
  r.ops = string.gsub(r.ops, '(........)(.)(.)', function(op, outcome, number)
    if outcome == '\3' then return op .. '\4' .. number end
  end)
end

-- The stored digest is bound to generation, purpose and destination.
local function mix(r, d)
  local h = redis.sha1hex(r.gen .. string.char(r.purpose) .. r.dest .. d)
  return struct.pack('>I4I4I4I4', tonumber(string.sub(h, 1, 8), 16), tonumber(string.sub(h, 9, 16), 16),
    tonumber(string.sub(h, 17, 24), 16), tonumber(string.sub(h, 25, 32), 16))
end

local function due_key(T, route, lane) return 'due:' .. T .. ':' .. route .. ':' .. lane end

local function wake(T, route, lane)
  redis.call('PUBLISH', 'otpsvc:wake', T .. ' ' .. route .. ' ' .. lane)
end

local function unqueue(T, n, r)
  if r.route ~= '' and (r.mstate == QUEUED or r.mstate == SENDING) then
    redis.call('ZREM', due_key(T, r.route, 'otp'), 'c' .. n)
  end
end

local MHEAD, MTAIL = '<BBBBBBHddd', '<Bc0Bc0Bc0Bc0Hc0'
local EVENT, RAW = 1, 2

local function save_message(key, m, now, keep)
  m.raw = struct.pack(MHEAD, m.v, m.kind, m.mstate, m.tries, m.uncertain, m.way, m.fence,
    m.created, m.deadline, m.due)
    .. struct.pack(MTAIL, #m.route, m.route, #m.lane, m.lane, #m.reason, m.reason,
      #m.meta, m.meta, #m.body, m.body)
  local life = math.max(m.deadline - now, 0) + keep
  redis.call('SET', key, m.raw, 'PX', string.format('%.0f', life))
end

-- Writes the final event of a generation once: its id follows from generation and kind.
-- The body is the challenge's sealed blob, so nothing needs to be sealed here.
local EVENT_LIFE = 3 * 86400000
local function event(T, n, r, kind, now)
  if not has(r.flags, CALLBACK) then return false end
  local id = string.sub(redis.sha1hex(n .. r.gen .. kind), 1, 24)
  local key = 'msg:' .. T .. ':' .. id
  local due = due_key(T, 'callback', 'event')
  redis.call('ZREM', due, 'x' .. n)
  if redis.call('EXISTS', key) == 1 then return false end
  local meta = struct.pack('<BBBBBBc16dBc0Bc0Bc0', string.byte(kind), r.purpose, r.attempts, r.mstate,
    r.uncertain, r.sends, r.gen, now, #n, n, #r.route, r.route, #r.reason, r.reason)
  save_message(key, { v = 1, kind = EVENT, mstate = QUEUED, tries = 0, uncertain = 0, way = 0,
    fence = 0, created = now, deadline = now + EVENT_LIFE, due = now, route = 'callback',
    lane = 'event', reason = '', meta = meta, body = r.blob }, now, 86400000)
  redis.call('ZADD', due, now, 'm' .. id)
  wake(T, 'callback', 'event')
  return true
end

local num = tonumber
