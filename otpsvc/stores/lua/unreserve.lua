-- Gives the newest place of every guard back: what it was taken for had no effect.
for k = 1, #KEYS do
  local s = redis.call('GET', KEYS[k])
  if s and #s > 8 then
    redis.call('SET', KEYS[k], string.sub(s, 1, #s - 8), 'KEEPTTL')
  elseif s then
    redis.call('DEL', KEYS[k])
  end
end
return 1
