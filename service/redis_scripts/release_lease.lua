-- The holder is done. KEYS: sketch. ARGV: incarnation, now, holder.
local found, refusal = alive(ARGV[1], ARGV[2])
if not found then
  return refusal
end
if redis.call('HGET', KEYS[1], 'h') == ARGV[3] then
  redis.call('HSET', KEYS[1], 'h', '', 'l', '0')
end
return {'ok'}
