-- The sketch's record, whole. KEYS: sketch. ARGV: now. Returns ok and HGETALL, or a refusal.
local found, refusal = alive('', ARGV[1])
if not found then
  return refusal
end
return {'ok', redis.call('HGETALL', KEYS[1])}
