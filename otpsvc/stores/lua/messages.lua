-- Shared by the scripts of the outbox; loaded between the prelude and the script.

local function load_message(key)
  local s = redis.call('GET', key)
  -- One byte: the tombstone of an event that was delivered.
  if not s or #s == 1 then return nil end
  local m, p = {}, nil
  m.v, m.kind, m.mstate, m.tries, m.uncertain, m.way, m.fence, m.created, m.deadline, m.due, p =
    struct.unpack(MHEAD, s)
  m.route, m.lane, m.reason, m.meta, m.body = struct.unpack(MTAIL, s, p)
  m.raw = s
  return m
end

-- Whether the tenant lets nothing be sent there.
local function is_blocked(T, dest) return redis.call('HEXISTS', 'block:' .. T, dest) == 1 end

-- Its message ends as one that failed: no wait begins, and who waits for the code is told.
local function fail_send(T, n, r, reason, now, epoch)
  r.mstate, r.reason, r.body, r.due = M_FAILED, reason, '', now
  -- Of a verified one it is the time of that.
  if r.state ~= VERIFIED then r.wait = now end
  if r.state == OPEN and r.epoch == epoch and now < r.deadline then
    r.state = FAILED
    event(T, n, r, 'f', now)
  end
end

