-- News of a message that was sent: it was delivered, or failed for good. Twice is harmless.
-- KEYS: record, clock
-- ARGV: run, est, seen, T, member, first 4 bytes of the generation and sends (of a challenge), ok (0 or 1)
-- Answer: {ok | early | lost, now, epoch}
local T, member, gen, sends, ok = ARGV[4], ARGV[5], ARGV[6], num(ARGV[7]), ARGV[8] == '1'
local REASON = 'not delivered'
local now, epoch = clock(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local challenge, n = string.sub(member, 1, 1) == 'c', string.sub(member, 2)
local r = challenge and load_challenge(KEYS[1]) or (not challenge and load_message(KEYS[1])) or nil
if not r then return { 'lost', now, epoch } end
if challenge and (string.sub(r.gen, 1, 4) ~= gen or r.sends ~= sends) then return { 'lost', now, epoch } end
if not challenge and r.kind ~= RAW then return { 'lost', now, epoch } end

if r.mstate == SENDING then return { 'early', now, epoch } end
if r.mstate == DELIVERED or (r.mstate == M_FAILED and r.reason == REASON and not ok) then
  return { 'ok', now, epoch }
end
if r.mstate ~= SENT then return { 'lost', now, epoch } end
if ok then
  r.mstate = DELIVERED
elseif challenge then
  fail_send(T, n, r, REASON, now, epoch)
else
  r.mstate, r.reason = M_FAILED, REASON
end
if challenge then save_challenge(KEYS[1], r, now) else save_message(KEYS[1], r, now, 86400000) end
return { 'ok', now, epoch }
