-- What a worker says of a message that it holds: still on it, may I send, later, done.
-- KEYS: record, clock, due
-- ARGV: run, est, seen, T, member, fence, generation ('' for messages), action,
--       due or lease (ms), way, reason, state, uncertain (0 or 1), parts (of a raw message)
-- Answer: {outcome, now, epoch}; outcome `lost` when the lease, generation or record is gone
local T, member, fence, gen, action = ARGV[4], ARGV[5], num(ARGV[6]), ARGV[7], ARGV[8]
local ms, way, reason, state, doubt = num(ARGV[9]), num(ARGV[10]), ARGV[11], num(ARGV[12]), num(ARGV[13])
local now, epoch = clock(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local challenge, n = string.sub(member, 1, 1) == 'c', string.sub(member, 2)
local r = challenge and load_challenge(KEYS[1]) or (not challenge and load_message(KEYS[1])) or nil
-- One that ended on its way (closed, too late) still hears what the far end said in the end.
if not r or r.fence ~= fence or (r.mstate ~= SENDING and r.mstate ~= M_EXPIRED) then
  return { 'lost', now, epoch }
end
if challenge and r.gen ~= gen then return { 'lost', now, epoch } end

local function save()
  if challenge then save_challenge(KEYS[1], r, now) else save_message(KEYS[1], r, now, 86400000) end
end

-- A doubt is kept even when the challenge was closed in the meantime.
if doubt == 1 and r.uncertain < 255 then r.uncertain = r.uncertain + 1 end

if action == 'finish' then
  r.mstate, r.reason, r.body, r.way = state, reason, '', way
  redis.call('ZREM', KEYS[3], member)
  if challenge then
    -- When it was: pages tell it.
    r.due = now
    if state == M_FAILED then fail_send(T, n, r, reason, now, epoch) end
  elseif r.kind == RAW then
    r.meta = string.char(num(ARGV[14])) .. string.sub(r.meta, 2)
  elseif r.kind == EVENT and state == SENT then
    -- A generation can fail again after a resend, a day long at most; other events cannot repeat.
    local failed = string.sub(r.meta, 1, 1) == 'f'
    redis.call('SET', KEYS[1], 'x', 'PX', failed and 86400000 or 3600000)
    return { 'ok', now, epoch }
  end
  save()
  return { 'ok', now, epoch }
end

local ended = now >= r.deadline
if challenge then ended = ended or r.epoch ~= epoch or (r.state ~= OPEN and r.state ~= FAILED) end
if ended then
  redis.call('ZREM', KEYS[3], member)
  r.mstate, r.body = M_EXPIRED, ''
  r.reason = (challenge and r.epoch ~= epoch and 'store_restarted') or (now >= r.deadline and 'deadline') or 'closed'
  save()
  return { 'ended', now, epoch }
end
if action == 'later' then
  if way ~= r.way then r.tries = 0 end
  r.mstate, r.due, r.way, r.reason = QUEUED, now + ms, way, reason
else
  r.due = now + ms
end
redis.call('ZADD', KEYS[3], r.due, member)
save()
return { 'ok', now, epoch }
