-- Exactness is lost for good. KEYS: sketch. ARGV: incarnation, now.
local found, refusal = alive(ARGV[1], ARGV[2])
if not found then
  return refusal
end
redis.call('HSET', KEYS[1], 'x', '0')
return {'ok'}
