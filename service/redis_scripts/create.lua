-- Create the sketch unless it is there. The tenant's index holds its place already.
--
-- KEYS: sketch. ARGV: now, then fields and values of the new hash.
-- Returns 'new' or 'ok' and HGETALL; 'expired' and the incarnation when a former one
-- must be removed first (its large parts have keys of their own, to be named in KEYS).
local found, refusal = alive('', ARGV[1])
if found then
  return {'ok', redis.call('HGETALL', KEYS[1])}
end
if refusal[1] == 'newer' then
  return refusal
end
local former = redis.call('HGET', KEYS[1], 'i')
if former then
  return {'expired', former}
end
local fields = {}
for at = 2, #ARGV do
  fields[at - 1] = ARGV[at]
end
redis.call('HSET', KEYS[1], unpack(fields))
return {'new', redis.call('HGETALL', KEYS[1])}
