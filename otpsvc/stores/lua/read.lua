-- Reads a challenge; with a receipt, spends it; `consume` forgets a verified one,
-- `cancel` closes an open one. Only those three change anything.
-- KEYS: challenge, clock
-- ARGV: run, est, seen, T, n, op, action (read, status, consume, cancel), needs receipt (one flag a purpose),
--       receipt's generation, receipt's op, wanted generation, end of the receipt (ms; 0: none)
-- Answer: {outcome, now, epoch, record, 0}
local T, n, op, action = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local needs, gen, proof, wanted, until_ = ARGV[8], ARGV[9], ARGV[10], ARGV[11], num(ARGV[12])
local now, epoch = clock(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local r = load_challenge(KEYS[1])
if not r then return { 'unknown', now, epoch, '', 0 } end
if r.epoch ~= epoch then return { 'void', now, epoch, r.raw, 0 } end
if now >= r.deadline then return { 'expired', now, epoch, r.raw, 0 } end
local again = op ~= '' and first_answer(r, op)
if has(r.flags, CONSUMED) and not again then return { 'unknown', now, epoch, '', 0 } end
if wanted ~= '' and wanted ~= r.gen then return { 'unknown', now, epoch, '', 0 } end
if action == 'read' then return { 'read', now, epoch, r.raw, 0 } end

if action == 'cancel' then
  if not again and (r.state == OPEN or r.state == FAILED) then
    unqueue(T, n, r)
    if r.mstate == QUEUED then r.mstate = NONE end
    redis.call('ZREM', due_key(T, 'callback', 'event'), 'x' .. n)
    r.state, r.body = CANCELLED, ''
    remember(r, op, 4, r.attempts)
    save_challenge(KEYS[1], r, now)
  end
  return { 'cancelled', now, epoch, r.raw, 0 }
end

-- status and consume
if r.state ~= VERIFIED then return { 'open', now, epoch, r.raw, 0 } end
local needed = string.sub(needs, r.purpose + 1, r.purpose + 1) == '1'
if proof ~= '' and not again then
  local outcome = first_answer(r, proof)
  if gen ~= r.gen or outcome ~= 3 or has(r.flags, RECEIPT_USED) or (until_ > 0 and now >= until_) then
    return { 'open', now, epoch, r.raw, 0 }
  end
  r.flags = bit.bor(r.flags, RECEIPT_USED)
  remember(r, op, 5, 0)
  save_challenge(KEYS[1], r, now)
elseif needed and not again then
  return { 'open', now, epoch, r.raw, 0 }
end
local told = r.raw
if action == 'consume' and not again then
  -- Forgotten, but for a repeat of this very call whose answer was lost.
  r.flags, r.deadline = bit.bor(r.flags, CONSUMED), now + 3000
  if proof == '' then remember(r, op, 5, 0) end
  save_challenge(KEYS[1], r, now)
end
return { 'verified', now, epoch, told, 0 }
