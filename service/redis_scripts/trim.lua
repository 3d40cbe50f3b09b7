-- Remove a bounded number of entries that the checkpoint covers, and their attachments.
--
-- KEYS: sketch, log, attachments, then the keys of attachments to remove.
-- ARGV: incarnation, now, how many entries at most.
-- Returns {'ok', entries left to trim}, or a refusal.
local found, refusal = alive(ARGV[1], ARGV[2])
if not found then
  return refusal
end
local sketch = redis.call('HMGET', KEYS[1], 'P', 'T')
local folded = tonumber(sketch[1])
local through = math.min(folded, tonumber(sketch[2]) + tonumber(ARGV[3]))
redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-0', through + 1))
redis.call('HSET', KEYS[1], 'T', string.format('%.0f', through))
for at = 4, #KEYS do
  local position = redis.call('ZSCORE', KEYS[3], KEYS[at])
  if position and tonumber(position) <= folded then
    redis.call('UNLINK', KEYS[at])
    redis.call('ZREM', KEYS[3], KEYS[at])
  end
end
return {'ok', folded - through}
