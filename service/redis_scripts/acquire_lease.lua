-- One holder may compact for so long. KEYS: sketch. ARGV: incarnation, now, holder, seconds.
-- Returns ok, held, or a refusal.
local found, refusal = alive(ARGV[1], ARGV[2])
if not found then
  return refusal
end
local lease = redis.call('HMGET', KEYS[1], 'h', 'l')
if lease[1] and lease[1] ~= '' and lease[1] ~= ARGV[3] and tonumber(lease[2]) > tonumber(ARGV[2]) then
  return {'held'}
end
redis.call('HSET', KEYS[1], 'h', ARGV[3], 'l', text(tonumber(ARGV[2]) + tonumber(ARGV[4])))
return {'ok'}
