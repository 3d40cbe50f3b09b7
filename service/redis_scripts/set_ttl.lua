-- Expire so many seconds from now and after each later append. KEYS: sketch.
-- ARGV: now, ttl_seconds or ''. Returns ok and HGETALL, or a refusal.
local found, refusal = alive('', ARGV[1])
if not found then
  return refusal
end
local expires = ''
if ARGV[2] ~= '' then
  expires = text(tonumber(ARGV[1]) + tonumber(ARGV[2]))
end
redis.call('HSET', KEYS[1], 't', ARGV[2], 'e', expires)
return {'ok', redis.call('HGETALL', KEYS[1])}
