-- Takes one place in every sliding window of every guard, or in none.
-- KEYS: the block list of all tenants, then the guards: the stamps (ms) of each, newest last.
-- A lost reply may count twice, never too little.
-- ARGV: a destination ('' for none), then per guard: how many windows, then count and ms of each
-- Answer: {ms to wait or 0, which key refused: 0 none, -1 the block list}
-- A sliding window of at most `count` stamps in `window` ms; returns ms to wait, or nil.
local function must_wait(stamps, now, count, window)
  local inside = {}
  for i = 1, #stamps do
    if stamps[i] > now - window then inside[#inside + 1] = stamps[i] end
  end
  if #inside >= count then return inside[#inside - count + 1] + window - now end
end

if ARGV[1] ~= '' and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return { 0, -1 } end
local t = redis.call('TIME')
local now = num(t[1]) * 1000 + math.floor(num(t[2]) / 1000)
local at, all, worst, which = 2, {}, 0, 0
for k = 2, #KEYS do
  local stamps, s = {}, redis.call('GET', KEYS[k])
  if s then for i = 1, #s, 8 do stamps[#stamps + 1] = struct.unpack('<d', s, i) end end
  local most, longest = 0, 0
  for w = 1, num(ARGV[at]) do
    local count, window = num(ARGV[at + 2 * w - 1]), num(ARGV[at + 2 * w])
    local wait = must_wait(stamps, now, count, window)
    -- The longest wait of all: after a shorter one it would be refused again.
    if wait and wait > worst then worst, which = wait, k - 1 end
    most, longest = math.max(most, count), math.max(longest, window)
  end
  at = at + 1 + 2 * num(ARGV[at])
  all[k] = { stamps = stamps, most = most, longest = longest }
end
if worst > 0 then return { worst, which } end
for k = 2, #KEYS do
  local a, kept = all[k], {}
  for i = math.max(1, #a.stamps - a.most + 2), #a.stamps do
    if a.stamps[i] > now - a.longest then kept[#kept + 1] = struct.pack('<d', a.stamps[i]) end
  end
  kept[#kept + 1] = struct.pack('<d', now)
  redis.call('SET', KEYS[k], table.concat(kept), 'PX', a.longest)
end
return { 0, 0 }
