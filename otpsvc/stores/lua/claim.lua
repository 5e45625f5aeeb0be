-- Hands due messages of one (tenant, route, lane) to a worker, with a lease and a fence.
-- KEYS: due, clock
-- ARGV: run, est, seen, T, route, limit, lease (ms)
-- Answer: {now, epoch, next due or -1, {member, record}..., how many ended here}
local T, route, limit, lease = ARGV[4], ARGV[5], num(ARGV[6]), num(ARGV[7])
local now, epoch = clock(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local taken, ended = {}, 0

-- The worker that held it died: the far end may have the message, even when its time is over.
local function doubt(r)
  if r.mstate == SENDING and r.uncertain < 255 then r.uncertain = r.uncertain + 1 end
end

-- Its message ends here.
local function end_challenge(key, member, n, r, state, reason)
  ended = ended + 1
  redis.call('ZREM', KEYS[1], member)
  doubt(r)
  if reason == 'blocked' then
    fail_send(T, n, r, reason, now, epoch)
  else
    r.mstate, r.reason, r.body = state, reason, ''
  end
  if r.epoch ~= epoch and r.state == OPEN then
    r.state = VOID
    event(T, n, r, 'r', now)
  end
  save_challenge(key, r, now)
end

local function take_challenge(member, n)
  local key = 'otp:' .. T .. ':' .. n
  local r = load_challenge(key)
  local stale = not r or r.route ~= route or (r.mstate ~= QUEUED and r.mstate ~= SENDING)
    or (r.state ~= OPEN and r.state ~= FAILED)
  if stale then return redis.call('ZREM', KEYS[1], member) end
  if r.epoch ~= epoch then return end_challenge(key, member, n, r, M_FAILED, 'store_restarted') end
  if now >= r.deadline then return end_challenge(key, member, n, r, M_EXPIRED, 'deadline') end
  if is_blocked(T, r.dest) then return end_challenge(key, member, n, r, M_FAILED, 'blocked') end
  doubt(r)
  r.mstate, r.tries = SENDING, math.min(r.tries + 1, 255)
  r.fence, r.due = r.fence % 65535 + 1, now + lease
  redis.call('ZADD', KEYS[1], r.due, member)
  save_challenge(key, r, now)
  taken[#taken + 1] = { member, r.raw }
end

local function take_message(member, n)
  local key = 'msg:' .. T .. ':' .. n
  local m = load_message(key)
  if not m or m.route ~= route or (m.mstate ~= QUEUED and m.mstate ~= SENDING) then
    return redis.call('ZREM', KEYS[1], member)
  end
  local late = now >= m.deadline
  -- A raw message's destination stands in its meta (`challenge.pack_raw`); an event has none.
  if late or (m.kind == RAW and is_blocked(T, string.sub(m.meta, 2, 17))) then
    redis.call('ZREM', KEYS[1], member)
    doubt(m)
    m.mstate, m.reason, m.body = late and M_EXPIRED or M_FAILED, late and 'deadline' or 'blocked', ''
    ended = ended + 1
    return save_message(key, m, now, 86400000)
  end
  doubt(m)
  m.mstate, m.tries = SENDING, math.min(m.tries + 1, 255)
  m.fence, m.due = m.fence % 65535 + 1, now + lease
  redis.call('ZADD', KEYS[1], m.due, member)
  save_message(key, m, now, 86400000)
  taken[#taken + 1] = { member, m.raw }
end

-- The deadline of a challenge that owes an event has come.
local function expire(member, n)
  local key = 'otp:' .. T .. ':' .. n
  local r = load_challenge(key)
  if not r or (r.state ~= OPEN and r.state ~= FAILED) then
    return redis.call('ZREM', KEYS[1], member)
  end
  if r.epoch == epoch and now < r.deadline then
    return redis.call('ZADD', KEYS[1], r.deadline, member)
  end
  redis.call('ZREM', KEYS[1], member)
  if r.state == OPEN then
    event(T, n, r, r.epoch == epoch and 'x' or 'r', now)
    r.state = r.epoch == epoch and EXPIRED or VOID
    save_challenge(key, r, now)
  end
end

local TAKE = { c = take_challenge, m = take_message, x = expire }
for _ = 1, 2 do
  if #taken < limit then
    local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, limit - #taken)
    for _, member in ipairs(due) do
      TAKE[string.sub(member, 1, 1)](member, string.sub(member, 2))
    end
  end
end
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return { now, epoch, head[2] or '-1', taken, ended }
