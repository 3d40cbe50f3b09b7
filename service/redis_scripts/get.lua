-- The sketch's record, whole. KEYS: sketch. ARGV: now, '1' to have something to WAIT for.
-- Returns ok and HGETALL, or a refusal.
local found, refusal = alive('', ARGV[1])
if not found then
  return refusal
end
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], 'i', found)
end
return {'ok', redis.call('HGETALL', KEYS[1])}
